"""What a new run takes over of the decisions on alignments, and what must be asked again.

A decision is about two series as they were. It goes along to the next run if both have the very
same images there; otherwise the reader is told which one does not, and why (``Run.not_carried``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import override

from workstation.analyzing.fixing import DECIDED, fixed_registration
from workstation.analyzing.models import Registration, Run
from workstation.analyzing.run_inputs import inputs_of
from workstation.reading.alignment_changes import of_series
from workstation.reading.fusion_state import (
    FusionStatus,
    in_force,
    latest_decision,
    status_of,
)
from workstation.reading.models import (
    DecisionMethod,
    RegistrationDecision,
    RegistrationDecisionKind,
)
from workstation.worklist.models import Case

LOST = "decision_not_carried"
KEPT = "decisions_kept"
"""Codes of the notices."""


def decisions_for_next_run(
    case: Case, run: Run | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a new run is to take as given from ``run``, the one on screen (SeriesInstanceUID ->
    RegistrationRecord), and what it cannot: ``series``, ``label``, ``badge``, ``run``, ``why``."""
    if run is None:
        return {}, []
    now, before = inputs_of(case)["series"], run.inputs.get("series")
    kept: dict[str, Any] = {}
    lost = [row for row in lost_decisions(run) if row["series"] in now]
    for label, status, registration, decided in _decided(run):
        uid = registration.series.series_instance_uid
        if uid not in now:
            continue  # the series has left the case
        why = _changed(uid, registration.reference.series_instance_uid, before, now)
        if not why:
            kept[uid] = _fixed(status, registration, decided)
            continue
        lost.append(
            {
                "series": uid, "label": label, "badge": str(decided["badge"]),
                "run": decided.get("run", run.number), "why": why,
            }
        )  # fmt: skip
    return kept, lost


def fixed_registrations(run: Run) -> dict[str, Any]:
    """What a new run over the same images is to take as given: every series on which a reader has
    decided, in this run or (through it) in an earlier one."""
    return {
        registration.series.series_instance_uid: _fixed(status, registration, decided)
        for _label, status, registration, decided in _decided(run)
    }


def _changed(uid: str, reference: str, before: dict[str, str] | None, now: dict[str, str]) -> str:
    """Why a decision does not hold any more; empty if it does."""
    if before is None:
        return "unknown"
    if before.get(uid) != now[uid]:
        return "images"
    return "" if before.get(reference) == now.get(reference) else "reference_images"


def _decided(run: Run) -> list[tuple[str, FusionStatus, Registration, dict[str, Any]]]:
    """(label, status, registration, who decided what) of each series with a decision in force."""
    # What goes on record is in one language, whoever asked for the new run. Never as a decorator:
    # that is one object for all threads, which would give each other's language back.
    with override(settings.LANGUAGE_CODE):
        return _decided_here(run)


def _decided_here(run: Run) -> list[tuple[str, FusionStatus, Registration, dict[str, Any]]]:
    found = []
    for label, status, registration in of_series(run, None):
        decision = in_force(latest_decision(registration))
        decided = registration.parameters.get(DECIDED)
        if decision is not None:
            decided = {
                "badge": status.badge,
                "decision": decision.decision,
                "method": decision.method,
                "evidence": decision.evidence,
                "by": decision.by.username,
                "name": decision.by.display_name,
                "at": decision.at.isoformat(),
                "run": run.number,
            }
        if decided is not None:
            found.append((label, status, registration, decided))
    return found


def _fixed(
    status: FusionStatus, registration: Registration, decided: dict[str, Any]
) -> dict[str, Any]:
    decision: RegistrationDecision | None = in_force(latest_decision(registration))
    by_hand = decision is not None and decision.decision == RegistrationDecisionKind.NUDGED
    moved = by_hand or (decision is not None and status.refinement is not None)
    method = status.method
    if decision is not None and by_hand:
        landmarks = decision.method == DecisionMethod.LANDMARKS
        method = "landmarks" if landmarks else "aligned by hand"
    return fixed_registration(
        registration,
        fused=status.fused,
        state="registered" if moved else status.state,
        matrix=status.matrix,
        method=method,
        version=status.version,
        model=status.model,
        quality=() if by_hand else status.quality,
        field=status.field,
        decided=decided,
    )


