"""Rigid registration by Radfuse and by its peers, behind one call, for the benchmark.

Each function takes two files and gives the 4x4 that maps reference LPS mm to moving LPS mm (the
sense of the peers' own results). Settings are the methods' documented examples or defaults, not
tuned by us; the one freedom is two threads for everybody. Images are read before the clock starts
where the method takes them from memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.geometry import FloatArray

THREADS = 2
Solve = Callable[[], tuple[FloatArray, dict[str, Any]]]
"""Does the registration; gives the matrix and what the method says about it."""

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def radfuse(moving: Path, reference: Path, modalities: tuple[str, str]) -> Solve:
    """Radfuse's ``register_series``, checks and verdict included."""
    import SimpleITK as sitk

    from analysis.geometry import Volume, grid_of
    from analysis.registration import register_series

    def load(path: Path, modality: str) -> Volume:
        image = sitk.ReadImage(str(path))
        unit = "[hnsf'U]" if modality == "CT" else "1"
        return Volume(sitk.GetArrayFromImage(image), grid_of(image), unit, modality)

    first, second = load(moving, modalities[0]), load(reference, modalities[1])

    def solve() -> tuple[FloatArray, dict[str, Any]]:
        record = register_series(
            first, second, moving_uid="moving", reference_uid="reference", same_frame=False,
            seed=1, threads=THREADS,
        )
        # A refused result counts with the matrix it would have had.
        found = record.parameters.get("rejected_matrix", record.matrix)
        figures = {figure.name: figure.value for figure in record.quality}
        note = {"verdict": record.verdict, "reasons": record.reasons, "figures": figures}
        return np.linalg.inv(np.array(found)), note

    return solve


def simpleitk(moving: Path, reference: Path, _modalities: tuple[str, str]) -> Solve:
    """The documented example: Mattes 50 bins, 1 % random samples, gradient descent."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    fixed = sitk.ReadImage(str(reference), sitk.sitkFloat32)
    mobile = sitk.ReadImage(str(moving), sitk.sitkFloat32)

    def solve() -> tuple[FloatArray, dict[str, Any]]:
        start = sitk.CenteredTransformInitializer(
            fixed, mobile, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
        )
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=50)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(0.01, 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsGradientDescent(
            learningRate=1.0, numberOfIterations=100, convergenceMinimumValue=1e-6,
            convergenceWindowSize=10,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([2, 1, 0])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.SetInitialTransform(start, inPlace=False)
        return _of_itk(method.Execute(fixed, mobile)), {}

    return solve


def elastix(moving: Path, reference: Path, _modalities: tuple[str, str]) -> Solve:
    """itk-elastix with its default rigid parameter map."""
    import itk

    itk.set_nthreads(THREADS)
    fixed = itk.imread(str(reference), itk.F)
    mobile = itk.imread(str(moving), itk.F)

    def solve() -> tuple[FloatArray, dict[str, Any]]:
        parameters = itk.ParameterObject.New()
        parameters.AddParameterMap(parameters.GetDefaultParameterMap("rigid"))
        _, found = itk.elastix_registration_method(
            fixed, mobile, parameter_object=parameters, log_to_console=False,
            number_of_threads=THREADS,
        )
        told = found.GetParameterMap(0)
        values = np.array([float(v) for v in told["TransformParameters"]])
        centre = np.array([float(v) for v in told["CenterOfRotationPoint"]])
        return _euler(values[:3], values[3:], centre, told.get("ComputeZYX", ["false"])[0]), {}

    return solve


def greedy(moving: Path, reference: Path, _modalities: tuple[str, str]) -> Solve:
    """greedy: rigid, normalised mutual information, started at the image centres."""
    from picsl_greedy import Greedy3D

    def solve() -> tuple[FloatArray, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "rigid.mat"
            Greedy3D().execute(
                f"-i {reference} {moving} -a -dof 6 -m NMI -n 100x50x10 -ia-image-centers "
                f"-threads {THREADS} -o {out} -V 0"
            )
            return RAS @ np.loadtxt(out) @ RAS, {}

    return solve


def ants(moving: Path, reference: Path, _modalities: tuple[str, str]) -> Solve:
    """ANTs through antspyx: type of transform ``Rigid``."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(THREADS)
    import ants as antspy
    import SimpleITK as sitk

    fixed, mobile = antspy.image_read(str(reference)), antspy.image_read(str(moving))

    def solve() -> tuple[FloatArray, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            found = antspy.registration(
                fixed, mobile, type_of_transform="Rigid", outprefix=f"{folder}/", random_seed=1
            )
            return _of_itk(sitk.ReadTransform(found["fwdtransforms"][0])), {}

    return solve


METHODS: dict[str, Callable[[Path, Path, tuple[str, str]], Solve]] = {
    "radfuse": radfuse,
    "simpleitk": simpleitk,
    "elastix": elastix,
    "greedy": greedy,
    "ants": ants,
}


def _of_itk(transform: Any) -> FloatArray:
    corners = np.vstack([np.zeros(3), 100.0 * np.eye(3)])
    mapped = np.array([transform.TransformPoint([float(v) for v in c]) for c in corners])
    matrix = np.eye(4)
    matrix[:3, :3] = ((mapped[1:] - mapped[0]) / 100.0).T
    matrix[:3, 3] = mapped[0]
    return matrix


def _euler(angles: FloatArray, shift: FloatArray, centre: FloatArray, zyx: str) -> FloatArray:
    """ITK's Euler3DTransform: R = Rz Rx Ry, or Rz Ry Rx with ``ComputeZYX``."""
    import SimpleITK as sitk

    transform = sitk.Euler3DTransform()
    transform.SetComputeZYX(zyx == "true")
    transform.SetCenter(centre.tolist())
    transform.SetRotation(*angles.tolist())
    transform.SetTranslation(shift.tolist())
    return _of_itk(transform)
