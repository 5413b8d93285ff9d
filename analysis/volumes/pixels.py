"""Where the stored pixels of an object lie, and decoding of single frames on demand.

Headers of a whole series are held in memory, pixels never: a frame's bytes are read when its
volume is built and dropped when it is decoded, so memory is bounded by one volume however many
frames a series has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian

from analysis.errors import InputRefused
from analysis.volumes.damage import READ_ERRORS

PIXEL_DATA = 0x7FE00010
DEFER_BYTES = 1 << 16
"""Larger values are left in the file while the header is read."""
_DESCRIBING = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PixelSource:
    """The Pixel Data of one object: a range of its file, or (deflated files) the bytes."""

    path: Path
    offset: int
    length: int
    """Bytes that are really there; a cut file has fewer than its header says."""
    frames: int
    describing: Dataset
    """Rows, columns, bits: what a decoder needs."""
    meta: FileMetaDataset
    held: bytes | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return int(self.describing.Rows), int(self.describing.Columns)

    @property
    def compressed(self) -> bool:
        return bool(self.meta.TransferSyntaxUID.is_encapsulated)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame."""
        rows, columns = self.shape
        return rows * columns * int(self.describing.BitsAllocated) // 8

    def read(self, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of the element as stored."""
        wanted = self.length - start if length is None else length
        if self.held is not None:
            return self.held[start : start + wanted]
        with self.path.open("rb") as file:
            return os.pread(file.fileno(), wanted, self.offset + start)

    def decode(self, indices: Sequence[int]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """(index, stored values [rows, columns]) of these frames, ascending, each decoded once.

        Raises ``InputRefused`` (``truncated_pixel_data``, ``undecodable_pixels``).
        """
        wanted = sorted(set(indices))
        if self.compressed:
            yield from self._decode_compressed(wanted)
            return
        for index in wanted:
            data = self.read(index * self.frame_bytes, self.frame_bytes)
            if len(data) < self.frame_bytes:
                raise cut_off()
            yield index, self._pixels(data)

    def _decode_compressed(self, wanted: Sequence[int]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        remaining = set(wanted)
        try:
            # One pass over the fragments: the offset table may be empty, and is not trusted.
            for index, data in enumerate(
                generate_frames(self.read(), number_of_frames=self.frames)
            ):
                if index in remaining:
                    remaining.discard(index)
                    yield index, self._pixels(encapsulate([data]))
                if not remaining:
                    return
        except READ_ERRORS as error:
            raise self._undecodable() from error
        raise cut_off()

    def _pixels(self, data: bytes) -> npt.NDArray[Any]:
        single = Dataset(dict(self.describing.items()))
        single.file_meta = self.meta
        wide = self.compressed or int(self.describing.BitsAllocated) > 8
        single[PIXEL_DATA] = DataElement(
            PIXEL_DATA, "OB" if self.compressed or not wide else "OW", data
        )
        try:
            pixels = np.asarray(single.pixel_array)
        except READ_ERRORS as error:
            raise self._undecodable() from error
        if pixels.shape != self.shape:
            raise InputRefused(
                "undecodable_pixels",
                "The image data of a slice has another size than its header says.",
            )
        return pixels

    def _undecodable(self) -> InputRefused:
        return InputRefused(
            "undecodable_pixels",
            f"The image data of a slice cannot be decoded ({self.meta.TransferSyntaxUID.name}). "
            "The file is damaged; send the series again.",
        )


def cut_off() -> InputRefused:
    return InputRefused(
        "truncated_pixel_data", "A file of this series is cut off. Send the series again."
    )


def take_pixels(ds: Dataset, path: Path, frames: int) -> PixelSource:
    """Remove the Pixel Data element from a freshly read dataset and remember where it lies."""
    # Not get_item(): it would read a deferred value into memory.
    element = next(element for tag, element in ds.items() if tag == PIXEL_DATA)
    describing = Dataset()
    for keyword in _DESCRIBING:
        if keyword in ds:
            describing[keyword] = ds[keyword]
    meta: FileMetaDataset = ds.file_meta
    held: bytes | None = None
    offset = 0
    if isinstance(element, RawDataElement) and (
        meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian
    ):
        offset = int(element.value_tell)
        present = max(0, path.stat().st_size - offset)
        length = len(element.value) if element.value is not None else min(element.length, present)
    else:  # offsets count in the inflated stream, which is not in the file
        held = bytes(element.value or b"")
        length = len(held)
    del ds[PIXEL_DATA]
    return PixelSource(path, offset, length, frames, describing, meta, held)
