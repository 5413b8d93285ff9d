"""Transforms made elsewhere, checked against the images before they are used.

A stored object is a claim. It is used as it was delivered, but only after the images were asked:
our own registration starts from it and may move it (locally, no search), and the distance it
moves is the error that the images see in the claim. A claim that is not usable loses against
our own registration if that has the better verdict; the record says which was used and why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from analysis.contracts import (
    IDENTITY,
    FieldRecord,
    Matrix,
    Notice,
    QualityFigure,
    RegistrationRecord,
    Verdict,
    VolumeRecord,
)
from analysis.deformation import Deformation
from analysis.geometry import Volume
from analysis.grids import FloatArray, Grid, apply, as_matrix
from analysis.progress import Progress, silent
from analysis.registration import thresholds as t
from analysis.registration.answers import answered
from analysis.registration.claims import Claim, DeliveredRegistrations
from analysis.registration.preparation import build_pyramid
from analysis.registration.series import register_series
from analysis.registration.verdicts import RANK, worst
from analysis.resampling import resample

VERSION = "1"
"""Of this check, stored with each record beside the registration's own version."""
PROBES = 2_000
CHECK_SHARE = 0.3
"""Of the progress of a series; the rest is our own registration's, should it be needed."""
Register = Callable[..., RegistrationRecord]


def register_with_objects(
    delivered: DeliveredRegistrations,
    moving: tuple[VolumeRecord, Volume],
    reference: tuple[VolumeRecord, Volume],
    own: Callable[[Progress], RegistrationRecord],
    *,
    seed: int,
    threads: int,
    run_dir: Path,
    folder: Path,
    progress: Progress = silent,
    register: Register = register_series,
) -> tuple[RegistrationRecord, tuple[Notice, ...]]:
    """One series: by the newest object about it if the images confirm that, else by ``own``.

    ``register`` checks the claim; the field of a deformable one is kept below ``folder`` (in
    ``run_dir``). The notices say what was used, what was not, and why.
    """
    claim = delivered.claim(moving[0], reference[0])
    if claim is None:
        return own(progress), ()
    uid = moving[0].series_instance_uid
    claimed = judge_claim(
        claim, moving[1], reference[1], moving_uid=uid,
        reference_uid=reference[0].series_instance_uid, seed=seed, threads=threads,
        store=field_store(run_dir, folder, uid), register=register,
        progress=lambda share, text: progress(CHECK_SHARE * share, f"delivered: {text}"),
    )  # fmt: skip

    def rest(share: float, text: str) -> None:
        progress(CHECK_SHARE + (1 - CHECK_SHARE) * share, text)

    return decide(claimed, claim, lambda: own(rest), moving[0].label)


