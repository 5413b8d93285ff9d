"""What a reader does at the images: judges findings and measures (``aligning.py``: alignments)."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from django.db import transaction

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.analyzing.models import Finding, Layer, LayerKind, Run
from workstation.analyzing.services import latest_done_run, latest_run
from workstation.analyzing.transforms import transform_of
from workstation.analyzing.volume_files import open_layer, sample
from workstation.live import publish
from workstation.reading.fusion_state import FusionStatus, layer_statuses
from workstation.reading.models import FindingReview, Measurement, MeasurementTool, ReviewState
from workstation.reading.units import in_words
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import holds

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


def check_reading(case: Case, user: User) -> None:
    """Raise :class:`ReviewRefused` unless the user holds the case and it is not signed."""
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
    check_reading(case, user)
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

    Read from the stored volumes (trilinear; segmentations: nearest voxel; deformed layers: the
    original voxels, through the deformation). Layers that do not reach the point say so.
    """
    run = current_run(case)
    statuses = layer_statuses(run) if run else []
    originals = {
        layer.series_id: (layer, status)
        for layer, status, _ in statuses
        if layer.kind == LayerKind.SERIES and not layer.is_sibling
    }
    deformed = {
        layer.series_id
        for layer, status, _ in statuses
        if layer.kind == LayerKind.DEFORMED and status.fused
    }
    values: list[dict[str, Any]] = []
    for layer, status, _ in statuses:
        is_series = layer.kind == LayerKind.SERIES
        # A deformed layer speaks for its series while it is fused.
        hidden = layer.is_sibling or (is_series and layer.series_id in deformed)
        if not status.fused or (hidden if layers is None else layer.pk not in layers):
            continue
        if layer.kind == LayerKind.DEFORMED:
            value = _through(*originals[layer.series_id], point)
        else:
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


def _through(original: Layer, status: FusionStatus, point: list[float]) -> float:
    """The value of the original voxels at a point of their deformed layer, whose own voxels were
    interpolated once already. ``status``: of the original, with the field on record."""
    transform = transform_of(original.run, status.matrix, status.field)
    own = transform.to_moving([point])
    if not np.isfinite(own).all():
        return math.nan
    with open_layer(original) as volume:
        return float(volume.values_at(own, nearest=False)[0])


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
    check_reading(locked, user)
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
    check_reading(case, user)
    record(
        "measure", user=user, site=case.site, obj=measurement, case_id=case.pk,
        remote_address=address, detail={"deleted": True, "tool": measurement.tool},
    )  # fmt: skip
    measurement.delete()
