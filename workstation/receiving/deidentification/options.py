"""Which options of the Basic Profile apply, and how the object says so (PS3.15 E.3, PS3.16)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydicom.dataset import Dataset

BASIC = ("113100", "Basic Application Confidentiality Profile")
METHOD = "Radfuse, DICOM PS3.15 Table E.1-1 of 2026c"


class Dates(StrEnum):
    REMOVED = "remove"
    SHIFTED = "shift"
    KEPT = "keep"


@dataclass(frozen=True)
class Options:
    """A choice of options; the default is the bare Basic Profile.

    ``clean_descriptors`` stands for three options of the standard that are cleaned in one way:
    descriptors, structured content and graphics.
    """

    dates: Dates = Dates.REMOVED
    patient_characteristics: bool = False
    safe_private: bool = False
    device_identity: bool = False
    institution: bool = False
    uids: bool = False
    clean_descriptors: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table (``confidentiality.csv``) that are switched on."""
        chosen = {
            "uids": self.uids,
            "device": self.device_identity,
            "institution": self.institution,
            "patient": self.patient_characteristics,
            "full_dates": self.dates is Dates.KEPT,
            "modified_dates": self.dates is Dates.SHIFTED,
            "descriptors": self.clean_descriptors,
            "structured": self.clean_descriptors,
            "graphics": self.clean_descriptors,
        }
        return tuple(column for column, on in chosen.items() if on)

    @property
    def methods(self) -> list[tuple[str, str]]:
        """Code and meaning of the profile and each option (CID 7050)."""
        return [BASIC] + [
            code
            for on, code in (
                (self.clean_descriptors, ("113103", "Clean Graphics Option")),
                (self.clean_descriptors, ("113104", "Clean Structured Content Option")),
                (self.clean_descriptors, ("113105", "Clean Descriptors Option")),
                (
                    self.dates is Dates.KEPT,
                    ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
                ),
                (
                    self.dates is Dates.SHIFTED,
                    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
                ),
                (self.patient_characteristics, ("113108", "Retain Patient Characteristics Option")),
                (self.device_identity, ("113109", "Retain Device Identity Option")),
                (self.uids, ("113110", "Retain UIDs Option")),
                (self.safe_private, ("113111", "Retain Safe Private Option")),
                (self.institution, ("113112", "Retain Institution Identity Option")),
            )
            if on
        ]

    @property
    def longitudinal(self) -> str:
        """LongitudinalTemporalInformationModified (0028,0303)."""
        return {Dates.REMOVED: "REMOVED", Dates.SHIFTED: "MODIFIED", Dates.KEPT: "UNMODIFIED"}[
            self.dates
        ]


def declare(dataset: Dataset, options: Options) -> None:
    """Write on the object that and how its identity was removed (PS3.15 E.1.1).

    What an earlier de-identification wrote stays before it.
    """
    dataset.PatientIdentityRemoved = "YES"
    dataset.LongitudinalTemporalInformationModified = options.longitudinal
    before = dataset.get("DeidentificationMethod") or []
    methods = [before] if isinstance(before, str) else list(before)
    dataset.DeidentificationMethod = [text for text in methods if text != METHOD] + [METHOD]
    codes = list(dataset.get("DeidentificationMethodCodeSequence") or [])
    said = {str(item.get("CodeValue", "")) for item in codes}
    for value, meaning in options.methods:
        if value not in said:
            item = Dataset()
            item.CodeValue = value
            item.CodingSchemeDesignator = "DCM"
            item.CodeMeaning = meaning
            codes.append(item)
    dataset.DeidentificationMethodCodeSequence = codes
