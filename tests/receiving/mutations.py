"""Damaged DICOM files made from good ones: structure-aware, and the same for the same seed."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pydicom
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
VRS = [
    *LONG, b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT",
    b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US", b"??", b"\0\0", b"zz",
]  # fmt: skip
LENGTHS = [
    0, 1, 2, 3, 0x7F, 0xFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF,
]  # fmt: skip
TAGS = [
    0, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0x7FE00010, 0x7FE00008, 0x00080005, 0xFFFFFFFF,
]  # fmt: skip
SYNTAXES = [
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.3", "",
    "1.2.840.10008.1.2.4.95", "x" * 64,
]  # fmt: skip
WORDS = [
    b"", b"\0" * 64, b"\xff" * 65, b"1.2.3." * 20, b"\\" * 40, b"\x1b$)C\x1b(J\x1b" * 4, b"=" * 9,
    b"-1", b"99999999999999999999", b"NaN", b"1e400", b"ISO_IR 192\\ISO 2022 IR 149", b"GB18030",
    b"\r\n--b0und--\r\n", b"%s%n{0}", b"'; DROP TABLE x;--", b"../../etc/passwd", b"19991332",
]  # fmt: skip


@dataclass(frozen=True)
class Seed:
    """A file taken apart at the end of its file meta group."""

    name: str
    data: bytes
    start: int
    syntax: str
    sop_class: str
    sop_instance: str
    elements: list[Element]


@dataclass(frozen=True)
class Element:
    """Where one top-level element of the data set lies."""

    tag: int
    at: int
    length_at: int
    length_size: int
    value_at: int
    end: int


def seed_of(name: str, data: bytes) -> Seed:
    file = io.BytesIO(data)
    file.seek(132)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    start, syntax = file.tell(), str(meta.get("TransferSyntaxUID", ""))
    return Seed(
        name, data, start, syntax, str(meta.get("MediaStorageSOPClassUID", "")),
        str(meta.get("MediaStorageSOPInstanceUID", "")), list(_elements(data, start, syntax)),
    )  # fmt: skip


def _elements(data: bytes, at: int, syntax: str) -> Iterator[Element]:
    """Top-level elements as far as they have lengths; none of a deflated or big endian file."""
    if syntax in (ExplicitVRBigEndian, "1.2.840.10008.1.2.1.99"):
        return
    while at + 8 <= len(data):
        group, element = struct.unpack_from("<HH", data, at)
        vr = data[at + 4 : at + 6]
        if syntax == ImplicitVRLittleEndian:
            length_at, size = at + 4, 4
        elif vr in LONG:
            length_at, size = at + 8, 4
        else:
            length_at, size = at + 6, 2
        if length_at + size > len(data):
            return
        length = int.from_bytes(data[length_at : length_at + size], "little")
        value_at = length_at + size
        end = len(data) if length == 0xFFFFFFFF else value_at + length
        yield Element(group << 16 | element, at, length_at, size, value_at, min(end, len(data)))
        if length == 0xFFFFFFFF:
            return
        at = end


DICOMDIR = "1.2.840.10008.1.3.10"
Edit = Callable[[random.Random, Seed, bytearray], None]


def _truncate(rng: random.Random, seed: Seed, data: bytearray) -> None:
    del data[rng.randrange(seed.start, len(data)) :]


def _flip_bits(rng: random.Random, seed: Seed, data: bytearray) -> None:
    # The header is short beside the pixels; most flips belong there.
    end = min(len(data), seed.start + 2000) if rng.random() < 0.8 else len(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(seed.start, end)] ^= 1 << rng.randrange(8)


def _remove(rng: random.Random, seed: Seed, data: bytearray) -> None:
    at = rng.randrange(seed.start, len(data))
    del data[at : at + rng.choice((1, 2, 4, 7, 100))]


def _insert(rng: random.Random, seed: Seed, data: bytearray) -> None:
    at = rng.randrange(seed.start, min(len(data), seed.start + 2000))
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 100)))


def _length(rng: random.Random, seed: Seed, data: bytearray) -> None:
    if seed.elements:
        one = rng.choice(seed.elements)
        real = int.from_bytes(data[one.length_at : one.length_at + one.length_size], "little")
        value = rng.choice([*LENGTHS, real + 1, real + 2, max(0, real - 2), real * 2])
        size = one.length_size
        data[one.length_at : one.length_at + size] = (value % 256**size).to_bytes(size, "little")


def _vr(rng: random.Random, seed: Seed, data: bytearray) -> None:
    if seed.elements:
        at = rng.choice(seed.elements).at + 4
        data[at : at + 2] = rng.choice(VRS)


def _tag(rng: random.Random, seed: Seed, data: bytearray) -> None:
    if seed.elements:
        at = rng.choice(seed.elements).at
        tag = rng.choice([*TAGS, rng.choice(seed.elements).tag, rng.getrandbits(32)])
        data[at : at + 4] = struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def _value(rng: random.Random, seed: Seed, data: bytearray) -> None:
    """Another value, with a length that fits it."""
    if not seed.elements:
        return
    one = rng.choice(seed.elements)
    word = rng.choice([*WORDS, rng.randbytes(rng.choice((1, 2, 4, 64, 400)))])
    word += b" " * (len(word) % 2)
    data[one.value_at : one.end] = word
    size = one.length_size
    data[one.length_at : one.length_at + size] = (len(word) % 256**size).to_bytes(size, "little")


def _nest(rng: random.Random, seed: Seed, data: bytearray) -> None:
    depth = rng.choice((1, 3, 64, 65, 500, 3000))
    open_ = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    close = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    whole = rng.random() < 0.5
    at = rng.choice(seed.elements).at if seed.elements else seed.start
    data[at:at] = open_ * depth + (close * (depth if whole else rng.randrange(depth)))


def _fragments(rng: random.Random, seed: Seed, data: bytearray) -> None:
    """The pixel data as fragments that do not add up."""
    pixels = next((one for one in seed.elements if one.tag == 0x7FE00010), None)
    at = pixels.at if pixels else len(data)
    item = b"\xfe\xff\x00\xe0"
    parts = [item + struct.pack("<I", rng.choice((0, 1, 4, 9999, 0xFFFFFFFF))) + rng.randbytes(4)
             for _ in range(rng.choice((0, 1, 2, 50)))]  # fmt: skip
    end = rng.choice((b"", b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xfe\xff\x0d\xe0\0\0\0\0"))
    data[at:] = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"".join(parts) + end


def _pixels(rng: random.Random, seed: Seed, data: bytearray) -> None:
    """More, fewer or no pixels than the header says."""
    pixels = next((one for one in seed.elements if one.tag == 0x7FE00010), None)
    if pixels is None:
        return
    size = pixels.end - pixels.value_at
    wanted = rng.choice((0, 1, 2, size // 2, size + 2))
    data[pixels.value_at :] = bytes(wanted)
    if pixels.length_size == 4:
        data[pixels.length_at : pixels.length_at + 4] = struct.pack("<I", wanted)


def _shuffle(rng: random.Random, seed: Seed, data: bytearray) -> None:
    """Elements out of order, twice, or gone."""
    if len(seed.elements) > 3:
        pieces = [bytes(data[one.at : one.end]) for one in seed.elements]
        for _ in range(rng.choice((1, 3, 10))):
            act = rng.randrange(3)
            first, second = rng.randrange(len(pieces)), rng.randrange(len(pieces))
            if act == 0:
                pieces[first], pieces[second] = pieces[second], pieces[first]
            elif act == 1:
                pieces.insert(first, pieces[second])
            elif len(pieces) > 1:
                del pieces[first]
        data[seed.start :] = b"".join(pieces)


def _splice(rng: random.Random, seed: Seed, data: bytearray) -> None:
    """The file again behind itself, or its second half twice."""
    data += data[rng.choice((0, seed.start, len(data) // 2)) :]


def _meta(rng: random.Random, seed: Seed, data: bytearray) -> None:
    """Damage in the file meta group or before it: over the network it does not travel."""
    act = rng.randrange(5)
    if act == 0:
        del data[: rng.choice((1, 128, 132, 140))]
    elif act == 1:
        data[140:144] = struct.pack("<I", rng.choice(LENGTHS))
    elif act == 2:
        for _ in range(3):
            data[rng.randrange(128, max(129, seed.start))] = rng.randrange(256)
    elif act == 3:
        old, new = seed.syntax.encode(), rng.choice(SYNTAXES).encode()
        at = data.find(old, 132, seed.start)
        if at >= 0:
            data[at : at + len(old)] = new.ljust(len(old), b"\0")[: len(old)]
    else:
        del data[rng.randrange(132, max(133, seed.start)) : seed.start]


EDITS: dict[str, Edit] = {
    "truncated": _truncate,
    "bits flipped": _flip_bits,
    "bytes removed": _remove,
    "bytes inserted": _insert,
    "length field": _length,
    "value type": _vr,
    "tag": _tag,
    "value": _value,
    "nested sequences": _nest,
    "fragments": _fragments,
    "pixel length": _pixels,
    "elements shuffled": _shuffle,
    "spliced": _splice,
    "file meta group": _meta,
}


def _with_another_uid(rng: random.Random, seed: Seed) -> bytes:
    """The same object under a UID of the same length, so that it conflicts with no other."""
    old = seed.sop_instance
    if len(old) < 12:
        return seed.data
    new = old[:-8] + "".join(rng.choice("123456789") for _ in range(8))
    return seed.data.replace(old.encode(), new.encode())


def mutants(seeds: list[Seed], count: int, number: int) -> Iterator[tuple[str, Seed, bytes]]:
    """``count`` damaged files: (kind of damage, the good file, bytes)."""
    rng = random.Random(number)
    kinds = list(EDITS)
    for index in range(count):
        kind = kinds[index % len(kinds)]
        seed = rng.choice(seeds)
        data = bytearray(_with_another_uid(rng, seed) if rng.random() < 0.5 else seed.data)
        EDITS[kind](rng, seed, data)
        if rng.random() < 0.2 and len(data) > seed.start:
            _flip_bits(rng, seed, data)
        yield kind, seed, bytes(data)


def good_seeds(paths: list[object], made: dict[str, bytes]) -> list[Seed]:
    """Seeds of files that pydicom reads, and of those made in memory; no DICOMDIR, which is
    refused without being kept."""
    found = [seed_of(name, data) for name, data in made.items()]
    for path in paths:
        try:
            pydicom.dcmread(path, stop_before_pixels=True)
            found.append(seed_of(path.name, path.read_bytes()))
        except (pydicom.errors.InvalidDicomError, OSError, KeyError, ValueError, AttributeError):
            continue
    return [seed for seed in found if seed.syntax and seed.sop_class not in ("", DICOMDIR)]
