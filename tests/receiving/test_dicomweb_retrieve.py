"""WADO-RS by plain requests: in which form everything leaves."""

from __future__ import annotations

import io
import json

import numpy as np
import pydicom
import pytest
from django.test import Client
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from tests.factories import PatientFactory
from tests.receiving.dicomweb import AS_STORED, SERIES, STUDY, content, parts_of, stow
from tests.receiving.objects import COLUMNS, ROWS, ct, dataset, encode, structure_set, uid
from workstation.accounts.models import AuditRecord
from workstation.receiving.models import Instance, Study
from workstation.receiving.storage import remove_from_archive

pytestmark = pytest.mark.django_db


@pytest.fixture
def stored(web: Client) -> str:
    """Three slices and a structure set; the path of the first slice."""
    values = np.arange(ROWS * COLUMNS, dtype="<u2") * 100
    answer = stow(
        web, ct(1, PixelData=values.tobytes()), ct(2), ct(3), encode(structure_set())
    )
    assert answer.status_code == 200
    return f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances/{uid('instance', 1)}"


def test_instances_leave_byte_for_byte(web: Client, stored: str) -> None:
    parts = parts_of(web.get(f"/dicomweb/studies/{STUDY}", headers={"Accept": AS_STORED}))
    assert [kind for kind, _ in parts] == [
        f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    ] * 4
    assert {data for _, data in parts} >= {ct(2), ct(3), encode(structure_set())}
    series = web.get(f"/dicomweb/studies/{STUDY}/series/{SERIES}", headers={"Accept": AS_STORED})
    assert [data for _, data in parts_of(series)][1:] == [ct(2), ct(3)]
    answer = web.get(stored, headers={"Accept": "application/dicom"})
    assert answer["Content-Type"].startswith("application/dicom")
    assert pydicom.dcmread(io.BytesIO(content(answer))).InstanceNumber == 1
    assert AuditRecord.objects.filter(action="download").count() == 3


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("multipart/related", 200),
        ("multipart/related; type=application/dicom", 200),
        ('multipart/related;type="application/dicom";transfer-syntax=1.2.840.10008.1.2.1', 200),
        ("text/html, multipart/related; type=application/dicom; q=0.5", 200),
        ('multipart/related;type="application/dicom";transfer-syntax=1.2.840.10008.1.2.5', 406),
        ("application/dicom+xml", 406),
        ("image/jpeg", 406),
        ("application/dicom;q=0", 406),
    ],
)
def test_accept_headers_of_instances(
    web: Client, stored: str, accept: str, status: int
) -> None:
    answer = web.get(stored, headers={"Accept": accept})
    assert answer.status_code == status
    if status == 200:
        content(answer)
    else:
        assert "transfer-syntax" in answer.json()["detail"]
    by_parameter = web.get(stored, {"accept": accept})
    assert by_parameter.status_code == status
    content(by_parameter)


def test_without_a_transfer_syntax_explicit_little_endian_is_meant(web: Client) -> None:
    data = dataset(1)
    buffer = io.BytesIO()
    encode(data)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    data.save_as(buffer, implicit_vr=True, little_endian=True)
    stow(web, buffer.getvalue())
    [(kind, body)] = parts_of(web.get(f"/dicomweb/studies/{STUDY}"))
    assert kind.endswith(ExplicitVRLittleEndian)
    back = pydicom.dcmread(io.BytesIO(body))
    assert back.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert back.PatientName == data.PatientName and back.PixelData == data.PixelData
    [(kind, body)] = parts_of(
        web.get(f"/dicomweb/studies/{STUDY}", headers={"Accept": AS_STORED})
    )
    assert kind.endswith("1.2.840.10008.1.2") and body == buffer.getvalue()


def test_metadata_links_large_values(web: Client) -> None:
    data = dataset(1, StudyDescription="Übersicht")
    data.add_new(0x00091001, "OB", bytes(2000))
    data.add_new(0x00090010, "LO", "OWNER")
    data.add_new(0x00091002, "OB", b"\x01\x02")
    stow(web, encode(data))
    path = f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances/{uid('instance', 1)}"
    for address in (f"/dicomweb/studies/{STUDY}/metadata", f"{path}/metadata"):
        [item] = json.loads(content(web.get(address)))
        assert item["00081030"]["Value"] == ["Übersicht"]
        assert item["00091002"] == {"vr": "OB", "InlineBinary": "AQI="}
        assert item["7FE00010"]["BulkDataURI"] == f"http://testserver{path}/bulkdata/7FE00010"
        assert item["00083002"]["Value"] == [str(ExplicitVRLittleEndian)]
    [(kind, value)] = parts_of(web.get(item["00091001"]["BulkDataURI"]))
    assert kind == "application/octet-stream" and value == bytes(2000)
    single = web.get(
        item["00091001"]["BulkDataURI"], headers={"Accept": "application/octet-stream"}
    )
    assert content(single) == bytes(2000)
    [(_, pixels)] = parts_of(web.get(item["7FE00010"]["BulkDataURI"]))
    assert pixels == data.PixelData
    for missing in ("00091003", "00081030", "zz", "7FE00009", "0009.1.0", "00091001.0.00091001"):
        assert web.get(f"{path}/bulkdata/{missing}").status_code == 404, missing


