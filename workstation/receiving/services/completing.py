"""When is a study complete: nothing came for its quiet time, and what was announced is here."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from workstation.receiving.models import NoticeLevel, Study, StudyNotice
from workstation.receiving.services.conflicts import note_study_conflicts
from workstation.receiving.services.expecting import arrived, count_is_open, note_announced

FEWER = "fewer_than_expected"


def quiet_studies(now: datetime) -> list[int]:
    """Studies, by primary key, for which nothing came for a while."""
    shortest = min(settings.QUIET_SECONDS, settings.COUNTED_QUIET_SECONDS)
    quiet = Study.objects.filter(
        completed_at__isnull=True, last_received_at__lte=now - timedelta(seconds=shortest)
    )
    return list(quiet.order_by("pk").values_list("pk", flat=True))


@transaction.atomic
def complete_if_arrived(study_id: int, now: datetime) -> Study | None:
    """Mark a study that has arrived as complete, and return it; None if it is not (any more).

    A study whose sender announced its objects is complete soon after the last of them; one that
    lacks some waits for them, but not for ever. The caller's moves of its case belong in the same
    transaction.
    """
    study = Study.objects.select_for_update().get(pk=study_id)
    if study.completed_at is not None or not _is_complete(study, now):
        return None
    study.completed_at = now
    study.save(update_fields=["completed_at"])
    note_study_conflicts(study)
    return study


def _is_complete(study: Study, now: datetime) -> bool:
    quiet = (now - study.last_received_at).total_seconds()
    told = note_announced(study)
    here = arrived(study)
    if told.instances is not None and here >= told.instances and not told.going_on:
        _forget_shortage(study)
        return quiet >= min(settings.COUNTED_QUIET_SECONDS, settings.QUIET_SECONDS)
    if quiet < settings.QUIET_SECONDS:
        return False
    waited_enough = quiet >= max(settings.EXPECTED_WAIT_SECONDS, settings.QUIET_SECONDS)
    if told.instances is None and count_is_open(study) and not waited_enough:
        return False
    expected = study.expected_instances
    if (expected is None or here >= expected) and not told.going_on:
        _forget_shortage(study)
        return True
    if not waited_enough:
        return False
    if expected is not None and here < expected:
        _note_shortage(study, here)
    return True


def _note_shortage(study: Study, here: int) -> None:
    """The reader sees that images are missing, and who said so."""
    _forget_shortage(study)
    StudyNotice.objects.create(
        study=study, code=FEWER, level=NoticeLevel.WARN,
        text=f"{here} of {study.expected_instances} images arrived. Their number comes from "
        f"{study.expected_from}. Ask for the rest, or read what is here.",
    )  # fmt: skip


def _forget_shortage(study: Study) -> None:
    StudyNotice.objects.filter(study=study, code=FEWER).delete()


def notices_for(study: Study) -> list[StudyNotice]:
    """What the reader should know about how the study arrived, oldest first."""
    return list(study.notices.all())