def judge_claim(
    claim: Claim,
    moving: Volume,
    reference: Volume,
    *,
    moving_uid: str,
    reference_uid: str,
    seed: int,
    threads: int,
    store: Callable[[Deformation], FieldRecord],
    progress: Progress = silent,
    register: Register = register_series,
) -> RegistrationRecord:
    """The claim as a record, leading every point where it was delivered to, with figures, verdict
    and reasons.

    The images may move it: ``register`` starts from the claim (of a deformable one: from the
    moving series as the claim deforms it). The mean distance over the reference's body by which
    the result differs is a figure of its own and part of the estimated error. A refused claim
    has state ``not_registered`` and the identity; its matrix is kept in ``parameters``.
    ``store`` keeps the field of a claim that is not refused.

    Networks and measurements use the matrix of a record without its field. So a deformable claim
    is split anew: the matrix is its best rigid part, as the images confirm it, and the field the
    rest; both together lead where the delivered ones did.
    """

    def check(
        volume: Volume, start: Matrix, begin: float, end: float, mask: Volume | None = None
    ) -> RegistrationRecord:
        return register(
            volume, reference, moving_uid=moving_uid, reference_uid=reference_uid,
            same_frame=False, seed=seed, threads=threads,
            model="affine" if claim.model == "affine" else "rigid", start=start,
            moving_mask=mask,
            progress=lambda share, text: progress(begin + (end - begin) * share, text),
        )  # fmt: skip

    matrix, field = claim.matrix, claim.field
    checked = ""
    probes = build_pyramid(reference).middle.body_points(PROBES)
    voxel = max(*reference.grid.spacing, *moving.grid.spacing)
    if field is None:
        found = check(moving, matrix, 0.0, 1.0)
        verdict, reasons, quality = _judged(found, matrix, probes, voxel)
        checked = f"{found.method}; {found.version}"
    else:
        verdict, reasons, quality = _fit(field, probes)
        if verdict != "refused":
            field = split(field, _rigid_part(field, probes))
            bent, seen = _straightened(field, moving, reference)
            found = check(bent, field.matrix, 0.0, 0.5, mask=seen)
            verdict, reasons, figures = _judged(found, field.matrix, probes, voxel)
            quality = (*figures, *quality)
            checked = f"{found.method}; {found.version}"
        if verdict != "refused":
            part = check(moving, field.matrix, 0.5, 1.0)
            if part.verdict != "refused":
                field = split(field, np.array(part.matrix))
            if part.verdict != "usable":
                verdict = "doubtful"
                reasons = (
                    *reasons,
                    "its rigid part alone, which networks and measurements use, is "
                    f"{part.verdict} ({'; '.join(part.reasons)})",
                )
        matrix = field.matrix
    parameters: dict[str, Any] = {
        "object": claim.source.uid,
        "made": claim.source.made,
        "maker": claim.source.maker,
        "older_objects": [stored.uid for stored in claim.older],
        "undefined_nodes": claim.undefined,
        "check": f"{VERSION}; {checked}",
        "seed": seed,
    }
    if field is not None:
        quality = (*(q for q in quality if q.name != "jacobian"), *_volume_ratios(field, probes))
    refused = verdict == "refused"
    if refused:
        parameters["rejected_matrix"] = [list(row) for row in claim.matrix]
    found = RegistrationRecord(
        series_instance_uid=moving_uid,
        reference_series_uid=reference_uid,
        state="not_registered" if refused else "registered",
        matrix=IDENTITY if refused else matrix,
        method=claim.method,
        version=t.REGISTRATION_VERSION,
        verdict=verdict,
        reasons=reasons,
        quality=quality,
        parameters=parameters,
        model="rigid" if refused else claim.model,
        deformation=None if refused or field is None else store(field),
    )
    return answered(
        found, "the images were not asked about it" if not checked else "the check has no such "
        "figure: the images could not be compared",
    )  # fmt: skip


def split(field: Deformation, matrix: FloatArray) -> Deformation:
    """The same pull with another matrix: ``u'(x) = matrix @ to_moving(x) - x``, exact also between
    the nodes, for linear interpolation and affine maps commute; in the half node beyond them, where
    the outermost vector holds, nearly so."""
    nodes = field.grid.nodes()
    own = apply(np.linalg.inv(np.array(field.matrix)), nodes + field.displacement)
    vectors = (apply(matrix, own) - nodes).astype(np.float32)
    return Deformation(vectors, field.grid, as_matrix(matrix))


def _fit(
    field: Deformation, probes: FloatArray
) -> tuple[Verdict, tuple[str, ...], tuple[QualityFigure, ...]]:
    """What a field shows without the moving images: folds, and the share of the reference's body,
    given by ``probes``, that it covers."""
    folds = field.folded_share()
    covered = float(np.isfinite(field.to_moving(probes)).all(axis=1).mean())
    reasons = []
    if folds > 0:
        reasons.append(f"the delivered deformation folds space at {folds:.1%} of its cells")
    if covered < t.OVERLAP_REFUSED:
        reasons.append(f"the delivered deformation covers {covered:.0%} of the body only")
    figures = (
        QualityFigure(
            "folded", folds, "1", "share of the field's cell corners with a Jacobian of 0 or less",
            folds == 0,
        ),
        QualityFigure(
            "field_coverage", covered, "1", "share of the reference's body that the field covers",
            covered >= t.OVERLAP_REFUSED,
        ),
    )  # fmt: skip
    return ("refused" if reasons else "usable"), tuple(reasons), figures


