"""Bytes on disk, named by their SHA-256: the archive, the quarantine, and the way in.

Every file is first *staged*: written to a temporary name while it is hashed. Only a whole staged
file is synced to the disk and renamed into a store: a crash or a full disk leaves nothing
half-written.
Incoming folder and stores lie under ``RADFUSE_HOME`` and must be one file system.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

CHUNK = 1024 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StorageFull(Exception):
    """The disk has no room; nothing of the file was kept."""

    def __init__(self) -> None:
        super().__init__(
            "The archive disk is full. Nothing was stored; free some space and send again."
        )


@dataclass(frozen=True)
class Staged:
    """A whole file on disk that belongs to no store yet."""

    path: Path
    sha256: str
    size: int


def _place(root: Path, sha256: str) -> Path:
    return root / sha256[:2] / sha256[2:4] / sha256


def path_of(sha256: str) -> Path:
    """Where the archive keeps the bytes with this SHA-256 (hexadecimal)."""
    return _place(settings.ARCHIVE_DIR, sha256)


def quarantine_path_of(sha256: str) -> Path:
    """Where quarantined bytes lie."""
    return _place(settings.QUARANTINE_DIR, sha256)


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """A stream in pieces, so that memory does not grow with the file."""
    while piece := stream.read(CHUNK):
        yield piece


@contextmanager
def staged(chunks: Iterable[bytes]) -> Iterator[Staged]:
    """Write ``chunks`` to a temporary file, hashing on the way; it is gone afterwards if not kept.

    Raises :class:`StorageFull`; other errors of the disk or of the source pass through.
    """
    folder = _incoming()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder)
    path = Path(name)
    try:
        yield _write(descriptor, path, chunks)
    finally:
        path.unlink(missing_ok=True)


def _incoming() -> Path:
    return settings.RADFUSE_HOME / "incoming"


def remove_leftovers(older_than: float) -> int:
    """Delete staged files that a killed process left behind; ``older_than`` in seconds.

    Returns their number. A file still being written is younger: its last piece just came.
    """
    oldest = time.time() - older_than
    leftovers = [path for path in _incoming().glob("*") if path.stat().st_mtime < oldest]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def _write(descriptor: int, path: Path, chunks: Iterable[bytes]) -> Staged:
    digest = hashlib.sha256()
    size = 0
    with os.fdopen(descriptor, "wb") as file:
        for piece in chunks:
            digest.update(piece)
            size += len(piece)
            with _full_disk_named():
                file.write(piece)
        with _full_disk_named():
            file.flush()
    return Staged(path, digest.hexdigest(), size)


@contextmanager
def _full_disk_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull from error
        raise


def _keep(staged_file: Staged, place: Path) -> None:
    # The name is the content: what is there already is the same. A shorter file can only be the
    # work of a failing disk, and is replaced by the whole one.
    if place.exists() and place.stat().st_size == staged_file.size:
        return
    with _full_disk_named():
        place.parent.mkdir(parents=True, exist_ok=True)
        staged_file.path.chmod(0o440)
        _sync(staged_file.path)
        os.rename(staged_file.path, place)
        for folder in (place.parent, place.parent.parent):
            _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def archive(staged_file: Staged) -> Path:
    """Move a staged file into the archive, where it is never changed again."""
    place = path_of(staged_file.sha256)
    _keep(staged_file, place)
    return place


def put_in_quarantine(staged_file: Staged) -> Path:
    """Move a staged file into the quarantine store."""
    place = quarantine_path_of(staged_file.sha256)
    _keep(staged_file, place)
    return place


def remove_from_quarantine(sha256: str) -> None:
    """Forget quarantined bytes for good; no error if they are gone."""
    quarantine_path_of(sha256).unlink(missing_ok=True)
