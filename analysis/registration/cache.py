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
from analysis.deformation import Deformation
from analysis.errors import StepFailed
from analysis.files import whole_file
from analysis.geometry import Volume
from analysis.progress import Progress, silent
from analysis.provenance import versions
from analysis.registration.thresholds import REGISTRATION_VERSION

log = logging.getLogger(__name__)

CACHE_VERSION = "1"
"""Of the file format and of what goes into a key."""
MAX_ENTRIES = 1_000
"""Kept per folder, the latest used ones (about 10 kB each)."""
MAX_FIELDS = 50
"""Of them with a field beside it (some megabytes)."""
FIELD_SUFFIX = ".npz"
STALE_PART_S = 3_600.0
"""Half-written files of killed workers are removed when they are this old."""

Register = Callable[..., RegistrationRecord]
Deform = Callable[..., tuple[RegistrationRecord, Deformation]]


class Contents:
    """Hashes of volumes, each computed once."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Volume, str] = WeakKeyDictionary()

    def know(self, volume: Volume, record: VolumeRecord) -> Volume:
        """``volume`` is what ``record`` stores: its hash need not be computed from its voxels."""
        stored = (record.sha256, record.slope, record.intercept, record.dtype)
        self._known[volume] = _digest([str(part) for part in stored])
        return volume

    def key(
        self, version: str, moving: Volume, reference: Volume, options: dict[str, Any]
    ) -> str:
        """Name of an entry: everything that can change the result of the method ``version``."""
        parts = [CACHE_VERSION, version, json.dumps(versions(), sort_keys=True)]
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


class CachedRegister:
    """``register_series`` with a memory; called just like it.

    ``folder`` None: no memory, every call is computed. ``contents`` may be shared.
    """

    def __init__(
        self, folder: Path | None, register: Register, contents: Contents | None = None
    ) -> None:
        self._folder = folder
        self._register = register
        self._contents = contents or Contents()

    def know(self, volume: Volume, record: VolumeRecord) -> Volume:
        """See :meth:`Contents.know`."""
        return self._contents.know(volume, record)

    def __call__(
        self,
        moving: Volume,
        reference: Volume,
        *,
        moving_uid: str,
        reference_uid: str,
        threads: int,
        progress: Progress = silent,
        **options: Any,
    ) -> RegistrationRecord:
        path = None
        if self._folder is not None:
            key = self._contents.key(REGISTRATION_VERSION, moving, reference, options)
            path = self._folder / f"{key}.json"
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
        if path is not None:
            _write(path, _nameless(record))
        return record


class CachedDeform:
    """``deform_series`` with a memory; called just like it. An entry has its field beside it.

    ``version`` is that of the method, which this module does not import: it needs PyTorch.
    """

    def __init__(
        self, folder: Path | None, deform: Deform, version: str, contents: Contents | None = None
    ) -> None:
        self._folder = folder
        self._deform = deform
        self._version = version
        self._contents = contents or Contents()

    def __call__(
        self,
        moving: Volume,
        reference: Volume,
        record: RegistrationRecord,
        *,
        threads: int,
        progress: Progress = silent,
        **options: Any,
    ) -> tuple[RegistrationRecord, Deformation]:
        if self._folder is None:
            return self._deform(
                moving, reference, record, threads=threads, progress=progress, **options
            )
        start = hashlib.sha256(to_json(_nameless(record))).hexdigest()
        version = f"deformable {self._version}, {REGISTRATION_VERSION}"
        key = self._contents.key(version, moving, reference, options | {"start record": start})
        path = self._folder / f"{key}.json"
        found = _read(path)
        field = None if found is None else _read_field(path, found)
        if found is None or field is None:
            result, field = self._deform(
                moving, reference, record, threads=threads, progress=progress, **options
            )
            self._folder.mkdir(parents=True, exist_ok=True)
            described = field.record(self._folder, path.with_suffix(FIELD_SUFFIX))
            _write(path, replace(_nameless(result), deformation=described))
            return result, field
        progress(1.0, "Deformed before")
        uids = record.series_instance_uid, record.reference_series_uid
        return replace(
            found, deformation=None, series_instance_uid=uids[0], reference_series_uid=uids[1]
        ), field


def _nameless(record: RegistrationRecord) -> RegistrationRecord:
    """Without the UIDs of its series, which change no result."""
    return replace(record, series_instance_uid="", reference_series_uid="")


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


def _read_field(path: Path, record: RegistrationRecord) -> Deformation | None:
    """The field of the entry at ``path``; None, and the entry gone, if it cannot be read."""
    if record.deformation is None:
        return None
    file = path.parent / record.deformation.path
    try:
        field = Deformation.read(file, sha256=record.deformation.sha256)
        os.utime(file)
    except (StepFailed, FileNotFoundError):
        log.warning("A stored deformation cannot be read and is computed anew: %s", path.name[:12])
        path.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        return None
    return field


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
    fields: list[tuple[float, Path]] = []
    for path in folder.iterdir():
        try:
            age = path.stat().st_mtime
        except FileNotFoundError:  # another worker tidies too
            continue
        if path.suffix == ".json":
            entries.append((age, path))
        elif path.suffix == FIELD_SUFFIX:
            fields.append((age, path))
        elif path.suffix == ".part" and time.time() - age > STALE_PART_S:
            path.unlink(missing_ok=True)
    for kept, most in ((entries, MAX_ENTRIES), (fields, MAX_FIELDS)):
        for _, path in sorted(kept)[: max(0, len(kept) - most)]:
            path.unlink(missing_ok=True)