def test_frames(web: Client, stored: str) -> None:
    values = (np.arange(ROWS * COLUMNS, dtype="<u2") * 100).tobytes()
    [(kind, frame)] = parts_of(web.get(f"{stored}/frames/1"))
    assert kind.startswith("application/octet-stream") and frame == values
    single = web.get(f"{stored}/frames/1", headers={"Accept": "application/octet-stream"})
    assert content(single) == values
    for wrong in ("0", "2", "1,2", "x", "1,,1", "99999999999"):
        assert web.get(f"{stored}/frames/{wrong}").status_code == 404, wrong
    for accept in ("image/jpeg", 'multipart/related; type="image/jls"', "text/plain"):
        assert web.get(f"{stored}/frames/1", headers={"Accept": accept}).status_code == 406


def test_rendered(web: Client, stored: str) -> None:
    answer = web.get(f"{stored}/rendered", {"window": "1150,2301,linear"})
    assert answer["Content-Type"] == "image/jpeg"
    answer = web.get(
        f"{stored}/rendered", {"window": "1150,2301,linear"}, headers={"Accept": "image/png"}
    )
    picture = np.asarray(Image.open(io.BytesIO(content(answer))))
    assert picture.shape == (ROWS, COLUMNS)
    expected = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 255 / 23
    assert np.abs(picture - expected).max() <= 1
    answer = web.get(f"{stored}/frames/1/rendered", {"viewport": "12,12", "accept": "image/png"})
    assert Image.open(io.BytesIO(content(answer))).size == (12, 8)
    answer = web.get(f"{stored}/rendered", {"viewport": "6,4,2,0,2,2", "accept": "image/png"})
    assert Image.open(io.BytesIO(content(answer))).size == (4, 4)
    for path in (f"/dicomweb/studies/{STUDY}", f"/dicomweb/studies/{STUDY}/series/{SERIES}"):
        assert len(parts_of(web.get(f"{path}/rendered"))) == 3
        thumbnail = web.get(f"{path}/thumbnail")
        assert max(Image.open(io.BytesIO(content(thumbnail))).size) == 128
    structures = (
        f"/dicomweb/studies/{STUDY}/series/{uid('structures')}/instances/{uid('instance', 900)}"
    )
    assert web.get(f"{structures}/rendered").status_code == 404
    for query in ("window=1", "window=1,0", "window=nan,1", "window=1,1,cubic", "viewport=0,1",
                  "viewport=1", "viewport=9,9,5,5,9,9", "quality=101", "quality=x"):  # fmt: skip
        assert web.get(f"{stored}/rendered?{query}").status_code == 400, query
    assert web.get(f"{stored}/rendered", headers={"Accept": "image/gif"}).status_code == 406


def test_missing_bytes_are_told(web: Client, stored: str) -> None:
    remove_from_archive(Instance.objects.get(sop_instance_uid=uid("instance", 1)).sha256)
    for path in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata/7FE00010"):
        accept = "application/dicom" if not path else "*/*"
        answer = web.get(f"{stored}{path}", headers={"Accept": accept})
        assert answer.status_code == 410, path
        assert "missing" in answer.json()["detail"]


def test_a_moved_study_leaves_as_the_other_patient(web: Client, stored: str) -> None:
    study = Study.objects.get()
    study.received_as = study.patient
    study.patient = PatientFactory(site=study.site, patient_id="RIGHT-1", name="Прав^Имя", sex="M")
    study.save()
    accept = "application/dicom; transfer-syntax=*"
    header = pydicom.dcmread(io.BytesIO(content(web.get(stored, headers={"Accept": accept}))))
    assert header.PatientID == "RIGHT-1" and header.PatientName == "Прав^Имя"
    [original] = header.OriginalAttributesSequence
    assert original.ModifiedAttributesSequence[0].PatientID == "PHANTOMINE-7"
    assert header.PixelData == (np.arange(ROWS * COLUMNS, dtype="<u2") * 100).tobytes()
    [item] = json.loads(content(web.get(f"{stored}/metadata")))
    assert item["00100020"]["Value"] == ["RIGHT-1"]
    assert item["00100010"]["Value"] == [{"Alphabetic": "Прав^Имя"}]
    [item] = web.get("/dicomweb/studies").json()
    assert item["00100020"]["Value"] == ["RIGHT-1"]
