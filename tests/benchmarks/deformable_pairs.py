"""Pairs with a known deformation, for ``tests.benchmarks.deformable``.

The moving image is the reference (or another contrast in its space) read through a smooth known
map s: moving(y) = image(y + s(y)); a reference point x then truly lies at the y that solves
y + s(y) = x. Noise is added to both sides on their own, so that nothing but anatomy can match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.deformation import Deformation
from analysis.geometry import FloatArray, Grid, Volume, grid_of, isotropic_grid
from analysis.phantoms.head import make_head
from analysis.phantoms.thorax import make_thorax
from analysis.resampling import resample

PROBES = 4_000


@dataclass(frozen=True, eq=False)
class Pair:
    name: str
    reference: Volume
    moving: Volume
    points: FloatArray
    """Reference points (n, 3), LPS mm, inside the anatomy."""
    truth: FloatArray
    """Where they lie in the moving image."""


def lattice(grid: Grid, spacing_mm: float) -> tuple[Grid, FloatArray]:
    """A coarse grid over the same box and its points [z, y, x, 3]."""
    coarse = isotropic_grid(grid, spacing_mm)
    nz, ny, nx = coarse.shape
    k, j, i = np.meshgrid(np.arange(nz), np.arange(ny), np.arange(nx), indexing="ij")
    return coarse, coarse.to_lps(np.stack([i, j, k], axis=-1))


def breathing(grid: Grid, depth_mm: float) -> Deformation:
    """Deep at the diaphragm, nothing at the top and at the skin; the front of the chest rises."""
    coarse, points = lattice(grid, 4.0)
    low, high = points.reshape(-1, 3).min(axis=0), points.reshape(-1, 3).max(axis=0)
    x, y, z = np.moveaxis((points - (low + high) / 2) / ((high - low) / 2), -1, 0)
    within = np.exp(-((x / 0.62) ** 4) - (y / 0.62) ** 4)
    along = np.exp(-(((z + 0.45) / 0.55) ** 2))
    field = np.zeros((*coarse.shape, 3), np.float32)
    field[..., 2] = depth_mm * along * within
    field[..., 1] = 0.3 * depth_mm * along * np.exp(-(((y + 0.6) / 0.5) ** 2) - (x / 0.7) ** 4)
    return Deformation(field, coarse)


def rippling(grid: Grid, seed: int, height_mm: float, smooth_mm: float) -> Deformation:
    """A random field: white noise blurred by ``smooth_mm`` (sigma), scaled to ``height_mm``."""
    coarse, _ = lattice(grid, 4.0)
    noise = np.random.default_rng(seed).normal(size=(*coarse.shape, 3))
    for axis in range(3):
        noise[..., axis] = ndimage.gaussian_filter(noise[..., axis], smooth_mm / 4.0)
    # The highest place of the inner box counts: at the edges nothing is measured.
    inner = tuple(slice(n // 5, n - n // 5) for n in coarse.shape)
    noise *= height_mm / np.linalg.norm(noise, axis=-1)[inner].max()
    return Deformation(noise.astype(np.float32), coarse)


def through(image: Volume, map_: Deformation, grid: Grid, air: float) -> Volume:
    """image(y + s(y)) at every voxel y of ``grid``."""
    result = np.empty(grid.shape, np.float32)
    coefficients = ndimage.spline_filter(image.array.astype(np.float32), 3, output=np.float32)
    nz, ny, nx = grid.shape
    for k in range(nz):
        j, i = np.meshgrid(np.arange(ny), np.arange(nx), indexing="ij")
        points = grid.to_lps(np.stack([i, j, np.full_like(i, k)], axis=-1))
        index = image.grid.to_index(np.nan_to_num(map_.to_moving(points), nan=1e6))
        result[k] = ndimage.map_coordinates(
            coefficients, np.moveaxis(index[..., ::-1], -1, 0), order=3, prefilter=False,
            mode="constant", cval=air,
        )
    return Volume(result, grid, image.unit, image.modality, image.role)


def noisy(volume: Volume, sd: float, seed: int) -> Volume:
    noise = np.random.default_rng(seed).normal(0, sd, volume.array.shape)
    return volume.with_array((volume.array + noise).astype(np.float32))


def make_pair(
    name: str,
    reference: Volume,
    source: Volume,
    map_: Deformation,
    body: np.ndarray,
    *,
    air: float,
    noise: tuple[float, float],
) -> Pair:
    """``source`` (in the reference's space, on any grid) seen through ``map_``, with noise."""
    rng = np.random.default_rng(11)
    chosen = rng.choice(np.flatnonzero(body), PROBES, replace=False)
    k, j, i = np.unravel_index(chosen, body.shape)
    points = reference.grid.to_lps(np.stack([i, j, k], axis=1))
    truth = map_.to_reference(points)
    # Anatomy that left the moving field of view can be found by nobody.
    there = source.grid.to_index(np.nan_to_num(truth, nan=1e6))
    kept = np.all((there >= 1) & (there <= np.array(source.grid.shape[::-1]) - 2), axis=1)
    moving = through(source, map_, source.grid, air)
    return Pair(
        name,
        noisy(reference, noise[0], 1),
        noisy(moving, noise[1], 2),
        points[kept],
        truth[kept],
    )


def thorax_ct(seed: int = 1) -> Pair:
    series = make_thorax(seed, spacing_mm=(2.0, 2.0, 2.5), positive=True).series["CT"]
    image = series.noise_free
    body = ndimage.binary_fill_holes(image.array > -150)
    return make_pair(
        "thorax CT-CT, breathing 22 mm", image, image, breathing(image.grid, 22.0), body,
        air=-1000.0, noise=(20.0, 20.0),
    )


def head_t1_t2(seed: int = 5) -> Pair:
    head = make_head(seed, spacing_mm=(2.0, 2.0, 2.0), positive=True)
    reference = head.reference.noise_free
    other = head.series["T2"]
    placed = resample(other.noise_free, reference.grid, matrix=other.to_reference)[0]
    assert head.body is not None
    sd = 0.02 * float(reference.array.max())
    return make_pair(
        "synthetic head T1c-T2, 8 mm", reference, placed,
        rippling(reference.grid, 3, 8.0, 22.0), head.body.array > 0,
        air=0.0, noise=(sd, 0.02 * float(placed.array.max())),
    )


def _load(path: Path) -> Volume:
    image = sitk.ReadImage(str(path))
    return Volume(
        sitk.GetArrayFromImage(image).astype(np.float32), grid_of(image), "1", "MR"
    )


def _mni(data: Path, moving: str, seed: int) -> Pair:
    folder = data / "brain-multimodal-mni"
    reference = _load(folder / "T1.nii")
    source = reference if moving == "T1" else _load(folder / f"{moving}.nii")
    brain = _load(folder / "labels_Neuromorphometrics.nii")
    inside = resample(brain, reference.grid, interpolation="nearest")[0].array > 0
    top = float(np.percentile(reference.array, 99)), float(np.percentile(source.array, 99))
    return make_pair(
        f"MNI T1-{moving}, 8 mm", reference, source, rippling(reference.grid, seed, 8.0, 20.0),
        inside, air=0.0, noise=(0.02 * top[0], 0.02 * top[1]),
    )


def _glioma(data: Path) -> Pair:
    folder = data / "glioma-mr" / "sri24_skullstripped"
    found = {kind: sorted(folder.rglob(f"*{kind}*.nii*"))[0] for kind in ("t1", "t2")}
    reference, source = _load(found["t1"]), _load(found["t2"])
    top = float(np.percentile(reference.array, 99)), float(np.percentile(source.array, 99))
    return make_pair(
        "glioma T1-T2 1 mm, 8 mm", reference, source, rippling(reference.grid, 9, 8.0, 20.0),
        reference.array > 0, air=0.0, noise=(0.02 * top[0], 0.02 * top[1]),
    )


def _aorta(data: Path) -> Pair:
    path = next(p for p in sorted((data / "aorta-cta").rglob("*.nii*")) if "ct" in p.name.lower())
    image = _load(path)
    image = Volume(image.array, image.grid, "[hnsf'U]", "CT")
    body = ndimage.binary_fill_holes(image.array > -200)
    return make_pair(
        "chest CTA (real), 10 mm", image, image, rippling(image.grid, 4, 10.0, 18.0), body,
        air=-1000.0, noise=(15.0, 15.0),
    )


def pairs(data: Path | None) -> Iterator[Callable[[], Pair]]:
    """Makers of all pairs; the real ones only where the data are."""
    yield thorax_ct
    yield head_t1_t2
    if data is not None and data.is_dir():
        yield lambda: _mni(data, "T1", 7)
        yield lambda: _mni(data, "T2", 8)
        yield lambda: _aorta(data)
        yield lambda: _glioma(data)
