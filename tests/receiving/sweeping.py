"""What the flow's sweep does with studies, for tests of this room alone."""

from __future__ import annotations

from datetime import datetime

from workstation.receiving.models import Study
from workstation.receiving.services import complete_if_arrived, quiet_studies
from workstation.receiving.services.tagging import quiet_untagged_studies, tag_series


def complete_quiet_studies(now: datetime) -> list[Study]:
    """Every study that has arrived by ``now``."""
    found = (complete_if_arrived(study_id, now) for study_id in quiet_studies(now))
    return [study for study in found if study is not None]


def tag_quiet_studies(now: datetime) -> int:
    """Gives roles to the series of quiet studies; returns how many were looked at."""
    studies = quiet_untagged_studies(now)
    for study in studies:
        tag_series(study)
    return len(studies)
