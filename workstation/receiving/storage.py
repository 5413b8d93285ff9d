"""The archive and the quarantine: bytes named by their SHA-256, and the way in and out.

Every file is first *staged*: written to a temporary name under ``RADFUSE_HOME/incoming`` while it
is hashed. Only a whole staged file is taken over by a store (``stores.py``): a crash or a full disk
leaves nothing half-written. A local store lies on the same file system as the incoming folder.

Analysis and decoding read files by path. A remote store's files are fetched into a cache for that.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import psutil
from django.conf import settings
from django.core.files.storage import storages

from workstation.receiving import cache
from workstation.receiving.stores import LocalStore, Parcel, Store, sync_all, syncing

CHUNK = 1024 * 1024
WRITE_BUFFER = 64 * 1024
"""Small pieces are written together; larger ones are not copied first."""
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
    synced: bool = False
    """Its content is on the disk, not only in the operating system's memory."""
    syncing: Future[None] | None = field(default=None, compare=False, repr=False)
    """Done when it is, if that was begun."""


class BytesMissing(Exception):
    """The store has no whole file under this SHA-256; ``manage.py verify_archive`` tells more."""

    def __init__(self) -> None:
        super().__init__(
            "The bytes of this object are missing or damaged in the archive. "
            "Ask the sender to send it again; verify_archive lists what is missing."
        )


def name_of(sha256: str) -> str:
    """The name of the bytes with this SHA-256 (hexadecimal) in every store."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def archive_store() -> Store:
    """The store of accepted objects."""
    return storages["archive"]  # type: ignore[return-value]


def quarantine_store() -> Store:
    """The store of refused bytes."""
    return storages["quarantine"]  # type: ignore[return-value]


def path_of(sha256: str) -> Path:
    """A local path of archived bytes, for readers that need one.

    In a local store this is the file itself (not looked at). From a remote store the bytes are
    fetched into the cache and checked. Raises :class:`BytesMissing`.
    """
    return _local(archive_store(), sha256)


def _local(store: Store, sha256: str) -> Path:
    if isinstance(store, LocalStore):
        return Path(store.location, name_of(sha256))
    try:
        return cache.fetched(store, name_of(sha256), sha256)
    except cache.NotWhole:
        raise BytesMissing from None


def quarantine_opened(sha256: str) -> BinaryIO:
    """Quarantined bytes as a stream. Raises :class:`BytesMissing`."""
    return _opened(quarantine_store(), sha256)


def opened(sha256: str) -> BinaryIO:
    """Archived bytes as a stream, for answers that only pass them on.

    Raises :class:`BytesMissing`.
    """
    return _opened(archive_store(), sha256)


def _opened(store: Store, sha256: str) -> BinaryIO:
    try:
        return store.open(name_of(sha256), "rb")  # type: ignore[return-value]
    except FileNotFoundError:
        raise BytesMissing from None


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """A stream in pieces, so that memory does not grow with the file."""
    while piece := stream.read(CHUNK):
        yield piece


@contextmanager
def staged(chunks: Iterable[bytes], *, sync_soon: bool = False) -> Iterator[Staged]:
    """Write ``chunks`` to a temporary file, hashing on the way; it is gone afterwards if not kept.

    ``sync_soon``: it goes on to the disk while the caller does something else, see
    :func:`settled`. Raises :class:`StorageFull`; other errors of the disk or of the source pass
    through.
    """
    staging = Staging()
    try:
        for piece in chunks:
            staging.write(piece)
        yield staging.finish(sync_soon=sync_soon)
    finally:
        staging.discard()


class Staging:
    """A temporary file that is written piece by piece as bytes come in.

    :meth:`discard` must follow in the end; it removes the file whether or not it was kept.
    """

    def __init__(self) -> None:
        name = f"{_this_process(os.getpid())}+{next(_numbers)}"
        self.path = _incoming() / name
        with full_disk_named():
            try:
                file = self.path.open("xb", buffering=WRITE_BUFFER)
            except FileNotFoundError:  # the first file of a new archive
                self.path.parent.mkdir(parents=True, exist_ok=True)
                file = self.path.open("xb", buffering=WRITE_BUFFER)
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Raises :class:`StorageFull`."""
        self._digest.update(piece)
        self.size += len(piece)
        with full_disk_named():
            self._file.write(piece)

    def finish(self, *, synced: bool = False, sync_soon: bool = False) -> Staged:
        """The whole file. ``synced``: wait until its content is on the disk; ``sync_soon``: see
        that it gets there.

        Raises :class:`StorageFull`.
        """
        begun = None
        with full_disk_named():
            self._file.flush()
            if synced:
                os.fsync(self._file.fileno())
            elif sync_soon:
                begun = syncing(os.dup(self._file.fileno()))
            self._file.close()
        return Staged(self.path, self._digest.hexdigest(), self.size, synced, begun)

    def discard(self) -> None:
        # Closing may try to write what a full disk did not take; the file goes anyway.
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


