"""Where bytes are kept, behind Django's storage API: a local folder (``buckets.py``: a bucket).

Both hold files under names that ``storage.py`` derives from their SHA-256. What Django's API lacks
is added: taking a staged file over durably, and naming everything below a prefix.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.core.files.storage import FileSystemStorage

READ_ONLY = 0o440
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True)
class Parcel:
    """A staged file on its way into a store."""

    source: Path
    name: str
    size: int
    sha256: str
    synced: bool = False
    """Its content is on the disk already."""


class Store(Protocol):
    """What the archive asks of a store, beside Django's own storage API."""

    shards: tuple[str, ...]

    def open(self, name: str, mode: str = "rb") -> Any: ...
    def exists(self, name: str) -> bool: ...
    def delete(self, name: str) -> None: ...
    def take(self, files: Iterable[Parcel]) -> None: ...
    def rename(self, name: str, other: str) -> None: ...
    def names(self, prefix: str = "") -> Iterator[tuple[str, int, float]]: ...


class LocalStore(FileSystemStorage):
    """A folder, named by a setting so that one place in the settings moves it."""

    shards = tuple(f"{number:02x}" for number in range(256))
    """Beginnings of names that divide all files into parts small enough for memory."""

    def __init__(self, setting: str, **options: Any) -> None:
        super().__init__(**options)
        self.setting = setting

    @property
    def base_location(self) -> str:  # type: ignore[override]
        return str(getattr(settings, self.setting))

    @property
    def location(self) -> str:  # type: ignore[override]
        return os.path.abspath(self.base_location)

    def take(self, files: Iterable[Parcel]) -> None:
        """Keep staged files under their names, durably; what is there whole already stays.

        The name is the content: a shorter file can only be the work of a failing disk, and is
        replaced by the whole one. Folders are synced once for all files.
        """
        changed: dict[Path, None] = {}
        # One of each name: of equal files the others keep their own names, as do repetitions.
        named = {file.name: file for file in files}
        location = self.location
        places = {name: Path(location, name) for name in named}
        new = [file for file in named.values() if not _is_whole(places[file.name], file.size)]
        sync_all(file.source for file in new if not file.synced)
        for file in new:
            place = places[file.name]
            changed.update(dict.fromkeys(self._make(place.parent)))
            file.source.chmod(READ_ONLY)
            _put(file.source, place)
            changed[place.parent] = None
        sync_all(changed)

    def rename(self, name: str, other: str) -> None:
        """Give a file another name, replacing what has it; no error if the file is gone."""
        try:
            os.replace(Path(self.location, name), Path(self.location, other))
        except FileNotFoundError:
            return
        sync(Path(self.location, name).parent)

    def _make(self, folder: Path) -> list[Path]:
        """Make a folder; returns the folders that got a new entry by that."""
        if folder.is_dir():
            return []
        above = self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        return [*above, folder.parent]

    def names(self, prefix: str = "") -> Iterator[tuple[str, int, float]]:
        """Name, size in bytes and age mark (seconds since the epoch) of every file below."""
        for folder, _, files in os.walk(os.path.join(self.location, prefix)):
            for file in files:
                path = os.path.join(folder, file)
                try:
                    found = os.stat(path)
                except FileNotFoundError:
                    continue  # removed since it was listed
                yield os.path.relpath(path, self.location), found.st_size, found.st_mtime


def _is_whole(place: Path, size: int) -> bool:
    try:
        return place.stat().st_size == size
    except FileNotFoundError:
        return False


def _put(source: Path, place: Path) -> None:
    """Give a staged file its name in the store. It keeps its own name as well, so that it can be
    tried again if the transaction that it belongs to fails."""
    try:
        os.link(source, place)
    except OSError as error:
        # A damaged file is there and is replaced; or the file system knows no links.
        if error.errno not in (errno.EEXIST, *NO_LINKS):
            raise
        os.replace(source, place)


SYNC_THREADS = 16


@lru_cache(maxsize=4)
def _syncers(pid: int) -> ThreadPoolExecutor:
    """By number, because threads do not survive a fork."""
    return ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")


def sync_all(paths: Iterable[Path]) -> None:
    """As :func:`sync`, at the same time: they wait for one commit of the file system's journal,
    where one after the other each waits for its own."""
    waiting = list(paths)
    if len(waiting) > 1:
        list(_syncers(os.getpid()).map(sync, waiting))
    elif waiting:
        sync(waiting[0])


def syncing(descriptor: int) -> Future[None]:
    """Begin to sync an open file, and close this descriptor of it; done when it is on the disk."""
    return _syncers(os.getpid()).submit(_sync_and_close, descriptor)


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    _sync_and_close(os.open(path, os.O_RDONLY))
