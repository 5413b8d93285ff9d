"""Promise 1: what may be drawn over what, and the badge that says why.

The analysis gives a registration a state and a verdict; the reader's latest decision stands above
both. A layer is fused only if this module says so; page, stream, numbers and exports all ask it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from workstation.analyzing.models import Layer, LayerKind, Registration, Run
from workstation.reading.models import RegistrationDecision, RegistrationDecisionKind

IDENTITY: list[list[float]] = [
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],
]


@dataclass(frozen=True)
class FusionStatus:
    """How a layer stands to the reference space. ``matrix``: layer LPS -> reference LPS, mm."""

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

    def as_json(self) -> dict[str, Any]:
        """For the viewer, without the matrix, which the view gives beside it."""
        values = asdict(self)
        values.pop("matrix")
        return values


REFERENCE = FusionStatus("reference", True, "Reference series", IDENTITY)
DERIVED = FusionStatus("same_frame", True, "Computed in the reference space", IDENTITY)
PENDING = FusionStatus(
    "not_registered",
    False,
    "Not registered yet: not fused",
    IDENTITY,
    verdict="refused",
    reasons=("The registration has not run yet.",),
)


def status_of(
    registration: Registration, decision: RegistrationDecision | None = None
) -> FusionStatus:
    """The status of a registered series under the reader's latest decision, if any."""
    kind = decision.decision if decision else ""
    nudged = kind == RegistrationDecisionKind.NUDGED and decision is not None
    matrix = decision.matrix if decision and nudged else registration.matrix
    fused, badge = _judge(registration, decision)
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
        decision=None
        if decision is None
        else {
            "decision": decision.decision,
            "by": decision.by.display_name,
            "at": decision.at.isoformat(),
            "reason": decision.reason,
        },
    )


def _judge(
    registration: Registration, decision: RegistrationDecision | None
) -> tuple[bool, str]:
    if decision is not None:
        who = decision.by.display_name
        if decision.decision == RegistrationDecisionKind.REJECTED:
            return False, f"Rejected by {who}: not fused"
        if decision.decision == RegistrationDecisionKind.NUDGED:
            return True, f"Aligned by hand, {who}"
        if can_accept(registration):
            what = "Same frame of reference" if registration.state == "same_frame" else "Registered"
            return True, f"{what}, accepted by {who}"
    if registration.state == "reference":
        return True, "Reference series"
    if registration.state == "not_registered" or registration.verdict == "refused":
        return False, "Not registered: not fused"
    if registration.verdict == "doubtful":
        return False, "Doubtful: not fused until you accept it"
    if registration.state == "same_frame":
        return True, "Same frame of reference"
    return True, "Registered"


def can_accept(registration: Registration) -> bool:
    """A refused registration cannot be accepted, only aligned by hand."""
    return registration.state in ("same_frame", "registered") and registration.verdict != "refused"


def layer_statuses(run: Run) -> list[tuple[Layer, FusionStatus, Registration | None]]:
    """Every layer of a run in display order with its status, in three queries."""
    registrations = {
        row.series_id: row
        for row in run.registrations.prefetch_related("decisions__by")
    }
    found: list[tuple[Layer, FusionStatus, Registration | None]] = []
    for layer in run.layers.select_related("series", "run"):
        if layer.kind != LayerKind.SERIES:
            found.append((layer, DERIVED, None))
            continue
        registration = registrations.get(layer.series_id)
        if registration is None:
            found.append((layer, REFERENCE if layer.is_reference else PENDING, None))
            continue
        decisions = list(registration.decisions.all())
        found.append(
            (layer, status_of(registration, decisions[-1] if decisions else None), registration)
        )
    return found
