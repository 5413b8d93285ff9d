"""What a reader does to an alignment: landmarks, decisions, refinements, running again with it.

Nothing is written over: decisions are rows beside what was computed, and the latest counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from django.db import transaction
from django.utils.translation import gettext
from django.utils.translation import gettext as _

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.analyzing.fixing import DECIDED
from workstation.analyzing.models import ENDED, Refinement, Registration, Run
from workstation.analyzing.refinements import (
    RefinementRefused,
    cancel_refinement,
    discard_refinement,
    retry_refinement,
    start_refinement,
)
from workstation.analyzing.requests import inputs_digest
from workstation.analyzing.services import latest_run, start_run
from workstation.analyzing.shown import current_run
from workstation.analyzing.transforms import Transform, transform_of
from workstation.live import publish
from workstation.reading.alignment_changes import changed_alignments
from workstation.reading.fusion_state import (
    FusionStatus,
    accepted_refinement,
    can_accept,
    in_force,
    latest_decision,
    refinement_can_be_accepted,
    status_of,
)
from workstation.reading.kept_decisions import fixed_registrations
from workstation.reading.landmarks import FitRefused, Residuals, fit_rigid
from workstation.reading.matrices import (
    affine_matrix,
    as_lists,
    four_by_four,
    nudged_matrix,
    same_alignment,
)
from workstation.reading.models import (
    DecisionMethod,
    LandmarkPair,
    RegistrationDecision,
    RegistrationDecisionKind,
)
from workstation.reading.services import (
    ReviewRefused,
    check_points,
    check_reading,
)
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import note_activity

MOST_PAIRS = 100
MOST_MAPPED = 1000

Kind = RegistrationDecisionKind


def _lock(registration: Registration, user: User) -> Case:
    """The locked case, which the user may change; the reference itself is never aligned."""
    case = Case.objects.select_for_update().get(pk=registration.run.case_id)
    check_reading(case, user)
    if registration.state == "reference":
        raise ReviewRefused(gettext("This is the reference series itself."))
    return case


def _note(
    action: str, case: Case, user: User, obj: Any, address: str, **detail: Any
) -> None:
    record(
        action, user=user, site=case.site, obj=obj, case_id=case.pk, remote_address=address,
        detail=detail,
    )  # fmt: skip
    publish(case.site_id, "registration", case.pk)


def transform_on_record(registration: Registration) -> tuple[FusionStatus, Transform]:
    """Status and transform under the reader's latest decision."""
    status = status_of(registration, latest_decision(registration))
    return status, transform_of(registration.run, status.matrix, status.field)


# --- decisions --------------------------------------------------------------------------------


@transaction.atomic
def decide_registration(
    registration: Registration,
    user: User,
    *,
    decision: str,
    reason: str = "",
    matrix: Any = None,
    method: str = "",
    refinement: int | None = None,
    address: str = "",
) -> FusionStatus:
    """Accept (what was computed, or a refinement), replace (by hand, or by the landmark fit),
    reject, or withdraw the decision before."""
    case = _lock(registration, user)
    if decision not in Kind.values:
        raise ReviewRefused(gettext("A registration is accepted, nudged, rejected or withdrawn."))
    row = RegistrationDecision(
        registration=registration, decision=decision, reason=reason.strip()[:500], by=user
    )
    if decision == Kind.NUDGED and method == DecisionMethod.LANDMARKS:
        row.method = DecisionMethod.LANDMARKS
        row.matrix, row.evidence = _landmark_alignment(registration, matrix)
    elif decision == Kind.NUDGED:
        current = status_of(registration, latest_decision(registration)).matrix
        row.method, row.matrix = DecisionMethod.HAND, nudged_matrix(matrix, current)
    elif decision == Kind.ACCEPTED and refinement is not None:
        row.method = DecisionMethod.REFINED
        row.refinement = _acceptable(registration, refinement)
    elif decision == Kind.ACCEPTED:
        row.method = DecisionMethod.COMPUTED
        _check_acceptable(registration)
    elif decision == Kind.WITHDRAWN and in_force(latest_decision(registration)) is None:
        raise ReviewRefused(gettext("There is no decision to take back."))
    row.save()
    detail = {"decision": decision}
    if row.method in (DecisionMethod.LANDMARKS, DecisionMethod.REFINED):
        detail["method"] = str(row.method)
    if row.refinement_id:
        detail["refinement"] = row.refinement_id
    _note("decide_registration", case, user, registration, address, **detail)
    publish(case.site_id, "report", case.pk)
    return status_of(registration, row)