# --- what the reader is told ------------------------------------------------------------------


def lost_decisions(run: Run) -> list[dict[str, Any]]:
    """Decisions that the run could not keep and that nobody has made again: those known when it
    began, those that it found to be about another reference, and those made while it was under way.
    """
    rows = list(run.registrations.select_related("series", "reference"))
    if not rows:
        return list(run.not_carried)  # not registered yet
    by_series = {row.series.series_instance_uid: row for row in rows}
    lost = {row["series"]: row for row in run.not_carried}
    for uid, record in run.fixed_registrations.items():
        row = by_series.get(uid)
        if row is not None and (DECIDED in row.parameters or row.state == "reference"):
            continue
        decided = record["parameters"][DECIDED]
        lost[uid] = {
            "series": uid, "label": row.series.modality if row else "",
            "badge": str(decided["badge"]), "run": decided.get("run", 0), "why": "reference",
        }  # fmt: skip
    lost |= _made_meanwhile(run)
    return [
        row for uid, row in lost.items()
        if uid not in by_series or latest_decision(by_series[uid]) is None
    ]  # fmt: skip


def _made_meanwhile(run: Run) -> dict[str, dict[str, Any]]:
    """Decisions on earlier runs, made after this one had begun with what was decided by then."""
    rows = RegistrationDecision.objects.filter(
        registration__run__case=run.case_id, registration__run__number__lt=run.number,
        at__gt=run.created_at,
    ).select_related("by", "refinement", "registration__run", "registration__series")  # fmt: skip
    latest = {row.registration.series.series_instance_uid: row for row in rows.order_by("pk")}
    with override(settings.LANGUAGE_CODE):
        return {
            uid: {
                "series": uid, "label": row.registration.series.modality,
                "badge": status_of(row.registration, row).badge,
                "run": row.registration.run.number, "why": "late",
            }
            for uid, row in latest.items()
            if in_force(row) is not None
        }  # fmt: skip


def decision_notices(run: Run, labels: dict[str, str]) -> list[dict[str, str]]:
    """For the case view: what was carried over, and what must be decided again. ``labels``:
    SeriesInstanceUID -> label of its layer."""
    why = {
        "images": _("images of this series were added or changed"),
        "reference_images": _("images of the reference series were added or changed"),
        "reference": _("another series is the reference now"),
        "late": _("it was made while this analysis was under way"),
        "unknown": _("it is not recorded which images it was made on"),
    }
    found = [
        {
            "code": LOST,
            # The viewer puts the series before it, where it has a layer of it.
            "message": ("" if row["series"] in labels else f"{row['label']}: ")
            + _(
                "The decision “{badge}” (analysis {run}) was not carried over, because {why}. "
                "Look at the alignment and decide again."
            ).format(badge=row["badge"], run=row["run"], why=why[row["why"]]),
            "severity": "warning",
            "subject": row["series"],
        }
        for row in lost_decisions(run)
    ]  # fmt: skip
    kept = _kept(run, labels)
    if kept:
        text = _("Carried over from an earlier analysis, the images of both series being the same:")
        found.append(
            {"code": KEPT, "message": f"{text} {kept}.", "severity": "info", "subject": ""}
        )
    return found


def _kept(run: Run, labels: dict[str, str]) -> str:
    rows = run.registrations.filter(parameters__has_key=DECIDED).select_related("series")
    uids: Collection[tuple[str, str]] = [
        (row.series.series_instance_uid, str(row.parameters[DECIDED]["badge"]))
        for row in rows
        if latest_decision(row) is None
    ]
    return "; ".join(f"{labels.get(uid, '')} ({badge})" for uid, badge in uids)
