"""Reading stored volumes without the science: byte ranges for the stream, numbers for the server.

The web process holds no SimpleITK and no torch; a slice is sent exactly as it lies in the file.
Points are LPS millimetres. ``sample`` is where numbers of a report come from (length and probe
are the reader's, values are ours): stored geometry, never the browser's.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from analysis.contracts import LevelRecord, VolumeRecord
from analysis.errors import StepFailed
from analysis.slice_codec import codec_of, decode_slice
from workstation.analyzing.models import Layer, LayerKind
from workstation.analyzing.requests import run_folder

FloatArray = npt.NDArray[np.float64]
_RECORD: TypeAdapter[VolumeRecord] = TypeAdapter(VolumeRecord)
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)
DECODED_SLICES = 8
"""Decoded slices kept per open volume: neighbouring points touch the same two slices."""


class VolumeUnreadable(Exception):
    """The stored volume is gone or damaged; the message is for the reader."""


@dataclass(frozen=True)
class Values:
    """Decoded volume: physical float32 (uint8 labels for a segmentation), [z, y, x]."""

    array: npt.NDArray[Any]
    affine: FloatArray
    """4x4, (i, j, k, 1) -> LPS mm of the layer's own frame."""
    unit: str


def record_of(layer: Layer) -> VolumeRecord:
    """The contract's record of a layer."""
    try:
        return _RECORD.validate_python(layer.record)
    except ValidationError as error:
        raise VolumeUnreadable("The index of a stored volume does not fit.") from error


class StoredVolume:
    """An open store file. Safe for many readers at once: it only uses ``pread``."""

    def __init__(self, record: VolumeRecord, folder: Path) -> None:
        self.record = record
        self.codec = codec_of(record.dtype)
        path = (folder / record.path).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise VolumeUnreadable("A stored volume lies outside its run's folder.")
        try:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            raise VolumeUnreadable(
                "A stored volume of this run is gone; ask for a new analysis."
            ) from None
        except OSError as error:
            raise VolumeUnreadable("A stored volume cannot be read from its disk.") from error
        self._decoded: OrderedDict[int, npt.NDArray[Any]] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; harmless if done before."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def levels(self) -> tuple[LevelRecord, ...]:
        return self.record.levels

    @property
    def affine(self) -> FloatArray:
        """4x4 of level 0, (i, j, k, 1) -> LPS mm."""
        return np.array(self.record.affine, dtype=np.float64)

    def span(self, level: int, k: int) -> tuple[int, int]:
        """First and past-last byte of slice ``k`` of a level; ``IndexError`` if there is none."""
        entry = self.record.levels[level]
        if not 0 <= k < entry.shape[0]:
            raise IndexError(f"level {level} has slices 0..{entry.shape[0] - 1}, not {k}")
        return entry.offsets[k], entry.offsets[k + 1]

    def checksum(self, level: int, k: int) -> int | None:
        """CRC-32 of a slice's payload as it was encoded; None if the volume is older than that."""
        checksums = self.record.levels[level].checksums
        return checksums[k] if checksums else None

    def read_slice(self, level: int, k: int) -> bytes:
        """The payload of slice ``k`` of a level, exactly as stored and sent.

        Raises ``IndexError`` for a slice that does not exist, :class:`VolumeUnreadable` for a
        file that is shorter than its index.
        """
        start, end = self.span(level, k)
        try:
            payload = os.pread(self._fd, end - start, start)
        except OSError as error:
            raise VolumeUnreadable("A stored volume cannot be read from its disk.") from error
        if len(payload) != end - start:
            raise VolumeUnreadable("A stored volume is damaged; ask for a new analysis.")
        return payload

    def read_cached(self, level: int, k: int, into: memoryview) -> bool:
        """:meth:`read_slice` into ``into[:size]`` if that needs no disk; False if it does, or the
        file system cannot tell. For event loops: one slow disk must not hold up every reader."""
        start, end = self.span(level, k)
        if _NO_WAIT is None:
            return False
        try:
            return os.preadv(self._fd, [into[: end - start]], start, _NO_WAIT) == end - start
        except OSError:
            # EAGAIN: not in memory; EOPNOTSUPP: this file system cannot tell. The caller waits.
            return False

    def will_need(self, start: int, size: int) -> None:
        """Ask the system to have these bytes in memory soon, where it can; does not wait."""
        if hasattr(os, "posix_fadvise") and size > 0:
            os.posix_fadvise(self._fd, start, size, os.POSIX_FADV_WILLNEED)

    def decode(
        self, k: int, level: int = 0, upto: tuple[int, int] | None = None
    ) -> npt.NDArray[Any]:
        """Stored numbers of one slice, [y, x], int16 or uint8; ``upto``: only the first rows and
        columns, which is faster."""
        shape = self.record.levels[level].shape
        try:
            payload = self.read_slice(level, k)
            return decode_slice(payload, (shape[1], shape[2]), self.codec, upto)
        except StepFailed as error:
            raise VolumeUnreadable(error.message) from error

    def _plane(self, k: int) -> npt.NDArray[Any]:
        if k in self._decoded:
            self._decoded.move_to_end(k)
            return self._decoded[k]
        self._decoded[k] = plane = self.decode(k)
        if len(self._decoded) > DECODED_SLICES:
            self._decoded.popitem(last=False)
        return plane

    def values_at(self, points: npt.ArrayLike, *, nearest: bool) -> FloatArray:
        """Physical values at LPS points (n, 3) of the layer's own frame.

        Trilinear between voxel centres (``nearest``: of the nearest voxel); NaN outside the
        volume, whose edge is half a voxel beyond the outermost centres (there the outermost
        voxel's value counts).
        """
        lps = np.atleast_2d(np.asarray(points, dtype=np.float64))
        inverse = np.linalg.inv(self.affine)
        ijk = lps @ inverse[:3, :3].T + inverse[:3, 3]
        nz, ny, nx = self.record.levels[0].shape
        size = np.array([nx, ny, nz])
        tolerance = 1e-6  # of a voxel: a point on the very edge is inside
        inside = np.all((ijk >= -0.5 - tolerance) & (ijk <= size - 0.5 + tolerance), axis=1)
        result = np.full(len(ijk), np.nan)
        at = np.clip(ijk, 0, size - 1)
        for n in np.flatnonzero(inside):
            result[n] = self._nearest(at[n]) if nearest else self._trilinear(at[n], size)
        return result * self.record.slope + self.record.intercept

    def _nearest(self, at: FloatArray) -> float:
        i, j, k = np.rint(at).astype(int)
        return float(self._plane(int(k))[j, i])

    def _trilinear(self, at: FloatArray, size: npt.NDArray[Any]) -> float:
        low = np.minimum(np.floor(at).astype(int), np.maximum(size - 2, 0))
        high = np.minimum(low + 1, size - 1)
        weight = at - low
        total = 0.0
        for corner in range(8):
            bits = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1], dtype=bool)
            share = float(np.prod(np.where(bits, weight, 1 - weight)))
            if share > 0:
                i, j, k = np.where(bits, high, low)
                total += share * float(self._plane(int(k))[j, i])
        return total


