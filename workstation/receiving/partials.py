"""Half-sent files of resumable uploads. The length of the file on disk is the offset.

They lie under ``UPLOADS_DIR/partial``; several web hosts must share that folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from django.conf import settings

from workstation.receiving.storage import FULL, StorageFull

RESERVE_BYTES = 256 * 1024**2
"""Room that uploads leave on the disk, for the database and what is being written."""


class Busy(Exception):
    """Another request is writing to this file."""


def folder() -> Path:
    return settings.UPLOADS_DIR / "partial"


def path_of(key: UUID) -> Path:
    return folder() / key.hex


def offset_of(key: UUID) -> int:
    """Bytes that are on the disk."""
    try:
        return path_of(key).stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def locked(key: UUID) -> Iterator[None]:
    """One writer per file, over all processes. Raises :class:`Busy` instead of waiting: the
    request that the browser gave up may still hold it."""
    folder().mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path_of(key).with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        yield
    finally:
        os.close(descriptor)


def append(key: UUID, pieces: Iterable[bytes], *, at_most: int) -> int:
    """Write pieces at the end, synced to the disk; returns the new length.

    Stops at ``at_most`` bytes in the file. Raises :class:`StorageFull`; what was written before
    stays and counts.
    """
    folder().mkdir(parents=True, exist_ok=True)
    try:
        with path_of(key).open("ab") as file:
            size = file.tell()
            for piece in pieces:
                size += file.write(piece[: at_most - size])
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull from error
        raise
    return offset_of(key)


def adopt(key: UUID, staged_path: Path) -> int:
    """Make a staged file the beginning of a half-sent one; returns its length."""
    folder().mkdir(parents=True, exist_ok=True)
    os.replace(staged_path, path_of(key))
    return offset_of(key)


def remove(key: UUID) -> None:
    """Forget the bytes; no error if they are gone."""
    for path in (path_of(key), path_of(key).with_suffix(".lock")):
        path.unlink(missing_ok=True)


def has_room_for(size: int) -> bool:
    """Whether ``size`` more bytes fit the disk, twice: as sent and as archived."""
    free = shutil.disk_usage(settings.RADFUSE_HOME).free
    return free > 2 * size + RESERVE_BYTES
