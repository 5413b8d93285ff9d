"""A file of an upload is whole: it is taken in at once, or left to a worker."""

from __future__ import annotations

import logging
import time

from dramatiq.middleware import Interrupt

from workstation.receiving import partials
from workstation.receiving.files import Receiver, entries_of, takes_long
from workstation.receiving.headers import NotAccepted
from workstation.receiving.models import UploadedFile
from workstation.receiving.outcomes import Outcome
from workstation.receiving.services import quarantine
from workstation.receiving.services.opening import (
    MAX_ATTEMPTS,
    InvalidMove,
    finish_opening,
    give_up_opening,
    hand_over,
    note_opened,
    put_back,
    start_opening,
)
from workstation.receiving.services.uploading import finish_file
from workstation.receiving.storage import StorageFull, chunks_of, staged

log = logging.getLogger(__name__)
TELL_ENTRIES = 50
TELL_SECONDS = 5.0


def take_in(file: UploadedFile) -> None:
    """Take in a file whose bytes are all on the disk. Raises ``StorageFull``; then it waits.

    A crash on the way repeats this: the archive keeps an object it knows once.
    """
    path = partials.path_of(file.key)
    if path.exists() and takes_long(path):
        with path.open("rb") as archive:
            entries = entries_of(archive)
        hand_over(file, entries)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()  # an empty file has no bytes to wait for
    receiver = Receiver(file.upload.site, file.upload)
    with path.open("rb") as opened:
        outcomes = [item.outcome for item in receiver.take(opened, file.name)]
    finish_file(file, outcomes)
    partials.remove(file.key)


def open_archive(pk: int) -> None:
    """The worker's job: every entry of a ZIP, going on behind what the last attempt finished."""
    file = start_opening(pk)
    if file is None:
        return
    receiver = Receiver(file.upload.site, file.upload)
    try:
        if file.attempts > MAX_ATTEMPTS:
            give_up_opening(file, _set_aside(receiver, file))
        else:
            _open(receiver, file)
            finish_opening(file)
        partials.remove(file.key)
    except InvalidMove:
        log.warning("uploaded archive %d was taken back while it was opened", pk)
    except StorageFull:
        log.error("archive disk full: uploaded archive %d waits", pk)
        put_back(file)
    except Interrupt:
        put_back(file)
        raise


def _open(receiver: Receiver, file: UploadedFile) -> None:
    done: list[Outcome] = []
    told = time.monotonic()
    try:
        with partials.path_of(file.key).open("rb") as opened:
            for item in receiver.take(opened, file.name, skip=file.entries_done):
                done.append(item.outcome)
                if len(done) >= TELL_ENTRIES or time.monotonic() - told > TELL_SECONDS:
                    note_opened(file, done)
                    done, told = [], time.monotonic()
    finally:
        note_opened(file, done)


def _set_aside(receiver: Receiver, file: UploadedFile) -> Outcome:
    refusal = NotAccepted(
        "zip_not_opened",
        "Opening this ZIP stopped its worker several times. Unpack it, then upload its files.",
    )
    with (
        partials.path_of(file.key).open("rb") as opened,
        staged(chunks_of(opened)) as whole,
    ):
        return quarantine(
            receiver.site, whole, refusal, source=receiver.source, filename=file.name,
            upload=receiver.upload,
        )  # fmt: skip