def _volume_ratios(field: Deformation, probes: FloatArray) -> tuple[QualityFigure, ...]:
    """Smallest and largest volume in the moving series of one unit of the reference's body."""
    index = np.rint(field.grid.to_index(probes)).astype(np.int64)
    inside = np.all((index >= 0) & (index < field.grid.shape[::-1]), axis=1)
    if not inside.any():
        return ()
    i, j, k = index[inside].T
    straight = 1.0 / float(np.linalg.det(np.array(field.matrix)[:3, :3]))
    ratios = field.jacobian()[k, j, i] * straight
    basis = "volume in the moving series of one unit of the reference, {} in the body, at the nodes"
    return (
        QualityFigure("jacobian_min", float(ratios.min()), "1", basis.format("smallest"), None),
        QualityFigure("jacobian_max", float(ratios.max()), "1", basis.format("largest"), None),
    )


def _rigid_part(field: Deformation, points: FloatArray) -> FloatArray:
    """The rigid matrix, moving -> reference, nearest to a field over ``points`` (least squares,
    Kabsch 1976)."""
    own = field.to_moving(points)
    known = np.isfinite(own).all(axis=1)
    here, there = points[known], own[known]
    rotation, _ = Rotation.align_vectors(here - here.mean(axis=0), there - there.mean(axis=0))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.as_matrix()
    matrix[:3, 3] = here.mean(axis=0) - matrix[:3, :3] @ there.mean(axis=0)
    return matrix


def _straightened(
    field: Deformation, moving: Volume, reference: Volume
) -> tuple[Volume, Volume | None]:
    """The moving series as a field deforms it, laid where the field's matrix takes it from: what a
    rigid registration that starts at this matrix can be asked about; and the mask of the voxels
    that show the series, None if all do. The rest holds a fill value, which is no image."""
    deformed, inside = resample(moving, reference.grid, deformation=field)
    back = np.linalg.inv(np.array(field.matrix))
    deformed = replace(deformed, grid=Grid(deformed.grid.shape, back @ deformed.grid.affine))
    return deformed, None if inside.all() else deformed.with_array(inside.astype(np.uint8))


def _judged(
    found: RegistrationRecord, start: Matrix, probes: FloatArray, voxel_mm: float
) -> tuple[Verdict, tuple[str, ...], tuple[QualityFigure, ...]]:
    """Verdict, reasons and figures of a claim from the registration that started there.

    ``probes``: points of the reference's body, (n, 3) LPS mm; ``voxel_mm``: the largest voxel.
    """
    figures = tuple(
        replace(figure, basis=f"{figure.basis}; at the place to which the images move the claim")
        for figure in found.quality
    )
    if found.verdict == "refused":
        reasons = found.reasons or ("the images do not bear it out",)
        return "refused", reasons, figures
    there = apply(np.linalg.inv(np.array(start)), probes)
    apart = np.linalg.norm(apply(np.array(found.matrix), there) - probes, axis=1)
    distance = float(apart.mean())
    doubtful = max(t.CONSISTENCY_DOUBTFUL_MM, 0.5 * voxel_mm)
    refused = max(t.CONSISTENCY_REFUSED_MM, voxel_mm)
    verdict: Verdict = found.verdict
    reasons = found.reasons
    if distance > doubtful:
        verdict = "refused" if distance > refused else "doubtful"
        reasons = (
            f"the images lie {distance:.1f} mm away from where the delivered transform puts them",
            *reasons,
        )
    moved = QualityFigure(
        "distance_to_delivered", distance, "mm",
        "mean over body points between the delivered place and the one to which the images move it",
        distance <= doubtful,
    )  # fmt: skip
    rest = tuple(figure for figure in figures if figure.name != "estimated_error")
    checked = {figure.name: figure.value for figure in found.quality}
    if "estimated_error" not in checked:
        reasons = (*reasons, "the check against the images gave no error of its own")
        return worst(verdict, "doubtful"), reasons, (moved, *rest)
    estimate = float(np.hypot(checked["estimated_error"], distance))
    if not estimate <= t.TARGET_ERROR_DOUBTFUL_MM:
        beyond = not estimate <= t.TARGET_ERROR_REFUSED_MM
        verdict = worst(verdict, "refused" if beyond else "doubtful")
        reasons = (*reasons, f"the check and the distance add up to an error of {estimate:.1f} mm")
    error = QualityFigure(
        "estimated_error", estimate, "mm",
        "root of summed squares of the check's own estimate and the distance to the delivered "
        "place; a lower bound", estimate <= t.TARGET_ERROR_DOUBTFUL_MM,
    )  # fmt: skip
    return verdict, reasons, (error, moved, *rest)


