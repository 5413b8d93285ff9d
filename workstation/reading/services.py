"""What a reader does at the images: judges findings and probes.

Alignments are ``aligning.py``'s, what is kept of a measurement is ``measurements.py``'s.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from django.db import transaction
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.analyzing.models import Finding, Layer, LayerKind
from workstation.analyzing.shown import current_run
from workstation.analyzing.transforms import transform_of
from workstation.analyzing.volume_files import open_layer, sample
from workstation.live import publish
from workstation.reading.fusion_state import FusionStatus, layer_statuses
from workstation.reading.models import FindingReview, ReviewState
from workstation.reading.units import in_words
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import holds

FARTHEST_MM = 10_000.0
"""Coordinates beyond ten metres are no patient coordinates."""


class ReviewRefused(Exception):
    """The act is not possible; the message says why and what to do."""


def check_reading(case: Case, user: User) -> None:
    """Raise :class:`ReviewRefused` unless the user holds the case and it is not signed."""
    if case.state in (CaseState.SIGNED, CaseState.ADDENDED):
        raise ReviewRefused(gettext("The report is signed; its findings and registrations stand."))
    if not holds(case, user):
        raise ReviewRefused(gettext("You do not hold this case. Claim it first."))


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
            raise ReviewRefused(gettext("An edited finding needs a new name, place or comment."))
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
        raise ReviewRefused(gettext("A finding is accepted, edited, rejected or pending."))
    record(
        "review", user=user, site=case.site, obj=finding, case_id=case.pk,
        remote_address=address, detail={"state": state, "finding": finding.number},
    )  # fmt: skip
    publish(case.site_id, "report", case.pk)
    return review


def check_points(points: Any, count: int) -> list[list[float]]:
    """``count`` finite LPS points in mm, or :class:`ReviewRefused`."""
    if not isinstance(points, list) or len(points) != count:
        raise ReviewRefused(
            gettext("This measurement needs {count} point{s_if_count_1_else}.").format(
                count=count, s_if_count_1_else="s" if count > 1 else ""
            )
        )
    checked = []
    for point in points:
        if not isinstance(point, list) or len(point) != 3:
            raise ReviewRefused(gettext("A point is [x, y, z] in millimetres."))
        # Compared before they are converted: an int may be too large for a float. NaN compares
        # with nothing.
        numbers = [v for v in point if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) != 3 or not all(-FARTHEST_MM <= v <= FARTHEST_MM for v in numbers):
            raise ReviewRefused(gettext("A point is [x, y, z] in millimetres."))
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
