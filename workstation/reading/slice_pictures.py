"""Slices drawn on the server, for browsers and lines that cannot carry voxels: base and overlays
with windows and colour maps, as PNG or WebP. Lossy by nature, and shown as such.

A layer is drawn over another only if :mod:`.fusion_state` says that it is fused. Planes that cross
slices read a coarser level where the finest would be too much work for one picture.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext
from PIL import Image
from scipy.ndimage import map_coordinates

from workstation.analyzing.models import Layer, LayerKind
from workstation.analyzing.shown import current_run
from workstation.analyzing.volume_files import StoredVolume, VolumeUnreadable, open_layer
from workstation.reading.fusion_state import IDENTITY, FusionStatus, layer_statuses
from workstation.reading.slice_colours import COLORMAPS, SHADES, default_colormap, shades
from workstation.reading.slice_geometry import PLANES, FloatArray, SlicePlane, slice_plane
from workstation.worklist.models import Case

SIZES = (64, 1024)
MOST_LAYERS = 6
MOST_VOXELS = 24_000_000
"""Decoded for one layer of one picture at most: a quarter of a second."""
CACHE_BYTES = 160 * 1024 * 1024
"""Decoded slices kept per process: scrolling a sagittal plane decodes its volume once."""
FORMATS = {"png": ("PNG", "image/png"), "webp": ("WEBP", "image/webp")}
WEBP_QUALITY = 82
_REVISION = 1
"""Part of every ETag: raise it when the same question gets another picture."""


class SliceRefused(Exception):
    """The picture that is asked for is not one that may, or can, be drawn; says why."""


@dataclass(frozen=True)
class Wanted:
    """What a picture shall show. The first layer is the base, whose voxels give the planes."""

    plane: str
    layers: tuple[int, ...] = ()
    """Empty: the reference."""
    position: int | None = None
    size: int = 512
    windows: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Layer -> (width, centre) in its unit; others have their own default."""
    colormaps: dict[int, str] = field(default_factory=dict)


class _DecodedSlices:
    """The slices decoded last. A layer's file is never written again, so they stay true."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[int, int, int], npt.NDArray[Any]] = OrderedDict()
        self._bytes = 0

    def get(self, layer: int, level: int, k: int, volume: StoredVolume) -> npt.NDArray[Any]:
        key = (layer, level, k)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        pixels = volume.decode(k, level)
        with self._lock:
            if key not in self._held:
                self._held[key] = pixels
                self._bytes += pixels.nbytes
            while self._bytes > CACHE_BYTES:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
        return pixels


_slices = _DecodedSlices()


@dataclass(frozen=True)
class _Part:
    layer: Layer
    matrix: FloatArray
    """Layer LPS -> the picture's space."""


@dataclass(frozen=True)
class Drawing:
    """A picture that may be drawn: checked, but no voxel read yet."""

    wanted: Wanted
    parts: tuple[_Part, ...]
    plane: SlicePlane
    etag: str

    def encode(self, kind: str) -> bytes:
        """The picture. Raises :class:`SliceRefused` if a volume cannot be read."""
        pixels = np.zeros((self.plane.height, self.plane.width, 3), np.float32)
        try:
            for n, part in enumerate(self.parts):
                _compose(pixels, part, self.plane, self.wanted, is_base=n == 0)
        except VolumeUnreadable as error:
            raise SliceRefused(str(error)) from error
        out = io.BytesIO()
        picture = Image.fromarray(np.rint(pixels).astype(np.uint8), "RGB")
        options = {"quality": WEBP_QUALITY, "method": 2} if kind == "webp" else {}
        picture.save(out, FORMATS[kind][0], **options)
        return out.getvalue()


def prepare(case: Case, wanted: Wanted) -> Drawing:
    """Raises :class:`SliceRefused`: nothing assembled, no such layer, a layer that is not fused."""
    run = current_run(case)
    rows = layer_statuses(run) if run else []
    statuses = {layer.pk: (layer, status) for layer, status, _ in rows}
    reference = next((layer.pk for layer, _, _ in rows if layer.is_reference), None)
    if reference is None:
        raise SliceRefused(gettext("No image has been assembled yet."))
    parts = _allowed(statuses, wanted.layers or (reference,))
    base = parts[0]
    levels = base.layer.record["levels"]
    affine = base.matrix @ np.array(base.layer.record["affine"], dtype=np.float64)
    plane = slice_plane(
        affine, tuple(levels[0]["shape"]), wanted.plane, wanted.position, wanted.size
    )
    asked = (
        _REVISION, [(p.layer.pk, p.matrix.round(6).tolist()) for p in parts], wanted.plane,
        plane.position, wanted.size, sorted(wanted.windows.items()),
        sorted(wanted.colormaps.items()),
    )  # fmt: skip
    digest = hashlib.sha256(repr(asked).encode()).hexdigest()[:32]
    return Drawing(wanted, parts, plane, f'"{digest}"')


def _allowed(
    statuses: dict[int, tuple[Layer, FusionStatus]], ids: Sequence[int]
) -> tuple[_Part, ...]:
    if len(set(ids)) != len(ids) or len(ids) > MOST_LAYERS:
        raise SliceRefused(gettext("A picture shows a layer once, and at most six of them."))
    parts = []
    for number in ids:
        if number not in statuses:
            raise SliceRefused(gettext("This layer is not in the case as it is now."))
        layer, status = statuses[number]
        if len(ids) == 1 and not status.fused:
            # Alone, in a space of its own.
            parts.append(_Part(layer, np.array(IDENTITY)))
            continue
        if not status.fused:
            raise SliceRefused(
                gettext("{layer} is not fused: it is not drawn over another.").format(
                    layer=layer.label
                )
            )
        parts.append(_Part(layer, np.array(status.matrix, dtype=np.float64)))
    return tuple(parts)


