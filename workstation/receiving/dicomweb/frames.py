"""Frames of a stored image, read in place: one frame in memory, however long the object is.

``stored`` gives a frame as its transfer syntax has it; ``decoded`` gives uncompressed pixels in
little endian. Compressed colour is decoded to RGB; what was stored uncompressed stays as it is.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from workstation.receiving.dicomweb.delivering import NOT_DECODED, file_of
from workstation.receiving.models import Instance
from workstation.receiving.structure import LONG_VRS, PIXEL_TAGS, UNDEFINED

MOST_VALUES = 64 * 1024 * 1024
"""A frame with more values is not decoded in a web process: drawing takes ten bytes each."""
MEDIA_TYPES: dict[str, tuple[str, ...]] = {
    "1.2.840.10008.1.2.4.50": ("image/jpeg",),
    "1.2.840.10008.1.2.4.51": ("image/jpeg",),
    "1.2.840.10008.1.2.4.57": ("image/jpeg",),
    "1.2.840.10008.1.2.4.70": ("image/jpeg",),
    "1.2.840.10008.1.2.4.80": ("image/jls", "image/x-jls"),
    "1.2.840.10008.1.2.4.81": ("image/jls", "image/x-jls"),
    "1.2.840.10008.1.2.4.90": ("image/jp2",),
    "1.2.840.10008.1.2.4.91": ("image/jp2",),
    "1.2.840.10008.1.2.4.92": ("image/jpx",),
    "1.2.840.10008.1.2.4.93": ("image/jpx",),
    "1.2.840.10008.1.2.4.201": ("image/jphc",),
    "1.2.840.10008.1.2.4.202": ("image/jphc",),
    "1.2.840.10008.1.2.4.203": ("image/jphc",),
    "1.2.840.10008.1.2.4.110": ("image/jxl",),
    "1.2.840.10008.1.2.4.111": ("image/jxl",),
    "1.2.840.10008.1.2.4.112": ("image/jxl",),
    "1.2.840.10008.1.2.5": ("image/dicom-rle", "image/x-dicom-rle"),
}
"""Media types of a compressed frame (PS3.18 table 8.7.3-5 and 8.7.3-2)."""
OCTETS = "application/octet-stream"


class NoFrames(Exception):
    """The object has no such frame; the text is for people."""


class NotDecodable(Exception):
    """The frame is there but cannot be shown in the form asked for; the text is for people."""


class Frames:
    """The frames of one open file. Use :func:`frames_of`."""

    def __init__(self, file: BinaryIO, transfer_syntax: str) -> None:
        self.file = file
        self.transfer_syntax = UID(transfer_syntax)
        self.compressed = self.transfer_syntax.is_encapsulated
        if transfer_syntax == DeflatedExplicitVRLittleEndian:
            self.header = pydicom.dcmread(file)
            self._inflate()
        else:
            self.header = pydicom.dcmread(file, stop_before_pixels=True)
            self.tag, self.at, self.length = self._pixels()
        header = self.header
        self.count = int(header.get("NumberOfFrames") or 1)
        self.rows, self.columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
        self.samples = int(header.get("SamplesPerPixel") or 1)
        self.bits = int(header.get("BitsAllocated") or 8)

    def _inflate(self) -> None:
        for tag in PIXEL_TAGS:
            if tag in self.header:
                data = self.header[tag].value
                self.tag, self.at, self.length = tag, 0, len(data)
                self.file = io.BytesIO(data)
                return
        raise NoFrames("This object has no pixel data.")

    def _pixels(self) -> tuple[int, int, int]:
        """The pixel element's tag, where its value begins, and its length."""
        order = ">" if self.transfer_syntax == ExplicitVRBigEndian else "<"
        head = self.file.read(12)
        if len(head) < 12:
            raise NoFrames("This object has no pixel data.")
        group, element = struct.unpack(order + "HH", head[:4])
        tag = group << 16 | element
        if tag not in PIXEL_TAGS:
            raise NoFrames("This object has no pixel data.")
        start = self.file.tell() - 12
        if self.transfer_syntax == ImplicitVRLittleEndian:
            return tag, start + 8, struct.unpack("<I", head[4:8])[0]
        if head[4:6] in LONG_VRS:
            return tag, start + 12, struct.unpack(order + "I", head[8:12])[0]
        return tag, start + 8, struct.unpack(order + "H", head[6:8])[0]

    def check(self, number: int) -> None:
        """Raises :class:`NoFrames` if there is no frame with this number (from 1)."""
        if not 1 <= number <= self.count:
            raise NoFrames(f"There is no frame {number}: this object has {self.count}.")

    def stored(self, number: int) -> bytes:
        """Frame ``number`` (from 1) as it is stored; native big endian becomes little endian."""
        self.check(number)
        if not self.compressed:
            return self._native(number)
        header = self.header
        offsets = header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths")
        self.file.seek(self.at)
        try:
            return get_frame(
                self.file,
                number - 1,
                number_of_frames=self.count,
                extended_offsets=offsets if all(offsets) else None,  # type: ignore[arg-type]
            )
        except NOT_DECODED:
            raise NotDecodable(
                "The compressed frames of this object cannot be told apart."
            ) from None

    def _native(self, number: int) -> bytes:
        samples: float = self.samples
        if self.header.get("PhotometricInterpretation") == "YBR_FULL_422":
            samples = 2
        bits = int(self.rows * self.columns * samples * self.bits)
        first = bits * (number - 1)
        begin, end = first // 8, -(-(first + bits) // 8)
        if self.length == UNDEFINED or end > self.length:
            raise NotDecodable(f"The pixel data end before frame {number}.")
        self.file.seek(self.at + begin)
        data = self.file.read(end - begin)
        if first % 8 or bits % 8:
            # Bits of several frames share a byte (segmentations): this frame's begin at bit 0.
            values = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            return np.packbits(values[first % 8 :][:bits], bitorder="little").tobytes()
        if self.transfer_syntax == ExplicitVRBigEndian and self.bits in (16, 32, 64):
            return np.frombuffer(data, f">u{self.bits // 8}").byteswap().tobytes()
        return data

    def decoded(self, number: int) -> bytes:
        """Frame ``number`` uncompressed, little endian; else as :meth:`stored`."""
        if not self.compressed:
            return self.stored(number)
        array = self.array(number)
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()

    def array(self, number: int) -> np.ndarray[Any, Any]:
        """Frame ``number`` as an array (rows, columns[, 3]); colour models become RGB.

        Raises :class:`NoFrames` and :class:`NotDecodable`.
        """
        self.check(number)
        if self.rows * self.columns * self.samples > MOST_VALUES:
            raise NotDecodable("This frame is too large to be decoded here.")
        try:
            with warnings.catch_warnings():
                # They would print values of the header.
                warnings.simplefilter("ignore")
                return pixel_array(self._source(), index=number - 1)
        except NOT_DECODED:
            raise NotDecodable(
                "This frame cannot be decoded here; ask for it with transfer-syntax=*."
            ) from None

    def _source(self) -> BinaryIO | Dataset:
        if self.transfer_syntax == DeflatedExplicitVRLittleEndian:
            return self.header
        return self.file


@contextmanager
def frames_of(instance: Instance) -> Iterator[Frames]:
    """Opens an instance's frames; closed again at the end of the block.

    Raises :class:`NoFrames`, :class:`NotDecodable` and :class:`BytesMissing`.
    """
    with file_of(instance) as file:
        try:
            found = Frames(file, instance.transfer_syntax_uid)
        except NOT_DECODED:
            raise NotDecodable("The header of this object cannot be read.") from None
        yield found
