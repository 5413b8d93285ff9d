"""STOW-RS by plain requests."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.receiving.dicomweb import BOUNDARY, MULTIPART, STUDY, body_of, stow
from tests.receiving.objects import ct, encode, structure_set, uid
from workstation.accounts.models import AuditRecord
from workstation.receiving.dicomweb import stow as stow_module
from workstation.receiving.models import Instance, Quarantined, Study
from workstation.receiving.services import storing
from workstation.receiving.storage import StorageFull

pytestmark = pytest.mark.django_db


def test_stored_objects_are_named_and_linked(web: Client) -> None:
    answer = stow(web, ct(1), ct(2), encode(structure_set()))
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "application/dicom+json"
    told = answer.json()
    assert told["00081190"]["Value"] == [f"http://testserver/dicomweb/studies/{STUDY}"]
    assert [i["00081155"]["Value"][0] for i in told["00081199"]["Value"]] == [
        uid("instance", 1), uid("instance", 2), uid("instance", 900),
    ]  # fmt: skip
    assert "00081198" not in told
    assert Instance.objects.filter(site__code="north").count() == 3
    assert Instance.objects.first().source.startswith("stow:rf_")
    rows = AuditRecord.objects.filter(action="upload")
    assert [(r.detail["stored"], r.detail["failed"]) for r in rows] == [(3, 0)]
    again = stow(web, ct(1))
    assert again.status_code == 200 and len(again.json()["00081199"]["Value"]) == 1


def test_what_is_refused_is_told_and_kept(web: Client) -> None:
    stow(web, ct(1))
    other = ct(1, StudyDescription="Abdomen")
    answer = stow(web, ct(2), other, b"no dicom at all", ct(3)[:-10])
    assert answer.status_code == 202
    told = answer.json()
    assert len(told["00081199"]["Value"]) == 1
    failed = {
        i["00081155"]["Value"][0]: i["00081197"]["Value"][0] for i in told["00081198"]["Value"]
    }
    assert failed[uid("instance", 1)] == 0x0111
    nameless = told.get("0008119A", {"Value": []})["Value"]
    assert len(failed) + len(nameless) == 3
    assert "conflicting" in answer["Warning"] and answer["Warning"].startswith("299 ")
    assert Quarantined.objects.count() == 3
    assert stow(web, b"nothing").status_code == 409


def test_a_path_with_a_study_takes_only_that_study(web: Client) -> None:
    other = ct(2, StudyInstanceUID=uid("other"), SeriesInstanceUID=uid("other series"))
    answer = stow(web, ct(1), other, study=STUDY)
    assert answer.status_code == 202
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]
    assert Study.objects.get().study_instance_uid == STUDY
    assert Quarantined.objects.get().code == "wrong_path"
    assert stow(web, b"nothing", study=STUDY).status_code == 409
    assert set(Quarantined.objects.values_list("code", flat=True)) == {"wrong_path", "not_dicom"}


def test_a_part_that_is_no_dicom_file_is_kept_too(web: Client) -> None:
    body = body_of(b"<xml/>", ct(1)).replace(b"application/dicom", b"application/xml", 1)
    answer = web.post("/dicomweb/studies", body, content_type=MULTIPART)
    assert (answer.status_code, Instance.objects.count()) == (202, 1)
    assert Quarantined.objects.get().code == "not_dicom"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("multipart/related; type=application/dicom", 400),
        (f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}', 415),
        (f"multipart/form-data; boundary={BOUNDARY}", 415),
        ("application/dicom", 415),
        (f"multipart/related; boundary={BOUNDARY}", 200),
        (f'Multipart/Related; TYPE="Application/DICOM"; Boundary="{BOUNDARY}"', 200),
        ('multipart/related; type="application/dicom"; boundary=another', 409),
    ],
)
def test_content_types(web: Client, content_type: str, status: int) -> None:
    answer = stow(web, ct(1), content_type=content_type)
    assert answer.status_code == status, answer.content
    if status in (400, 415):
        assert len(answer.json()["detail"]) > 20


def test_a_body_that_breaks_off_keeps_what_came(web: Client) -> None:
    body = body_of(ct(1), ct(2), ct(3))
    answer = web.post("/dicomweb/studies", body[: -len(ct(3)) // 2], content_type=MULTIPART)
    assert answer.status_code == 202
    assert Instance.objects.count() == 2
    assert [q.code for q in Quarantined.objects.all()] == ["truncated"]


def test_an_object_that_was_cut_between_two_elements_is_not_taken_for_whole(web: Client) -> None:
    whole = encode(structure_set())
    last = whole.index(b"\x20\x00\x13\x00IS")  # InstanceNumber
    body = body_of(whole)
    answer = web.post(
        "/dicomweb/studies", body[: body.index(whole) + last], content_type=MULTIPART
    )
    assert (answer.status_code, Instance.objects.count()) == (409, 0)
    assert [q.code for q in Quarantined.objects.all()] == ["truncated"]
    assert stow(web, whole).status_code == 200  # and does not meet its own beginning there


def test_requests_that_hold_nothing_or_too_much(web: Client, settings: Any) -> None:
    assert stow(web).status_code == 400
    settings.MAX_UPLOAD_BYTES = 100
    assert stow(web, ct(1)).status_code == 413
    assert Instance.objects.count() == 0


def test_a_full_disk_is_told_and_what_came_before_stays(
    web: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workstation.receiving.dicomweb.stow.BATCH_FILES", 1)
    taken = []

    def full(arrivals: Any) -> Any:
        if taken:
            raise stow_module.storage.StorageFull
        taken.append(arrivals)
        return original(arrivals)

    original = stow_module.store_many
    monkeypatch.setattr(stow_module, "store_many", full)
    answer = stow(web, ct(1), ct(2))
    assert answer.status_code == 202
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA700]
    assert Instance.objects.count() == 1
    assert stow(web, ct(3)).status_code == 503


def test_a_disk_that_fills_up_inside_a_request_is_told_of_each_object(
    web: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of a known series are stored before the others are looked at."""
    stow(web, ct(1))

    real = storing._write_new

    def full(objects: list[Any], known: dict[Any, Any]) -> Any:
        if any(found.key not in known for found in objects):
            raise StorageFull
        return real(objects, known)

    monkeypatch.setattr(storing, "_write_new", full)
    answer = stow(web, ct(2), ct(3, SeriesInstanceUID=uid("another series")))
    assert answer.status_code == 202
    told = answer.json()
    assert [i["00081155"]["Value"][0] for i in told["00081199"]["Value"]] == [uid("instance", 2)]
    [failed] = told["00081198"]["Value"]
    assert failed["00081155"]["Value"] == [uid("instance", 3)]
    assert failed["00081197"]["Value"] == [0xA700]
