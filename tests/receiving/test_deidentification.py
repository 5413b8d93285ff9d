"""The engine of de-identification, attribute by attribute: tables, dates, UIDs, text."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import keyword_dict

from tests.receiving.deidentified import (
    BASIC,
    PATIENT_ID,
    RESEARCH,
    SUBSTITUTES,
    code,
    result_of,
    sent,
)
from workstation.receiving.deidentification.engine import NotDeidentified, deidentify
from workstation.receiving.deidentification.options import Dates, Options
from workstation.receiving.deidentification.substitutes import (
    FIRST_SHIFT,
    LAST_SHIFT,
    Substitutes,
    shifted_date,
    shifted_date_time,
)
from workstation.receiving.deidentification.tables import FOLDER, Action, action_for, rows

# --- tables --------------------------------------------------------------------------------------


def test_the_table_is_whole() -> None:
    """Counts of PS3.15 Table E.1-1 of 2024e plus the rows 2026c adds; keywords name their tags."""
    with (FOLDER / "confidentiality.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    older = [line for line in lines if line["edition"] == "2024e"]
    assert len(older) == 621 - 4  # curves, overlays and private attributes are rules, not rows
    counts = {action: sum(line["basic"] == action for line in older) for action in ("D", "U", "Z")}
    assert counts == {"D": 92, "U": 54, "Z": 42}
    assert len({line["tag"] for line in lines}) == len(lines) == len(rows())
    for line in lines:
        if line["keyword"]:
            assert keyword_dict[line["keyword"]] == int(line["tag"], 16)


@pytest.mark.parametrize(
    ("keyword", "options", "action"),
    [
        ("PatientName", BASIC, Action.EMPTY),
        ("PatientWeight", BASIC, Action.REMOVE),
        ("PatientWeight", RESEARCH, Action.KEEP),
        ("StudyDate", BASIC, Action.EMPTY),
        ("StudyDate", RESEARCH, Action.CLEAN),
        ("StudyDate", Options(dates=Dates.KEPT), Action.KEEP),
        ("InstitutionName", BASIC, Action.DUMMY),
        ("InstitutionName", Options(institution=True), Action.KEEP),
        ("StudyInstanceUID", BASIC, Action.UID),
        ("StudyInstanceUID", Options(uids=True), Action.KEEP),
        ("SeriesDescription", BASIC, Action.REMOVE),
        ("SeriesDescription", RESEARCH, Action.CLEAN),
        ("ContentSequence", BASIC, Action.DUMMY),
        ("ReferencedImageSequence", BASIC, Action.CLEAN),
        ("DeviceSerialNumber", Options(device_identity=True), Action.KEEP),
        # Two options speak about it: the stricter one counts.
        ("DateOfLastCalibration", Options(dates=Dates.SHIFTED, device_identity=True), Action.CLEAN),
        ("TargetFrameOfReferenceUID", BASIC, Action.UID),
        ("SOPClassUID", BASIC, Action.KEEP),
        ("Rows", BASIC, Action.KEEP),
    ],
)
def test_actions(keyword: str, options: Options, action: Action) -> None:
    assert action_for(keyword_dict[keyword], options) is action


def test_attributes_nobody_knows_are_removed() -> None:
    data = sent()
    data.add_new(0x00101234, "LO", "something new")
    data.add_new(0x60000022, "LO", "an overlay's description")
    data.add_new(0x50000022, "LO", "a curve's description")
    deidentify(data, RESEARCH, SUBSTITUTES)
    assert not [e for e in data if e.tag in (0x00101234, 0x60000022, 0x50000022)]


# --- what stands in --------------------------------------------------------------------------


def test_the_same_patient_gets_the_same_pseudonym_and_only_in_this_scope() -> None:
    data = result_of(BASIC)
    assert data.PatientID == data.PatientName == SUBSTITUTES.pseudonym("", PATIENT_ID)
    assert data.PatientID != Substitutes(SUBSTITUTES.key, "2").pseudonym("", PATIENT_ID)
    assert data.PatientID != Substitutes(b"another key", "1").pseudonym("", PATIENT_ID)
    assert data.PatientID != SUBSTITUTES.pseudonym("another issuer", PATIENT_ID)


@given(st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,9})){3,5}", fullmatch=True))
def test_uids_are_valid_stable_and_different(uid: str) -> None:
    new = SUBSTITUTES.uid(uid)
    if uid.startswith("1.2.840.10008."):
        assert new == uid
        return
    assert new == SUBSTITUTES.uid(uid + "\0")
    assert new != uid
    assert new.startswith("2.25.")
    assert len(new) <= 64
    assert new != SUBSTITUTES.uid(uid + ".1")


@given(st.dates(), st.dates(), st.text(max_size=5))
def test_intervals_between_dates_stay(one: Any, other: Any, patient: str) -> None:
    shift = SUBSTITUTES.shift("", patient)
    assert FIRST_SHIFT <= -shift.days < LAST_SHIFT
    first, second = (f"{day:%Y%m%d}".zfill(8) for day in (one, other))
    moved = [shifted_date(value, shift) for value in (first, second)]
    if one.year > 10 and other.year > 10:
        days = [datetime.strptime(value, "%Y%m%d").date() for value in moved]
        assert days[0] - days[1] == one - other
        assert days[0] - one == shift


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20260105101530.250000+0100", "20251226101530.250000+0100"),
        ("20260105", "20251226"),
        ("202601", "202512"),
        ("2026", "2025"),
        ("202601051015", "202512261015"),
        ("20261305", ""),
        ("yesterday", ""),
        ("20260105nonsense", ""),
    ],
)
def test_date_times_keep_their_time_and_coarseness(value: str, expected: str) -> None:
    assert shifted_date_time(value, timedelta(days=-10)) == expected


def test_old_dates_with_dots_are_read() -> None:
    assert shifted_date("2026.01.05", timedelta(days=-10)) == "20251226"


def test_times_stay_with_moved_dates_and_go_without() -> None:
    moved = result_of(RESEARCH)
    assert moved.StudyTime == "101530.5"
    assert moved.StudyDate not in ("", "20260105")
    assert moved.LongitudinalTemporalInformationModified == "MODIFIED"
    bare = result_of(BASIC)
    assert not bare.StudyTime
    assert not bare.StudyDate
    assert bare.LongitudinalTemporalInformationModified == "REMOVED"
    kept = result_of(Options(dates=Dates.KEPT))
    assert kept.StudyDate == "20260105"
    assert not kept.PatientBirthDate
    assert kept.LongitudinalTemporalInformationModified == "UNMODIFIED"


def test_ages_above_89_are_one_group() -> None:
    assert result_of(RESEARCH, PatientAge="095Y").PatientAge == "090Y"
    assert result_of(RESEARCH, PatientAge="089Y").PatientAge == "089Y"
    assert result_of(RESEARCH, PatientAge="095D").PatientAge == "095D"


def test_the_object_says_how_it_was_done() -> None:
    data = result_of(RESEARCH, DeidentificationMethod="CTP, first pass")
    codes = [item.CodeValue for item in data.DeidentificationMethodCodeSequence]
    assert codes == [
        "113100", "113103", "113104", "113105", "113107", "113108", "113111",
    ]  # fmt: skip
    assert data.DeidentificationMethod[0] == "CTP, first pass"
    again = sent(DeidentificationMethodCodeSequence=[code("113100", "Basic")])
    deidentify(again, BASIC, SUBSTITUTES)
    assert len(again.DeidentificationMethodCodeSequence) == 1


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thorax Xaverius WURZELHUBER", "Thorax *** ***"),
        ("MRN-884422 spiral", "*** spiral"),
        ("t1_mprage_tra wurzelhuber", "t1_mprage_tra ***"),
        ("control, see Dr. Zwiebelmann", "control, see ***"),
        ("b1000 1.5mm TR 400", "b1000 1.5mm TR 400"),
        ("done 05.01.2026 at 10", "done *** at 10"),
        ("prior 20260105", "prior ***"),
        ("call 0179123456 or a.b@c.org", "call *** or ***"),
    ],
)
def test_descriptions_lose_what_names_someone(text: str, expected: str) -> None:
    assert result_of(RESEARCH, SeriesDescription=text).SeriesDescription == expected
    assert "SeriesDescription" not in result_of(BASIC, SeriesDescription=text)


def test_names_with_umlauts_are_found_in_other_spellings() -> None:
    data = result_of(
        RESEARCH, PatientName="Müßig^Jörn", SeriesDescription="T2 Muessig", StudyDescription="JÖRN"
    )
    assert data.SeriesDescription == "T2 ***"
    assert data.StudyDescription == "***"


def test_short_chinese_names_are_found() -> None:
    data = result_of(RESEARCH, PatientName="王^小东", SeriesDescription="胸部 小东 CT")
    assert data.SeriesDescription == "胸部 *** CT"


def test_text_the_table_does_not_name_is_cleaned_too() -> None:
    """A name a technician typed where the standard expects none."""
    assert result_of(BASIC, ManufacturerModelName="Scanner of Wurzelhuber").ManufacturerModelName \
        == "Scanner of ***"  # fmt: skip


def test_other_character_sets_become_utf_8() -> None:
    item = code("1", "Prüfung")
    item.SpecificCharacterSet = "ISO_IR 100"
    data = result_of(
        RESEARCH, SpecificCharacterSet="ISO_IR 100", SeriesDescription="Schädel",
        AnatomicRegionSequence=[item],
    )  # fmt: skip
    assert data.SpecificCharacterSet == "ISO_IR 192"
    assert data.SeriesDescription == "Schädel"
    assert "SpecificCharacterSet" not in data.AnatomicRegionSequence[0]


def test_what_cannot_be_cleaned_is_refused_without_quoting_it() -> None:
    """Coded attributes cannot be rewritten: the final check finds the name there."""
    with pytest.raises(NotDeidentified) as caught:
        result_of(RESEARCH, ContentLabel="WURZELHUBER")
    assert caught.value.code == "identity_remains"
    assert "ContentLabel" in caught.value.reason
    assert "urzelhuber" not in caught.value.reason.lower()
    with pytest.raises(NotDeidentified, match="CodeValue"):
        result_of(RESEARCH, AnatomicRegionSequence=[code("MRN-884422", "Chest")])
    short = result_of(RESEARCH, PatientID="2107", AnatomicRegionSequence=[code("121071", "F")])
    assert short.AnatomicRegionSequence[0].CodeValue == "121071"


def test_a_chest_called_chest_is_no_leak() -> None:
    assert result_of(RESEARCH, PatientName="Chest^A", BodyPartExamined="CHEST")
