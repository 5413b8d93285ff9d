"""Does each row have its bytes, and each byte its row? Compares rows and stores, shard by shard.

Only reads. What has no row may be on its way in this moment, so it is reported when it is older
than a grace time and still has no row when asked again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from workstation.receiving.models import Instance, Quarantined, QuarantineState
from workstation.receiving.storage import (
    ASIDE,
    archive_store,
    chunks_of,
    name_of,
    quarantine_store,
)
from workstation.receiving.stores import Store


class Fault(StrEnum):
    MISSING = "missing"
    WRONG_SIZE = "wrong size"
    DAMAGED = "damaged"
    ORPHAN = "orphan"
    STRANGE = "strange name"


@dataclass(frozen=True)
class Finding:
    """One disagreement. ``rows`` are primary keys; names hold no patient data."""

    store: str
    fault: Fault
    name: str
    rows: tuple[int, ...] = ()


@dataclass
class Tally:
    """What was looked at."""

    rows: int = 0
    files: int = 0
    bytes_read: int = 0


Rows = dict[str, list[tuple[int, int]]]
"""SHA-256 -> (primary key, size) of the rows that name it."""


def verify(tally: Tally, *, read_all: bool = True, grace: float = 60.0) -> Iterator[Finding]:
    """Every disagreement of the archive and the quarantine. ``tally`` counts on the way.

    ``read_all``: read every file and compare its SHA-256; otherwise names and sizes only.
    ``grace``: age in seconds from which a file without a row is an orphan.
    """
    for label, store in (("archive", archive_store()), ("quarantine", quarantine_store())):
        for shard in store.shards:
            yield from _shard(label, store, shard, tally, read_all, grace)
    for label, store in (("archive", archive_store()), ("quarantine", quarantine_store())):
        for name, _, _ in store.names():
            if name != name_of(name.rpartition("/")[2]):
                yield Finding(label, Fault.STRANGE, name)


def _rows(label: str, shard: str) -> Rows:
    if label == "archive":
        query = Instance.objects.filter(sha256__startswith=shard)
    else:
        # A discarded entry's bytes are gone on purpose, and so are those of a released one.
        query = Quarantined.objects.filter(
            sha256__startswith=shard,
            state__in=[QuarantineState.HELD, QuarantineState.CORRECTED],
        )
    rows: Rows = {}
    for pk, sha256, size in query.values_list("pk", "sha256", "size").iterator():
        rows.setdefault(sha256, []).append((pk, size))
    return rows


def _shard(
    label: str,
    store: Store,
    shard: str,
    tally: Tally,
    read_all: bool,
    grace: float,
) -> Iterator[Finding]:
    # Rows before files: what is stored in between is a file without a row, and asked for again.
    rows = _rows(label, shard)
    files = {
        name: (size, at) for name, size, at in store.names(shard) if not name.endswith(ASIDE)
    }
    tally.rows += sum(len(found) for found in rows.values())
    tally.files += len(files)
    for sha256, found in rows.items():
        name = name_of(sha256)
        keys = tuple(pk for pk, _ in found)
        size, _ = files.pop(name, (None, 0.0))
        if size is None:
            # Deleted with its row since the rows were read?
            if _rows(label, sha256):
                yield Finding(label, Fault.MISSING, name, keys)
        elif any(wanted != size for _, wanted in found):
            yield Finding(label, Fault.WRONG_SIZE, name, keys)
        elif read_all and _sha256(store, name, tally) != sha256:
            yield Finding(label, Fault.DAMAGED, name, keys)
    for name, (_, at) in files.items():
        sha256 = name.rpartition("/")[2]
        if name == name_of(sha256) and at <= time.time() - grace and not _rows(label, sha256):
            yield Finding(label, Fault.ORPHAN, name)


def _sha256(store: Store, name: str, tally: Tally) -> str:
    digest = hashlib.sha256()
    with store.open(name, "rb") as file:
        for piece in chunks_of(file):  # type: ignore[arg-type]
            tally.bytes_read += len(piece)
            digest.update(piece)
    return digest.hexdigest()
