"""Stored numbers to physical ones: HU, activity or signal, slice by slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from analysis.contracts import Notice
from analysis.errors import InputRefused
from analysis.hounsfield import AIR_HU
from analysis.volumes.damage import READ_ERRORS
from analysis.volumes.frames import Frame

MAX_PADDING_HU = -500.0
"""A CT padding value above this would paint air over tissue; it is then not believed."""


@dataclass(frozen=True, eq=False)
class Values:
    """Rescaled voxels [z, y, x]: int16 where that is exact (CT), else float32."""

    array: npt.NDArray[Any]
    evidence: dict[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


def read_values(frames: Sequence[Frame]) -> Values:
    """Decode and rescale every slice, in the given order; each frame is decoded once.

    The rescale may differ per slice (GE PET) or frame. MONOCHROME1 turns the display around, not
    the values: they are kept. Voxels that the header declares as padding become air (CT) or the
    smallest true value. Raises ``InputRefused`` (``modality_lut``, ``bad_rescale``, and what
    decoding raises).
    """
    headers = [frame.header for frame in frames]
    first = headers[0]
    is_ct = first.get("Modality") == "CT"
    scales = [_rescale(ds) for ds in headers]
    shape = (len(frames), int(first.Rows), int(first.Columns))
    exact = is_ct and _fits_int16(headers, scales)
    array: npt.NDArray[Any] = np.empty(shape, dtype=np.int16 if exact else np.float32)
    pad_array = np.zeros(shape, dtype=bool) if "PixelPaddingValue" in first else None
    for k, stored in _decoded(frames):
        slope, intercept = scales[k]
        padding = _padding(headers[k]) if pad_array is not None else None
        if exact:
            whole = stored.astype(np.int32) * int(slope) + int(intercept)
            if whole.min() < -32768 or whole.max() > 32767:
                exact, array = False, array.astype(np.float32)
            array[k] = whole
        else:
            array[k] = stored.astype(np.float64) * slope + intercept
        if padding and pad_array is not None:
            pad_array[k] = (stored >= padding[0]) & (stored <= padding[1])
    notices: list[Notice] = []
    evidence: dict[str, Any] = {"rescale": _summary(scales)}
    if pad_array is not None and pad_array.any():
        filled = _fill_padding(array, pad_array, is_ct)
        evidence["padding_voxels"] = int(pad_array.sum()) if filled else 0
        if not filled:
            notices.append(
                Notice(
                    "padding_ignored",
                    "The header declares a padding value that lies among true values; it was not "
                    "applied.",
                )
            )
    if str(first.get("PhotometricInterpretation")) == "MONOCHROME1":
        notices.append(
            Notice(
                "monochrome1",
                "The images are stored for inverted display; values are kept as measured.",
                "info",
            )
        )
    return Values(array, evidence, tuple(notices))


def _decoded(frames: Sequence[Frame]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """(k, stored values) of every frame, object by object, so that no frame is decoded twice."""
    by_object: dict[int, dict[int, list[int]]] = {}
    for k, frame in enumerate(frames):
        by_object.setdefault(id(frame.pixels), {}).setdefault(frame.index, []).append(k)
    for places in by_object.values():
        pixels = frames[next(iter(places.values()))[0]].pixels
        for index, stored in pixels.decode(list(places)):
            for k in places[index]:
                yield k, frames[k].cut(stored)


def has_rescale(instances: Sequence[Dataset]) -> bool:
    """Whether every slice says how stored numbers become values."""
    return all("RescaleSlope" in ds and "RescaleIntercept" in ds for ds in instances)


def _rescale(ds: Dataset) -> tuple[float, float]:
    if "ModalityLUTSequence" in ds:
        raise InputRefused(
            "modality_lut", "The series turns numbers into values by a table, not supported."
        )
    try:
        slope = float(ds.get("RescaleSlope", 1) or 0)
        intercept = float(ds.get("RescaleIntercept", 0) or 0)
    except READ_ERRORS as error:
        raise InputRefused("bad_rescale", "A slice has an unreadable rescale.") from error
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise InputRefused(
            "bad_rescale", f"A slice has the rescale slope {slope:g}, which cannot be right."
        )
    return slope, intercept


def _fits_int16(instances: Sequence[Dataset], scales: Sequence[tuple[float, float]]) -> bool:
    """Whole-number rescale whose whole range of stored bits stays within int16, or nearly:
    12-bit scanners in 16-bit files are judged by BitsStored."""
    for ds, (slope, intercept) in zip(instances, scales, strict=True):
        if slope != round(slope) or intercept != round(intercept):
            return False
        bits, signed = int(ds.BitsStored), int(ds.PixelRepresentation)
        low = -(2 ** (bits - 1)) if signed else 0
        high = 2 ** (bits - signed) - 1
        # A file of 16 signed bits with intercept -1024 is CT, whose values never use them all;
        # where they do, the volume is widened while it is read.
        if bits == 16 and signed and slope == 1 and abs(intercept) <= 1024:
            continue
        ends = (low * slope + intercept, high * slope + intercept)
        if min(ends) < -32768 or max(ends) > 32767:
            return False
    return True


def _padding(ds: Dataset) -> tuple[int, int] | None:
    try:
        value = int(ds.PixelPaddingValue)
        limit = int(ds.get("PixelPaddingRangeLimit", value))
    except READ_ERRORS:
        return None
    if int(ds.PixelRepresentation) == 0:
        value, limit = value % 65536, limit % 65536
    return min(value, limit), max(value, limit)


def _fill_padding(array: npt.NDArray[Any], padded: npt.NDArray[np.bool_], is_ct: bool) -> bool:
    if padded.all():
        return False
    if is_ct:
        if float(array[padded].max()) > MAX_PADDING_HU:
            return False
        array[padded] = AIR_HU
        return True
    array[padded] = min(0.0, float(array[~padded].min()))
    return True


def _summary(scales: Sequence[tuple[float, float]]) -> dict[str, Any]:
    slopes, intercepts = zip(*scales, strict=True)
    if len(set(scales)) == 1:
        return {"slope": slopes[0], "intercept": intercepts[0], "per_slice": False}
    return {
        "slope": [min(slopes), max(slopes)],
        "intercept": [min(intercepts), max(intercepts)],
        "per_slice": True,
    }
