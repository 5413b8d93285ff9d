"""Take the identity out of one DICOM object (PS3.15 E.1.1), in place, and prove that it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import BaseTag

from workstation.receiving.deidentification.burned_in import burned_in_risk
from workstation.receiving.deidentification.dummies import SAME_UIDS_SEQUENCES, WORD, dummy
from workstation.receiving.deidentification.identifiers import (
    CODES,
    TEXT,
    Identifiers,
    identifiers_of,
    survivors,
    values_of,
)
from workstation.receiving.deidentification.options import Dates, Options, declare
from workstation.receiving.deidentification.substitutes import (
    Substitutes,
    shifted_date,
    shifted_date_time,
)
from workstation.receiving.deidentification.tables import (
    Action,
    action_for,
    rows,
    safe_private,
)
from workstation.receiving.deidentification.walking import PIXELS, element_of, elements_of

PATIENT_NAME, PATIENT_ID, PATIENT_AGE = 0x00100010, 0x00100020, 0x00101010
CHARACTER_SET = 0x00080005
OLDEST = 89
"""Ages above are one group: HIPAA 164.514(b)(2)(i)(C)."""
PRIVATE_META = ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle",
                "ReceivingApplicationEntityTitle", "PrivateInformationCreatorUID",
                "PrivateInformation", "SourcePresentationAddress", "SendingPresentationAddress",
                "ReceivingPresentationAddress", "RTVMetaInformationVersion",
                "RTVCommunicationSOPClassUID", "RTVCommunicationSOPInstanceUID",
                "RTVSourceIdentifier", "RTVFlowIdentifier", "RTVFlowRTPSamplingRate",
                "RTVFlowActualFrameDuration")  # fmt: skip
IDENTIFYING_CONCEPTS = {
    "121008", "121009", "121013", "121014", "121016", "121017", "121025", "121029", "121030",
    "121031", "128774", "121028", "121036", "111706",
}  # fmt: skip
"""Concepts (DCM) of observers and subjects in structured reports (TID 1002 to 1010)."""


class NotDeidentified(Exception):
    """The object cannot be given on. ``str()`` names attributes, never values."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Deidentified:
    """Who the object was, for the vault, and what to look at before it is given on."""

    pseudonym: str
    patient_id: str
    issuer: str
    patient_name: str
    accession_number: str
    study_uid: str
    new_study_uid: str
    burned_in: str | None
    """Why the pixels may show names; ``None`` if nothing says so."""


def deidentify(dataset: Dataset, options: Options, substitutes: Substitutes) -> Deidentified:
    """Change ``dataset`` into its de-identified form.

    Raises :class:`NotDeidentified` when an identifying string would remain, and when the dataset
    is nested too deeply to be looked through; then ``dataset`` is in an undefined state.
    """
    try:
        return _Run(dataset, options, substitutes).run()
    except RecursionError:
        raise NotDeidentified(
            "too_deep", "The sequences of this object are nested too deeply to be de-identified."
        ) from None


