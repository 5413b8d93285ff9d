"""The engine on whole objects: sequences, reports, documents, private attributes, pixels."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage, UltrasoundImageStorage

from tests.receiving.deidentified import (
    BASIC,
    NAME,
    PATIENT_ID,
    RESEARCH,
    SUBSTITUTES,
    code,
    elements,
    leaks,
    original_uids,
    originals,
    result_of,
    sent,
)
from workstation.receiving.deidentification.burned_in import burned_in_risk
from workstation.receiving.deidentification.dummies import EMPTY_PDF
from workstation.receiving.deidentification.engine import NotDeidentified, deidentify

# --- structure -----------------------------------------------------------------------------------


def test_nested_sequences_are_looked_through() -> None:
    request = Dataset()
    request.ScheduledProcedureStepDescription = "CT Wurzelhuber"
    request.RequestedProcedureID = "REQ-77001"
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3.4.5"
    inner.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data = result_of(
        RESEARCH, RequestAttributesSequence=[request], ReferencedImageSequence=[inner],
        OtherPatientIDsSequence=[sent()],
    )  # fmt: skip
    step = data.RequestAttributesSequence[0]
    assert step.ScheduledProcedureStepDescription == "CT ***"
    assert "RequestedProcedureID" not in step
    reference = data.ReferencedImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == SUBSTITUTES.uid("1.2.3.4.5")
    assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert "OtherPatientIDsSequence" not in data


def test_observers_of_a_report_are_forgotten() -> None:
    person, login, finding = Dataset(), Dataset(), Dataset()
    person.ConceptNameCodeSequence = [code("121008", "Person Observer Name")]
    person.ValueType, person.PersonName = "PNAME", "Zwiebelmann^Ida"
    login.ConceptNameCodeSequence = [code("128774", "Person Observer's Login Name")]
    login.ValueType, login.TextValue = "TEXT", "izwiebel"
    finding.ConceptNameCodeSequence = [code("121071", "Finding")]
    finding.ValueType, finding.TextValue = "TEXT", "Nodule, told to Ida Zwiebelmann"
    data = result_of(RESEARCH, ContentSequence=[person, login, finding])
    found = data.ContentSequence
    assert [str(found[0].PersonName), found[1].TextValue] == ["Removed", "Removed"]
    assert found[2].TextValue == "Nodule, told to *** ***"
    bare = result_of(BASIC, ContentSequence=[person, login, finding])
    assert [item.TextValue for item in bare.ContentSequence] == ["Removed by de-identification."]


def test_documents_become_empty_ones() -> None:
    data = sent(
        SOPClassUID=EncapsulatedPDFStorage, MIMEType="application/pdf",
        EncapsulatedDocument=b"%PDF Wurzelhuber",
    )  # fmt: skip
    found = deidentify(data, RESEARCH, SUBSTITUTES)
    assert found.burned_in
    assert data.EncapsulatedDocument.rstrip(b"\0") == EMPTY_PDF


def test_private_attributes_stay_only_where_the_standard_calls_them_safe() -> None:
    def data() -> Dataset:
        made = sent()
        block = made.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", "0.5")
        block.add_new(0x09, "DS", "1.5")
        block.add_new(0x33, "LO", "anything")
        other = made.private_block(0x0099, "MAKER OF SECRETS", create=True)
        other.add_new(0x01, "LO", "anything")
        # The safe element under another maker's name is not that element.
        false = made.private_block(0x0019, "NOT SIEMENS", create=True)
        false.add_new(0x0C, "IS", "1000")
        return made

    kept, bare = data(), data()
    deidentify(kept, RESEARCH, SUBSTITUTES)
    deidentify(bare, BASIC, SUBSTITUTES)
    assert [int(e.tag) for e in kept if e.tag.is_private] == [0x70530010, 0x70531000, 0x70531009]
    assert not [e for e in bare if e.tag.is_private]


def test_nesting_without_end_is_refused() -> None:
    data = innermost = sent()
    for _ in range(2000):
        inner = Dataset()
        innermost.add_new(0x00081115, "SQ", [inner])
        innermost = inner
    with pytest.raises(NotDeidentified) as caught:
        deidentify(data, RESEARCH, SUBSTITUTES)
    assert caught.value.code == "too_deep"


TEXT_VRS = ("LO", "SH", "ST", "LT", "UT", "PN", "UC", "CS", "DA", "DT", "TM", "UI", "AE", "AS")
KEYWORDS = sorted(
    keyword
    for keyword, tag in keyword_dict.items()
    if dictionary_VR(tag) in TEXT_VRS and tag >> 16 not in (0, 2) and tag != 0x00080005
)
SEQUENCES = sorted(k for k, tag in keyword_dict.items() if dictionary_VR(tag) == "SQ")
IDENTIFIERS = st.sampled_from(
    ["Wurzelhuber", "Xaverius", "WURZELHUBER^XAVERIUS", "MRN-884422", "for mrn-884422 only",
     "seen by Wurzelhuber, Xaverius", "20260105", "Thorax", "1.2.3.4.5.6", "none of it"]
)  # fmt: skip


@st.composite
def nested(draw: st.DrawFn, depth: int = 3) -> Dataset:
    data = Dataset()
    for keyword in draw(st.lists(st.sampled_from(KEYWORDS), max_size=6)):
        setattr(data, keyword, draw(IDENTIFIERS))
    if depth:
        for keyword in draw(st.lists(st.sampled_from(SEQUENCES), max_size=2)):
            setattr(data, keyword, draw(st.lists(nested(depth - 1), max_size=2)))
    return data


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(nested(), st.booleans())
def test_whatever_comes_nobody_is_left_or_it_is_refused(extra: Dataset, research: bool) -> None:
    data = sent()
    kept = {"SOPClassUID", "PatientID", "PatientName", "StudyInstanceUID", "IssuerOfPatientID"}
    data.update({e.tag: e for e in extra if e.keyword not in kept})
    data.PatientName, data.PatientID = NAME, PATIENT_ID
    strings = originals(data) & {"Wurzelhuber", "Xaverius", PATIENT_ID}
    uids = original_uids(data)
    try:
        deidentify(data, RESEARCH if research else BASIC, SUBSTITUTES)
    except NotDeidentified as refusal:
        assert refusal.code == "identity_remains"
        return
    assert strings == {"Wurzelhuber", "Xaverius", PATIENT_ID}
    assert leaks(strings, uids, data) == []
    assert str(data.PatientID) == SUBSTITUTES.pseudonym("", PATIENT_ID)
    assert not [e for e in elements(data) if e.keyword == "PatientBirthDate" and e.value]


# --- burned in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "is_risky"),
    [
        ({}, False),
        ({"BurnedInAnnotation": "YES"}, True),
        ({"RecognizableVisualFeatures": "YES"}, True),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, True),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "BurnedInAnnotation": "NO"}, False),
        ({"SOPClassUID": UltrasoundImageStorage}, True),
        ({"SOPClassUID": EncapsulatedPDFStorage, "BurnedInAnnotation": "NO"}, True),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "BurnedInAnnotation": "NO"}, True),
        ({"ConversionType": "WSD"}, True),
        ({"SamplesPerPixel": 3}, True),
    ],
)
def test_burned_in_risk(values: dict[str, Any], is_risky: bool) -> None:
    assert bool(burned_in_risk(sent(**values))) is is_risky