def _check_acceptable(registration: Registration) -> None:
    if not can_accept(registration):
        raise ReviewRefused(
            gettext(
                "This registration was refused and cannot be accepted: {why} "
                "Align it by hand if you need the fusion."
            ).format(why=" ".join(registration.reasons) or gettext("its quality is too low."))
        )


def _acceptable(registration: Registration, refinement_id: int) -> Refinement:
    found = registration.refinements.filter(pk=refinement_id).first()
    if found is None:
        raise ReviewRefused(gettext("This refinement is not one of this registration."))
    if not refinement_can_be_accepted(found):
        why = " ".join(found.reasons) or f"it is {found.get_state_display().lower()}."
        raise ReviewRefused(gettext("This refinement cannot be accepted: {why}").format(why=why))
    return found


# --- landmarks --------------------------------------------------------------------------------


@transaction.atomic
def place_landmark(
    registration: Registration,
    user: User,
    *,
    reference: Any,
    moving: Any,
    label: str = "",
    address: str = "",
) -> LandmarkPair:
    """Keep a pair: a point in the reference space, and the same place in the moving series' own."""
    case = _lock(registration, user)
    there, here = check_points([reference, moving], 2)
    if registration.landmarks.count() >= MOST_PAIRS:
        raise ReviewRefused(gettext(
            "At most {most_pairs} landmark pairs can be kept."
        ).format(most_pairs=MOST_PAIRS))
    pair = LandmarkPair.objects.create(
        registration=registration, reference=there, moving=here, label=label.strip()[:64], by=user
    )
    _note("landmark", case, user, pair, address, registration=registration.pk)
    return pair


@transaction.atomic
def remove_landmark(pair: LandmarkPair, user: User, *, address: str = "") -> Registration:
    """Undo a pair; the audit trail keeps that it was there."""
    registration = pair.registration
    case = _lock(registration, user)
    _note("landmark", case, user, pair, address, registration=registration.pk, deleted=True)
    pair.delete()
    return registration


def residuals_of(pairs: Iterable[LandmarkPair], transform: Transform) -> Residuals:
    """The pairs' distances under a transform, mm, in the order given."""
    rows = list(pairs)
    if not rows:
        return Residuals(np.empty(0))
    return Residuals(
        transform.mismatch([p.reference for p in rows], [p.moving for p in rows])
    )


def fit_landmarks(registration: Registration) -> dict[str, Any]:
    """The rigid fit to the pairs with what remains; a proposal, nothing is kept."""
    pairs = list(registration.landmarks.all())
    try:
        matrix = fit_rigid([p.reference for p in pairs], [p.moving for p in pairs])
    except FitRefused as reason:
        raise ReviewRefused(str(reason)) from None
    left = residuals_of(pairs, Transform(matrix))
    return {
        "matrix": as_lists(matrix),
        **left.as_json(),
        "pairs": [
            {"id": pair.pk, "residual_mm": float(mm)}
            for pair, mm in zip(pairs, left.each, strict=True)
        ],
    }


def _landmark_alignment(
    registration: Registration, sent: Any
) -> tuple[list[list[float]], dict[str, Any]]:
    """The fit as it is now, with its evidence. ``sent``: the fit that the reader looked at."""
    fit = fit_landmarks(registration)
    matrix = fit.pop("matrix")
    if sent is not None and not same_alignment(matrix, four_by_four(sent)):
        raise ReviewRefused(gettext(
            "This is not the fit to the landmarks as they are now. Fit again."
        ))
    residuals = {row["id"]: row["residual_mm"] for row in fit.pop("pairs")}
    fit["pairs"] = [
        {
            "label": pair.label,
            "reference": pair.reference,
            "moving": pair.moving,
            "residual_mm": residuals[pair.pk],
        }
        for pair in registration.landmarks.all()
    ]
    return matrix, fit


# --- refinements ------------------------------------------------------------------------------


@transaction.atomic
def refine_from_here(
    registration: Registration, user: User, *, model: str, matrix: Any = None, address: str = ""
) -> Refinement:
    """Ask for a better alignment from the one on record, or from ``matrix`` (hand alignment)."""
    case = _lock(registration, user)
    status, method = _start(registration)
    start = status.matrix
    if matrix is not None:
        given = affine_matrix(matrix)
        if not same_alignment(given, start):
            start, method = given, DecisionMethod.HAND
    try:
        row = start_refinement(
            registration, user, model=model, start=start, start_method=str(method)
        )
    except RefinementRefused as reason:
        raise ReviewRefused(str(reason)) from None
    _note("refine", case, user, row, address, asked="start", model=model)
    return row


