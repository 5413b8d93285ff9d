"""The JSON of priors: the list, what can be compared, what was paired, what might be the same.

Its shape is written down in this room's README; ``frontend/src/viewer/priors/`` mirrors it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from workstation.accounts.models import User
from workstation.accounts.permissions import allowed
from workstation.analyzing.models import Finding, Layer
from workstation.analyzing.shown import current_run
from workstation.analyzing.transforms import transform_of
from workstation.analyzing.volume_files import VolumeUnreadable
from workstation.reading.fusion_state import layer_statuses
from workstation.reading.measured_layers import Statuses
from workstation.reading.measurement_view import Screen
from workstation.reading.models import Measurement, PriorPair
from workstation.reading.prior_changes import compared, sums_of
from workstation.reading.prior_items import Item, items_of, of_finding, of_measurement
from workstation.reading.priors import (
    Prior,
    content_of,
    current_studies,
    prior_json,
    priors_of,
)
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import holds

NEAR_MM = 20.0
"""Within this distance two lesions may be the same; the reader says whether they are."""
MOST_STEPS = 20
"""Of a history through the pairs of earlier cases."""


@dataclass
class Priors:
    """Everything about the priors of one case, for one user; each part read once."""

    case: Case
    user: User
    statuses_by_case: dict[int, Statuses] = field(default_factory=dict)

    @cached_property
    def listed(self) -> list[Prior]:
        return priors_of(self.case, self.user)

    @cached_property
    def items(self) -> list[Item]:
        return items_of(self.case, self.screen(self.case))

    @cached_property
    def earlier_cases(self) -> list[Case]:
        """Each once, in the order of the list."""
        cases = {one.read_in.pk: one.read_in for one in self.listed if one.read_in}
        return list(cases.values())

    @cached_property
    def earlier_items(self) -> dict[int, list[Item]]:
        """Case -> what of it can be compared."""
        return {one.pk: items_of(one, self.screen(one)) for one in self.earlier_cases}

    def statuses(self, case: Case) -> Statuses:
        if case.pk not in self.statuses_by_case:
            run = current_run(case)
            self.statuses_by_case[case.pk] = layer_statuses(run) if run else []
        return self.statuses_by_case[case.pk]

    def screen(self, case: Case) -> Screen:
        return Screen(self.statuses(case))


def priors_json(case: Case, user: User) -> dict[str, Any]:
    """``GET /api/cases/<id>/priors/``."""
    found = Priors(case, user)
    reads = holds(case, user) and case.state in (CaseState.READING, CaseState.DRAFT)
    now = content_of(current_studies(case))
    pairs = _pairs(found)
    return {
        "case": case.pk,
        "date": now.day.isoformat() if now.day else "",
        "can": {
            "pair": reads and allowed(user, "measurement.make"),
            "register": reads and allowed(user, "assembly.place"),
        },
        "priors": [
            prior_json(
                one, case, found.statuses(case), reads and allowed(user, "assembly.place")
            )
            for one in found.listed
        ],
        "current": [item.as_json() for item in found.items],
        "earlier": {
            str(pk): [item.as_json() for item in items]
            for pk, items in found.earlier_items.items()
        },
        "pairs": [pair_json(row, found) for row in pairs],
        "sums": _sums(pairs, found),
        "proposals": proposals(found),
    }


def _pairs(found: Priors) -> list[PriorPair]:
    rows = found.case.prior_pairs.shown().select_related(
        "by", "study", "measurement__case", "earlier_measurement__case", "finding__run__case",
        "finding__review", "earlier_finding__run__case", "earlier_finding__review",
    )  # fmt: skip
    gone = (row for row in rows.order_by("id"))
    return [
        row
        for row in gone
        if all(m is None or m.hidden_at is None for m in (row.measurement, row.earlier_measurement))
    ]


def _item(measurement: Measurement | None, finding: Finding | None, found: Priors) -> Item | None:
    """One side of a pair; None where its case is not at the user's sites."""
    if measurement is not None:
        case = measurement.case
    else:
        assert finding is not None  # the table holds one or the other
        case = finding.run.case
    if not Case.objects.for_user(found.user).filter(pk=case.pk).exists():
        return None
    day = content_of(current_studies(case)).day
    if measurement is not None:
        return of_measurement(measurement, day, found.screen(case))
    assert finding is not None
    run = current_run(case)
    return of_finding(finding, day, run is not None and run.pk == finding.run_id)


def _sides(row: PriorPair, found: Priors) -> tuple[Item | None, Item | None]:
    return (
        _item(row.measurement, row.finding, found),
        _item(row.earlier_measurement, row.earlier_finding, found),
    )


def pair_json(row: PriorPair, found: Priors) -> dict[str, Any]:
    """A pair with its change, and with what the earlier one was paired with in its own case."""
    current, earlier = _sides(row, found)
    both = current is not None and earlier is not None
    return {
        "id": row.pk,
        "study": row.study_id,
        "is_node": row.is_node,
        "proposed_mm": row.proposed_mm,
        "by": row.by.display_name,
        "at": row.at.isoformat(),
        "current": current.as_json() if current else None,
        "earlier": earlier.as_json() if earlier else None,
        "change": compared(current, earlier, row.study.study_date)
        if current is not None and earlier is not None
        else None,
        "history": _history(row, current, found) if both and current is not None else [],
    }