def open_layer(layer: Layer) -> StoredVolume:
    """Open a layer's stored volume; close it, or use it as a context manager."""
    return StoredVolume(record_of(layer), run_folder(layer.run))


def sample(layer: Layer, lps_points: npt.ArrayLike, matrix: npt.ArrayLike) -> FloatArray:
    """Physical values of a layer at points of the *reference* space, LPS mm, (n, 3) -> (n,).

    ``matrix``: 4x4, layer LPS -> reference LPS (as Registration stores it). Trilinear for images
    and probabilities, nearest for segmentations; NaN outside the layer. Unit: ``layer.unit``.
    """
    points = np.atleast_2d(np.asarray(lps_points, dtype=np.float64))
    inverse = np.linalg.inv(np.asarray(matrix, dtype=np.float64))
    own = points @ inverse[:3, :3].T + inverse[:3, 3]
    with open_layer(layer) as volume:
        return volume.values_at(own, nearest=layer.kind == LayerKind.SEGMENTATION)


def read_volume(layer: Layer, level: int = 0) -> Values:
    """A whole stored level, decoded: for exports and server-side pictures, not for the stream."""
    with open_layer(layer) as volume:
        record = volume.record
        entry = record.levels[level]
        stored = np.stack([volume.decode(k, level) for k in range(entry.shape[0])])
        # Voxel (0, 0, 0) of a coarser level lies in the middle of the block it averages.
        factors = np.array(entry.factors[::-1], dtype=np.float64)
        coarse = np.diag([*factors, 1.0])
        coarse[:3, 3] = (factors - 1) / 2
        affine = volume.affine @ coarse
    if layer.kind == LayerKind.SEGMENTATION:
        return Values(stored, affine, record.unit)
    values = stored.astype(np.float32) * np.float32(record.slope) + np.float32(record.intercept)
    return Values(values, affine, record.unit)