def _level(record: dict[str, Any], first: float, last: float, pixel: float) -> tuple[int, int, int]:
    """Level, and its first and last slice, for full-resolution slices first..last: the coarsest
    that is still as fine as the pixels, or one that is little enough work."""
    step = float(np.linalg.norm(np.array(record["affine"])[:3, 0]))
    levels = record["levels"]
    fine = max(
        (n for n, level in enumerate(levels) if level["factors"][2] * step <= pixel * 1.01),
        default=0,
    )
    for n in range(fine, len(levels)):
        (fz, _, _), (nz, ny, nx) = levels[n]["factors"], levels[n]["shape"]
        low = int(np.clip(np.floor((first - (fz - 1) / 2) / fz), 0, nz - 1))
        high = int(np.clip(np.ceil((last - (fz - 1) / 2) / fz), 0, nz - 1))
        if (high - low + 1) * ny * nx <= MOST_VOXELS or n == len(levels) - 1:
            return n, low, high
    raise AssertionError("a volume has a level")


def _sample(part: _Part, plane: SlicePlane) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Stored numbers [y, x] at the picture's pixels, and which of them lie in the volume."""
    record = part.layer.record
    to_index = np.linalg.inv(part.matrix @ np.array(record["affine"], dtype=np.float64))
    turn = to_index[:3, :3]
    start = turn @ plane.origin + to_index[:3, 3]
    u, v = turn @ plane.right, turn @ plane.down
    columns, rows = np.arange(plane.width), np.arange(plane.height)
    ijk = (
        start[:, None, None] + v[:, None, None] * rows[None, :, None]
        + u[:, None, None] * columns[None, None, :]
    )  # fmt: skip
    nz, ny, nx = record["levels"][0]["shape"]
    size = np.array([nx, ny, nz])[:, None, None]
    inside = np.all((ijk >= -0.5 - 1e-6) & (ijk <= size - 0.5 + 1e-6), axis=0)
    if not inside.any():
        return np.zeros(inside.shape, np.float32), inside
    ks = ijk[2][inside]
    with open_layer(part.layer) as volume:
        level, low, high = _level(
            record, float(ks.min()), float(ks.max()), plane.millimetres_per_pixel
        )
        block = np.stack(
            [_slices.get(part.layer.pk, level, k, volume) for k in range(low, high + 1)]
        )
    factors = np.array(record["levels"][level]["factors"][::-1], dtype=np.float64)[:, None, None]
    at = ((ijk - (factors - 1) / 2) / factors)[::-1].copy()
    at[0] -= low
    order = 0 if part.layer.kind == LayerKind.SEGMENTATION else 1
    kept = np.float32 if order else block.dtype
    values = map_coordinates(block, at, output=kept, order=order, mode="nearest")
    return values, inside


def _compose(
    pixels: npt.NDArray[np.float32],
    part: _Part,
    plane: SlicePlane,
    wanted: Wanted,
    *,
    is_base: bool,
) -> None:
    layer, record = part.layer, part.layer.record
    values, inside = _sample(part, plane)
    width, centre = wanted.windows.get(layer.pk) or record["window"]
    physical = values.astype(np.float32) * np.float32(record["slope"]) + np.float32(
        record["intercept"]
    )
    fraction = (physical - (centre - width / 2)) / max(width, 1e-9)
    step = np.rint(np.clip(fraction, 0, 1) * (SHADES - 1)).astype(np.intp)
    colormap = wanted.colormaps.get(layer.pk) or default_colormap(layer, is_base)
    colours = shades(layer, colormap, is_base)[step]
    opacity = (colours[..., 3] * inside)[..., None]
    pixels *= 1 - opacity
    pixels += colours[..., :3] * opacity


def wanted_of(query: dict[str, str]) -> Wanted:
    """From a query string: ``plane``, ``position``, ``layers=12,13``, ``size``,
    ``window=12:400:40,13:5:2.5``, ``colours=13:viridis``. Raises ``ValueError``."""
    plane = query.get("plane", "axial")
    if plane not in PLANES:
        raise ValueError("plane is axial, sagittal or coronal")
    size = int(query.get("size", 512))
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"size is {SIZES[0]} to {SIZES[1]}")
    layers = tuple(int(one) for one in query.get("layers", "").split(",") if one)
    windows: dict[int, tuple[float, float]] = {}
    for one in filter(None, query.get("window", "").split(",")):
        layer, width, centre = one.split(":")
        windows[int(layer)] = (float(width), float(centre))
    if not all(np.isfinite(pair).all() and pair[0] > 0 for pair in windows.values()):
        raise ValueError("a window is layer:width:centre, its width above 0")
    colormaps: dict[int, str] = {}
    for one in filter(None, query.get("colours", "").split(",")):
        number, name = one.split(":")
        colormaps[int(number)] = name
    if not set(colormaps.values()) <= set(COLORMAPS):
        raise ValueError("colours are layer:name, of " + ", ".join(COLORMAPS))
    asked = query.get("position")
    return Wanted(plane, layers, int(asked) if asked else None, size, windows, colormaps)
