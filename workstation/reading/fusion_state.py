"""Promise 1: what may be drawn over what, and the badge that says why.

The analysis gives a registration a state and a verdict; the reader's latest decision stands above
both. A layer is fused only if this module says so; page, stream, numbers and exports all ask it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from django.db.models import Prefetch
from django.utils.translation import gettext, gettext_lazy

from workstation.analyzing.fixing import DECIDED
from workstation.analyzing.models import (
    Layer,
    LayerKind,
    Refinement,
    RefinementModel,
    RefinementState,
    Registration,
    Run,
)
from workstation.reading.models import (
    DecisionMethod,
    RegistrationDecision,
    RegistrationDecisionKind,
)

IDENTITY: list[list[float]] = [
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],
]


FUSED_STATES = ("same_frame", "registered")
RIGID_TOLERANCE = 1e-4
START_WORDS = {
    "computed": gettext_lazy("the computed registration"),
    "delivered": gettext_lazy("the delivered position"),
    "hand": gettext_lazy("hand alignment"),
    "landmarks": gettext_lazy("landmarks"),
    "refined": gettext_lazy("an earlier refinement"),
}
"""Where a refinement started, in a badge."""


@dataclass(frozen=True)
class FusionStatus:
    """How a layer stands to the reference space. ``matrix``: layer LPS -> reference LPS, mm.

    ``field`` is the FieldRecord of the transform on record, or None; a layer is drawn by its
    matrix alone, and a deformed layer lies in the reference space already.
    """

    state: str
    fused: bool
    badge: str
    matrix: list[list[float]]
    method: str = ""
    version: str = ""
    verdict: str = "usable"
    reasons: tuple[str, ...] = ()
    quality: tuple[dict[str, Any], ...] = ()
    decision: dict[str, Any] | None = None
    model: str = "rigid"
    refinement: int | None = None
    field: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """For the viewer, without the matrix, which the view gives beside it, and the field."""
        values = asdict(self)
        values["badge"], values["reasons"] = str(self.badge), [str(one) for one in self.reasons]
        values.pop("matrix")
        values.pop("field")
        return values


REFERENCE = FusionStatus("reference", True, gettext_lazy("Reference series"), IDENTITY)
DERIVED = FusionStatus(
    "same_frame", True, gettext_lazy("Computed in the reference space"), IDENTITY
)
PENDING = FusionStatus(
    "not_registered",
    False,
    gettext_lazy("Not registered yet: not fused"),
    IDENTITY,
    verdict="refused",
    reasons=(gettext_lazy("The registration has not run yet."),),
)


def in_force(decision: RegistrationDecision | None) -> RegistrationDecision | None:
    """The decision, unless it takes the one before it back."""
    withdrawn = RegistrationDecisionKind.WITHDRAWN
    return None if decision is None or decision.decision == withdrawn else decision


def accepted_refinement(decision: RegistrationDecision | None) -> Refinement | None:
    """The refinement whose result a decision puts on record, if it is one of that kind."""
    if decision is None or decision.decision != RegistrationDecisionKind.ACCEPTED:
        return None
    return decision.refinement


def status_of(
    registration: Registration, decision: RegistrationDecision | None = None
) -> FusionStatus:
    """The status of a registered series under the reader's latest decision, if any."""
    decision = in_force(decision)
    refinement = accepted_refinement(decision)
    if decision is not None and refinement is not None:
        return _refined(refinement, decision)
    nudged = decision is not None and decision.decision == RegistrationDecisionKind.NUDGED
    matrix = decision.matrix if decision and nudged else registration.matrix
    fused, badge = _judge(registration, decision)
    field = None if nudged else registration.deformation
    if fused and field and DECIDED not in registration.parameters:
        badge = gettext("{badge}, shown without its deformation").format(badge=badge)
    return FusionStatus(
        state=registration.state,
        fused=fused,
        badge=badge,
        matrix=matrix or IDENTITY,
        method=registration.method,
        version=registration.version,
        verdict=registration.verdict,
        reasons=tuple(registration.reasons),
        quality=tuple(registration.quality),
        decision=_decision(decision),
        model=_model_of(matrix) if nudged else registration.model,
        field=field,
    )


def is_rigid(matrix: Any) -> bool:
    """Whether a 4x4 moves and turns only."""
    turn = np.asarray(matrix, dtype=np.float64)[:3, :3]
    orthogonal = np.allclose(turn.T @ turn, np.eye(3), atol=RIGID_TOLERANCE)
    return bool(orthogonal and np.linalg.det(turn) > 0)


def _model_of(matrix: Any) -> str:
    """A nudge keeps the stretch of the affine alignment that it moved."""
    return "rigid" if is_rigid(matrix) else "affine"


def _refined(refinement: Refinement, decision: RegistrationDecision) -> FusionStatus:
    """Of the layer that a refinement moved; its deformed picture is a layer of its own."""
    start, who = START_WORDS[refinement.start_method], decision.by.display_name
    if refinement.model == RefinementModel.DEFORMABLE:
        badge = gettext(
            "Registered without its deformation: {start}, accepted by {who}"
        ).format(start=start, who=who)
    else:
        badge = gettext("Registered: refined ({model}) from {start}, accepted by {who}").format(
            model=refinement.model, start=start, who=who
        )
    return _status_of_refinement(refinement, True, badge, refinement.matrix, decision)


