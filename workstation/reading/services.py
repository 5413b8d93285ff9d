"""What a reader does at the images: judges findings, decides on registrations, measures."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from django.db import transaction

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.analyzing.models import Finding, Layer, LayerKind, Registration, Run
from workstation.analyzing.services import latest_done_run, latest_run
from workstation.analyzing.volume_files import sample
from workstation.live import publish
from workstation.reading.fusion_state import FusionStatus, can_accept, layer_statuses, status_of
from workstation.reading.models import (
    FindingReview,
    Measurement,
    MeasurementTool,
    RegistrationDecision,
    RegistrationDecisionKind,
    ReviewState,
)
from workstation.reading.units import in_words
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import holds

RIGID_TOLERANCE = 1e-4
FARTHEST_MM = 10_000.0
"""Coordinates beyond ten metres are no patient coordinates."""


class ReviewRefused(Exception):
    """The act is not possible; the message says why and what to do."""


def current_run(case: Case) -> Run | None:
    """The run a reader works with: the latest finished one, else the latest under way.

    Never one over a study that has left the case: its images are another patient's, or of a site
    that no link opens any more, and a new run may take minutes or fail.
    """
    runs = (latest_done_run(case), latest_run(case))
    return next((run for run in runs if run and not shows_strangers(run)), None)


def shows_strangers(run: Run) -> bool:
    """Whether the run looked at images of a study that has left its case since."""
    layers = Layer.objects.filter(run=run, series__isnull=False)
    return layers.exclude(series__study__cases=run.case_id).exists()


def _check_reading(case: Case, user: User) -> None:
    if case.state in (CaseState.SIGNED, CaseState.ADDENDED):
        raise ReviewRefused("The report is signed; its findings and registrations stand.")
    if not holds(case, user):
        raise ReviewRefused("You do not hold this case. Claim it first.")


@transaction.atomic
def review_finding(
    finding: Finding,
    user: User,
    *,
    state: str,
    label: str = "",
    location: str = "",
    comment: str = "",
    address: str = "",
) -> FindingReview | None:
    """Accept, edit or reject a finding; ``pending`` takes the judgement back (undo)."""
    case = Case.objects.select_for_update().get(pk=finding.run.case_id)
    _check_reading(case, user)
    review: FindingReview | None = None
    if state == "pending":
        FindingReview.objects.filter(finding=finding).delete()
    elif state in ReviewState.values:
        if state == ReviewState.EDITED and not (label.strip() or location.strip() or comment):
            raise ReviewRefused("An edited finding needs a new name, place or comment.")
        review, _ = FindingReview.objects.update_or_create(
            finding=finding,
            defaults={
                "state": state,
                "label": label.strip()[:100],
                "location": location.strip()[:100],
                "comment": comment.strip()[:500],
                "by": user,
            },
        )
    else:
        raise ReviewRefused("A finding is accepted, edited, rejected or pending.")
    record(
        "review", user=user, site=case.site, obj=finding, case_id=case.pk,
        remote_address=address, detail={"state": state, "finding": finding.number},
    )  # fmt: skip
    publish(case.site_id, "report", case.pk)
    return review


@transaction.atomic
def decide_registration(
    registration: Registration,
    user: User,
    *,
    decision: str,
    reason: str = "",
    matrix: Any = None,
    address: str = "",
) -> FusionStatus:
    """Accept, reject or replace (nudge) a registration. The decision is stored beside what was
    computed, never over it."""
    case = Case.objects.select_for_update().get(pk=registration.run.case_id)
    _check_reading(case, user)
    if decision not in RegistrationDecisionKind.values:
        raise ReviewRefused("A registration is accepted, nudged or rejected.")
    if registration.state == "reference":
        raise ReviewRefused("This is the reference series itself.")
    nudged = None
    if decision == RegistrationDecisionKind.NUDGED:
        nudged = _rigid(matrix)
    elif decision == RegistrationDecisionKind.ACCEPTED and not can_accept(registration):
        raise ReviewRefused(
            "This registration was refused and cannot be accepted: "
            + (" ".join(registration.reasons) or "its quality is too low.")
            + " Align it by hand if you need the fusion."
        )
    row = RegistrationDecision.objects.create(
        registration=registration, decision=decision, matrix=nudged,
        reason=reason.strip()[:500], by=user,
    )  # fmt: skip
    record(
        "decide_registration", user=user, site=case.site, obj=registration, case_id=case.pk,
        remote_address=address, detail={"decision": decision},
    )  # fmt: skip
    publish(case.site_id, "report", case.pk)
    return status_of(registration, row)


def _rigid(matrix: Any) -> list[list[float]]:
    """A 4x4 rigid matrix (layer LPS -> reference LPS); a nudge may move and turn, not stretch."""
    try:
        rows = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ReviewRefused("A nudge needs a 4x4 matrix.") from None
    if rows.shape != (4, 4) or not np.isfinite(rows).all():
        raise ReviewRefused("A nudge needs a 4x4 matrix.")
    turn = rows[:3, :3]
    orthogonal = np.allclose(turn.T @ turn, np.eye(3), atol=RIGID_TOLERANCE)
    if not orthogonal or np.linalg.det(turn) < 0 or not np.allclose(rows[3], [0, 0, 0, 1]):
        raise ReviewRefused("A nudge may move and turn an image, not stretch or mirror it.")
    if np.abs(rows[:3, 3]).max() > FARTHEST_MM:
        raise ReviewRefused("The nudge moves the image out of every room.")
    return [[float(v) for v in row] for row in rows]


def check_points(points: Any, count: int) -> list[list[float]]:
    """``count`` finite LPS points in mm, or :class:`ReviewRefused`."""
    if not isinstance(points, list) or len(points) != count:
        raise ReviewRefused(f"This measurement needs {count} point{'s' if count > 1 else ''}.")
    checked = []
    for point in points:
        if not isinstance(point, list) or len(point) != 3:
            raise ReviewRefused("A point is [x, y, z] in millimetres.")
        # Compared before they are converted: an int may be too large for a float. NaN compares
        # with nothing.
        numbers = [v for v in point if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) != 3 or not all(-FARTHEST_MM <= v <= FARTHEST_MM for v in numbers):
            raise ReviewRefused("A point is [x, y, z] in millimetres.")
        checked.append([float(v) for v in numbers])
    return checked


def probe(
    case: Case, point: list[float], layers: Collection[int] | None = None
) -> list[dict[str, Any]]:
    """The value of every fused layer at one point of the reference space, each in its own unit.

    Of a series with several volumes the main one speaks, unless ``layers`` names those on screen.

    Read from the stored volumes (trilinear; segmentations: nearest voxel). Layers that do not
    reach the point say so.
    """
    run = current_run(case)
    values: list[dict[str, Any]] = []
    for layer, status, _ in layer_statuses(run) if run else []:
        if not status.fused or (layer.is_sibling if layers is None else layer.pk not in layers):
            continue
        value = float(sample(layer, [point], status.matrix)[0])
        inside = math.isfinite(value)
        values.append(
            {
                "layer": layer.pk,
                "label": layer.label,
                "value": value if inside else None,
                "unit": layer.unit,
                "text": _probe_text(layer, value) if inside else "outside",
            }
        )
    return values


def _probe_text(layer: Layer, value: float) -> str:
    if layer.kind == LayerKind.SEGMENTATION:
        return f"finding {round(value)}" if value else "no finding"
    if layer.kind == LayerKind.HEATMAP:
        return f"p {value:.2f}"
    return in_words(value, layer.unit)


@transaction.atomic
def make_measurement(
    case: Case,
    user: User,
    *,
    tool: str,
    points: Any,
    layers: Collection[int] | None = None,
    address: str = "",
) -> Measurement:
    """Keep a length (mm between two points) or a probe (values at one point of ``layers``)."""
    locked = Case.objects.select_for_update().get(pk=case.pk)
    _check_reading(locked, user)
    run = current_run(locked)
    evidence: dict[str, Any] = {"run": run.number if run else None}
    if tool == MeasurementTool.LENGTH:
        checked = check_points(points, 2)
        value = math.dist(checked[0], checked[1])
        unit, text = "mm", f"{value:.1f} mm"
        evidence["method"] = "Euclidean distance in patient coordinates (LPS, mm)"
    elif tool == MeasurementTool.PROBE:
        checked = check_points(points, 1)
        values = [v for v in probe(locked, checked[0], layers) if v["value"] is not None]
        if not values:
            raise ReviewRefused("No fused image reaches this point.")
        value, unit = values[0]["value"], values[0]["unit"]
        text = ", ".join(f"{v['label']} {v['text']}" for v in values)[:300]
        evidence |= {"values": values, "method": "trilinear sample of the stored volumes"}
    else:
        raise ReviewRefused("The tool is length or probe.")
    measurement = Measurement.objects.create(
        case=locked, tool=tool, points=checked, value=value, unit=unit, text=text,
        evidence=evidence, by=user,
    )  # fmt: skip
    record(
        "measure", user=user, site=locked.site, obj=measurement, case_id=locked.pk,
        remote_address=address, detail={"tool": tool},
    )  # fmt: skip
    return measurement


@transaction.atomic
def delete_measurement(measurement: Measurement, user: User, *, address: str = "") -> None:
    """Take a measurement away; the audit trail keeps that it was there."""
    case = Case.objects.select_for_update().get(pk=measurement.case_id)
    _check_reading(case, user)
    record(
        "measure", user=user, site=case.site, obj=measurement, case_id=case.pk,
        remote_address=address, detail={"deleted": True, "tool": measurement.tool},
    )  # fmt: skip
    measurement.delete()
