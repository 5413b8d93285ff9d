"""One series brought into the reference series' space, with its proof. See ``register_series``."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy

from analysis.contracts import (
    IDENTITY,
    FusionState,
    Matrix,
    QualityFigure,
    RegistrationRecord,
    Verdict,
)
from analysis.geometry import FloatArray, Volume, as_matrix
from analysis.progress import Progress, silent
from analysis.registration import thresholds as t
from analysis.registration.answers import answered
from analysis.registration.crew import side_by_side
from analysis.registration.preparation import NothingToCompare, Pyramid, build_pyramid
from analysis.registration.quality import as_quality, judge, measure
from analysis.registration.rigid import invert
from analysis.registration.same_frame import METHOD as SAME_FRAME_METHOD
from analysis.registration.same_frame import verify
from analysis.registration.solving import solve

METHOD = {
    "rigid": "rigid, mutual information, multi-start, multi-resolution",
    "affine": "affine after rigid, mutual information, multi-start, multi-resolution",
}


def register_series(
    moving: Volume,
    reference: Volume,
    *,
    moving_uid: str,
    reference_uid: str,
    same_frame: bool,
    seed: int,
    threads: int,
    progress: Progress = silent,
    model: Literal["rigid", "affine"] = "rigid",
    start: Matrix | None = None,
    moving_mask: Volume | None = None,
    reference_mask: Volume | None = None,
) -> RegistrationRecord:
    """How ``moving`` lies in the space of ``reference``.

    ``same_frame``: both carry the same FrameOfReferenceUID. Then nothing is moved; the identity
    is checked against the images and doubted or refused if they contradict it. Otherwise a
    transform is searched; ``matrix`` maps moving LPS to reference LPS in mm. ``model`` "affine"
    allows scales and shears after the rigid fit; implausible ones are refused. A result that
    cannot be trusted has state ``not_registered``, verdict ``refused`` and the identity.

    ``start`` (moving LPS -> reference LPS): no global search, only the best pose near it.
    Masks (nonzero = compare here; any grid in the LPS of their image) restrict what is compared.

    ``progress(share, text)`` is called between the parts of the work, in the caller's thread; an
    exception from it stops the work within a fraction of a second and comes out here. Results
    are the same to the last bit for the same ``seed``, whatever ``threads`` is (on one make of
    processor: others may round sines and logarithms differently).

    Raises ``ValueError`` for a start that is no invertible 4x4.
    """
    pull = None if start is None else _pull(start)
    progress(0.0, "Preparing the images")

    def record(
        state: FusionState,
        verdict: Verdict,
        reasons: tuple[str, ...],
        figures: tuple[QualityFigure, ...] = (),
        parameters: dict[str, Any] | None = None,
        matrix: FloatArray | None = None,
        *,
        unmeasured: str = "the images were not compared",
    ) -> RegistrationRecord:
        found = RegistrationRecord(
            series_instance_uid=moving_uid,
            reference_series_uid=reference_uid,
            state=state,
            matrix=IDENTITY if matrix is None else as_matrix(matrix),
            method=SAME_FRAME_METHOD if same_frame else METHOD[model],
            version=t.REGISTRATION_VERSION,
            verdict=verdict,
            reasons=reasons,
            quality=figures,
            parameters=parameters or {},
            model="rigid" if same_frame else model,
        )
        if same_frame and figures:
            return answered(found, unmeasured, jacobian="nothing is moved or bent")
        return answered(found, unmeasured)

    try:
        fixed, mobile = side_by_side(
            [
                lambda: build_pyramid(reference, reference_mask),
                lambda: build_pyramid(moving, moving_mask),
            ],
            threads=threads,
            progress=lambda share: progress(0.1 * share, "Preparing the images"),
        )
    except NothingToCompare as error:
        return record("not_registered", "refused", (str(error),))
    parameters: dict[str, Any] = {"seed": seed}
    if same_frame:
        progress(0.3, "Checking the shared frame of reference")
        verdict, reasons, figures = verify(fixed, mobile, seed=seed, threads=threads)
        progress(1.0, "Same frame of reference checked")
        state: FusionState = "not_registered" if verdict == "refused" else "same_frame"
        return record(
            state, verdict, reasons, figures, parameters,
            unmeasured="the images have too little in common for a place near by to be looked for",
        )  # fmt: skip
    unfit = _unfit(fixed, mobile)
    if unfit:
        return record("not_registered", "refused", unfit)
    parameters |= {
        "deterministic": True,
        "library": f"numpy {np.__version__}, scipy {scipy.__version__}",
        "levels_mm": list(t.LEVELS_MM),
        "points": list(t.POINTS),
        "final_points": t.FINAL_POINTS,
        "bins": list(t.BINS),
        "optimiser": "BFGS",
        "searched": start is None,
        "masks": [name for name, mask in (("reference", reference_mask), ("moving", moving_mask))
                  if mask is not None],
    }
    solution = solve(
        fixed, mobile, affine=model == "affine", start=pull, seed=seed, threads=threads,
        progress=progress,
    )
    progress(0.85, "Judging the registration")
    measured = measure(fixed, mobile, solution, seed=seed, threads=threads)
    verdict, reasons = judge(measured)
    progress(1.0, "Registered" if verdict != "refused" else "Not registered")
    found = invert(solution.pull)
    if verdict == "refused":
        # Kept as evidence only: nothing may be fused by it.
        parameters["rejected_matrix"] = [list(row) for row in as_matrix(found)]
        return record("not_registered", verdict, reasons, as_quality(measured), parameters)
    return record("registered", verdict, reasons, as_quality(measured), parameters, found)


def _pull(start: Matrix) -> FloatArray:
    matrix = np.asarray(start, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError("the start must be a 4x4 matrix of numbers")
    if abs(float(np.linalg.det(matrix[:3, :3]))) < 1e-3 or not np.allclose(
        matrix[3], (0, 0, 0, 1), atol=1e-6
    ):
        raise ValueError("the start must be an invertible transform with 0 0 0 1 as last row")
    return invert(matrix)


def _unfit(fixed: Pyramid, mobile: Pyramid) -> tuple[str, ...]:
    """Reasons why a pair cannot be registered at all."""
    reasons = []
    for name, pyramid in (("reference", fixed), ("moving", mobile)):
        if float(np.ptp(pyramid.fine.array)) <= 0:
            reasons.append(f"the {name} image is empty: all its values are equal")
        elif pyramid.fine.body_ml < t.MIN_FOREGROUND_ML:
            reasons.append(
                f"the {name} image shows only {pyramid.fine.body_ml:.0f} ml of tissue, "
                f"less than the {t.MIN_FOREGROUND_ML:.0f} ml needed"
            )
        if pyramid.extent_mm < t.MIN_EXTENT_MM:
            reasons.append(
                f"the {name} image is a slab of {pyramid.extent_mm:.0f} mm, "
                f"too thin (under {t.MIN_EXTENT_MM:.0f} mm) to fix its tilt"
            )
    return tuple(reasons)