def _start(registration: Registration) -> tuple[FusionStatus, str]:
    """The alignment on record, and where it comes from."""
    decision = in_force(latest_decision(registration))
    status = status_of(registration, decision)
    if decision is not None and decision.decision == Kind.NUDGED:
        return status, decision.method or DecisionMethod.HAND
    if accepted_refinement(decision) is not None:
        return status, DecisionMethod.REFINED
    decided = registration.parameters.get(DECIDED, {})
    if status.fused and decided.get("method"):
        return status, str(decided["method"])
    usable = can_accept(registration) or (status.fused and decided)
    return status, DecisionMethod.COMPUTED if usable else "delivered"


@transaction.atomic
def steer_refinement(
    refinement: Refinement, user: User, *, what: str, address: str = ""
) -> Refinement:
    """``cancel``, ``retry`` or ``discard``."""
    case = _lock(refinement.registration, user)
    if what == "discard" and refinement.decisions.exists():
        raise ReviewRefused(
            gettext(
                "A decision stands on this result; it stays on record. Reject or replace it "
                "instead."
            )
        )
    verb = {
        "cancel": cancel_refinement, "retry": retry_refinement, "discard": discard_refinement,
    }[what]  # fmt: skip
    try:
        row = verb(refinement, user)
    except RefinementRefused as reason:
        raise ReviewRefused(str(reason)) from None
    _note("refine", case, user, row, address, asked=what)
    return row


# --- points -----------------------------------------------------------------------------------


def map_points(
    registration: Registration, points: Any, *, origin: str, refinement: Refinement | None = None
) -> tuple[list[list[float] | None], str]:
    """Points of one space in the other (None: no counterpart), and the model of the transform."""
    count = len(points) if isinstance(points, list) else 0
    if not 0 < count <= MOST_MAPPED:
        raise ReviewRefused(gettext(
            "Send 1 to {most_mapped} points."
        ).format(most_mapped=MOST_MAPPED))
    checked = check_points(points, count)
    if refinement is None:
        status, transform = transform_on_record(registration)
        model = status.model
    elif refinement.matrix is None or refinement.verdict == "refused":
        raise ReviewRefused(gettext("This refinement has no result that could map points."))
    else:
        transform = transform_of(registration.run, refinement.matrix, refinement.deformation)
        model = refinement.model
    mapped = (
        transform.to_moving(checked) if origin == "reference" else transform.to_reference(checked)
    )
    return [
        [float(v) for v in point] if np.isfinite(point).all() else None for point in mapped
    ], model


# --- running again ----------------------------------------------------------------------------


@transaction.atomic
def run_again(case: Case, user: User, *, address: str = "") -> Run:
    """A new analysis that takes the alignments on record instead of computing them."""
    locked = Case.objects.select_for_update().get(pk=case.pk)
    check_reading(locked, user)
    if locked.state == CaseState.DRAFT:
        # What is signed belongs to the run that the report was laid out from.
        raise ReviewRefused(
            gettext(
"The report was begun with these findings and would keep them. "
            "Say in the report what the new alignment changes."
)
        )
    run = current_run(locked)
    newest = latest_run(locked)
    if run is None or newest is None or newest.state not in ENDED:
        raise ReviewRefused(gettext("An analysis of this case is under way; wait for it."))
    if run.pk != newest.pk:
        raise ReviewRefused(gettext("The newest analysis of this case failed; retry it first."))
    if locked.studies.filter(completed_at__isnull=True).exists():
        raise ReviewRefused(
            _("Images of this case are still arriving; they are analysed when all are here.")
        )
    if inputs_digest(locked) != run.inputs_digest:
        raise ReviewRefused(
            _("The images of this case changed since this analysis; a new one begins by itself.")
        )
    if not changed_alignments(run):
        raise ReviewRefused(gettext("The findings were computed with these alignments already."))
    again = start_run(
        locked, "another alignment", by=user, fixed_registrations=fixed_registrations(run)
    )
    note_activity(locked.pk, "Queued")
    record(
        "retry", user=user, site=locked.site, obj=again, case_id=locked.pk,
        remote_address=address, detail={"alignment": sorted(again.fixed_registrations)},
    )  # fmt: skip
    publish(locked.site_id, "run", locked.pk)
    return again
