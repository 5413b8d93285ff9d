"""The text of a dataset as strings, so that it can be written in another character set."""

from __future__ import annotations

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from workstation.receiving.headers import ESCAPE

TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Value representations whose bytes depend on the character set."""
UTF_8 = "ISO_IR 192"


def as_utf_8(dataset: Dataset) -> None:
    """Decode every text, also in sequences, and declare UTF-8.

    Not ``Dataset.decode``: pydicom 3.0 encodes a name anew there, and loses what its encoder of
    that character set cannot write (Cyrillic in ISO_IR 13).
    """
    dataset.walk(_plain)
    dataset.SpecificCharacterSet = UTF_8


def _plain(item: Dataset, element: DataElement) -> None:
    """Strings instead of names that remember bytes, without the GB2312 escape that pydicom 3.0
    leaves in what it decoded."""
    if element.keyword == "SpecificCharacterSet":
        element.value = UTF_8
    elif element.VR in TEXT and element.VM == 1:
        element.value = ESCAPE.sub("", str(element.value))
    elif element.VR in TEXT and element.VM > 1:
        element.value = [ESCAPE.sub("", str(value)) for value in element.value]
