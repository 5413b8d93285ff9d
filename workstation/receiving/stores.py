"""Where bytes are kept, behind Django's storage API: a local folder, or an S3-compatible store.

Both hold files under names that ``storage.py`` derives from their SHA-256. What Django's API lacks
is added here: taking a staged file over durably, and naming everything below a prefix.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import FileSystemStorage
from storages.backends.s3 import S3Storage

READ_ONLY = 0o440


class LocalStore(FileSystemStorage):
    """A folder, named by a setting so that one place in the settings moves it."""

    def __init__(self, setting: str, **options: Any) -> None:
        super().__init__(**options)
        self.setting = setting

    @property
    def base_location(self) -> str:  # type: ignore[override]
        return str(getattr(settings, self.setting))

    @property
    def location(self) -> str:  # type: ignore[override]
        return os.path.abspath(self.base_location)

    def take(self, source: Path, name: str, size: int, sha256: str) -> None:
        """Sync the staged file and rename it to ``name``; what is there whole already stays.

        The name is the content: a shorter file can only be the work of a failing disk, and is
        replaced by the whole one.
        """
        place = Path(self.location, name)
        if place.exists() and place.stat().st_size == size:
            return
        new_folders = self._make(place.parent)
        source.chmod(READ_ONLY)
        sync(source)
        os.rename(source, place)
        for folder in (place.parent, *new_folders):
            sync(folder)

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


class BucketStore(S3Storage):
    """A bucket of an S3-compatible store; uploads carry their SHA-256 for the store to check."""

    def take(self, source: Path, name: str, size: int, sha256: str) -> None:
        """Upload the staged file under ``name`` unless it is there whole already."""
        if self.exists(name) and self.size(name) == size:
            return
        with source.open("rb") as file:
            self.bucket.Object(self._normalize_name(name)).put(
                Body=file,
                ContentLength=size,
                ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
            )

    def rename(self, name: str, other: str) -> None:
        """As :meth:`LocalStore.rename`: a copy, then a deletion."""
        if not self.exists(name):
            return
        source = {"Bucket": self.bucket.name, "Key": self._normalize_name(name)}
        self.bucket.Object(self._normalize_name(other)).copy(source)
        self.delete(name)

    def names(self, prefix: str = "") -> Iterator[tuple[str, int, float]]:
        """As :meth:`LocalStore.names`."""
        root = f"{self.location.strip('/')}/" if self.location else ""
        for item in self.bucket.objects.filter(Prefix=root + prefix):
            yield item.key.removeprefix(root), item.size, item.last_modified.timestamp()


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
