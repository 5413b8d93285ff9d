"""The strings of one object that say who its patient is: found, taken out of text, looked for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue

from workstation.receiving.deidentification.options import Options
from workstation.receiving.deidentification.substitutes import WELL_KNOWN_ROOT
from workstation.receiving.deidentification.tables import Action, action_for, rows
from workstation.receiving.deidentification.terms import TERMS
from workstation.receiving.deidentification.walking import Found

SHORTEST = 3
ANYWHERE = 5
"""From this length on a string is looked for inside words too ("Mueller" in "muellerCT")."""
TEXT = ("PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE", "UR")
GONE = (Action.REMOVE, Action.EMPTY, Action.DUMMY)
MARK = "***"
ESCAPE = re.compile(r"\x1b[\x20-\x2f]+[\x30-\x7e]")
"""pydicom 3.0 leaves the GB2312 escape in decoded text."""
NOT_IDENTIFYING = {
    "TimezoneOffsetFromUTC", "EthnicGroup", "PatientReligiousPreference", "PreMedication",
    "SpecialNeeds", "MilitaryRank", "BranchOfService", "UnformattedTextValue", "TextString",
    "ChannelLabel", "MultiplexGroupLabel", "ChannelDerivationDescription", "GPSSatellites",
    "GPSMapDatum", "LensMake", "LensModel", "AcquisitionContextDescription",
    "ImagePresentationComments", "ModifiedImageDescription", "PatientTransportArrangements",
    "RTAccessoryHolderSlotID", "RTAccessoryDeviceSlotID", "ClinicalTrialTimePointID",
}  # fmt: skip
"""Removed, but words in them that occur elsewhere too do not lead to the patient."""
PLACEHOLDERS = {
    "anon", "anonymous", "anonymized", "anonymised", "anonymize", "deidentified", "de-identified",
    "removed", "unknown", "none", "null", "n/a", "not specified", "unnamed", "no name",
    "radfuse",  # ModifyingSystem of what was corrected here; also in DeidentificationMethod
}  # fmt: skip
COMMON_WORDS = {
    "hospital", "university", "clinic", "center", "centre", "medical", "institute", "institution",
    "department", "radiology", "radiologie", "klinik", "klinikum", "universitaet", "universität",
    "krankenhaus", "hopital", "hôpital", "health", "imaging", "research", "national", "general",
}  # fmt: skip
CODES = ("CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion",
         "MappingResource", "ContextIdentifier", "CodingSchemeName")  # fmt: skip
"""Never rewritten: another code would be another statement. A name in one refuses the object."""
LETTER_FREE = ("AS", "DA", "DS", "DT", "IS", "TM")
"""No name fits in them, but broken files hold text there."""
LARGEST = 2**20
"""Binary values above are images and tables; a name in them cannot be told from chance."""
_TITLED = re.compile(
    r"\b(?:Dr|Prof|Mr|Mrs|Ms|Herr|Frau|Hr|Fr|Mme|Pr)\b\.?\s+(?:(?:Dr|Prof|med)\b\.?\s+)*[^\W\d_][\w-]+"
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_NUMBER = re.compile(r"\d{6,}")
_DATE = re.compile(
    r"\b(?:\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|(?:19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2})\b"
)


def values_of(element: DataElement) -> list[str]:
    """Every value as text, without escapes and padding."""
    value = element.value
    many = value if isinstance(value, (MultiValue, list, tuple)) else [value]
    return [ESCAPE.sub("", str(one)).strip("\x00 ") for one in many if one is not None]


@dataclass
class Identifiers:
    words: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    """YYYYMMDD."""
    uids: set[str] = field(default_factory=set)

    def add_name(self, name: str) -> None:
        self.add_word(name)
        for part in re.split(r"[\^=,\s./]+", name):
            self.add_word(part)

    def add_word(self, word: str) -> None:
        word = unicodedata.normalize("NFC", word).strip(" ^=\t\r\n")
        if len(word) < _shortest(word) or word.casefold() in PLACEHOLDERS:
            return
        self.words.update({word, _without_accents(word), _in_german_ascii(word)})

    def add_date(self, value: str) -> None:
        digits = re.sub(r"[.\-/]", "", value)[:8]
        if len(digits) == 8 and digits.isdigit():
            self.dates.add(digits)

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """All words and dates; made once, when everything was added."""
        parts = [
            re.escape(word)
            if len(word) >= ANYWHERE or not word.isascii()
            else rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"
            for word in sorted(self.words, key=len, reverse=True)
        ]
        for day in sorted(self.dates):
            year, month, date = day[:4], day[4:6], day[6:]
            parts += [
                day,
                rf"{year}[./-]{month}[./-]{date}",
                rf"0?{int(date)}[./-]0?{int(month)}[./-]{year}",
                rf"0?{int(month)}[./-]0?{int(date)}[./-]{year}",
            ]
        parts += [re.escape(uid) for uid in sorted(self.uids, key=len, reverse=True)]
        return re.compile("|".join(parts), re.IGNORECASE) if parts else None

    def cleaned(self, text: str, *, is_descriptor: bool) -> str:
        """``text`` without what names the patient; descriptors lose titles with names, dates,
        e-mail addresses and long numbers too, whosever they are."""
        text = unicodedata.normalize("NFC", ESCAPE.sub("", text))
        if self.pattern is not None:
            text = self.pattern.sub(MARK, text)
        if is_descriptor:
            for pattern in (_EMAIL, _TITLED, _DATE, _NUMBER):
                text = pattern.sub(MARK, text)
        return text

    def are_words_of(self, code: str) -> bool:
        """For codes: a number of the standard may have a patient ID inside it by chance."""
        return any(
            re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", code, re.IGNORECASE)
            for word in self.words
            if len(word) >= ANYWHERE
        )

    def are_in_bytes(self, value: bytes) -> bool:
        return any(word in value.lower() for word in self._long_words)

    @cached_property
    def _long_words(self) -> list[bytes]:
        return [word.lower().encode() for word in self.words if len(word) >= ANYWHERE]

    def are_in(self, text: str) -> bool:
        return self.pattern is not None and bool(
            self.pattern.search(unicodedata.normalize("NFC", text))
        )


def identifiers_of(elements: Iterable[Found], options: Options) -> Identifiers:
    """What the table takes away of an object because it names someone."""
    found = Identifiers()
    for item in elements:
        element, tag = item.element, int(item.element.tag)
        if element.tag.is_private or element.VR == "SQ":
            continue
        action = action_for(tag, options)
        if element.VR == "PN":
            for name in values_of(element):
                found.add_name(name)
        elif element.VR == "UI" and action is Action.UID:
            found.uids.update(
                uid for uid in values_of(element) if uid and not uid.startswith(WELL_KNOWN_ROOT)
            )
        elif element.VR in ("DA", "DT") and action is not Action.KEEP:
            for value in values_of(element):
                found.add_date(value)
        elif element.VR in TEXT and (_names_someone(tag, action) or item.in_person_code):
            for word in values_of(element):
                found.add_word(word)
                if element.keyword == "InstitutionName":
                    _add_parts(found, word)
    return found


def _names_someone(tag: int, action: Action) -> bool:
    row = rows().get(tag)
    return (
        row is not None
        and action in GONE
        and not row.is_descriptor
        and row.basic != "U"
        and keyword_for_tag(tag) not in NOT_IDENTIFYING
    )


def _add_parts(found: Identifiers, name: str) -> None:
    for part in re.split(r"[\W_]+", name):
        if len(part) >= ANYWHERE and part.casefold() not in COMMON_WORDS:
            found.add_word(part)


def survivors(elements: Iterable[Found], identifiers: Identifiers) -> Iterator[str]:
    """Keywords of the elements that still hold an identifier. Reads values only: what the engine
    meant to do with an element does not matter here."""
    for item in elements:
        if item.element.VR != "SQ" and _names(item.element, identifiers):
            yield item.element.keyword or "private attribute"


def _names(element: DataElement, identifiers: Identifiers) -> bool:
    if isinstance(element.value, bytes):
        return len(element.value) <= LARGEST and identifiers.are_in_bytes(element.value)
    values = values_of(element)
    if element.VR == "UI":
        return any(value in identifiers.uids for value in values) or any(
            identifiers.are_in(value) for value in values if _has_letters(value)
        )
    if element.VR in LETTER_FREE:
        return any(identifiers.are_in(value) for value in values if _has_letters(value))
    if element.VR == "CS":
        return any(identifiers.are_in(value) for value in values if value not in TERMS)
    if element.keyword in CODES:
        return any(identifiers.are_words_of(value) for value in values)
    return element.VR in TEXT and any(identifiers.are_in(value) for value in values)


def _has_letters(value: str) -> bool:
    return any(letter.isalpha() for letter in value)


def _shortest(word: str) -> int:
    """Chinese, Japanese and Korean names have two or three characters."""
    return 2 if any(ord(letter) > 0x2E80 for letter in word) else SHORTEST


def _without_accents(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word)
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _in_german_ascii(word: str) -> str:
    for letter, ascii_form in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"),
                               ("Ä", "Ae"), ("Ö", "Oe"), ("Ü", "Ue")):  # fmt: skip
        word = word.replace(letter, ascii_form)
    return word
