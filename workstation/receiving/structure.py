"""Is a DICOM file whole? A walk over its elements without decoding them (PS3.5 section 7).

pydicom reads a cut-off file without complaint as far as it goes, and recurses once per nested
sequence. This walk jumps from length to length with its own stack, so it finds the place where a
file ends too early, and cannot be exhausted by deep nesting.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from io import SEEK_END, BytesIO
from typing import BinaryIO

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
# The JPIP syntaxes carry a reference instead of pixels, deflated: nothing a reader could show.
DEFLATED = (DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
MAX_DEPTH = 64
"""Real objects nest fewer than 15 sequences; deeper ones are attacks on parsers."""
MAX_INFLATED = 512 * 1024**2
"""Deflated objects are unpacked in memory; two megabytes can hold two gigabytes of zeros."""
LONGEST_WANTED = 4096
WINDOW = 16 * 1024
"""Bytes read at once; the headers of most images fit."""

META_GROUP = 0x0002
META_TEXTS = {0x0002: "MediaStorageSOPClassUID", 0x0010: "TransferSyntaxUID"}
META_VRS = frozenset((b"UL", b"UI", b"SH", b"AE"))
LONGEST_META = 1024


class Broken(Exception):
    """The bytes do not follow their own lengths. ``code`` names the fault, the text explains it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass
class Shape:
    """What the walk found: top-level pixel data, if any."""

    pixel_tag: int = 0
    pixel_bytes: int = 0
    """Bytes of native pixel data, or of all fragments together."""
    fragments: int | None = None
    """Number of fragments after the offset table; None when the pixel data are native."""
    tags: set[int] = field(default_factory=set)
    values: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    """VR (empty: implicit) and bytes of the wanted top-level elements before the pixel data."""


def walk(
    file: BinaryIO, start: int, transfer_syntax: str, wanted: Collection[int] = ()
) -> Shape:
    """Follow every element from byte ``start`` (after the file meta group) to the end, and keep
    the bytes of the ``wanted`` ones.

    Raises :class:`Broken` with code ``truncated``, ``not_closed``, ``nested_too_deep`` or
    ``unreadable``.
    """
    if transfer_syntax in DEFLATED:
        file, start = _inflated(file, start), 0
    return _Walk(file, start, transfer_syntax, wanted).run()


def _inflated(file: BinaryIO, start: int) -> BinaryIO:
    file.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(file.read(), MAX_INFLATED)
    except zlib.error:
        raise Broken("unreadable", "The compressed header cannot be unpacked.") from None
    if inflater.unconsumed_tail:
        raise Broken("unreadable", "The compressed header unpacks to more than 512 MiB.")
    if not inflater.eof:
        raise Broken("truncated", "The file ends before its compressed data do.")
    return BytesIO(data)


