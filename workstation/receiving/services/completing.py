"""When is a study complete: nothing came for its quiet time."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from workstation.receiving.models import Study, StudyNotice
from workstation.receiving.services.conflicts import note_study_conflicts


@transaction.atomic
def complete_quiet_studies(now: datetime) -> list[Study]:
    """Mark the studies for which nothing came for the quiet time as complete, and return them.

    The caller's moves of their cases belong in the same transaction.
    """
    quiet_since = now - timedelta(seconds=settings.QUIET_SECONDS)
    studies = list(
        Study.objects.select_for_update().filter(
            completed_at__isnull=True, last_received_at__lte=quiet_since
        )
    )
    for study in studies:
        study.completed_at = now
        study.save(update_fields=["completed_at"])
        note_study_conflicts(study)
    return studies


def notices_for(study: Study) -> list[StudyNotice]:
    """What the reader should know about how the study arrived, oldest first."""
    return list(study.notices.all())