def decide(
    claimed: RegistrationRecord,
    claim: Claim,
    own: Callable[[], RegistrationRecord],
    label: str,
) -> tuple[RegistrationRecord, tuple[Notice, ...]]:
    """The delivered transform if it is usable, better than ``own``, or as good and a deformation;
    and what the reader is told.

    ``own`` makes our own registration and is called only if the claim is not usable. The record
    of what was not used stays in ``parameters["not_used"]``.
    """
    uid, made = claimed.series_instance_uid, claim.source.made[:8]
    name = f"{label}: the {claim.method}" + (f" of {made}" if made.strip() else "")
    older = ""
    if claim.older:
        listed = ", ".join(
            f"{stored.maker} {stored.made[:8]}".strip() for stored in claim.older[:5]
        )
        older = f" Older objects about the same series are not used ({listed})."
    if claimed.verdict == "usable":
        error = next(f.value for f in claimed.quality if f.name == "estimated_error")
        text = f"{name} is used; the images confirm it (estimated error {error:.1f} mm).{older}"
        return claimed, (Notice("registration_object_used", text, "info", uid),)
    mine = own()
    why = "; ".join(claimed.reasons)
    ranks = RANK[claimed.verdict], RANK[mine.verdict]
    bent = claimed.model == "deformable"  # more than our own registration has tried
    if ranks[0] < ranks[1] or (bent and ranks[0] == ranks[1]):
        text = (
            f"{name} is {claimed.verdict} ({why}); our own registration is {mine.verdict}. The "
            f"delivered one is kept, for you to judge.{older}"
        )
        kept = replace(claimed, parameters={**claimed.parameters, "not_used": _evidence(mine)})
        return kept, (Notice("registration_object_used", text, "warning", uid),)
    text = f"{name} is not used ({why}). The series is registered anew.{older}"
    kept = replace(mine, parameters={**mine.parameters, "not_used": _evidence(claimed)})
    return kept, (Notice("registration_object_not_used", text, "warning", uid),)


def _evidence(record: RegistrationRecord) -> dict[str, Any]:
    return {
        "method": record.method,
        "verdict": record.verdict,
        "reasons": list(record.reasons),
        "matrix": record.parameters.get("rejected_matrix", [list(row) for row in record.matrix]),
        "object": record.parameters.get("object", ""),
    }


def field_store(
    run_dir: Path, folder: Path, uid: str, origin: str = "delivered"
) -> Callable[[Deformation], FieldRecord]:
    """Keeps the field of series ``uid`` below ``folder``; ``origin``: delivered, or of a chain."""

    def store(field: Deformation) -> FieldRecord:
        name = "".join(c if c.isalnum() else "-" for c in uid)
        folder.mkdir(parents=True, exist_ok=True)
        return field.record(run_dir, folder / f"{origin}-{name}.npz")

    return store
