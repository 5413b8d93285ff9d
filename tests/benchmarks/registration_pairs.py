"""Pairs of images with a known answer, for the registration benchmarks.

The moving image of a pair is *placed* somewhere else by changing its affine, never resampled, so
no method gains or loses by interpolation. The truth is then the matrix of that motion, times what
is known of the pair as delivered:

* ``brain-multimodal-mni``: averages of one space, so the identity. Different people went into
  each, so a fraction of a millimetre to three millimetres of disagreement is theirs.
* ``glioma-mr``: native sequences of one patient, whose headers do not agree with each other
  (FLAIR and T2 lie 13-16 mm off). The reference here is a long local run of ITK with all voxels,
  made from the position as delivered: not a truth, but one that no perturbation touched.
* ``sarcoma-ct-mr-pet``: the clinical fusion, good to 3-6 mm, so success is 4 mm from it.
* synthetic heads and thoraces: exact.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from analysis.geometry import FloatArray, Grid, Volume, grid_of, to_sitk
from analysis.phantoms.head import make_head
from analysis.phantoms.thorax import make_thorax
from analysis.registration.rigid import apply, invert, rigid
from analysis.volumes import load_series, scan_folder

DATA = Path(os.environ.get("RADFUSE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SUCCESS_MM = 4.0


@dataclass(frozen=True, eq=False)
class Pair:
    """``truth`` maps moving LPS to reference LPS; ``points`` (n, 3) reference LPS is where the
    error is measured."""

    group: str
    name: str
    moving: Volume
    reference: Volume
    truth: FloatArray
    points: FloatArray

    def errors(self, pull: FloatArray) -> FloatArray:
        """Target error in mm at each point of a result that maps reference to moving LPS."""
        landed = apply(self.truth, apply(pull, self.points))
        return np.asarray(np.linalg.norm(landed - self.points, axis=1), dtype=np.float64)


def unit(rng: np.random.Generator) -> FloatArray:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def perturbed(pair: Pair, degrees: float, mm: float, rng: np.random.Generator) -> Pair:
    """The moving image turned by up to ``degrees`` and shifted by up to ``mm`` about its middle."""
    turn = Rotation.from_rotvec(np.radians(rng.uniform(0, degrees)) * unit(rng))
    motion = rigid(turn, rng.uniform(0, mm) * unit(rng), pair.moving.grid.centre)
    old = pair.moving
    grid = Grid(old.grid.shape, motion @ old.grid.affine)
    moved = Volume(old.array, grid, old.unit, old.modality, old.role)
    return Pair(
        pair.group, pair.name, moved, pair.reference, pair.truth @ invert(motion), pair.points
    )


def _bright(volume: Volume, share: float, count: int = 2000) -> FloatArray:
    """Random points where the image is brighter than a share of its 99th percentile."""
    array = np.asarray(volume.array, dtype=np.float32)
    flat = np.flatnonzero(array > share * np.percentile(array, 99))
    chosen = np.random.default_rng(0).choice(flat, count)
    k, j, i = np.unravel_index(chosen, array.shape)
    return volume.grid.to_lps(np.stack([i, j, k], axis=1))


def _image(path: Path, modality: str) -> Volume:
    image = sitk.ReadImage(str(path))
    return Volume(sitk.GetArrayFromImage(image), grid_of(image), "1", modality)


def brains() -> Iterator[Pair]:
    folder = DATA / "brain-multimodal-mni"
    reference = _image(folder / "T1.nii", "MR")
    points = _bright(reference, 0.4)
    for name, modality in (("T2", "MR"), ("PD", "MR"), ("PET", "PT"), ("SPECT", "NM")):
        moving = _image(folder / f"{name}.nii", modality)
        yield Pair("brain averages", f"{name} -> T1", moving, reference, np.eye(4), points)


def gliomas(*, truth: bool = True) -> Iterator[Pair]:
    folder = DATA / "glioma-mr"
    reference = _image(folder / "native" / "T1c.nii.gz", "MR")
    points = _bright(reference, 0.35)
    for name in ("T1", "T2", "FLAIR"):
        moving = _image(folder / "native" / f"{name}.nii.gz", "MR")
        known = _by_itk(moving, reference) if truth else np.eye(4)
        yield Pair("glioma, native", f"{name} -> T1c", moving, reference, known, points)


def _by_itk(moving: Volume, reference: Volume) -> FloatArray:
    """Long and local: ITK's Mattes information with all voxels, from the position as delivered."""

    def image(volume: Volume) -> sitk.Image:
        return to_sitk(volume.with_array(volume.array.astype(np.float32)))

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 100, 0.5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([4, 2, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    start = sitk.Euler3DTransform()
    start.SetCenter([float(v) for v in reference.grid.centre])
    method.SetInitialTransform(start, inPlace=False)
    return invert(matrix_of(method.Execute(image(reference), image(moving))))


def sarcomas() -> Iterator[Pair]:
    for patient in ("STS_001", "STS_005"):
        folder = DATA / "sarcoma-ct-mr-pet" / patient
        ct, mr, pet = (_dicom(folder / name) for name in ("CT", "MR_T1", "PET"))
        i, j, k = np.meshgrid(*(np.linspace(0.25, 0.75, 7) * n for n in ct.grid.shape[::-1]),
                              indexing="ij")
        points = ct.grid.to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
        for name, moving in (("MR", mr), ("PET", pet)):
            yield Pair("sarcoma crops", f"{patient} {name} -> CT", moving, ct, np.eye(4), points)


def _dicom(folder: Path) -> Volume:
    found, _ = scan_folder([folder])
    return next(load_series(s).volume for s in found if s.modality in {"CT", "MR", "PT"})


def heads(count: int) -> Iterator[Pair]:
    for seed in range(1000, 1000 + count):
        head = make_head(seed, positive=True)
        assert head.body is not None
        index = np.argwhere(np.asarray(head.body.array) > 0)[:, ::-1]
        index = np.random.default_rng(0).choice(index, 2000)
        inside = head.body.grid.to_lps(index)
        for role in ("T1", "T2", "FLAIR", "PET"):
            series = head.series[role]
            yield Pair(
                "synthetic heads", f"{role} -> T1c", series.volume, head.reference.volume,
                np.array(series.to_reference), inside,
            )


def thoraces(count: int) -> Iterator[Pair]:
    for seed in range(1000, 1000 + count):
        thorax = make_thorax(seed, spacing_mm=(1.4, 1.4, 2.5))
        series = thorax.series["PET"]
        reference = thorax.reference.volume
        index = np.argwhere(np.asarray(reference.array) > -300)[:, ::-1]
        index = np.random.default_rng(0).choice(index, 2000)
        yield Pair(
            "synthetic thoraces", "PET -> CT", series.volume, reference,
            np.array(series.to_reference), reference.grid.to_lps(index),
        )


def matrix_of(transform: sitk.Transform) -> FloatArray:
    """The 4x4 of a linear ITK transform."""
    corners = np.vstack([np.zeros(3), 100.0 * np.eye(3)])
    mapped = np.array([transform.TransformPoint([float(v) for v in c]) for c in corners])
    matrix = np.eye(4)
    matrix[:3, :3] = ((mapped[1:] - mapped[0]) / 100.0).T
    matrix[:3, 3] = mapped[0]
    return matrix
