"""Volumes in streaming form: each slice encoded once, so a server only reads byte ranges.

A store file is the concatenation of the encoded slices of level 0 (full resolution), then of each
coarser level; ``VolumeRecord.levels[n].offsets`` are absolute. The bytes of a slice are the bytes
on the wire, so nothing is encoded again while streaming; ``checksums`` go with them.

The codec of one slice is :mod:`analysis.slice_codec`.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from analysis.contracts import LevelRecord, Role, VolumeRecord
from analysis.errors import StepFailed
from analysis.files import whole_file
from analysis.geometry import Grid, Volume, as_matrix, level_grid
from analysis.hounsfield import HU_UNIT
from analysis.slice_codec import Stored, codec_of, decode_slice, encode_slice

COARSE_PIXELS = 64
"""The coarsest level has at most this many columns and rows: about 0.2 MB for a CT, which a line of
10 Mbit/s carries in a fifth of a second."""
COARSE_SLICES = 128
"""And at most this many slices."""

Quantise = Literal["auto", "probability", "labels"]


@dataclass(frozen=True, eq=False)
class _Quantised:
    array: Stored
    slope: float
    intercept: float
    error: float
    """Largest |physical - (stored * slope + intercept)| in physical units."""


def _quantise(array: npt.NDArray[np.generic], how: Quantise) -> _Quantised:
    if np.issubdtype(array.dtype, np.floating) and not np.all(np.isfinite(array)):
        raise StepFailed("not_finite", "The volume holds values that are not numbers.")
    low, high = float(array.min()), float(array.max())
    if how == "labels":
        if low < 0 or high > 255:
            raise ValueError("labels must lie in 0..255")
        return _Quantised(array.astype(np.uint8), 1.0, 0.0, 0.0)
    if how == "probability":
        if low < -1e-6 or high > 1 + 1e-6:
            raise ValueError("probabilities must lie in 0..1")
        stored8 = np.rint(array.astype(np.float32) * 255).clip(0, 255).astype(np.uint8)
        return _Quantised(stored8, 1 / 255, 0.0, 0.5 / 255)
    whole = np.issubdtype(array.dtype, np.integer) or bool(np.all(array == np.rint(array)))
    if whole and low >= -32768 and high <= 32767:
        return _Quantised(array.astype(np.int16), 1.0, 0.0, 0.0)
    if whole and low >= 0 and high <= 65535:
        shifted = (array.astype(np.int32) - 32768).astype(np.int16)
        return _Quantised(shifted, 1.0, 32768.0, 0.0)
    # A scale without offset keeps zero exactly zero, which SUV and masks of background need.
    # Below the smallest normal number float32 would divide by zero.
    slope = max(max(abs(low), abs(high)) / 32767, float(np.finfo(np.float32).tiny))
    stored = np.rint(array.astype(np.float32) / np.float32(slope)).astype(np.int16)
    back = stored.astype(np.float32) * np.float32(slope)
    return _Quantised(stored, slope, 0.0, float(np.abs(back - array.astype(np.float32)).max()))


def level_factors(grid: Grid) -> list[tuple[int, int, int]]:
    """(fz, fy, fx) of every level, full resolution first: each halves rows and columns until the
    coarsest fits, and slices when that keeps voxels nearly cubic or the coarsest has too many."""
    nz, ny, nx = grid.shape
    sx, _, sz = grid.spacing
    levels, plane, across = [(1, 1, 1)], 1, 1
    while max(ny, nx) > COARSE_PIXELS * plane:
        plane *= 2
        if 2 * across * sz <= math.sqrt(2) * plane * sx and 2 * across <= nz:
            across *= 2
        levels.append((across, plane, plane))
    while nz > COARSE_SLICES * across:
        across *= 2
    if across != levels[-1][0]:
        levels[len(levels) - 1 if plane > 1 else 1 :] = [(across, plane, plane)]
    return levels


def _coarsen(array: Stored, factors: tuple[int, int, int], labels: bool) -> Stored:
    """Block means (labels: block maximum, so that a small finding stays visible). Rows and columns
    are halved: their factor is a power of two."""
    (fz, plane, _), (nz, ny, nx) = factors, array.shape
    reduce = np.maximum if labels else np.add
    rows, columns = np.arange(0, ny, plane), np.arange(0, nx, plane)
    area = np.outer(np.diff(np.append(rows, ny)), np.diff(np.append(columns, nx)))
    result = []
    for z in range(0, nz, fz):  # slab by slab: whole volumes would need twice the memory as int32
        slab = array[z : z + fz]
        block = reduce.reduce(slab, axis=0, dtype=np.int32)
        for _ in range(plane.bit_length() - 1):
            block = _halved(_halved(block, reduce).T, reduce).T
        result.append(block if labels else np.rint(block / (area * len(slab))))
    return np.stack(result).astype(array.dtype)


def _halved(block: npt.NDArray[np.int32], reduce: np.ufunc) -> npt.NDArray[np.int32]:
    """Each two rows as one; a last odd one stays as it is."""
    even, odd = block[0::2].copy(), block[1::2]
    reduce(even[: len(odd)], odd, out=even[: len(odd)])
    return even


def default_window(volume: Volume) -> tuple[float, float]:
    """(width, centre) for a first look: CT soft tissue 400/40, SUV 0 to 5, probability 0 to 1,
    anything else its 1st to 99th percentile of non-zero voxels."""
    if volume.unit == HU_UNIT:
        return 400.0, 40.0
    if volume.unit.startswith("g/ml"):
        return 5.0, 2.5
    if volume.array.dtype == np.uint8 or (volume.unit == "1" and volume.array.max() <= 1):
        high = max(1.0, float(volume.array.max()))
        return high, high / 2
    sample = volume.array[:: max(1, volume.array.shape[0] // 64), ::2, ::2]
    sample = sample[sample != 0]
    if sample.size == 0:
        return 1.0, 0.5
    low, high = (float(v) for v in np.percentile(sample, [1, 99]))
    width = max(high - low, 1e-6)
    return width, low + width / 2


def write_volume(
    path: Path,
    volume: Volume,
    *,
    run_dir: Path,
    key: str,
    label: str,
    role: Role = "OTHER",
    quantise: Quantise = "auto",
    series_instance_uid: str = "",
    frame_of_reference_uid: str = "",
    sop_instance_uids: tuple[str, ...] = (),
    frame_numbers: tuple[int, ...] = (),
    number: int = 1,
    count: int = 1,
    setting: str = "",
    window: tuple[float, float] | None = None,
    source: dict[str, Any] | None = None,
    synthetic: bool = False,
    lossy: str = "",
) -> VolumeRecord:
    """Write a volume's slices and coarser levels to ``path`` (below ``run_dir``) and describe it.

    ``volume.array`` holds physical values [z, y, x]; ``quantise`` says how they become stored
    numbers: ``auto`` (int16, exact for whole numbers, else one scale per volume), ``probability``
    (0..1 as uint8) or ``labels`` (uint8 as they are). The largest rounding error is recorded in
    ``source["quantisation_error"]``. The file appears complete or not at all.
    """
    quantised = _quantise(volume.array, quantise)
    levels: list[LevelRecord] = []
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    position = 0
    with whole_file(path) as file:
        for factors, array in _levels(quantised.array, volume.grid, quantise == "labels"):
            offsets, checksums = [position], []
            for pixels in array:
                payload = encode_slice(pixels)
                file.write(payload)
                digest.update(payload)
                checksums.append(zlib.crc32(payload))
                position += len(payload)
                offsets.append(position)
            nz, ny, nx = array.shape
            levels.append(LevelRecord((nz, ny, nx), factors, tuple(offsets), tuple(checksums)))
    evidence = dict(source or {})
    evidence["quantisation_error"] = quantised.error
    return VolumeRecord(
        key=key,
        path=path.relative_to(run_dir).as_posix(),
        sha256=digest.hexdigest(),
        levels=tuple(levels),
        affine=as_matrix(volume.grid.affine),
        dtype="int16" if quantised.array.dtype == np.int16 else "uint8",
        slope=quantised.slope,
        intercept=quantised.intercept,
        unit=volume.unit,
        modality=volume.modality,
        role=role,
        label=label,
        series_instance_uid=series_instance_uid,
        frame_of_reference_uid=frame_of_reference_uid,
        sop_instance_uids=sop_instance_uids,
        frame_numbers=frame_numbers,
        number=number,
        count=count,
        setting=setting,
        value_range=(float(volume.array.min()), float(volume.array.max())),
        window=window or default_window(volume),
        source=evidence,
        synthetic=synthetic,
        lossy=lossy,
    )


def _levels(
    array: Stored, grid: Grid, labels: bool
) -> Iterator[tuple[tuple[int, int, int], Stored]]:
    for factors in level_factors(grid):
        coarser = factors != (1, 1, 1)
        yield factors, _coarsen(array, factors, labels) if coarser else array


def grid_of_record(record: VolumeRecord, level: int = 0) -> Grid:
    """The voxel grid of one stored level."""
    full = Grid(record.levels[0].shape, np.array(record.affine, dtype=np.float64))
    return level_grid(full, record.levels[level].factors) if level else full


def read_stored(run_dir: Path, record: VolumeRecord, level: int = 0) -> Stored:
    """The stored numbers of one level, [z, y, x], int16 or uint8 (labels are read this way)."""
    entry = record.levels[level]
    nz, ny, nx = entry.shape
    dtype: type[np.int16] | type[np.uint8] = np.int16 if record.dtype == "int16" else np.uint8
    codec = codec_of(dtype)
    array = np.empty((nz, ny, nx), dtype=dtype)
    path = Path(run_dir) / record.path
    if not path.is_file():
        raise StepFailed("volume_missing", "A stored volume of this run is gone; run again.")
    with path.open("rb") as file:
        file.seek(entry.offsets[0])
        for k in range(nz):
            payload = file.read(entry.offsets[k + 1] - entry.offsets[k])
            array[k] = decode_slice(payload, (ny, nx), codec)
    return array


def read_volume(run_dir: Path, record: VolumeRecord, level: int = 0) -> Volume:
    """One level of a stored volume in physical values, float32 [z, y, x], with its grid.

    Raises ``StepFailed`` (``volume_missing``, ``volume_damaged``).
    """
    array = read_stored(run_dir, record, level).astype(np.float32)
    if record.slope != 1.0:
        array *= np.float32(record.slope)
    if record.intercept != 0.0:
        array += np.float32(record.intercept)
    return Volume(array, grid_of_record(record, level), record.unit, record.modality, record.role)
