"""Whether findings and heatmap still stand on the alignments that the reader decided."""

from __future__ import annotations

from typing import Any

import numpy as np
from django.utils.translation import gettext

from workstation.analyzing.models import LayerKind, Registration, Run, RunState
from workstation.reading.fusion_state import (
    FUSED_STATES,
    FusionStatus,
    layer_statuses,
)

Statuses = list[tuple[Any, FusionStatus, Registration | None]]
SAME = 1e-6

CHANGED = "alignment_changed"
"""Code of the notice."""


def of_series(run: Run, statuses: Statuses | None) -> list[tuple[str, FusionStatus, Registration]]:
    """(label, status, registration) of every series that was to be aligned."""
    rows = layer_statuses(run) if statuses is None else statuses
    return [
        (layer.label, status, registration)
        for layer, status, registration in rows
        if layer.kind == LayerKind.SERIES
        and not layer.is_sibling
        and registration is not None
        and registration.state != "reference"
    ]


def _used(registration: Registration) -> list[list[float]] | None:
    """The matrix by which networks and measurements used the series; None if they did not."""
    fit = registration.state in FUSED_STATES and registration.verdict == "usable"
    return registration.matrix if fit else None


def _changed(status: FusionStatus, registration: Registration) -> bool:
    before, now = _used(registration), status.matrix if status.fused else None
    if before is None or now is None:
        return (before is None) != (now is None)
    return not np.allclose(before, now, atol=SAME)


def changed_alignments(run: Run, statuses: Statuses | None = None) -> list[tuple[int, str]]:
    """(id, label) of the registrations whose alignment on record is not the one that findings and
    heatmap of the run were computed with."""
    if run.state != RunState.DONE:
        return []
    return [
        (registration.pk, label)
        for label, status, registration in of_series(run, statuses)
        if _changed(status, registration)
    ]


def alignment_json(run: Run | None, statuses: Statuses, may: bool) -> dict[str, Any]:
    """The ``alignment`` part of the case view."""
    changed = changed_alignments(run, statuses) if run else []
    message = ""
    if changed:
        names = ", ".join(label for _, label in changed)
        message = gettext(
            "Findings were computed with the earlier alignment of {names}."
        ).format(names=names)
        if may:
            message = gettext("{message} Run again?").format(message=message)
    return {
        "changed": [pk for pk, _ in changed],
        "message": message,
        "can_run_again": bool(changed) and may,
    }
