"""Siemens mosaics: the slices of one volume tiled into one picture.

The tiles' places follow from ImagePositionPatient (given as if the whole picture were one plane),
SpacingBetweenSlices and the slice normal, whose *sign* only the CSA image header (0029,xx10)
tells; a mosaic without it is refused rather than put upside down.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from analysis.errors import InputRefused
from analysis.volumes.damage import READ_ERRORS

MAX_TILES = 1024
_CSA_MAGIC = b"SV10"
_CSA_TAG = struct.Struct("<64si4siii")
_CSA_ITEM = struct.Struct("<iiii")


def is_mosaic(ds: Dataset) -> bool:
    """Whether ImageType calls the picture a mosaic."""
    value = ds.get("ImageType") or ()
    return "MOSAIC" in [str(v).upper() for v in ([value] if isinstance(value, str) else value)]


def tiles_of(ds: Dataset) -> list[tuple[Dataset, tuple[int, int]]]:
    """The header of each tile in slice order, with the (row, column) of its first pixel.

    Raises ``InputRefused`` (``mosaic``) when the header does not say how the tiles lie.
    """
    csa = csa_values(private_bytes(ds, 0x0029, "SIEMENS CSA HEADER", 0x10))
    count = _count(ds, csa)
    across = math.ceil(math.sqrt(count))
    if count < 2 or count > MAX_TILES or ds.Rows % across or ds.Columns % across:
        raise _refused("how many slices are tiled in it")
    rows, columns = int(ds.Rows) // across, int(ds.Columns) // across
    try:
        position = np.array([float(v) for v in ds.ImagePositionPatient])
        cosines = np.array([float(v) for v in ds.ImageOrientationPatient]).reshape(2, 3)
        between_rows, between_columns = (float(v) for v in ds.PixelSpacing)
        step = abs(float(ds.SpacingBetweenSlices))
    except READ_ERRORS as error:
        raise _refused("where its slices lie") from error
    told = np.array(csa.get("SliceNormalVector", ())[:3])
    normal = np.cross(cosines[0], cosines[1])
    if told.shape != (3,) or abs(float(told @ normal)) < 0.9 or step <= 0:
        raise _refused("in which direction its slices follow each other")
    normal = normal * np.sign(told @ normal)
    first = (
        position
        + cosines[0] * between_columns * (int(ds.Columns) - columns) / 2
        + cosines[1] * between_rows * (int(ds.Rows) - rows) / 2
    )
    found = []
    for k in range(count):
        tile = Dataset(dict(ds.items()))
        for keyword in ("Rows", "Columns", "ImagePositionPatient"):
            del tile[keyword]  # an element is shared with the picture: replace it, don't change it
        tile.Rows, tile.Columns = rows, columns
        tile.ImagePositionPatient = [float(v) for v in first + normal * step * k]
        found.append((tile, (k // across * rows, k % across * columns)))
    return found


def _count(ds: Dataset, csa: dict[str, list[float]]) -> int:
    """NumberOfImagesInMosaic of the private tag, else of the CSA header; 0 if neither says."""
    for value in (
        private_value(ds, 0x0019, "SIEMENS MR HEADER", 0x0A),
        next(iter(csa.get("NumberOfImagesInMosaic", ())), None),
    ):
        try:
            if value:
                return int(float(value))
        except READ_ERRORS:
            continue
    return 0


def _refused(what: str) -> InputRefused:
    return InputRefused(
        "mosaic",
        f"The series holds a mosaic (many slices tiled in one picture) that does not say {what}. "
        "Send it with its private attributes, or as single slices.",
    )


def private_value(ds: Dataset, group: int, creator: str, element: int) -> Any:
    """The value of a private attribute found by its creator; None where it is absent."""
    try:
        return ds.private_block(group, creator)[element].value
    except READ_ERRORS:
        return None


def private_bytes(ds: Dataset, group: int, creator: str, element: int) -> bytes:
    value = private_value(ds, group, creator, element)
    return value if isinstance(value, bytes) else b""


def csa_values(data: bytes) -> dict[str, list[float]]:
    """The numbers of a CSA2 header (``SV10``) by name; empty for anything else or damaged bytes.

    Layout as nibabel documents it: a count, then tags of 84 bytes, each followed by its items of
    16 bytes and a value padded to four bytes; the second number of an item is the value's length.
    """
    found: dict[str, list[float]] = {}
    if not data.startswith(_CSA_MAGIC) or len(data) < 16:
        return found
    (count,) = struct.unpack_from("<I", data, 8)
    at = 16
    try:
        for _ in range(min(count, 512)):
            name, _vm, _vr, _type, items, _check = _CSA_TAG.unpack_from(data, at)
            at += _CSA_TAG.size
            values: list[float] = []
            for _ in range(min(items, 1024)):
                _, length, _, _ = _CSA_ITEM.unpack_from(data, at)
                at += _CSA_ITEM.size
                text = data[at : at + max(length, 0)].split(b"\0")[0].strip()
                at += (max(length, 0) + 3) // 4 * 4
                number = _number(text)
                if number is not None:
                    values.append(number)
            found[name.split(b"\0")[0].decode("ascii", "replace")] = values
    except struct.error:
        return {}
    return found


def _number(text: bytes) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
