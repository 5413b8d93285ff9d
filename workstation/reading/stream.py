"""Which slice goes next: the order of the stream, and the frame's bytes. No sockets here.

Coarse before fine, near before far: first the coarsest level of every wanted layer (the reference
first), then full resolution from the focus outwards, all layers interleaved by their distance in
millimetres from the focus plane; on a slow line the levels in between as well. The byte layout is
written down in this room's README.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAGIC = 0x4652
VERSION = 2
MOST_RANGES = 5_000
"""Held ranges per level of a layer: more than any volume has slices."""
SLOW_BYTES_PER_SECOND = 4_000_000
"""Under this the levels in between are worth their bytes."""
HEADER = struct.Struct("<HBBIHHIIIII")
"""magic, version, codec, layer, level, reserved, slice, payload bytes, sequence, CRC-32 of the
payload, CRC-32 of the header before it (32 bytes)."""
_UNCHECKED = struct.Struct("<HBBIHHIIII")
_CHECK = struct.Struct("<I")


def pack_header(
    *, codec: int, layer: int, level: int, index: int, sequence: int, size: int, checksum: int
) -> bytes:
    """The 32 bytes before a payload of ``size`` bytes and CRC-32 ``checksum``."""
    fields = _UNCHECKED.pack(
        MAGIC, VERSION, codec, layer, level, 0, index, size, sequence & 0xFFFFFFFF, checksum
    )
    return fields + _CHECK.pack(zlib.crc32(fields))


@dataclass(frozen=True)
class StreamLayer:
    """What the order needs to know of a layer. ``to_reference``: its voxel index (i, j, k) ->
    reference LPS, 4x4."""

    id: int
    slices: tuple[int, ...]
    """Number of slices of each level; level 0 is full resolution."""
    to_reference: np.ndarray
    columns_rows: tuple[int, int]
    factors_z: tuple[int, ...]

    def centre_of(self, k: float) -> np.ndarray:
        """Reference LPS of the middle of full-resolution slice ``k``."""
        columns, rows = self.columns_rows
        at = np.array([(columns - 1) / 2, (rows - 1) / 2, k, 1.0])
        return np.asarray((self.to_reference @ at)[:3])

    @property
    def normal(self) -> np.ndarray:
        step = self.to_reference[:3, 2]
        return np.asarray(step / np.linalg.norm(step))

    def distances(self, point: np.ndarray, normal: np.ndarray) -> list[npt.NDArray[np.float64]]:
        """Per level: mm from each slice's middle to the plane through ``point``."""
        start = float((self.centre_of(0.0) - point) @ normal)
        step = float(self.to_reference[:3, 2] @ normal)
        return [
            np.abs(start + step * (np.arange(count) * factor + (factor - 1) / 2))
            for count, factor in zip(self.slices, self.factors_z, strict=True)
        ]


Slot = tuple[int, int, int]
"""(layer id, level, slice)."""


