"""Local copies of a remote store's files, for readers that need a path.

A copy is whole and checked before it gets its name. When the copies together pass
``ARCHIVE_CACHE_BYTES``, those not read for longest go first; an open file stays readable.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from workstation.receiving.stores import Store

CHUNK = 1024 * 1024
MANY = 200
"""The copies are counted once per this many fetched files of a process."""
IN_USE_SECONDS = 3600
"""An analysis reads its files for some time after it was given their paths."""
_fetched = 0


class NotWhole(Exception):
    """The store has no such file, or its content is not what its name says."""


def fetched(store: Store, name: str, sha256: str) -> Path:
    """The local copy of a file, fetched if it is not there. Raises :class:`NotWhole`."""
    place = _folder() / name
    if place.is_file():
        os.utime(place)
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=".")
    digest = hashlib.sha256()
    try:
        with os.fdopen(descriptor, "wb") as copy, store.open(name, "rb") as source:
            while piece := source.read(CHUNK):
                digest.update(piece)
                copy.write(piece)
        if digest.hexdigest() != sha256:
            raise NotWhole
        os.rename(temporary, place)
    except FileNotFoundError:
        raise NotWhole from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    _count_sometimes()
    return place


def _folder() -> Path:
    return settings.RADFUSE_HOME / "cache" / "archive"


def _count_sometimes() -> None:
    global _fetched
    _fetched += 1
    if _fetched % MANY == 1:
        shrink(settings.ARCHIVE_CACHE_BYTES)


def shrink(limit: int) -> int:
    """Delete the copies not read for longest until the rest is within ``limit`` bytes.

    Returns the number of deleted copies.
    """
    copies = [(path.stat(), path) for path in _folder().rglob("*") if path.is_file()]
    total = sum(stat.st_size for stat, _ in copies)
    removed = 0
    for stat, path in sorted(copies, key=lambda item: item[0].st_mtime):
        if total <= limit or time.time() - stat.st_mtime < IN_USE_SECONDS:
            break
        path.unlink(missing_ok=True)
        total -= stat.st_size
        removed += 1
    return removed