def _history(row: PriorPair, current: Item, found: Priors) -> list[dict[str, Any]]:
    """The current size against still earlier ones, newest first: the chain of pairs behind it."""
    chain: list[dict[str, Any]] = []
    seen = {row.pk}
    step: PriorPair | None = row
    while step is not None and len(chain) < MOST_STEPS:
        step = _step_back(step, seen)
        if step is None:
            break
        seen.add(step.pk)
        earlier = _item(step.earlier_measurement, step.earlier_finding, found)
        if earlier is None:
            break
        then = step.study.study_date
        chain.append({"earlier": earlier.as_json(), "change": compared(current, earlier, then)})
    return chain


def _step_back(row: PriorPair, seen: set[int]) -> PriorPair | None:
    if row.earlier_measurement_id:
        older = PriorPair.objects.shown().filter(measurement=row.earlier_measurement_id)
    else:
        older = PriorPair.objects.shown().filter(finding=row.earlier_finding_id)
    older = older.exclude(pk__in=seen).filter(study__study_date__lt=row.study.study_date)
    return older.select_related("study").order_by("-study__study_date", "-id").first()


def _sums(pairs: Sequence[PriorPair], found: Priors) -> list[dict[str, Any]]:
    both = []
    for row in pairs:
        current, earlier = _sides(row, found)
        if current is not None and earlier is not None:
            both.append((row.study_id, row.study.study_date, row.is_node, current, earlier))
    return sums_of(both)


# --- what might be the same ---------------------------------------------------------------------


def proposals(found: Priors) -> list[dict[str, Any]]:
    """Pairs of a current and an earlier lesion that lie at the same place: each the other's
    nearest within 20 mm, through the registration of the earlier case's reference series, where
    that stands in this case. Nothing is kept until the reader says so."""
    made: list[dict[str, Any]] = []
    taken = {
        (row.measurement_id, row.finding_id, row.study_id)
        for row in found.case.prior_pairs.shown()
    }
    for earlier_case in found.earlier_cases:
        study = next(
            one.study for one in found.listed if one.read_in and one.read_in.pk == earlier_case.pk
        )
        for current, earlier, mm in _nearest(found, earlier_case):
            key = (
                current.pk if current.kind == "measurement" else None,
                current.pk if current.kind == "finding" else None,
                study.pk,
            )
            if key not in taken:
                made.append(
                    {
                        "current": {"kind": current.kind, "id": current.pk},
                        "earlier": {"kind": earlier.kind, "id": earlier.pk},
                        "case": earlier_case.pk,
                        "study": study.pk,
                        "mm": round(mm, 1),
                    }
                )
    return made


def _nearest(found: Priors, earlier_case: Case) -> list[tuple[Item, Item, float]]:
    carried = _carried(found, earlier_case)
    here = [one for one in found.items if one.place is not None]
    if not carried or not here:
        return []
    away = np.array(
        [
            [np.linalg.norm(np.subtract(one.place or (), place)) for _, place in carried]
            for one in here
        ]
    )
    for n, one in enumerate(here):
        for m, (other, _) in enumerate(carried):
            if not one.sizes.keys() & other.sizes.keys():
                away[n, m] = np.inf
    pairs = []
    for n, one in enumerate(here):
        m = int(np.argmin(away[n]))
        if away[n, m] <= NEAR_MM and int(np.argmin(away[:, m])) == n:
            pairs.append((one, carried[m][0], float(away[n, m])))
    return pairs


def _carried(found: Priors, earlier_case: Case) -> list[tuple[Item, np.ndarray]]:
    """The earlier case's items with their places in the space of this case; none where the two are
    not registered."""
    reference = next(
        (layer for layer, _, _ in found.statuses(earlier_case) if layer.is_reference), None
    )
    placed = [one for one in found.earlier_items[earlier_case.pk] if one.place is not None]
    if reference is None or not placed:
        return []
    matching = (
        (layer, status)
        for layer, status, _ in found.statuses(found.case)
        if layer.key == reference.key and status.fused
    )
    layer_and_status = next(matching, None)
    if layer_and_status is None:
        return []
    layer, status = layer_and_status
    points = _to_reference(layer, status, np.array([one.place for one in placed]))
    return [
        (one, point)
        for one, point in zip(placed, points, strict=True)
        if np.isfinite(point).all()
    ]


def _to_reference(layer: Layer, status: Any, points: np.ndarray) -> np.ndarray:
    try:
        return transform_of(layer.run, status.matrix, status.field).to_reference(points)
    except VolumeUnreadable:
        # Its deformation cannot be read: the rigid part would propose the wrong lesion.
        return np.full_like(points, np.nan)
