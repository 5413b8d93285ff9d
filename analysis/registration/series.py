"""One series brought into the reference series' space, with its proof. See ``register_series``."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from analysis.contracts import (
    IDENTITY,
    FusionState,
    Matrix,
    QualityFigure,
    RegistrationRecord,
    Verdict,
)
from analysis.geometry import FloatArray, Volume, as_matrix
from analysis.registration import thresholds as t
from analysis.registration.crew import Job, Progress, Tick, run_jobs
from analysis.registration.preparation import Pyramid, build_pyramid
from analysis.registration.quality import as_quality, judge, measure
from analysis.registration.refine import MATTES_BINS, refine
from analysis.registration.rigid import invert, rigid
from analysis.registration.same_frame import METHOD as SAME_FRAME_METHOD
from analysis.registration.same_frame import verify
from analysis.registration.search import POINTS, objective, search
from analysis.registration.similarity import Comparison

METHOD = "rigid, Mattes mutual information, multi-start, multi-resolution"

KEPT_STARTS = 3
DESCENT = {1: (60, 4.0), 2: (60, 1.0)}
"""Level -> (iterations, first step in mm). The coarsest level is searched without gradients."""

PERTURBED_STARTS = 3
PERTURB_DEGREES = 4.0
PERTURB_MM = 5.0


def _silent(_fraction: float, _message: str) -> None:
    """Progress that goes nowhere."""


def register_series(
    moving: Volume,
    reference: Volume,
    *,
    moving_uid: str,
    reference_uid: str,
    same_frame: bool,
    seed: int,
    threads: int,
    progress: Progress = _silent,
    model: Literal["rigid", "affine"] = "rigid",
    start: Matrix | None = None,
    moving_mask: Volume | None = None,
    reference_mask: Volume | None = None,
) -> RegistrationRecord:
    """How ``moving`` lies in the space of ``reference``.

    ``same_frame``: both carry the same FrameOfReferenceUID. Then nothing is moved; the identity
    is checked against the images and doubted or refused if they contradict it. Otherwise a rigid
    transform is searched; ``matrix`` maps moving LPS to reference LPS in mm. A result that cannot
    be trusted has state ``not_registered``, verdict ``refused`` and the identity.

    ``progress(share, text)`` is called several times a second in the caller's thread; an exception
    from it stops the work and comes out here. Results are the same for
    the same ``seed``, whatever ``threads`` is.

    ``start`` (moving LPS -> reference LPS): no global search, only refinement from there.
    """
    if model != "rigid" or moving_mask is not None or reference_mask is not None:
        raise NotImplementedError("affine model and masks")
    progress(0.0, "Preparing the images")
    try:
        fixed, mobile = build_pyramid(reference), build_pyramid(moving)
    except ValueError as error:
        return _record(
            moving_uid, reference_uid, "not_registered", "refused", (str(error),), (), METHOD, {}
        )
    if same_frame:
        verdict, reasons, figures = verify(fixed, mobile, seed=seed)
        state: FusionState = "not_registered" if verdict == "refused" else "same_frame"
        progress(1.0, "Same frame of reference checked")
        return _record(
            moving_uid, reference_uid, state, verdict, reasons, figures, SAME_FRAME_METHOD,
            {"seed": seed, "version": t.REGISTRATION_VERSION},
        )
    unfit = _unfit(fixed, mobile)
    if unfit:
        return _record(
            moving_uid, reference_uid, "not_registered", "refused", unfit, (), METHOD, {}
        )
    return _rigid(fixed, mobile, moving_uid, reference_uid, seed, threads, progress, start)


def _rigid(
    fixed: Pyramid,
    mobile: Pyramid,
    moving_uid: str,
    reference_uid: str,
    seed: int,
    threads: int,
    progress: Progress,
    start: Matrix | None,
) -> RegistrationRecord:
    parameters: dict[str, Any] = {
        "seed": seed,
        "deterministic": True,
        "library": f"SimpleITK {sitk.Version_VersionString()}",
        "metric_bins": MATTES_BINS,
        "levels_mm": list(t.LEVELS_MM),
        "samples": list(t.SAMPLES),
        "optimiser": "regular step gradient descent",
    }
    try:
        pull, others, back = _solve(fixed, mobile, seed, threads, progress, start)
    except RuntimeError as error:
        # SimpleITK says why on its last line, e.g. that no sample lies inside the moving image.
        why = str(error).strip().splitlines()[-1]
        reason = f"the images could not be brought to overlap ({why})"
        return _record(
            moving_uid, reference_uid, "not_registered", "refused", (reason,), (), METHOD,
            parameters,
        )
    progress(0.9, "Judging the registration")
    figures = measure(
        fixed, mobile, pull, before=np.eye(4), back=back, others=others, seed=seed
    )
    verdict, reasons = judge(figures)
    progress(1.0, "Registered" if verdict != "refused" else "Not registered")
    found = invert(pull)
    if verdict == "refused":
        # Kept as evidence only: nothing may be fused by it.
        parameters["rejected_matrix"] = [list(row) for row in as_matrix(found)]
    return _record(
        moving_uid,
        reference_uid,
        "not_registered" if verdict == "refused" else "registered",
        verdict,
        reasons,
        as_quality(figures),
        METHOD,
        parameters,
        None if verdict == "refused" else found,
    )


def _solve(
    fixed: Pyramid, mobile: Pyramid, seed: int, threads: int, progress: Progress,
    given: Matrix | None,
) -> tuple[FloatArray, list[FloatArray], FloatArray]:
    """(best pull, solutions from perturbed starts, independent solution with exchanged roles).

    Independent descents run side by side, each single-threaded, so that the number of threads
    does not change the result.
    """
    progress(0.05, "Looking for a start")
    starts = [(0.0, invert(np.array(given)))] if given is not None else search(
        fixed.coarse, mobile.coarse, seed=seed, keep=KEPT_STARTS, improve=2 * KEPT_STARTS,
        report=lambda share: progress(0.05 + 0.25 * share, "Looking for a start"),
    )
    compared = Comparison(fixed.middle, mobile.middle, points=POINTS, seed=seed)
    cost = objective(compared, mobile.middle.body_ml, fixed.middle.body_ml)
    rng = np.random.default_rng(seed)

    def nudged(share: float, centre: FloatArray) -> FloatArray:
        turn = Rotation.from_rotvec(np.radians(share * PERTURB_DEGREES) * _unit(rng))
        return rigid(turn, share * PERTURB_MM * _unit(rng), centre)

    def together(
        jobs: list[Job[FloatArray]], levels: tuple[int, ...], begin: float, end: float, text: str
    ) -> list[FloatArray]:
        return run_jobs(
            jobs,
            threads=threads,
            ticks=len(jobs) * sum(DESCENT[level][0] for level in levels),
            progress=lambda share: progress(begin + (end - begin) * share, text),
        )

    first = [_descent(fixed, mobile, start, seed, (1,)) for _, start in starts]
    reached = together(first, (1,), 0.30, 0.50, "Aligning at 4 mm")
    finest = [_descent(fixed, mobile, min(reached, key=cost), seed, (2,))]
    best = together(finest, (2,), 0.50, 0.60, "Aligning at 2 mm")[0]

    checks = [
        _descent(fixed, mobile, best @ nudged(1.0, fixed.middle.centroid), seed + 1 + n, (1, 2))
        for n in range(PERTURBED_STARTS)
    ]
    reverse = invert(best) @ nudged(0.5, mobile.middle.centroid)
    checks.append(_descent(mobile, fixed, reverse, seed + 11, (1, 2)))
    *others, back = together(checks, (1, 2), 0.60, 0.90, "Checking from other starts")
    return best, others, back


def _descent(
    fixed: Pyramid, mobile: Pyramid, start: FloatArray, seed: int, levels: tuple[int, ...]
) -> Job[FloatArray]:
    """Gradient descent from ``start`` through ``levels`` (0 is the coarsest), to be run later."""

    def job(tick: Tick) -> FloatArray:
        pull = start
        for level in levels:
            iterations, step = DESCENT[level]
            pull = refine(
                fixed.levels[level], mobile.levels[level], pull,
                samples=t.SAMPLES[level], iterations=iterations, step_mm=step, seed=seed,
                on_iteration=tick,
            ).pull
        return pull

    return job


def _unit(rng: np.random.Generator) -> FloatArray:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)


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


def _record(
    moving_uid: str,
    reference_uid: str,
    state: FusionState,
    verdict: Verdict,
    reasons: tuple[str, ...],
    quality: tuple[QualityFigure, ...],
    method: str,
    parameters: dict[str, Any],
    matrix: FloatArray | None = None,
) -> RegistrationRecord:
    return RegistrationRecord(
        series_instance_uid=moving_uid,
        reference_series_uid=reference_uid,
        state=state,
        matrix=IDENTITY if matrix is None else as_matrix(matrix),
        method=method,
        version=t.REGISTRATION_VERSION,
        verdict=verdict,
        reasons=reasons,
        quality=quality,
        parameters=parameters,
    )