_numbers = itertools.count()
"""Of the staged files of this process: with its mark they are names that nobody else has."""


def _incoming() -> Path:
    return settings.RADFUSE_HOME / "incoming"


def _owner(pid: int) -> str:
    """A process of this host that cannot be mistaken for a later one with the same number."""
    return f"{socket.gethostname()}+{pid}+{int(psutil.Process(pid).create_time())}"


_this_process = lru_cache(maxsize=4)(_owner)
"""By number, because a forked child is another owner."""


def remove_leftovers(older_than: float) -> int:
    """Delete staged files that a killed process left behind; returns their number.

    Files of a process of this host that is gone are deleted at once; files of other hosts when
    nothing was written to them for ``older_than`` seconds.
    """
    removed = 0
    oldest = time.time() - older_than
    for path in _incoming().glob("*"):
        if _is_left(path, oldest):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _is_left(path: Path, oldest: float) -> bool:
    host, _, rest = path.name.partition("+")
    pid = rest.partition("+")[0]
    if host == socket.gethostname() and pid.isdigit():
        try:
            return not path.name.startswith(_owner(int(pid)))
        except psutil.Error:
            return True
    try:
        return path.stat().st_mtime < oldest
    except FileNotFoundError:
        return False


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Raises :class:`StorageFull` for what the operating system says when a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull from error
        raise


def settled(staged_files: Sequence[Staged]) -> list[Staged]:
    """The same files, when the content of all is on the disk. They wait for it together.

    Raises :class:`StorageFull`.
    """
    with full_disk_named():
        sync_all(file.path for file in staged_files if not (file.synced or file.syncing))
        for file in staged_files:
            if file.syncing is not None and not file.synced:
                file.syncing.result()
    return [replace(file, synced=True) for file in staged_files]


def archive(*staged_files: Staged) -> None:
    """Hand staged files to the archive, where they are never changed again."""
    _keep(archive_store(), staged_files)


def put_in_quarantine(staged_file: Staged) -> None:
    """Hand a staged file to the quarantine store."""
    _keep(quarantine_store(), [staged_file])


def _keep(store: Store, staged_files: Iterable[Staged]) -> None:
    with full_disk_named():
        store.take(
            Parcel(file.path, name_of(file.sha256), file.size, file.sha256, file.synced)
            for file in staged_files
        )


def remove_from_archive(sha256: str) -> None:
    """Forget archived bytes for good; no error if they are gone."""
    archive_store().delete(name_of(sha256))


ASIDE = ".aside"
"""Ending of bytes that are about to be removed; ``verify_archive`` passes them over."""


def set_aside(sha256: str) -> None:
    """Rename archived bytes so that a copy that arrives now is written anew; no error if gone."""
    archive_store().rename(name_of(sha256), name_of(sha256) + ASIDE)


def bring_back(sha256: str) -> None:
    """Undo :func:`set_aside`; bytes that arrived since then stay."""
    archive_store().rename(name_of(sha256) + ASIDE, name_of(sha256))


def remove_set_aside(sha256: str) -> None:
    """Forget bytes that were set aside, for good."""
    archive_store().delete(name_of(sha256) + ASIDE)


def set_aside_in_quarantine(sha256: str) -> None:
    """As :func:`set_aside`, of quarantined bytes."""
    quarantine_store().rename(name_of(sha256), name_of(sha256) + ASIDE)


def bring_back_to_quarantine(sha256: str) -> None:
    """Undo :func:`set_aside_in_quarantine`."""
    quarantine_store().rename(name_of(sha256) + ASIDE, name_of(sha256))


def remove_aside_from_quarantine(sha256: str) -> None:
    """Forget quarantined bytes that were set aside, for good."""
    quarantine_store().delete(name_of(sha256) + ASIDE)
