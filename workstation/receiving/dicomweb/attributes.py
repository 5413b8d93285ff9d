"""The attributes a search can match and return, and the columns they live in.

One row per attribute; ``searching.py`` knows the rest. Levels are those of PS3.18 10.6; a search
at a level may use the keys of the levels above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from pydicom.datadict import dictionary_keyword, dictionary_VR, tag_for_keyword


class Level(IntEnum):
    STUDY = 0
    SERIES = 1
    INSTANCE = 2


class Match(StrEnum):
    """How a value is compared (PS3.4 C.2.2.2)."""

    TEXT = "text"
    """Single value, or wild cards ``*`` and ``?``."""
    NAME = "name"
    """As text without case; with ``fuzzymatching``, by words."""
    UID = "uid"
    LIST = "list"
    """Single value, or one of several separated by comma or backslash."""
    DATE = "date"
    TIME = "time"
    NUMBER = "number"


@dataclass(frozen=True)
class Key:
    """An attribute in a column."""

    keyword: str
    level: Level
    column: str
    match: Match

    @property
    def tag(self) -> str:
        return f"{tag_for_keyword(self.keyword) or 0:08X}"

    @property
    def vr(self) -> str:
        return str(dictionary_VR(self.keyword))


_S, _E, _I = Level.STUDY, Level.SERIES, Level.INSTANCE
KEYS = (
    Key("StudyDate", _S, "study_date", Match.DATE),
    Key("StudyTime", _S, "study_time", Match.TIME),
    Key("AccessionNumber", _S, "accession_number", Match.TEXT),
    Key("StudyDescription", _S, "description", Match.TEXT),
    Key("ReferringPhysicianName", _S, "referring_physician", Match.NAME),
    Key("StudyInstanceUID", _S, "study_instance_uid", Match.UID),
    Key("StudyID", _S, "header__StudyID", Match.TEXT),
    Key("PatientName", _S, "patient__name", Match.NAME),
    Key("PatientID", _S, "patient__patient_id", Match.TEXT),
    Key("IssuerOfPatientID", _S, "patient__issuer", Match.TEXT),
    Key("PatientBirthDate", _S, "patient__birth_date", Match.DATE),
    Key("PatientSex", _S, "patient__sex", Match.LIST),
    Key("Modality", _E, "modality", Match.LIST),
    Key("SeriesInstanceUID", _E, "series_instance_uid", Match.UID),
    Key("SeriesNumber", _E, "series_number", Match.NUMBER),
    Key("SeriesDescription", _E, "description", Match.TEXT),
    Key("BodyPartExamined", _E, "body_part", Match.LIST),
    Key("FrameOfReferenceUID", _E, "frame_of_reference_uid", Match.UID),
    Key("SOPClassUID", _I, "sop_class_uid", Match.UID),
    Key("SOPInstanceUID", _I, "sop_instance_uid", Match.UID),
    Key("InstanceNumber", _I, "instance_number", Match.NUMBER),
    Key("Rows", _I, "rows", Match.NUMBER),
    Key("Columns", _I, "columns", Match.NUMBER),
    Key("NumberOfFrames", _I, "number_of_frames", Match.NUMBER),
)
BY_KEYWORD = {key.keyword: key for key in KEYS}
MODALITIES_IN_STUDY = "ModalitiesInStudy"
ONLY_IF_ASKED = frozenset({"FrameOfReferenceUID", "BodyPartExamined"})
"""Known, but not among the attributes every answer carries (tables 10.6.3-3 to 10.6.3-5)."""


def keyword_of(name: str) -> str:
    """The keyword of an attribute named by keyword or by tag (``GGGGEEEE``); empty if there is
    none in the dictionary. Sequence paths (``A.B``) give the path of keywords."""
    found = []
    for part in name.split("."):
        if len(part) == 8 and _is_hexadecimal(part):
            keyword = dictionary_keyword(int(part, 16)) if _is_known(int(part, 16)) else ""
        else:
            keyword = part if tag_for_keyword(part) is not None else ""
        if not keyword:
            return ""
        found.append(keyword)
    return ".".join(found)


def is_private_tag(name: str) -> bool:
    """Whether ``name`` is a tag of an odd group, which the dictionary does not know."""
    return len(name) == 8 and _is_hexadecimal(name) and int(name[:4], 16) % 2 == 1


def _is_hexadecimal(text: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in text)


def _is_known(tag: int) -> bool:
    try:
        return bool(dictionary_keyword(tag))
    except KeyError:
        return False
