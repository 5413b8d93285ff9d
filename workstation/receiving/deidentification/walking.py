"""Every element of a dataset, at any depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from workstation.receiving.headers import UNREADABLE

PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
PERSON_CODES = ("PersonIdentificationCodeSequence", "IdentificationCodeSequence")


@dataclass(frozen=True)
class Found:
    element: DataElement
    in_person_code: bool = False
    """Inside a sequence that names a person by a code."""


def element_of(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """The decoded element; ``None`` if its bytes cannot be read as what they claim to be."""
    try:
        return dataset[tag]
    except UNREADABLE:
        return None


def elements_of(dataset: Dataset, *, in_person_code: bool = False) -> Iterator[Found]:
    """All readable elements but pixel data, nested ones too."""
    for tag in list(dataset.keys()):
        if int(tag) in PIXELS:
            continue
        element = element_of(dataset, tag)
        if element is None:
            continue
        yield Found(element, in_person_code)
        if element.VR == "SQ":
            inside = in_person_code or element.keyword.endswith(PERSON_CODES)
            for item in element.value:
                yield from elements_of(item, in_person_code=inside)
