"""Composed transforms: one series into the reference by way of another, errors carried along.

A PET that shares the frame of a low-dose CT is not registered to the MR itself, where little fixes
its position, but moved with its CT; an earlier CT goes by way of the current CT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.contracts import (
    IDENTITY,
    FieldRecord,
    Matrix,
    QualityFigure,
    RegistrationRecord,
)
from analysis.geometry import as_matrix
from analysis.registration import thresholds as t
from analysis.registration.answers import answered
from analysis.registration.verdicts import RANK, worst

CHAIN_VERSION = "1.1"
"""Version of the rules of this module, stored with each record made by it."""

KeepField = Callable[[FieldRecord, Matrix], FieldRecord]
"""Stores the same displacements again with another matrix: a field's file carries its matrix."""


GAINS = ("mutual_information_gain", "shared_information_gain", "better_match_gain")
LEG_FIGURES = (
    *GAINS, "inverse_consistency", "start_spread", "overlap", "jacobian_min", "jacobian_max",
)  # fmt: skip
"""Of a leg's figures, those that the chain's are made of."""


def leg_error(record: RegistrationRecord) -> float | None:
    """Estimated error in mm of one leg, None if its record has none."""
    found = next((q.value for q in record.quality if q.name == "estimated_error"), None)
    return found if found is not None and np.isfinite(found) else None


def compose(
    first: RegistrationRecord,
    second: RegistrationRecord,
    *,
    rule: str,
    keep_field: KeepField | None = None,
) -> RegistrationRecord:
    """``first`` (moving -> middle) followed by ``second`` (middle -> reference).

    The estimated error is the root of the summed squares of the legs' errors. The verdict is the
    worst of the legs' and of what that error allows; a leg without an error makes it doubtful at
    best. ``rule`` says in words why this way was taken. A deformable second leg keeps its
    displacements, with x of the reference at ``inverse(second @ first) @ (x + u(x))``;
    ``keep_field`` stores them with that matrix. Raises ``ValueError`` if the legs do not meet, if
    the first is deformable and the second is more than the identity, or if a field needs another
    matrix and ``keep_field`` is not given.
    """
    if first.reference_series_uid != second.series_instance_uid:
        raise ValueError("the legs of the chain do not meet in one series")
    if first.model == "deformable" and second.matrix != IDENTITY:
        raise ValueError("a deformable leg can only be the last of a chain")
    legs = [*_legs(first), *_legs(second)]
    errors = [leg["estimated_error_mm"] for leg in legs]
    known = [error for error in errors if error is not None]
    total = float(np.sqrt(np.sum(np.square(known))))
    verdict = worst(first.verdict, second.verdict)
    reasons = [f"{_pair(leg)}: {reason}" for leg in legs for reason in leg["reasons"]]
    if len(known) < len(errors):
        verdict = worst(verdict, "doubtful")
        reasons.append("the error of a part of the chain is not known")
    if total > t.TARGET_ERROR_REFUSED_MM:
        verdict = "refused"
    elif total > t.TARGET_ERROR_DOUBTFUL_MM:
        verdict = worst(verdict, "doubtful")
    if total > t.TARGET_ERROR_DOUBTFUL_MM:
        reasons.append(f"the errors of the chain add up to {total:.1f} mm")
    matrix = as_matrix(np.array(second.matrix) @ np.array(first.matrix))
    parameters: dict[str, Any] = {"chain": legs, "rule": rule}
    refused = verdict == "refused"
    if refused:
        parameters["rejected_matrix"] = [list(row) for row in matrix]
    same = first.state == "same_frame" and second.state == "same_frame"
    models = [leg.model for leg in (first, second)]
    model = next((m for m in ("deformable", "affine") if m in models), "rigid")
    deformation = None if refused else _field(second, first, matrix, keep_field)
    found = RegistrationRecord(
        series_instance_uid=first.series_instance_uid,
        reference_series_uid=second.reference_series_uid,
        state="not_registered" if refused else ("same_frame" if same else "registered"),
        matrix=IDENTITY if refused else matrix,
        method="chain: " + ", then ".join(leg["method"] for leg in legs),
        version=CHAIN_VERSION,
        verdict=verdict,
        reasons=tuple(reasons),
        quality=_quality(total, legs, matrix),
        parameters=parameters,
        model="rigid" if refused else model,  # type: ignore[arg-type]
        deformation=deformation,
    )
    return answered(
        found, "a part of the chain has no such figure",
        jacobian="a part of the chain is bent, and its record has no volume ratio",
    )  # fmt: skip


