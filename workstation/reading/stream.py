"""Which slice goes next: the order of the stream, and the frame's bytes. No sockets here.

Coarse before fine, near before far: first the coarsest level of every wanted layer (the reference
first), then full resolution from the focus outwards, all layers interleaved by their distance in
millimetres from the focus plane. The byte layout is written down in this room's README.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MAGIC = 0x4652
VERSION = 1
MOST_RANGES = 5_000
"""Held ranges per level of a layer: more than any volume has slices."""
HEADER = struct.Struct("<HBBIHHIII")
"""magic, version, codec, layer, level, reserved, slice, payload bytes, sequence (24 bytes)."""


def pack_frame(
    *, codec: int, layer: int, level: int, index: int, sequence: int, payload: bytes
) -> bytes:
    """One binary message: header and payload."""
    header = HEADER.pack(
        MAGIC, VERSION, codec, layer, level, 0, index, len(payload), sequence & 0xFFFFFFFF
    )
    return header + payload


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

    def centre_of(self, level: int, k: int) -> np.ndarray:
        """Reference LPS of the middle of slice ``k`` of a level."""
        full_k = k * self.factors_z[level] + (self.factors_z[level] - 1) / 2
        columns, rows = self.columns_rows
        at = np.array([(columns - 1) / 2, (rows - 1) / 2, full_k, 1.0])
        return (self.to_reference @ at)[:3]

    @property
    def normal(self) -> np.ndarray:
        step = self.to_reference[:3, 2]
        return np.asarray(step / np.linalg.norm(step))


Slot = tuple[int, int, int]
"""(layer id, level, slice)."""


class Order:
    """The slots still to send, best first. Changing focus or layers only re-sorts what is left."""

    def __init__(self, layers: Sequence[StreamLayer], have: Iterable[Slot] = ()) -> None:
        self._layers = {layer.id: layer for layer in layers}
        self._rank = {layer.id: n for n, layer in enumerate(layers)}
        self._wanted = set(self._layers)
        self._sent: set[Slot] = set(have)
        self._focus: tuple[int, int] | None = None
        self._queue: list[tuple[tuple[float, ...], Slot]] = []
        self._sort()

    def add(self, layers: Iterable[StreamLayer]) -> None:
        """Layers that came into being while the socket was open; they wait to be wanted."""
        for layer in layers:
            self._layers[layer.id] = layer
            self._rank[layer.id] = len(self._rank)

    def drop(self, layer: int) -> None:
        """Nothing more of this layer: its file cannot be read."""
        self._wanted.discard(layer)
        self._sort()

    def want(self, layers: Iterable[int]) -> None:
        """Only these layers from now on (unknown ids are ignored)."""
        self._wanted = {layer for layer in layers if layer in self._layers}
        self._sort()

    def focus(self, layer: int, k: int) -> None:
        """Middle-out from here."""
        if layer in self._layers:
            self._focus = (layer, k)
            self._sort()

    def take(self) -> Slot | None:
        """The next slot, marked as sent; None when everything wanted was sent."""
        while self._queue:
            _, slot = heapq.heappop(self._queue)
            if slot not in self._sent:
                self._sent.add(slot)
                return slot
        return None

    @property
    def empty(self) -> bool:
        return not self._queue

    def _sort(self) -> None:
        plane = self._focus_plane()
        queue = []
        for layer in self._layers.values():
            if layer.id not in self._wanted:
                continue
            coarsest = len(layer.slices) - 1
            # Levels in between would be overtaken by full resolution: coarsest, then finest.
            for level in {coarsest, 0}:
                for k in range(layer.slices[level]):
                    slot = (layer.id, level, k)
                    if slot in self._sent:
                        continue
                    coarse = level == coarsest and coarsest > 0
                    away = self._distance(layer, level, k, plane)
                    rank = float(self._rank[layer.id])
                    key = (0.0, rank, away) if coarse else (1.0, away, rank)
                    queue.append((key, slot))
        heapq.heapify(queue)
        self._queue = queue

    def _focus_plane(self) -> tuple[np.ndarray, np.ndarray] | None:
        if not self._layers:
            return None
        if self._focus is None:
            first = next(iter(self._layers.values()))
            return first.centre_of(0, first.slices[0] // 2), first.normal
        layer = self._layers[self._focus[0]]
        k = min(max(self._focus[1], 0), layer.slices[0] - 1)
        return layer.centre_of(0, k), layer.normal

    @staticmethod
    def _distance(
        layer: StreamLayer, level: int, k: int, plane: tuple[np.ndarray, np.ndarray] | None
    ) -> float:
        if plane is None:
            return 0.0
        point, normal = plane
        return abs(float((layer.centre_of(level, k) - point) @ normal))


def slots_held(
    have: Mapping[str, Mapping[str, Sequence[Sequence[int]]]], layers: Iterable[StreamLayer]
) -> set[Slot]:
    """The client's ``have``: layer -> level -> inclusive slice ranges, as far as they exist.

    Raises ``ValueError`` for ranges that are none.
    """
    known = {layer.id: layer.slices for layer in layers}
    held: set[Slot] = set()
    for layer, levels in have.items():
        for level, ranges in levels.items():
            slices = known.get(int(layer), ())
            count = slices[int(level)] if 0 <= int(level) < len(slices) else 0
            if len(ranges) > MOST_RANGES:
                raise ValueError("too many held ranges")
            for first, last in ranges:
                if not 0 <= first <= last:
                    raise ValueError("a held range is [first, last], counted from 0")
                held.update(
                    (int(layer), int(level), k) for k in range(first, min(last + 1, count))
                )
    return held