class _Run:
    """One object's way through the table."""

    def __init__(self, dataset: Dataset, options: Options, substitutes: Substitutes) -> None:
        self.dataset = dataset
        self.options = options
        self.substitutes = substitutes
        self.patient_id = _first(dataset, "PatientID")
        self.issuer = _first(dataset, "IssuerOfPatientID")
        study = _first(dataset, "StudyInstanceUID")
        # Without a patient ID each study is its own patient.
        patient = (self.issuer, self.patient_id) if self.patient_id else ("", "", study)
        self.study_uid = study
        self.pseudonym = substitutes.pseudonym(*patient)
        self.shift: timedelta = substitutes.shift(*patient)
        self.identifiers = Identifiers()

    def run(self) -> Deidentified:
        # Decodes every element while the object's own character set is still in force.
        self.identifiers = identifiers_of(elements_of(self.dataset), self.options)
        before = Deidentified(
            pseudonym=self.pseudonym,
            patient_id=self.patient_id,
            issuer=self.issuer,
            patient_name=_first(self.dataset, "PatientName"),
            accession_number=_first(self.dataset, "AccessionNumber"),
            study_uid=self.study_uid,
            new_study_uid=self._uid(self.study_uid),
            burned_in=burned_in_risk(self.dataset),
        )
        self._apply(self.dataset)
        if before.patient_id or "PatientID" in self.dataset:
            self.dataset.PatientID = self.pseudonym
            self.dataset.PatientName = self.pseudonym
        self.dataset.SpecificCharacterSet = "ISO_IR 192"
        declare(self.dataset, self.options)
        self._file_meta()
        left = sorted(set(survivors(elements_of(self.dataset), self.identifiers)))
        if left:
            raise NotDeidentified(
                "identity_remains",
                "After de-identification these attributes would still name the patient or the "
                f"sender: {', '.join(left)}.",
            )
        return before

    def _apply(self, dataset: Dataset) -> None:
        if _value_of_concept(dataset) in IDENTIFYING_CONCEPTS:
            _forget_content(dataset)
        self._private(dataset)
        for tag in list(dataset.keys()):
            if not tag.is_private and int(tag) not in PIXELS:
                self._public(dataset, tag)

    def _public(self, dataset: Dataset, tag: BaseTag) -> None:
        element = element_of(dataset, tag)
        if element is None or int(tag) == CHARACTER_SET:
            del dataset[tag]
            return
        action = action_for(int(tag), self.options)
        if element.VR == "SQ" and int(tag) in SAME_UIDS_SEQUENCES and action is Action.DUMMY:
            action = Action.CLEAN
        if action is Action.REMOVE:
            del dataset[tag]
        elif action is Action.EMPTY:
            element.value = [] if element.VR == "SQ" else None
        elif action is Action.DUMMY:
            stand_in = dummy(element, dataset)
            if stand_in is None:
                del dataset[tag]
            else:
                dataset[tag] = stand_in
        elif action is Action.UID and element.VR == "UI":
            self._new_uids(element)
        else:
            self._keep(dataset, element, is_cleaned=action is Action.CLEAN)

    def _keep(self, dataset: Dataset, element: DataElement, *, is_cleaned: bool) -> None:
        tag = int(element.tag)
        if element.VR == "SQ":
            for item in element.value:
                self._apply(item)
        elif is_cleaned and element.VR in ("DA", "DT"):
            self._move(element)
        elif is_cleaned and element.VR == "TM":
            if self.options.dates is Dates.REMOVED:
                element.value = None
        elif element.VR in TEXT and element.keyword not in CODES:
            row = rows().get(tag)
            descriptor = is_cleaned and (row is None or row.is_descriptor)
            _replace(
                element,
                [
                    self.identifiers.cleaned(value, is_descriptor=descriptor)
                    for value in values_of(element)
                ],
            )
        elif is_cleaned and element.VR in ("OB", "UN", "OW"):
            del dataset[element.tag]
        elif tag == PATIENT_AGE:
            _replace(element, [_capped(value) for value in values_of(element)])

    def _move(self, element: DataElement) -> None:
        """Dates that only another option keeps (DateOfLastCalibration) are emptied."""
        if self.options.dates is not Dates.SHIFTED:
            element.value = None
            return
        move = shifted_date if element.VR == "DA" else shifted_date_time
        _replace(element, [move(value, self.shift) for value in values_of(element)])

    def _new_uids(self, element: DataElement) -> None:
        _replace(element, [self._uid(value) for value in values_of(element)])

    def _uid(self, uid: str) -> str:
        return uid if self.options.uids else self.substitutes.uid(uid)

    def _private(self, dataset: Dataset) -> None:
        """Private attributes go, but for those the standard calls safe (Table E.3.10-1)."""
        kept: set[int] = set()
        private = [tag for tag in list(dataset.keys()) if tag.is_private]
        for tag in private:
            if tag.is_private_creator:
                continue
            element = self._safe(dataset, tag)
            if element is None:
                del dataset[tag]
            else:
                kept.add(int(tag) >> 16 << 16 | (int(tag) & 0xFF00) >> 8)
                self._keep_private(element)
        for tag in private:
            if tag.is_private_creator and int(tag) not in kept:
                del dataset[tag]

    def _safe(self, dataset: Dataset, tag: BaseTag) -> DataElement | None:
        if not self.options.safe_private:
            return None
        block = BaseTag(int(tag) >> 16 << 16 | (int(tag) & 0xFF00) >> 8)
        if block not in dataset:
            return None
        name = _text_of(element_of(dataset, block))
        vr = safe_private().get((tag.group, int(tag) & 0xFF, name))
        element = element_of(dataset, tag) if vr is not None else None
        if element is None or (vr and element.VR not in (vr, "UN")):
            return None
        return element

    def _keep_private(self, element: DataElement) -> None:
        if element.VR == "UI":
            self._new_uids(element)
        elif element.VR == "SQ":
            for item in element.value:
                self._apply(item)
        elif element.VR in TEXT:
            _replace(
                element,
                [self.identifiers.cleaned(v, is_descriptor=True) for v in values_of(element)],
            )

    def _file_meta(self) -> None:
        meta: FileMetaDataset | None = getattr(self.dataset, "file_meta", None)
        if meta is None:
            return
        for keyword in PRIVATE_META:
            if keyword in meta:
                delattr(meta, keyword)
        meta.MediaStorageSOPInstanceUID = _first(self.dataset, "SOPInstanceUID")
        if isinstance(self.dataset, FileDataset):
            self.dataset.preamble = bytes(128)


def _replace(element: DataElement, values: list[str]) -> None:
    element.value = values[0] if len(values) == 1 else values or None


def _first(dataset: Dataset, keyword: str) -> str:
    tag = dataset.data_element(keyword) if keyword in dataset else None
    return _text_of(tag)


def _text_of(element: DataElement | None) -> str:
    if element is None or element.value is None:
        return ""
    return "\\".join(values_of(element)).strip()


def _value_of_concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].get("CodeValue", "")) if names else ""


def _forget_content(item: Dataset) -> None:
    """The value of a content item that names an observer or a subject (PS3.16 TID 1001 ff.)."""
    if "TextValue" in item:
        item.TextValue = WORD
    if "PersonName" in item:
        item.PersonName = WORD


def _capped(age: str) -> str:
    years = age[:3]
    is_old = age.endswith("Y") and years.isdigit() and int(years) > OLDEST
    return f"{OLDEST + 1:03}Y" if is_old else age