class Order:
    """The slots still to send, best first. Focus, layers and line only re-sort what is left."""

    def __init__(self, layers: Sequence[StreamLayer], have: Iterable[Slot] = ()) -> None:
        self._layers: dict[int, StreamLayer] = {}
        self._sent: dict[int, list[npt.NDArray[np.bool_]]] = {}
        self._rank: dict[int, int] = {}
        self._focus: tuple[int, int] | None = None
        self._slow = False
        self._finest: dict[int, int] = {}
        self._queue: list[Slot] = []
        """Best last."""
        self._sorted = False
        self.add(layers)
        self._wanted = set(self._layers)
        for layer, level, k in have:
            self._sent[layer][level][k] = True

    def add(self, layers: Iterable[StreamLayer]) -> None:
        """Layers that came into being while the socket was open; they wait to be wanted."""
        for layer in layers:
            self._layers[layer.id] = layer
            self._rank[layer.id] = len(self._rank)
            self._sent[layer.id] = [np.zeros(count, np.bool_) for count in layer.slices]

    def drop(self, layer: int) -> None:
        """Nothing more of this layer: its file cannot be read."""
        self._wanted.discard(layer)
        self._sorted = False

    def leave_out(self, slot: Slot) -> None:
        """This one never: what is stored of it is damaged."""
        layer, level, k = slot
        self._sent[layer][level][k] = True
        self._sorted = False

    def want(self, layers: Iterable[int], finest: Mapping[int, int] | None = None) -> None:
        """Only these layers from now on (unknown ids are ignored). ``finest``: layer -> the finest
        level that its client has room for, where that is not 0."""
        self._finest = dict(finest or {})
        self._wanted = {layer for layer in layers if layer in self._layers}
        self._sorted = False

    def focus(self, layer: int, k: int) -> None:
        """Middle-out from here."""
        if layer in self._layers and self._focus != (layer, k):
            self._focus = (layer, k)
            self._sorted = False

    def line(self, bytes_per_second: float) -> None:
        """What the client's line carries; 0: not known."""
        slow = 0 < bytes_per_second < SLOW_BYTES_PER_SECOND
        if slow != self._slow:
            self._slow = slow
            self._sorted = False

    def again(self, slots: Iterable[Slot]) -> None:
        """The client does not hold these (any more): they are sent again if wanted."""
        for layer, level, k in slots:
            self._sent[layer][level][k] = False
        self._sorted = False

    def peek(self) -> Slot | None:
        """The next slot; None when everything wanted was sent."""
        if not self._sorted:
            self._sort()
        return self._queue[-1] if self._queue else None

    def take(self) -> Slot | None:
        """The next slot, marked as sent."""
        slot = self.peek()
        if slot is not None:
            self._queue.pop()
            layer, level, k = slot
            self._sent[layer][level][k] = True
        return slot

    def _levels(self, layer: StreamLayer) -> range | list[int]:
        coarsest = len(layer.slices) - 1
        finest = min(max(self._finest.get(layer.id, 0), 0), coarsest)
        return range(finest, coarsest + 1) if self._slow else sorted({finest, coarsest})

    def _sort(self) -> None:
        self._sorted = True
        self._queue = []
        wanted = [layer for layer in self._layers.values() if layer.id in self._wanted]
        if not wanted:
            return
        point, normal = self._focus_plane()
        columns = []
        for layer in wanted:
            away = layer.distances(point, normal)
            rank = self._rank[layer.id]
            finer = np.zeros(layer.slices[0], np.bool_)
            for level in self._levels(layer):
                factor = layer.factors_z[level]
                # A slice whose every voxel was sent finer would only be bytes.
                covered = np.logical_and.reduceat(finer, np.arange(0, len(finer), factor))
                todo = np.flatnonzero(~self._sent[layer.id][level] & ~covered)
                finer = finer | np.repeat(self._sent[layer.id][level], factor)[: len(finer)]
                if not len(todo):
                    continue
                block = np.empty((6, len(todo)))
                if level and level == len(layer.slices) - 1:
                    block[0], block[1], block[2] = 0, rank, away[level][todo]
                else:
                    block[0], block[1], block[2] = 1, away[level][todo] / 4.0**level, rank
                block[3], block[4], block[5] = -level, layer.id, todo
                columns.append(block)
        if not columns:
            return
        table = np.concatenate(columns, axis=1)
        # lexsort's last key is the first: phase, then near or rank, then rank or near, then coarse.
        best_first = np.lexsort((table[5], table[3], table[2], table[1], table[0]))
        chosen = table[3:, best_first[::-1]].astype(np.int64)
        self._queue = list(
            zip(chosen[1].tolist(), (-chosen[0]).tolist(), chosen[2].tolist(), strict=True)
        )

    def _focus_plane(self) -> tuple[np.ndarray, np.ndarray]:
        if self._focus is None:
            first = next(iter(self._layers.values()))
            return first.centre_of(first.slices[0] // 2), first.normal
        layer = self._layers[self._focus[0]]
        k = min(max(self._focus[1], 0), layer.slices[0] - 1)
        return layer.centre_of(k), layer.normal


def slots_of(
    slices: Mapping[str, Mapping[str, Sequence[Sequence[int]]]], layers: Iterable[StreamLayer]
) -> set[Slot]:
    """The client's slices (layer -> level -> inclusive ranges), as far as they exist.

    Raises ``ValueError`` for ranges that are none.
    """
    known = {layer.id: layer.slices for layer in layers}
    found: set[Slot] = set()
    for layer, levels in slices.items():
        for level, ranges in levels.items():
            counts = known.get(int(layer), ())
            count = counts[int(level)] if 0 <= int(level) < len(counts) else 0
            if len(ranges) > MOST_RANGES:
                raise ValueError("too many ranges")
            for first, last in ranges:
                if not (isinstance(first, int) and isinstance(last, int) and 0 <= first <= last):
                    raise ValueError("a range is [first, last], counted from 0")
                found.update(
                    (int(layer), int(level), k) for k in range(first, min(last + 1, count))
                )
    return found
