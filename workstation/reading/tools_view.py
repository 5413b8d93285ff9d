"""The JSON of the registration tools: alignment, landmarks, refinements, decisions.

Its shape is written down in this room's README.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workstation.analyzing.models import Layer, LayerKind, Refinement, RefinementState, Registration
from workstation.analyzing.transforms import Transform
from workstation.analyzing.volume_files import VolumeUnreadable
from workstation.reading.aligning import residuals_of, transform_on_record
from workstation.reading.fusion_state import (
    accepted_refinement,
    can_accept,
    in_force,
    latest_decision,
    refinement_can_be_accepted,
    status_of,
)
from workstation.reading.landmarks import Residuals
from workstation.reading.models import LandmarkPair, RegistrationDecision


def tools_json(registration: Registration) -> dict[str, Any]:
    """Everything the tools show of one registration. When a deformation on record cannot be read,
    ``problem`` says so and the residuals are not known; all else stays in hand."""
    status = status_of(registration, latest_decision(registration))
    _transform, problem = _readable_transform(registration)
    uid = registration.series.series_instance_uid
    layer = Layer.objects.filter(
        run=registration.run_id, kind=LayerKind.SERIES, key=uid
    ).first()
    decisions = registration.decisions.select_related("by").order_by("-id")
    accepted = accepted_refinement(in_force(latest_decision(registration)))
    shown = Layer.objects.filter(refinement=accepted).first() if accepted else None
    return {
        "id": registration.pk,
        "layer": layer.pk if layer else None,
        "series": registration.series_id,
        "label": layer.label if layer else registration.series.modality,
        "computed": {
            "state": registration.state,
            "verdict": registration.verdict,
            "method": registration.method,
            "version": registration.version,
            "model": registration.model,
            "matrix": registration.matrix,
            "reasons": registration.reasons,
            "quality": registration.quality,
            "can_accept": can_accept(registration),
        },
        "matrix": status.matrix,
        "fusion": status.as_json(),
        "deformed_layer": shown.pk if shown else None,
        "problem": problem,
        "landmarks": landmarks_json(registration),
        "refinements": [
            _refinement(row, accepted)
            for row in registration.refinements.select_related("by", "layer")
        ],
        "decisions": [_decision(row) for row in decisions],
    }


NO_PAIRS = {"pairs": [], **Residuals(np.empty(0)).as_json()}
"""The landmark set from which the last pair was removed."""


def landmarks_json(registration: Registration) -> dict[str, Any] | None:
    """The pairs with what separates them under the alignment on record (not known where its
    deformation cannot be read); None without pairs."""
    pairs = list(registration.landmarks.select_related("by"))
    if not pairs:
        return None
    transform, _problem = _readable_transform(registration)
    left = residuals_of(pairs, transform) if transform else Residuals(np.full(len(pairs), np.nan))
    rows = [_pair(pair, float(mm)) for pair, mm in zip(pairs, left.each, strict=True)]
    return {"pairs": rows, **left.as_json()}


def _readable_transform(registration: Registration) -> tuple[Transform | None, str]:
    """The transform on record, or None and why it cannot be read."""
    try:
        return transform_on_record(registration)[1], ""
    except VolumeUnreadable as reason:
        return None, str(reason)


def _pair(pair: LandmarkPair, residual_mm: float) -> dict[str, Any]:
    return {
        "id": pair.pk,
        "label": pair.label,
        "reference": pair.reference,
        "moving": pair.moving,
        "residual_mm": residual_mm if np.isfinite(residual_mm) else None,
        "by": pair.by.display_name,
        "at": pair.at.isoformat(),
    }


def refinement_json(refinement: Refinement) -> dict[str, Any]:
    """One refinement, with its result if it has one."""
    decision = in_force(latest_decision(refinement.registration))
    return _refinement(refinement, accepted_refinement(decision))


def _refinement(row: Refinement, accepted: Refinement | None) -> dict[str, Any]:
    ended = row.state in (RefinementState.DONE, RefinementState.DISCARDED)
    layer: Layer | None = getattr(row, "layer", None)
    return {
        "id": row.pk,
        "registration": row.registration_id,
        "model": row.model,
        "state": row.state,
        "progress": row.progress,
        "text": row.progress_text,
        "error": row.error,
        "attempts": row.attempts,
        "start": {"matrix": row.start_matrix, "method": row.start_method},
        "by": row.by.display_name,
        "at": row.at.isoformat(),
        "finished_at": row.finished_at.isoformat() if row.finished_at else None,
        "accepted": accepted == row,
        "can_accept": refinement_can_be_accepted(row),
        "result": {
            "matrix": row.matrix,
            "model": row.model,
            "method": row.method,
            "version": row.version,
            "verdict": row.verdict,
            "reasons": row.reasons,
            "quality": row.quality,
            "layer": layer.pk if layer else None,
        }
        if ended
        else None,
    }


def _decision(row: RegistrationDecision) -> dict[str, Any]:
    return {
        "id": row.pk,
        "decision": row.decision,
        "method": row.method,
        "reason": row.reason,
        "matrix": row.matrix,
        "refinement": row.refinement_id,
        "evidence": row.evidence,
        "by": row.by.display_name,
        "at": row.at.isoformat(),
    }
