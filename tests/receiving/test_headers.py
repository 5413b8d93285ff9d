"""Which files are accepted, and with which words the others are refused."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import UID

from tests.receiving.objects import ct, dataset, encode, structure_set, uid
from workstation.receiving import headers
from workstation.receiving.headers import Header, Ignored, NotAccepted, read_header

MALFORMED = {
    "orthanc_2026-05-06-Deeply-Nested-Sequence.dcm": "nested_too_deep",
    "orthanc_2026-05-26-oob-monochrome-46341.dcm": "truncated",
    "orthanc_Issue111.dcm": "missing_sop_class_uid",
    "orthanc_Issue137.dcm": "",
    "orthanc_Issue146.dcm": "no_pixel_data",
    "orthanc_Issue154-d1.dcm": "no_pixel_data",
    "orthanc_Issue195-bis.dcm": "missing_sop_class_uid",
    "orthanc_Issue195.dcm": "missing_sop_class_uid",
    "orthanc_MultiframeWindowing.dcm": "no_patient_id",
    "pydicom_ExplVR_BigEndNoMeta.dcm": "not_dicom",
    "pydicom_JPEG2000-embedded-sequence-delimiter.dcm": "",
    "pydicom_MR_truncated.dcm": "truncated",
    "pydicom_badVR.dcm": "",
    "pydicom_bad_sequence.dcm": "invalid_instance_uid",
    "pydicom_meta_missing_tsyntax.dcm": "no_transfer_syntax",
    "pydicom_nested_priv_SQ.dcm": "missing_sop_class_uid",
    "pydicom_no_meta_group_length.dcm": "missing_sop_class_uid",
    "pydicom_priv_SQ.dcm": "missing_sop_class_uid",
    "pynetdicom_CT_bad_meta.dcm": "",
}
"""File -> refusal; empty: a whole object that only looks odd, and is accepted."""

NAMES = {
    "charsets_pydicom/chrArab.dcm": "قباني^لنزار",
    "charsets_pydicom/chrFren.dcm": "Buc^Jérôme",
    "charsets_pydicom/chrGerm.dcm": "Äneas^Rüdiger",
    "charsets_pydicom/chrGreek.dcm": "Διονυσιος",
    "charsets_pydicom/chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "charsets_pydicom/chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "charsets_pydicom/chrHbrw.dcm": "שרון^דבורה",
    "charsets_pydicom/chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "charsets_pydicom/chrRuss.dcm": "Люкceмбypг",
    "charsets_pydicom/chrX1.dcm": "Wang^XiaoDong=王^小東",
    "charsets_pydicom/chrX2.dcm": "Wang^XiaoDong=王^小东",
    "charsets_orthanc/Lena-latin2.dcm": "Test-éüäö",
    "charsets_orthanc/Lena-latin5.dcm": "Test-éüäöòİ",
    "charsets_orthanc/Lena-tis-620.dcm": "Test-๛",
    "charsets_orthanc/Lena-shift-jis.dcm": "Test-ДΘﾈ",
    "charsets_orthanc/Lena-utf8.dcm": "Test-éüäöòДΘĝדصķћ๛ﾈİ",
}


def judge(path: Path, data: bytes) -> Header:
    file = path / "object"
    file.write_bytes(data)
    return read_header(file)


def refusal(path: Path, data: bytes) -> NotAccepted:
    with pytest.raises(NotAccepted) as caught:
        judge(path, data)
    return caught.value


def test_a_whole_slice(tmp_path: Path) -> None:
    header = judge(tmp_path, ct(3))
    assert header.sop_instance_uid == uid("instance", 3)
    assert header.patient_name == "SYNTHETIC^Phantomine"
    assert header.birth_date == date(1961, 2, 3)
    assert (header.study_date, header.study_time) == (date(2026, 1, 5), time(10, 15, 30))
    assert (header.series_number, header.instance_number) == (2, 3)
    assert header.is_image
    assert header.evidence["PatientID"] == "PHANTOMINE-7"


def test_an_object_without_images_is_accepted_as_such(tmp_path: Path) -> None:
    header = judge(tmp_path, encode(structure_set()))
    assert not header.is_image
    assert header.sop_class_name == "RT Structure Set"


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "empty", "empty"),
        (b"Patient was well.\n" * 30, "not_dicom", "text file"),
        (b"\x89PNG" + bytes(300), "not_dicom", "PNG"),
        (b"%PDF-1.7" + bytes(300), "not_dicom", "PDF"),
        (bytes(300), "not_dicom", "DICM mark"),
        (bytes(128) + b"DICM", "no_transfer_syntax", "encoded"),
    ],
)
def test_what_is_not_dicom(tmp_path: Path, data: bytes, code: str, words: str) -> None:
    refused = refusal(tmp_path, data)
    assert (refused.code, words in refused.reason) == (code, True)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"PatientID": None}, "no_patient_id"),
        ({"PatientID": "  "}, "no_patient_id"),
        ({"StudyInstanceUID": None}, "missing_study_uid"),
        ({"SeriesInstanceUID": None}, "missing_series_uid"),
        ({"SeriesInstanceUID": "1.2.abc"}, "invalid_series_uid"),
        ({"StudyInstanceUID": "1..2"}, "invalid_study_uid"),
        ({"SOPInstanceUID": "1." + "2" * 70}, "invalid_instance_uid"),
        ({"SOPClassUID": "1.2.840.10008.1.1"}, "not_storage"),
        ({"PixelData": None}, "no_pixel_data"),
        ({"PixelData": bytes(10)}, "truncated"),
        ({"Rows": None}, "no_image_size"),
        ({"Rows": 0}, "no_image_size"),
        ({"NumberOfFrames": "3"}, "truncated"),
    ],
)
def test_what_a_header_must_say(tmp_path: Path, values: dict[str, object], code: str) -> None:
    assert refusal(tmp_path, ct(**values)).code == code


def test_reasons_quote_no_value(tmp_path: Path) -> None:
    refused = refusal(tmp_path, ct(StudyInstanceUID="PHANTOMINE"))
    assert "PHANTOMINE" not in refused.reason


def test_a_dicomdir_is_ignored_with_a_note(real_data: Path) -> None:
    with pytest.raises(Ignored, match="table of contents"):
        read_header(real_data / "dicom-variety/charsets_orthanc/DavidClunie/DICOMDIR")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    whole = ct()
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert refusal(tmp_path, whole[:cut]).code


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bytes_end_in_a_header_or_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(ct())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(132, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert judge(tmp_path, bytes(damaged)).patient_id
    except NotAccepted as refused:
        assert refused.code and refused.reason


def test_malformed_files_of_the_field(real_data: Path) -> None:
    folder = real_data / "dicom-variety" / "malformed"
    found: dict[str, str] = {}
    for path in folder.iterdir():
        try:
            read_header(path)
            found[path.name] = ""
        except NotAccepted as refused:
            found[path.name] = refused.code
    assert found == MALFORMED


def test_names_in_every_character_set(real_data: Path) -> None:
    found = {
        name: read_header(real_data / "dicom-variety" / name).patient_name for name in NAMES
    }
    assert found == NAMES


def test_every_transfer_syntax_is_walked_to_its_end(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "dicom-variety/transfer_syntaxes_identical_pixels").glob("*.dcm"))
    assert len(files) == 9
    assert len({read_header(file).transfer_syntax_uid for file in files}) == 7
    for file in files:
        assert refusal(tmp_path, file.read_bytes()[:-40]).code == "truncated", file.name


def test_gb2312_escapes_are_not_shown(tmp_path: Path) -> None:
    """pydicom 3.0 leaves ESC $ ) A in the text (clinical notes 8.10)."""
    raw = b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab="
    whole = encode(dataset(SpecificCharacterSet=["", "ISO 2022 IR 58"], PatientName="@" * len(raw)))
    header = judge(tmp_path, whole.replace(b"@" * len(raw), raw))
    assert header.patient_name.rstrip("=") == "Wang^XiaoDong=王^小东"


def test_deflated_objects(tmp_path: Path) -> None:
    data = dataset()
    encode(data)
    data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    file = tmp_path / "deflated"
    data.save_as(file)
    assert read_header(file).patient_id == "PHANTOMINE-7"
    assert refusal(tmp_path, file.read_bytes()[:-8]).code == "truncated"


def test_a_private_or_newer_kind_of_object_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "private.dcm"
    path.write_bytes(ct(1, SOPClassUID="1.3.12.2.1107.5.9.1"))
    header = read_header(path)
    assert (header.is_image, header.sop_class_name) == (True, "Private object")
    data = structure_set()
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.999999"
    path.write_bytes(encode(data))
    assert not read_header(path).is_image


def test_the_quick_way_reads_what_pydicom_reads(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [path for path in (real_data / "dicom-variety").rglob("*") if path.is_file()]
    paths += sorted((real_data / "sarcoma-ct-mr-pet").rglob("*.dcm"))[::40]
    quick = [_judged(path) for path in paths]
    plain = sum(isinstance(header, Header) for header in quick)
    monkeypatch.setattr(headers, "_plain_texts", lambda *_: None)
    assert quick == [_judged(path) for path in paths]
    assert plain > 50


def _judged(path: Path) -> Header | str:
    try:
        return read_header(path)
    except NotAccepted as refusal:
        return refusal.code
