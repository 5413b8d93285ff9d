"""What a run looks at, part by part: which series changed since, or only a role or a value."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from workstation.analyzing.models import Run
from workstation.analyzing.pet_inputs import entered_mark
from workstation.receiving.models import Instance, RoleSource, Series
from workstation.worklist.models import Case


def inputs_of(case: Case) -> dict[str, Any]:
    """``series``: SeriesInstanceUID -> SHA-256 over its SOP instance UIDs and file hashes, of the
    case's complete studies; ``roles``: those that a person set; ``entered``: a mark of the values
    entered for SUV. Kept with each run as ``Run.inputs``."""
    roles = Series.objects.filter(
        study__cases=case, study__completed_at__isnull=False, role_source=RoleSource.MANUAL
    )
    return {
        "series": dict(_images(case)),
        "roles": dict(roles.values_list("series_instance_uid", "role")),
        "entered": entered_mark(case),
    }


def _images(case: Case) -> Iterator[tuple[str, str]]:
    rows = (
        Instance.objects.filter(
            series__study__cases=case, series__study__completed_at__isnull=False
        )
        .order_by("series__series_instance_uid", "sop_instance_uid")
        .values_list("series__series_instance_uid", "sop_instance_uid", "sha256")
    )
    for series, images in groupby(rows.iterator(), key=lambda row: row[0]):
        lines = "".join(f"{uid} {sha256}\n" for _, uid, sha256 in images)
        yield series, hashlib.sha256(lines.encode()).hexdigest()


def images_changed(case: Case, run: Run) -> bool:
    """Whether the case has other images than the run saw. True for a run from before its inputs
    were kept: nobody knows."""
    return bool(run.inputs.get("series") != dict(_images(case)))
