"""The tables of PS3.15 as data: what happens to which attribute.

``confidentiality.csv`` is Table E.1-1: the codes of the Basic Profile as of edition 2026c, the
option columns as of 2024e (rows that are newer have no option and are treated as the Basic Profile
says). ``safe_private.csv`` is Table E.3.10-1 of edition 2020b.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag

from workstation.receiving.deidentification.options import Dates, Options

FOLDER = Path(__file__).parent
CURVES, OVERLAYS = 0x5000, 0x6000
TRAILING_PADDING = 0xFFFCFFFC
TEMPORAL = ("DA", "DT", "TM")
WELL_KNOWN = (
    "ClassUID", "ClassUIDInFile", "ClassesInStudy", "ClassesInSeries", "ClassesSupported",
    "TransferSyntaxUID", "TransferSyntaxUIDInFile", "CodingSchemeUID", "ContextUID",
    "ContextGroupExtensionCreatorUID", "MappingResourceUID",
)  # fmt: skip
"""Ends of keywords of UI attributes that name no instance of anything."""


class Action(Enum):
    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    KEEP = "K"
    CLEAN = "C"


@dataclass(frozen=True)
class Row:
    basic: str
    options: dict[str, str]

    @property
    def is_descriptor(self) -> bool:
        """Text about what was done, not about who it was done to."""
        return "descriptors" in self.options


@cache
def rows() -> dict[int, Row]:
    with (FOLDER / "confidentiality.csv").open(newline="", encoding="ascii") as file:
        return {
            int(line.pop("tag"), 16): Row(
                line.pop("basic"),
                {
                    column: code
                    for column, code in line.items()
                    if code and column not in ("keyword", "edition")
                },
            )
            for line in csv.DictReader(file)
        }


@cache
def safe_private() -> dict[tuple[int, int, str], str]:
    """VR by group, element byte and private creator."""
    with (FOLDER / "safe_private.csv").open(newline="", encoding="ascii") as file:
        return {
            (int(line["group"], 16), int(line["element"], 16), line["creator"]): line["vr"]
            for line in csv.DictReader(file)
        }


@cache
def action_for(tag: int, options: Options) -> Action:
    """What happens to a public attribute.

    Where the table leaves a choice (X/Z, X/D, X/Z/D, Z/D) the last one is taken: a dummy is valid
    for an attribute of any type, so the object stays valid whatever its IOD asks for. X/Z/U* keeps
    the sequence with new UIDs in it. Of several options that speak about one attribute, cleaning
    goes before keeping.
    """
    group = tag >> 16
    if tag == TRAILING_PADDING or tag & 0xFFFF == 0:
        return Action.REMOVE
    if group & 0xFF00 in (CURVES, OVERLAYS):
        return Action.REMOVE
    row = rows().get(tag)
    if row is None:
        return _unlisted(tag, options)
    chosen = [row.options[column] for column in options.columns if column in row.options]
    if chosen:
        return Action.CLEAN if "C" in chosen else Action.KEEP
    last = row.basic.rsplit("/", 1)[-1]
    return Action.CLEAN if last == "U*" else Action(last)


def _unlisted(tag: int, options: Options) -> Action:
    """Attributes the table does not name. Unknown ones go: nobody can say what they hold."""
    if not dictionary_has_tag(tag):
        return Action.REMOVE
    vr = dictionary_VR(tag)
    if vr == "UI":
        well_known = keyword_for_tag(tag).endswith(WELL_KNOWN)
        return Action.KEEP if well_known or options.uids else Action.UID
    if vr == "PN":
        return Action.EMPTY
    if vr in TEMPORAL:
        return {
            Dates.REMOVED: Action.DUMMY,
            Dates.SHIFTED: Action.CLEAN,
            Dates.KEPT: Action.KEEP,
        }[options.dates]
    return Action.KEEP
