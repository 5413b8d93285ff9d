"""DICOMweb on real and broken files: names in every script, and no answer of 500."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pydicom
import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag

from tests.receiving.dicomweb import content, stow
from workstation.receiving.dicomweb.encoding import Json, encode
from workstation.receiving.dicomweb.searching import url_of
from workstation.receiving.models import Instance, Quarantined

VARIETY = "dicom-variety"
VRS = ["AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF",
       "OL", "OV", "OW", "PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN",
       "UR", "US", "UT", "UV", None]  # fmt: skip


def dicom_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in (".dcm", ""))


def unlike(ours: Json, theirs: Json, where: str = "") -> list[str]:
    """Elements that differ, bulk data and character set aside."""
    found = []
    for tag in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(tag), theirs.get(tag)
        if tag == "00080005" or tag.endswith("0000") or one == other:
            continue
        if one and other and one["vr"] == other["vr"] == "SQ":
            items = zip(one.get("Value", []), other.get("Value", []), strict=True)
            for number, (a, b) in enumerate(items):
                found += unlike(a, b, f"{where}{tag}.{number}.")
        elif one and other and "BulkDataURI" in one and "BulkDataURI" in other:
            continue
        # pydicom writes an empty value among others as "", the standard null.
        elif json.dumps(one).replace("null", '""') != json.dumps(other):
            found.append(f"{where}{tag}")
    return found


def test_headers_are_encoded_as_pydicom_does(real_data: Path) -> None:
    """Where pydicom can; its left-over escapes are not wanted."""
    compared = 0
    folders = ("charsets_pydicom", "enhanced_ct", "enhanced_mr", "seg_sr_paramap_dcmqi")
    for folder in folders:
        for path in dicom_files(real_data / VARIETY / folder)[:40]:
            try:
                first = pydicom.dcmread(path, stop_before_pixels=True)
            except InvalidDicomError:
                continue
            ours = encode(first, str, big_endian=not first.original_encoding[1])
            assert "\\u001b" not in json.dumps(ours), path.name
            second = pydicom.dcmread(path, stop_before_pixels=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = second.to_json_dict(1024, lambda _: "linked")
            if "\\u001b" not in json.dumps(theirs):
                assert unlike(ours, theirs) == [], path.name
                compared += 1
    assert compared > 50


@given(
    st.lists(
        st.tuples(
            st.integers(0x00080000, 0x00510000), st.sampled_from(VRS), st.binary(max_size=60)
        ),
        max_size=8,
    ),
    st.booleans(),
)
@settings(max_examples=500, deadline=None)
def test_no_value_breaks_the_encoder(
    elements: list[tuple[int, str | None, bytes]], big: bool
) -> None:
    dataset = Dataset()
    for number, vr, value in elements:
        tag = Tag(number)
        dataset._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, vr is None, not big)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        json.dumps(encode(dataset, str, big_endian=big), allow_nan=False)


@pytest.mark.django_db
@pytest.mark.parametrize("folder", ["malformed", "charsets_orthanc", "charsets_pydicom"])
def test_every_file_ends_and_every_answer_is_told(
    web: Client, real_data: Path, folder: str
) -> None:
    files = dicom_files(real_data / VARIETY / folder)
    web.raise_request_exception = False
    for path in files:
        before = Instance.objects.count() + Quarantined.objects.count()
        status = stow(web, path.read_bytes()).status_code
        assert status in (200, 409), path.name
        after = Instance.objects.count() + Quarantined.objects.count()
        assert after == before + 1 or status == 200 or path.name == "DICOMDIR", path.name
    stored = list(Instance.objects.select_related("series__study"))
    assert stored or folder == "malformed"
    for instance in stored:
        url = url_of(instance, "/dicomweb")
        for what in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail"):
            answer = web.get(f"{url}{what}")
            assert answer.status_code in (200, 404, 406), (what, answer.status_code)
            assert content(answer)
        assert web.get(f"{url}/metadata").status_code == 200
    assert web.get("/dicomweb/instances?includefield=all").status_code in (200, 204)
