"""Large ZIP archives of uploads, opened by a worker. The row is the job, messages only nudge."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from django.db import transaction

from workstation.broker import RECEIVE_QUEUE, send
from workstation.live import publish
from workstation.receiving.models import UploadedFile, UploadedFileState
from workstation.receiving.outcomes import Outcome
from workstation.receiving.services.uploading import count_outcomes

OPEN_ACTOR = "open_archive"
MAX_ATTEMPTS = 3
SILENT_SECONDS = 120
"""A worker that opens a ZIP says at least this often how far it is."""
S = UploadedFileState
MOVES: dict[tuple[UploadedFileState, str], UploadedFileState] = {
    (S.RECEIVING, "hand_over"): S.WAITING,
    (S.WAITING, "start"): S.OPENING,
    (S.OPENING, "put_back"): S.WAITING,
    (S.OPENING, "finish"): S.DONE,
    (S.OPENING, "give_up"): S.DONE,
}


class InvalidMove(Exception):
    """The file is not in a state that allows this."""


def _move(pk: int, event: str, **columns: object) -> UploadedFile:
    row = UploadedFile.objects.select_for_update().select_related("upload__site").get(pk=pk)
    target = MOVES.get((S(row.state), event))
    if target is None:
        raise InvalidMove(f"a file that is {row.state} takes no {event!r}")
    row.state = target
    for name, value in columns.items():
        setattr(row, name, value)
    row.save(update_fields=["state", *columns, "updated_at"])
    publish(row.upload.site_id, "upload")
    return row


@transaction.atomic
def hand_over(file: UploadedFile, entries: int) -> UploadedFile:
    """Leave a whole ZIP to a worker."""
    row = _move(file.pk, "hand_over", offset=file.size, entries=entries)
    transaction.on_commit(partial(send, OPEN_ACTOR, RECEIVE_QUEUE, row.pk))
    return row


@transaction.atomic
def start_opening(pk: int) -> UploadedFile | None:
    """Take the job; counts the attempt before the work. ``None`` when there is nothing to do."""
    row = UploadedFile.objects.filter(pk=pk).first()
    if row is None or row.state != S.WAITING:
        return None
    return _move(pk, "start", attempts=row.attempts + 1)


@transaction.atomic
def note_opened(file: UploadedFile, outcomes: list[Outcome]) -> None:
    """So many more entries were taken in; the next attempt would begin behind them."""
    row = UploadedFile.objects.select_for_update().get(pk=file.pk)
    if row.state != S.OPENING:
        raise InvalidMove("the job was taken back")
    row.entries_done += len(outcomes)
    row.save(update_fields=["entries_done", "updated_at"])
    count_outcomes(file.upload, outcomes)


@transaction.atomic
def finish_opening(file: UploadedFile) -> None:
    """Every entry was taken in."""
    _end(_move(file.pk, "finish"))


@transaction.atomic
def give_up_opening(file: UploadedFile, outcome: Outcome) -> None:
    """The ZIP went to quarantine instead: it stopped its worker too often."""
    row = _move(file.pk, "give_up")
    count_outcomes(row.upload, [outcome])
    _end(row)


def _end(row: UploadedFile) -> None:
    """As with every file: no name is kept once its upload has ended."""
    if row.upload.finished_at is not None:
        row.delete()


def put_back(file: UploadedFile) -> None:
    """The worker was told to stop, or the disk is full: not the ZIP's fault, so not counted."""
    with transaction.atomic():
        row = _move(file.pk, "put_back")
        row.attempts -= 1
        row.save(update_fields=["attempts"])


def return_stalled(now: datetime) -> int:
    """Send what waits and heard nothing, and give back what a killed worker held; how many."""
    silent = UploadedFile.objects.filter(updated_at__lt=now - timedelta(seconds=SILENT_SECONDS))
    pks = list(silent.filter(state__in=[S.WAITING, S.OPENING]).values_list("pk", flat=True))
    for pk in pks:
        with transaction.atomic():
            row = UploadedFile.objects.select_for_update().get(pk=pk)
            if row.state == S.OPENING:
                _move(pk, "put_back")
            else:
                row.save(update_fields=["updated_at"])
            transaction.on_commit(partial(send, OPEN_ACTOR, RECEIVE_QUEUE, pk))
    return len(pks)