class _Walk:
    def __init__(
        self, file: BinaryIO, start: int, transfer_syntax: str, wanted: Collection[int]
    ) -> None:
        self.file = file
        self.wanted = wanted
        self.window = b""
        self.window_at = 0
        self.size = file.seek(0, SEEK_END)
        self.at = start
        self.implicit = transfer_syntax == ImplicitVRLittleEndian
        self.order = ">" if transfer_syntax == ExplicitVRBigEndian else "<"
        self.shape = Shape()
        # Open sequences and items of undefined length, innermost last: (tag, implicit inside).
        self.open: list[tuple[int, bool]] = []

    def run(self) -> Shape:
        while self.at < self.size:
            self._step()
        if self.open:
            raise Broken("not_closed", "The file ends inside a sequence that is never closed.")
        return self.shape

    def _bytes(self, count: int) -> bytes:
        begin = self.at - self.window_at
        if begin < 0 or begin + count > len(self.window):
            self.file.seek(self.at)
            self.window, self.window_at, begin = self.file.read(max(count, WINDOW)), self.at, 0
        data = self.window[begin : begin + count]
        if len(data) < count:
            raise Broken("truncated", "The file ends in the middle of an element.")
        self.at += count
        return data

    def _tag(self) -> int:
        group, element = struct.unpack(self.order + "HH", self._bytes(4))
        return int(group) << 16 | int(element)

    def _long(self) -> int:
        return int(struct.unpack(self.order + "I", self._bytes(4))[0])

    def _step(self) -> None:
        tag = self._tag()
        if tag in (ITEM, ITEM_END, SEQUENCE_END):
            self._delimiter(tag, self._long())
            return
        if tag == 0 and not self.open and self.shape.pixel_tag:
            # Writers that fill up the last block leave zeros after the pixel data.
            self.at = self.size
            return
        implicit = self.open[-1][1] if self.open else self.implicit
        vr = b"" if implicit else self._bytes(2)
        if implicit:
            length = self._long()
        elif vr in LONG_VRS:
            self._bytes(2)
            length = self._long()
        elif vr.isalpha() and vr.isupper():
            length = int(struct.unpack(self.order + "H", self._bytes(2))[0])
        else:
            raise Broken(
                "unreadable", f"The header holds no valid element type at byte {self.at}."
            )
        self._value(tag, vr, length, implicit)

    def _value(self, tag: int, vr: bytes, length: int, implicit: bool) -> None:
        top = not self.open
        if top:
            self.shape.tags.add(tag)
        if length == UNDEFINED:
            if tag in PIXEL_TAGS:
                self._fragments(tag, top)
                return
            # UN of undefined length holds implicit VR elements (PS3.5 6.2.2).
            self._enter(tag, implicit or vr == b"UN")
            return
        missing = self.at + length - self.size
        if missing > 0:
            what = "pixel data" if tag in PIXEL_TAGS else "header"
            raise Broken("truncated", f"The file ends before its {what} do: {missing} bytes miss.")
        if top and tag in self.wanted and length <= LONGEST_WANTED and not self.shape.pixel_tag:
            self.shape.values[tag] = vr, self._bytes(length)
        else:
            self.at += length
        if top and tag in PIXEL_TAGS:
            self.shape.pixel_tag, self.shape.pixel_bytes = tag, length

    def _enter(self, tag: int, implicit: bool) -> None:
        # A sequence and its item are two entries.
        if len(self.open) >= 2 * MAX_DEPTH:
            raise Broken(
                "nested_too_deep", f"Sequences are nested more than {MAX_DEPTH} levels deep."
            )
        self.open.append((tag, implicit))

    def _delimiter(self, tag: int, length: int) -> None:
        if not self.open:
            raise Broken("unreadable", "A sequence ends that never began.")
        inside, implicit = self.open[-1]
        if tag == ITEM and inside != ITEM:
            if length == UNDEFINED:
                self._enter(ITEM, implicit)
            elif self.at + length > self.size:
                raise Broken("truncated", "The file ends in the middle of a sequence.")
            else:
                self.at += length
        elif (tag == ITEM_END) == (inside == ITEM) and tag != ITEM:
            self.open.pop()
        else:
            raise Broken("unreadable", "The items of a sequence do not follow each other.")

    def _fragments(self, tag: int, top: bool) -> None:
        count, total = -1, 0
        while True:
            if self.at >= self.size:
                raise Broken("truncated", "The file ends before its compressed pixel data do.")
            part, length = self._tag(), self._long()
            if part == SEQUENCE_END:
                break
            if part != ITEM or length == UNDEFINED:
                raise Broken("unreadable", "The compressed pixel data are not in fragments.")
            missing = self.at + length - self.size
            if missing > 0:
                raise Broken(
                    "truncated", f"The file ends before its pixel data do: {missing} bytes miss."
                )
            self.at += length
            count += 1
            total += length if count else 0
        if top:
            self.shape.pixel_tag, self.shape.pixel_bytes = tag, total
            self.shape.fragments = max(count, 0)


def plain_meta(data: bytes) -> tuple[dict[str, str], int] | None:
    """Class and transfer syntax of a file meta group, and its length, if there is nothing unusual
    in it: all others are left to pydicom, which takes ten times as long."""
    texts: dict[str, str] = {}
    at = 0
    while at + 8 <= len(data):
        group, element, vr, length = struct.unpack_from("<HH2sH", data, at)
        if group != META_GROUP:
            return (texts, at) if at else None
        if vr == b"OB":
            if at + 12 > len(data):
                return None
            (length,) = struct.unpack_from("<I", data, at + 8)
            at += 4
        elif vr not in META_VRS:
            return None
        value, at = data[at + 8 : at + 8 + length], at + 8 + length
        if (keyword := META_TEXTS.get(element)) is not None:
            if keyword in texts or vr != b"UI" or not value.isascii():
                return None
            texts[keyword] = value.decode("ascii")
    return None
