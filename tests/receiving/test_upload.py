"""Resumable uploads over the tus protocol: what arrives, what is refused, and what survives."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import SiteFactory, UserFactory
from tests.receiving.conftest import files_below
from tests.receiving.objects import ct, packed
from tests.receiving.tus_client import PIECES, counts, create, metadata, signed_in, start, tus
from workstation.accounts.models import AuditRecord, Site
from workstation.receiving import partials, storage
from workstation.receiving.models import (
    Instance,
    Quarantined,
    Upload,
    UploadedFile,
    UploadedFileState,
)
from workstation.receiving.services.uploading import expire_uploads, finish_upload

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return SiteFactory(name="North")


@pytest.fixture
def client(site: Site) -> Client:
    return signed_in(site)


# --- the usual way --------------------------------------------------------------------------------


def test_an_upload_from_start_to_finish(client: Client, site: Site) -> None:
    started = start(client, site, files=4, bytes=1000)
    files = {
        "study/1.dcm": ct(1),
        "study/2.dcm": ct(2),
        "study/letter.dcm": b"only text " * 30,
        "more.zip": packed({"3": ct(3), "../4": ct(4)}),
    }
    for name, data in files.items():
        answer = create(client, started["files_url"], name, len(data), data)
        assert answer.status_code == 201
        assert answer["Upload-Offset"] == str(len(data))
        assert answer["Tus-Resumable"] == "1.0.0"
    state = client.get(started["state_url"]).json()
    assert state["counts"] == {"stored": 3, "repeated": 0, "quarantined": 2, "ignored": 0}
    assert [(row["name"], row["reason"][:19]) for row in state["refused"]] == [
        ("study/letter.dcm", "This is a text file"),
        ("more.zip/../4", "The name of this ZI"),
    ]
    finished = client.post(started["finish_url"]).json()
    assert finished["finished"] is True
    assert not UploadedFile.objects.exists(), "names are kept no longer than they serve"
    assert (finished["files"], finished["opening"]) == (5, [])
    assert Instance.objects.filter(site=site, source=f"upload:{started['id']}").count() == 3
    audit = AuditRecord.objects.get(action="upload")
    assert (audit.object_id, audit.detail["stored"]) == (str(started["id"]), 3)
    answer = create(client, started["files_url"], "5", 3, b"abc")
    assert answer.status_code == 409
    assert "finished" in answer.json()["detail"]
    assert files_below(partials.folder()) == []
    page = client.get(reverse("receiving:upload")).content.decode()
    assert "Finished" in page
    partial = client.get(reverse("receiving:upload"), headers={"HX-Request": "true"})
    assert "<h2>Recent uploads</h2>" in partial.content.decode()[:120]


def test_a_file_in_pieces_goes_on_at_its_byte(client: Client, site: Site) -> None:
    url = start(client, site)["files_url"]
    data = ct(1)
    first = create(client, url, "1.dcm", len(data), data[:100])
    assert (first.status_code, first["Upload-Offset"]) == (201, "100")
    file = first["Location"]
    head = tus(client, "HEAD", file)
    assert (head["Upload-Offset"], head["Upload-Length"]) == ("100", str(len(data)))
    assert head["Cache-Control"] == "no-store"
    wrong = tus(client, "PATCH", file, data[50:90], Upload_Offset=50)
    assert wrong.status_code == 409
    assert "100 bytes of this file are here" in wrong.json()["detail"]
    middle = tus(client, "PATCH", file, data[100:200], Upload_Offset=100)
    assert (middle.status_code, middle["Upload-Offset"]) == (204, "200")
    assert UploadedFile.objects.get().offset == 200
    assert not Instance.objects.exists()
    last = tus(client, "PATCH", file, data[200:], Upload_Offset=200)
    assert (last.status_code, last["Upload-Offset"]) == (204, str(len(data)))
    assert storage.path_of(Instance.objects.get().sha256).read_bytes() == data
    assert UploadedFile.objects.get().state == UploadedFileState.DONE
    assert files_below(partials.folder()) == []
    again = tus(client, "PATCH", file, b"", Upload_Offset=len(data))
    assert again.status_code == 204
    assert Upload.objects.get().stored == 1


def test_the_disk_is_right_when_the_row_is_not(client: Client, site: Site) -> None:
    """A crash between the bytes and the row leaves the row behind."""
    url = start(client, site)["files_url"]
    data = ct(1)
    file = create(client, url, "1.dcm", len(data), data[:100])["Location"]
    row = UploadedFile.objects.get()
    partials.append(row.key, [data[100:150]], at_most=len(data))
    assert tus(client, "HEAD", file)["Upload-Offset"] == "150"
    assert tus(client, "PATCH", file, data[100:], Upload_Offset=100).status_code == 409
    assert tus(client, "PATCH", file, data[150:], Upload_Offset=150).status_code == 204
    assert Instance.objects.count() == 1


def test_more_bytes_than_announced_are_not_taken(client: Client, site: Site) -> None:
    url = start(client, site)["files_url"]
    assert create(client, url, "1.dcm", 10, b"x" * 11).status_code == 400
    data = ct(1)
    file = create(client, url, "2.dcm", len(data), data[:10])["Location"]
    answer = tus(client, "PATCH", file, data[10:] + b"more", Upload_Offset=10)
    assert (answer.status_code, answer["Upload-Offset"]) == (204, str(len(data)))
    assert storage.path_of(Instance.objects.get().sha256).read_bytes() == data


def test_an_empty_file_is_refused_as_empty(client: Client, site: Site) -> None:
    url = start(client, site)["files_url"]
    assert create(client, url, "nothing.dcm", 0).status_code == 201
    assert Quarantined.objects.get().code == "empty"
    assert UploadedFile.objects.get().state == UploadedFileState.DONE


def test_a_client_that_announces_first_is_served_too(client: Client, site: Site) -> None:
    """Creation without bytes, as other tus clients do it."""
    url = start(client, site)["files_url"]
    data = ct(1)
    answer = client.generic(
        "POST", url, headers={
            "Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)),
            "Upload-Metadata": metadata("1.dcm"),
        },
    )  # fmt: skip
    assert (answer.status_code, answer["Upload-Offset"]) == (201, "0")
    answer = tus(client, "PATCH", answer["Location"], data, Upload_Offset=0)
    assert answer.status_code == 204
    assert Instance.objects.count() == 1


def test_what_the_server_can_do_is_told(client: Client, site: Site) -> None:
    answer = client.options(start(client, site)["files_url"])
    assert answer["Tus-Version"] == "1.0.0"
    assert answer["Tus-Extension"] == "creation,creation-with-upload,expiration"
    assert int(answer["Tus-Max-Size"]) > 0


# --- after an interruption ------------------------------------------------------------------------


def sample(*files: tuple[str, int]) -> str:
    return json.dumps([[name, size, 7] for name, size in files])


def test_the_same_folder_chosen_again_goes_on(client: Client, site: Site) -> None:
    one, two = ct(1), ct(2)
    chosen = sample(("a/1", len(one)), ("a/2", len(two)), ("a/3", 12))
    first = start(client, site, files=3, sample=chosen)
    assert first["continued"] is False
    create(client, first["files_url"], "a/1", len(one), one)
    create(client, first["files_url"], "a/2", len(two), two[:60])
    again = start(client, site, files=3, sample=chosen)
    assert (again["continued"], again["id"]) == (True, first["id"])
    known = client.post(again["known_url"], {"files": chosen}).json()["files"]
    assert known[0] == {"done": True}
    assert known[2] is None
    assert (known[1]["done"], known[1]["offset"]) == (False, 60)
    tus(client, "PATCH", known[1]["url"], two[60:], Upload_Offset=60)
    assert counts(client, again)["stored"] == 2
    finish_upload(Upload.objects.get())
    assert start(client, site, sample=chosen)["continued"] is False


def test_another_folder_or_person_or_site_does_not_continue(client: Client, site: Site) -> None:
    started = start(client, site, files=1)
    create(client, started["files_url"], "a/1", 500, ct(1)[:50])
    assert not start(client, site, sample=sample(("b/1", 500)))["continued"]
    assert not start(client, site, sample=sample(("a/1", 501)))["continued"]
    assert not start(signed_in(site), site, sample=sample(("a/1", 500)))["continued"]
    other = SiteFactory()
    Upload.objects.get(pk=started["id"]).user.sites.add(other)
    assert not start(client, other, sample=sample(("a/1", 500)))["continued"]
    assert start(client, site, sample=sample(("a/1", 500)))["continued"]


def test_a_lost_answer_does_not_count_the_file_twice(client: Client, site: Site) -> None:
    started = start(client, site)
    data = ct(1)
    first = create(client, started["files_url"], "1.dcm", len(data), data)
    again = create(client, started["files_url"], "1.dcm", len(data), data)
    assert (again.status_code, again["Location"]) == (201, first["Location"])
    assert again["Upload-Offset"] == str(len(data))
    assert counts(client, started) == {"stored": 1, "repeated": 0, "quarantined": 0, "ignored": 0}


@pytest.mark.parametrize("how", ["head", "finish"])
def test_whole_but_not_taken_in_before_the_server_died(
    client: Client, site: Site, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    started = start(client, site)
    data = ct(1)
    file = create(client, started["files_url"], "1.dcm", len(data), data[:9])["Location"]
    partials.append(UploadedFile.objects.get().key, [data[9:]], at_most=len(data))
    if how == "head":
        assert tus(client, "HEAD", file)["Upload-Offset"] == str(len(data))
    else:
        client.post(started["finish_url"])
    assert Instance.objects.count() == 1
    assert counts(client, started)["stored"] == 1


def test_a_file_has_one_writer(client: Client, site: Site) -> None:
    data = ct(1)
    file = create(client, start(client, site)["files_url"], "1", len(data), data[:9])["Location"]
    with partials.locked(UploadedFile.objects.get().key):
        answer = tus(client, "PATCH", file, data[9:], Upload_Offset=9)
    assert answer.status_code == 423
    assert tus(client, "PATCH", file, data[9:], Upload_Offset=9).status_code == 204


def test_half_sent_files_expire_and_their_number_stays(client: Client, site: Site) -> None:
    started = start(client, site, files=3)
    data = ct(1)
    create(client, started["files_url"], "1", len(data), data)
    create(client, started["files_url"], "2", 500, ct(2)[:50])
    now = timezone.now()
    assert expire_uploads(now + timedelta(days=6)) == 0
    assert expire_uploads(now + timedelta(days=8)) == 1
    assert expire_uploads(now + timedelta(days=8)) == 0
    upload = Upload.objects.get()
    assert (upload.stored, upload.unfinished) == (1, 2)
    assert upload.finished_at is not None
    assert AuditRecord.objects.get(action="upload").detail["how"] == "expired"
    page = client.get(reverse("receiving:upload")).content.decode()
    assert "2 files never came" in page


@pytest.mark.django_db(transaction=True)
def test_the_bytes_of_expired_files_go(client: Client, site: Site) -> None:
    create(client, start(client, site, files=1)["files_url"], "2", 500, ct(2)[:50])
    assert len([p for p in files_below(partials.folder()) if not p.suffix]) == 1
    expire_uploads(timezone.now() + timedelta(days=8))
    assert files_below(partials.folder()) == []


# --- refusals -------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_the_file_is_not_lost(
    client: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start(client, site)
    data = ct(1)

    def full(staged: storage.Staged) -> None:
        raise storage.StorageFull

    monkeypatch.setattr(storage, "archive", full)
    answer = create(client, started["files_url"], "1", len(data), data)
    assert answer.status_code == 507
    assert "disk has no room" in answer.json()["detail"]
    monkeypatch.undo()
    assert create(client, started["files_url"], "1", len(data), data).status_code == 201
    assert counts(client, started)["stored"] == 1


def test_a_file_that_does_not_fit_is_refused_before_it_is_sent(
    client: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = start(client, site)["files_url"]
    monkeypatch.setattr(partials, "has_room_for", lambda size: False)
    assert create(client, url, "1", 500, b"").status_code == 507
    answer = client.post(reverse("receiving:upload-start"), {"site": site.pk, "bytes": 10**9})
    assert answer.status_code == 507


def test_a_file_beyond_the_limit_is_refused_in_words(
    client: Client, site: Site, settings: Any
) -> None:
    settings.MAX_UPLOAD_BYTES = 5 * 1024**2
    answer = create(client, start(client, site)["files_url"], "1", 6 * 1024**2)
    assert answer.status_code == 413
    assert "larger than the 5 MB" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Upload-Length": ""}, 400),
        ({"Upload-Length": "-3"}, 400),
        ({"Upload-Length": "9" * 30}, 400),
        ({"Upload-Metadata": ""}, 400),
        ({"Upload-Metadata": "filename %%%"}, 400),
        ({"Upload-Metadata": metadata("n" * 401)}, 400),
        ({"Upload-Metadata": "filename " + base64.b64encode(b"\xff\xfe").decode()}, 400),
    ],
)
def test_bad_announcements(
    client: Client, site: Site, headers: dict[str, str], status: int
) -> None:
    usual = {
        "Tus-Resumable": "1.0.0", "Upload-Length": "3", "Upload-Metadata": metadata("1"),
    }  # fmt: skip
    answer = client.generic(
        "POST", start(client, site)["files_url"], b"abc", content_type=PIECES,
        headers={**usual, **headers},
    )  # fmt: skip
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert not UploadedFile.objects.exists()


def test_one_uploads_only_to_ones_own_sites_and_uploads(client: Client, site: Site) -> None:
    other = SiteFactory(name="Southland")
    url = reverse("receiving:upload-start")
    assert client.post(url, {"site": other.pk}).status_code == 422
    colleague = signed_in(site)
    started = start(colleague, site)
    file = create(colleague, started["files_url"], "1", 500, ct(1)[:50])["Location"]
    assert create(client, started["files_url"], "2", 3, b"abc").status_code == 404
    assert tus(client, "HEAD", file).status_code == 404
    assert tus(client, "PATCH", file, b"x", Upload_Offset=50).status_code == 404
    for name in ("finish_url", "known_url"):
        assert client.post(started[name], {"files": "[]"}).status_code == 404
    assert client.get(started["state_url"]).status_code == 404
    assert "Southland" not in client.get(reverse("receiving:upload")).content.decode()


def test_every_request_needs_the_token(site: Site) -> None:
    client = Client(enforce_csrf_checks=True)
    user = UserFactory(sites=[site])
    client.force_login(user)
    upload = Upload.objects.create(site=site, user=user)
    url = reverse("receiving:upload-files", args=[upload.pk])
    assert create(client, url, "1", 3).status_code == 403
