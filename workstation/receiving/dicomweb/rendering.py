"""One frame as a picture for people: PNG or JPEG (PS3.18 8.3.5), by numpy and Pillow.

Modality LUT, then VOI, then MONOCHROME1, in the order of PS3.4 annex N. Multi-frame objects carry
both in their functional groups (PS3.3 C.7.6.16).
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.pixels.processing import apply_voi

from workstation.receiving.dicomweb.delivering import NOT_DECODED
from workstation.receiving.dicomweb.frames import Frames, NotDecodable

Array = np.ndarray[Any, Any]
JPEG, PNG = "image/jpeg", "image/png"
FORMATS = {JPEG: "JPEG", PNG: "PNG"}
LONGEST_SIDE = 8192
THUMBNAIL_SIDE = 128
DEFAULT_QUALITY = 90
WHITE = 255


class BadView(Exception):
    """A parameter of the picture makes no sense; the text is for people."""


@dataclass(frozen=True)
class Window:
    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True)
class Viewport:
    """Size of the picture in pixels, and the source region that it shows."""

    width: int
    height: int
    left: float = 0
    top: float = 0
    source_width: float | None = None
    source_height: float | None = None


@dataclass(frozen=True)
class View:
    """How to show a frame."""

    media_type: str = JPEG
    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = DEFAULT_QUALITY


def window_from(text: str) -> Window:
    """``window=center,width,function`` (PS3.18 8.3.5.1.4)."""
    parts = text.split(",")
    functions = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
    try:
        center, width = (float(part) for part in parts[:2])
        function = functions[parts[2].strip().lower()] if len(parts) > 2 else "LINEAR"
    except (ValueError, KeyError):
        raise BadView("window is center,width,function; function is linear, linear-exact or "
                      "sigmoid.") from None  # fmt: skip
    if len(parts) > 3 or not (math.isfinite(center) and math.isfinite(width)) or width <= 0:
        raise BadView("window needs a finite centre and a width above 0.")
    return Window(center, width, function)


def viewport_from(text: str) -> Viewport:
    """``viewport=vw,vh[,sx,sy,sw,sh]`` (PS3.18 8.3.5.1.3); empty ones keep their default."""
    parts = [part.strip() for part in text.split(",")]
    try:
        width, height = (int(float(part)) for part in parts[:2])
        region = [float(part) if part else None for part in parts[2:]]
    except (ValueError, OverflowError):
        raise BadView("viewport is width,height[,x,y,width,height].") from None
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE) or len(region) > 4:
        raise BadView(f"viewport sides are 1 to {LONGEST_SIDE} pixels.")
    left, top, across, down = region + [None] * (4 - len(region))
    if any(value is not None and not math.isfinite(value) for value in region):
        raise BadView("viewport is width,height[,x,y,width,height].")
    return Viewport(width, height, left or 0, top or 0, across, down)


def quality_from(text: str) -> int:
    """``quality=1..100`` of a JPEG."""
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise BadView("quality is a whole number from 1 to 100.")
    return int(text)


def picture(frames: Frames, number: int, view: View) -> bytes:
    """Frame ``number`` (from 1), encoded.

    Raises :class:`BadView`, and what :meth:`Frames.array` raises.
    """
    array = frames.array(number)
    try:
        pixels = _displayed(array, frames.header, number, view.window)
    except NOT_DECODED:
        raise NotDecodable(
            "The grey or colour values of this frame cannot be interpreted."
        ) from None
    image = Image.fromarray(pixels)
    if view.viewport is not None:
        image = _placed(image, view.viewport)
    buffer = io.BytesIO()
    image.save(buffer, FORMATS[view.media_type], quality=view.quality)
    return buffer.getvalue()


def _displayed(array: Array, header: Dataset, number: int, window: Window | None) -> Array:
    interpretation = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    if interpretation == "PALETTE COLOR":
        return _eight_bit(apply_color_lut(array, header))
    if array.ndim == 3:
        return _eight_bit(array[..., :3])
    groups = _functional_groups(header, number)
    values = _modality(array, header, groups)
    grey = _voi(values, header, groups, window, _padding(array, header))
    if (interpretation == "MONOCHROME1") != (header.get("PresentationLUTShape") == "INVERSE"):
        grey = WHITE - grey
    return np.ascontiguousarray(grey)


def _eight_bit(array: Array) -> Array:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return np.ascontiguousarray((array >> 8).astype(np.uint8))
    return _linear(array.astype(np.float32), float(array.min()), float(array.max()))


def _functional_groups(header: Dataset, number: int) -> list[Dataset]:
    """The frame's own groups before the shared ones."""
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    return [*own[number - 1 : number], *shared[:1]]


