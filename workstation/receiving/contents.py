"""Do two DICOM files hold the same object, although their bytes differ?

The same object comes over the network with another file meta group, and senders may write lengths
or value types differently. That is a repetition, not a conflict.
"""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from workstation.receiving.headers import UNREADABLE

PADDING = 0xFFFCFFFC


def same_object(first: Path, second: Path) -> bool:
    """Whether both files hold equal elements, pixels included. Unreadable files are not equal.

    Another compression of the same pixels counts as different: proving it equal would need
    decoding, and a wrong yes would lose images.
    """
    try:
        return _same(pydicom.dcmread(first), pydicom.dcmread(second))
    except UNREADABLE:
        return False


def _tags(dataset: Dataset) -> list[BaseTag]:
    """Without group lengths and padding, which say nothing about the object."""
    # Iterating the dataset itself would decode every element.
    tags = dataset.keys()
    return sorted(tag for tag in tags if tag.element != 0 and tag != PADDING)


def _same(first: Dataset, second: Dataset) -> bool:
    tags = _tags(first)
    if tags != _tags(second):
        return False
    for tag in tags:
        raw_first, raw_second = _raw(first, tag), _raw(second, tag)
        if raw_first is not None and raw_first == raw_second:
            continue
        one, other = first[tag], second[tag]
        if one.VR != other.VR:
            return False
        if one.VR == "SQ":
            if len(one.value) != len(other.value):
                return False
            if not all(_same(a, b) for a, b in zip(one.value, other.value, strict=True)):
                return False
        elif one.value != other.value:
            return False
    return True


def _raw(dataset: Dataset, tag: BaseTag) -> bytes | None:
    """The element's bytes without padding, if pydicom has not decoded it yet."""
    value = dataset.get_item(tag).value
    return value.rstrip(b" \x00") if isinstance(value, bytes) else None
