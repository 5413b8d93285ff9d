"""What damaged files do to a reader, and how a header is made safe to ask."""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

READ_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    NotImplementedError,
    RuntimeError,  # RecursionError of nested sequences, decoders' own failures
    struct.error,
)
"""What reading a damaged file may raise; anything else is a fault of ours."""

PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, double and integer Pixel Data: looked at only when a volume is built."""


def drop_damaged(ds: Dataset) -> None:
    """Remove elements whose bytes do not fit their type, at every depth: damaged is missing.

    pydicom converts an element when it is first asked for and raises then; after this, asking
    never raises, and what is missing meets its own check.
    """
    for tag in list(ds.keys()):
        if tag in PIXELS:
            continue
        try:
            element = ds[tag]
            items = list(element.value) if element.VR == "SQ" else []
        except READ_ERRORS:
            del ds[tag]
            continue
        for item in items:
            drop_damaged(item)