def _macro(groups: list[Dataset], keyword: str) -> Dataset | None:
    for group in groups:
        if items := group.get(keyword):
            return items[0]
    return None


def _modality(array: Array, header: Dataset, groups: list[Dataset]) -> Array:
    source = _macro(groups, "PixelValueTransformationSequence") or header
    return np.asarray(apply_modality_lut(array, source), np.float32)


def _padding(array: Array, header: Dataset) -> Array | None:
    """Where there is no image: PixelPaddingValue, up to its range limit."""
    value, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    other = limit if isinstance(limit, int) else value
    return (array >= min(value, other)) & (array <= max(value, other))


def _voi(
    values: Array, header: Dataset, groups: list[Dataset], window: Window | None,
    padding: Array | None,
) -> Array:  # fmt: skip
    source = _macro(groups, "FrameVOILUTSequence") or header
    if window is None and source.get("VOILUTSequence"):
        return _by_table(values, source)
    window = window or _own_window(source)
    if window is not None:
        return _windowed(values, window)
    known = values if padding is None or padding.all() else values[~padding]
    low, high = np.percentile(known, (0.5, 99.5))
    return _linear(values, float(low), float(high))


def _own_window(source: Dataset) -> Window | None:
    center, width = _first(source.get("WindowCenter")), _first(source.get("WindowWidth"))
    if center is None or width is None or not math.isfinite(center) or not width > 0:
        return None
    return Window(center, width, str(source.get("VOILUTFunction") or "LINEAR"))


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except TypeError:
        return float(value[0]) if len(value) else None


def _by_table(values: Array, source: Dataset) -> Array:
    table = apply_voi(np.round(values).astype(np.int32), source)
    bits = int(source.VOILUTSequence[0].LUTDescriptor[2])
    return _linear(np.asarray(table, np.float32), 0.0, float(2**bits - 1))


def _windowed(values: Array, window: Window) -> Array:
    """PS3.3 C.11.2.1.2.1 and C.11.2.1.3."""
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        exponent = np.clip(-4 * (values - center) / width, -60, 60)
        return (WHITE / (1 + np.exp(exponent)) + 0.5).astype(np.uint8)
    if window.function == "LINEAR" and width >= 1:
        low = center - 0.5 - (width - 1) / 2
        return _linear(values, low, low + width - 1)
    return _linear(values, center - width / 2, center + width / 2)


def _linear(values: Array, low: float, high: float) -> Array:
    scale = WHITE / (high - low) if high > low else 0.0
    grey = (np.nan_to_num(values) - low) * scale if scale else (values > low) * float(WHITE)
    return (np.clip(grey, 0, WHITE) + 0.5).astype(np.uint8)


def _placed(image: Image.Image, viewport: Viewport) -> Image.Image:
    """The source region scaled into the viewport, its proportions kept."""
    across = viewport.source_width if viewport.source_width is not None else image.width
    down = viewport.source_height if viewport.source_height is not None else image.height
    box = (viewport.left, viewport.top, viewport.left + abs(across), viewport.top + abs(down))
    inside = 0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height
    if not inside:
        raise BadView("The viewport's source region does not lie in the image.")
    scale = min(viewport.width / (box[2] - box[0]), viewport.height / (box[3] - box[1]))
    size = (
        max(1, round((box[2] - box[0]) * scale)),
        max(1, round((box[3] - box[1]) * scale)),
    )
    image = image.resize(size, Image.Resampling.BILINEAR, box=box)
    if across < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if down < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image
