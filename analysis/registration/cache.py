"""Registrations done before: found again by what went into them, so that no run does work twice.

One file per registration, named by the SHA-256 of everything that can change the result: voxels,
grid and kind of both volumes, options, seed, versions of this code and of the libraries below it.
The number of threads is left out: results do not depend on it. Any number of workers may share the
folder: files appear complete or not at all, and two workers at the same registration write the
same bytes. A file that cannot be read is said so in the log, removed, and computed anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import ValidationError

from analysis.contracts import RegistrationRecord, VolumeRecord, from_json, to_json
from analysis.files import whole_file
from analysis.geometry import Volume
from analysis.progress import Progress
from analysis.provenance import versions
from analysis.registration.thresholds import REGISTRATION_VERSION

log = logging.getLogger(__name__)

CACHE_VERSION = "1"
"""Of the file format and of what goes into a key."""
MAX_ENTRIES = 1_000
"""Kept per folder, the latest used ones (about 10 kB each)."""
STALE_PART_S = 3_600.0
"""Half-written files of killed workers are removed when they are this old."""

Register = Callable[..., RegistrationRecord]


class CachedRegister:
    """``register_series`` with a memory; called just like it.

    ``folder`` None: no memory, every call is computed.
    """

    def __init__(self, folder: Path | None, register: Register) -> None:
        self._folder = folder
        self._register = register
        self._known: WeakKeyDictionary[Volume, str] = WeakKeyDictionary()

    def know(self, volume: Volume, record: VolumeRecord) -> Volume:
        """``volume`` is what ``record`` stores: its hash need not be computed from its voxels."""
        stored = (record.sha256, record.slope, record.intercept, record.dtype)
        self._known[volume] = _digest([str(part) for part in stored])
        return volume

    def __call__(
        self,
        moving: Volume,
        reference: Volume,
        *,
        moving_uid: str,
        reference_uid: str,
        threads: int,
        progress: Progress,
        **options: Any,
    ) -> RegistrationRecord:
        path = None
        if self._folder is not None:
            path = self._folder / f"{self._key(moving, reference, options)}.json"
            found = _read(path)
            if found is not None:
                progress(1.0, "Registered before")
                return replace(
                    found, series_instance_uid=moving_uid, reference_series_uid=reference_uid
                )
        record = self._register(
            moving, reference, moving_uid=moving_uid, reference_uid=reference_uid,
            threads=threads, progress=progress, **options,
        )  # fmt: skip
        if path is not None and record.deformation is None:
            _write(path, replace(record, series_instance_uid="", reference_series_uid=""))
        return record

    def _key(self, moving: Volume, reference: Volume, options: dict[str, Any]) -> str:
        parts = [CACHE_VERSION, REGISTRATION_VERSION, json.dumps(versions(), sort_keys=True)]
        parts += [self._of(moving), self._of(reference)]
        for name, value in sorted(options.items()):
            parts.append(name)
            parts.append(self._of(value) if isinstance(value, Volume) else repr(value))
        return _digest(parts)

    def _of(self, volume: Volume) -> str:
        voxels = self._known.get(volume)
        if voxels is None:
            array = np.ascontiguousarray(volume.array)
            voxels = _digest([str(array.dtype)], array.view(np.uint8).data)
            self._known[volume] = voxels
        grid = volume.grid
        place = [str(grid.shape), np.asarray(grid.affine, dtype=np.float64).tobytes().hex()]
        return _digest([voxels, *place, volume.unit, volume.modality, volume.role])


def _digest(parts: list[str], voxels: memoryview | None = None) -> str:
    digest = hashlib.sha256(json.dumps(parts).encode())
    if voxels is not None:
        digest.update(voxels)
    return digest.hexdigest()


def _read(path: Path) -> RegistrationRecord | None:
    try:
        stored = json.loads(path.read_bytes())
        payload = stored["record"]
        if hashlib.sha256(payload.encode()).hexdigest() != stored["sha256"]:
            raise ValueError("the hash does not fit")
        record = from_json(RegistrationRecord, payload)
        os.utime(path)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        log.warning(
            "A stored registration is damaged (%s) and computed anew: %s",
            type(error).__name__, path.name[:12],
        )  # fmt: skip
        path.unlink(missing_ok=True)
        return None
    return record


def _write(path: Path, record: RegistrationRecord) -> None:
    payload = to_json(record).decode()
    entry = {"sha256": hashlib.sha256(payload.encode()).hexdigest(), "record": payload}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps(entry).encode())
    _tidy(path.parent)


def _tidy(folder: Path) -> None:
    """Remove the least recently used entries beyond the limit and what killed workers left."""
    entries: list[tuple[float, Path]] = []
    for path in folder.iterdir():
        try:
            age = path.stat().st_mtime
        except FileNotFoundError:  # another worker tidies too
            continue
        if path.suffix == ".json":
            entries.append((age, path))
        elif path.suffix == ".part" and time.time() - age > STALE_PART_S:
            path.unlink(missing_ok=True)
    for _, path in sorted(entries)[: max(0, len(entries) - MAX_ENTRIES)]:
        path.unlink(missing_ok=True)