def deformed_status(
    refinement: Refinement, decision: RegistrationDecision | None
) -> FusionStatus:
    """Of a deformed layer: fused only while the latest decision accepts its refinement."""
    decision = in_force(decision)
    if decision is not None and accepted_refinement(decision) == refinement:
        badge = gettext("Deformed: {method}, accepted by {who}").format(
            method=refinement.method, who=decision.by.display_name
        )
        return _status_of_refinement(refinement, True, badge, IDENTITY, decision)
    badge = gettext("Deformed: not fused until you accept it")
    return _status_of_refinement(refinement, False, badge, IDENTITY, None)


def _deformed_by_run(registration: Registration, status: FusionStatus) -> FusionStatus:
    """Of the layer that the run itself drew (a deformation that was delivered, or one that a reader
    had accepted before): fused as long as that registration is the one on record."""
    if status.field is None or status.refinement is not None:
        badge = gettext("Deformed: replaced by the reader's decision, not fused")
        return replace(status, fused=False, badge=badge, matrix=IDENTITY)
    badge = status.badge
    if status.fused:
        decided = registration.parameters.get(DECIDED, {})
        who = status.decision["by"] if status.decision else decided.get("name", "")
        badge = (
            gettext("Deformed: {method}, accepted by {who}")
            if who
            else gettext("Deformed: {method}")
        ).format(method=status.method, who=who)
    return replace(status, badge=badge, matrix=IDENTITY)


def _status_of_refinement(
    refinement: Refinement,
    fused: bool,
    badge: str,
    matrix: list[list[float]],
    decision: RegistrationDecision | None,
) -> FusionStatus:
    return FusionStatus(
        state="registered",
        fused=fused,
        badge=badge,
        matrix=matrix,
        method=refinement.method,
        version=refinement.version,
        verdict=refinement.verdict,
        reasons=tuple(refinement.reasons),
        quality=tuple(refinement.quality),
        decision=_decision(decision),
        model=refinement.model,
        refinement=refinement.pk,
        field=refinement.deformation,
    )


def _decision(decision: RegistrationDecision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "decision": decision.decision,
        "method": decision.method,
        "refinement": decision.refinement_id,
        "evidence": decision.evidence,
        "by": decision.by.display_name,
        "at": decision.at.isoformat(),
        "reason": decision.reason,
    }


def _judge(
    registration: Registration, decision: RegistrationDecision | None
) -> tuple[bool, str]:
    if decision is not None:
        who = decision.by.display_name
        if decision.decision == RegistrationDecisionKind.REJECTED:
            return False, gettext("Rejected by {who}: not fused").format(who=who)
        if decision.decision == RegistrationDecisionKind.NUDGED:
            return True, _by_hand(decision, who)
        if can_accept(registration):
            if registration.state == "same_frame":
                text = gettext("Same frame of reference, accepted by {who}")
            else:
                text = gettext("Registered, accepted by {who}")
            return True, text.format(who=who)
    if registration.state == "reference":
        return True, gettext("Reference series")
    decided = registration.parameters.get(DECIDED)
    if decided is not None:
        return registration.state in FUSED_STATES, str(decided["badge"])
    if registration.state == "not_registered" or registration.verdict == "refused":
        return False, gettext("Not registered: not fused")
    if registration.verdict == "doubtful":
        return False, gettext("Doubtful: not fused until you accept it")
    if registration.state == "same_frame":
        return True, gettext("Same frame of reference")
    return True, gettext("Registered")


def _by_hand(decision: RegistrationDecision, who: str) -> str:
    if decision.method != DecisionMethod.LANDMARKS:
        return gettext("Aligned by hand, {who}").format(who=who)
    pairs, rms = decision.evidence["count"], decision.evidence["rms_mm"]
    return gettext("Aligned by {pairs} landmark pairs (RMS {rms} mm), {who}").format(
        pairs=pairs, rms=f"{rms:.1f}", who=who
    )


def can_accept(registration: Registration) -> bool:
    """A refused registration cannot be accepted, only aligned by hand. What a reader decided in an
    earlier run stands: accepting it would hide how it was made."""
    return (
        registration.state in FUSED_STATES
        and registration.verdict != "refused"
        and DECIDED not in registration.parameters
    )


def refinement_can_be_accepted(refinement: Refinement) -> bool:
    """Finished, and not refused (for instance because it folds the image)."""
    return refinement.state == RefinementState.DONE and refinement.verdict in (
        "usable", "doubtful",
    )  # fmt: skip


def layer_statuses(run: Run) -> list[tuple[Layer, FusionStatus, Registration | None]]:
    """Every layer of a run in display order with its status, in four queries; the registration
    only of image series themselves, not of what was made from them."""
    registrations = {
        row.series_id: row
        for row in run.registrations.prefetch_related(
            Prefetch(
                "decisions",
                RegistrationDecision.objects.select_related("by", "refinement").order_by("id"),
            )
        )
    }
    found: list[tuple[Layer, FusionStatus, Registration | None]] = []
    for layer in run.layers.select_related("series", "run", "refinement"):
        registration = registrations.get(layer.series_id)
        if layer.kind == LayerKind.DEFORMED and registration is not None:
            decision = latest_decision(registration)
            status = (
                deformed_status(layer.refinement, decision)
                if layer.refinement
                else _deformed_by_run(registration, status_of(registration, decision))
            )
            found.append((layer, status, None))
        elif layer.kind != LayerKind.SERIES:
            found.append((layer, DERIVED, None))
        elif registration is None:
            found.append((layer, REFERENCE if layer.is_reference else PENDING, None))
        else:
            status = status_of(registration, latest_decision(registration))
            found.append((layer, status, registration))
    return found


def latest_decision(registration: Registration) -> RegistrationDecision | None:
    """The newest decision, from what was prefetched if anything was."""
    decisions = list(registration.decisions.all())
    return decisions[-1] if decisions else None