def _field(
    second: RegistrationRecord,
    first: RegistrationRecord,
    matrix: Matrix,
    keep_field: KeepField | None,
) -> FieldRecord | None:
    """The field of the chain, whose file must hold the chain's matrix."""
    field, own = (
        (second.deformation, second.matrix)
        if second.deformation is not None
        else (first.deformation, first.matrix)
    )
    if field is None or own == matrix:
        return field
    if keep_field is None:
        raise ValueError("the field of the chain needs a file with the chain's matrix")
    return keep_field(field, matrix)


def better(first: RegistrationRecord, second: RegistrationRecord) -> RegistrationRecord:
    """The one of two records of a series with the better verdict, then the smaller error, then the
    first; the other is kept in ``parameters["not_used"]``."""

    def rank(record: RegistrationRecord) -> tuple[int, float]:
        error = leg_error(record)
        return RANK[record.verdict], np.inf if error is None else error

    used, left = (second, first) if rank(second) < rank(first) else (first, second)
    evidence = {
        "method": left.method,
        "verdict": left.verdict,
        "reasons": list(left.reasons),
        "estimated_error_mm": leg_error(left),
        "matrix": [list(row) for row in left.matrix],
    }
    return replace(used, parameters=used.parameters | {"not_used": evidence})


def _legs(record: RegistrationRecord) -> list[dict[str, Any]]:
    """The legs of a chain, or the record as the only leg."""
    if "chain" in record.parameters:
        return [dict(leg) for leg in record.parameters["chain"]]
    return [
        {
            "moving": record.series_instance_uid,
            "reference": record.reference_series_uid,
            "method": record.method,
            "model": record.model,
            "version": record.version,
            "matrix": [list(row) for row in record.matrix],
            "verdict": record.verdict,
            "reasons": list(record.reasons),
            "estimated_error_mm": leg_error(record),
            "figures": {q.name: q.value for q in record.quality if q.name in LEG_FIGURES},
        }
    ]


def _pair(leg: dict[str, Any]) -> str:
    return "same frame" if str(leg["method"]).startswith("same frame") else str(leg["model"])


def _quality(
    total: float, legs: list[dict[str, Any]], matrix: Matrix
) -> tuple[QualityFigure, ...]:
    """What the parts say together. A figure that one part lacks the chain lacks too."""
    figures = [
        QualityFigure(
            "estimated_error", total, "mm",
            "root of summed squares of the estimated errors of the chain's parts; a lower bound",
            total <= t.TARGET_ERROR_DOUBTFUL_MM,
        )
    ]  # fmt: skip
    figures += [
        QualityFigure(
            f"part_{number}_error", leg["estimated_error_mm"], "mm",
            f"part {number} of the chain: {leg['method']}", None,
        )
        for number, leg in enumerate(legs, start=1)
        if leg["estimated_error_mm"] is not None
    ]  # fmt: skip
    parts = [leg.get("figures", {}) for leg in legs]
    gains = [next((p[name] for name in GAINS if name in p), None) for p in parts]
    # A frame that is kept gains nothing by being kept: what counts is that nothing beats it.
    known = [
        gain for gain, leg in zip(gains, legs, strict=True)
        if gain is not None and _pair(leg) != "same frame"
    ]  # fmt: skip
    if None not in gains and known:
        basis = "smallest gain of shared or mutual information of the parts that were moved or bent"
        figures.append(QualityFigure("smallest_gain", min(known), "1", basis, None))
    for name in ("inverse_consistency", "start_spread"):
        values = [part[name] for part in parts if name in part]
        if len(values) == len(parts):
            total = float(np.sqrt(np.sum(np.square(values))))
            basis = "root of summed squares of the chain's parts"
            figures.append(QualityFigure(name, total, "mm", basis, None))
    if all("overlap" in part for part in parts):
        least = min(part["overlap"] for part in parts)
        figures.append(QualityFigure("overlap", least, "1", "smallest of the chain's parts", None))
    figures += _volume_ratios(legs, parts, matrix)
    return tuple(figures)


def _volume_ratios(
    legs: list[dict[str, Any]], parts: list[dict[str, float]], matrix: Matrix
) -> list[QualityFigure]:
    """Volume in the moving series of one unit of the reference: of the matrix, times what a field
    says (only one leg can have one)."""
    straight = float(1.0 / np.linalg.det(np.array(matrix)[:3, :3]))
    bent = [part for leg, part in zip(legs, parts, strict=True) if leg["model"] == "deformable"]
    if not bent:
        basis = "volume in the moving series of one unit of the reference, the same everywhere"
        return [QualityFigure("jacobian", straight, "1", basis, None)]
    basis = "volume ratio in the body, of the part that is bent times that of the matrix"
    names = ("jacobian_min", "jacobian_max")
    return [
        QualityFigure(name, bent[0][name] * straight, "1", basis, None)
        for name in names
        if name in bent[0]
    ]
