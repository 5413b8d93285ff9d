"""The upload and quarantine pages: what they do, who may, and who sees nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from tests.factories import SiteFactory, UserFactory
from tests.receiving.objects import ct, packed
from workstation.accounts.models import AuditRecord, Role, Site
from workstation.receiving import services, storage
from workstation.receiving.models import Instance, Quarantined, QuarantineState, Upload

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return SiteFactory(name="North")


def signed_in(site: Site, role: Role = Role.RADIOLOGIST) -> Client:
    client = Client()
    client.force_login(UserFactory(role=role, sites=[site]))
    return client


@pytest.fixture
def client(site: Site) -> Client:
    return signed_in(site)


def start(client: Client, site: Site) -> dict[str, Any]:
    response = client.post(reverse("receiving:upload-start"), {"site": site.pk})
    assert response.status_code == 201
    return response.json()


def send(client: Client, url: str, files: dict[str, bytes]) -> Any:
    sent = [SimpleUploadedFile(name.split("/")[-1], data) for name, data in files.items()]
    return client.post(url, {"files": sent, "paths": list(files)})


def test_an_upload_from_start_to_finish(client: Client, site: Site) -> None:
    started = start(client, site)
    batch = {
        "study/1.dcm": ct(1),
        "study/2.dcm": ct(2),
        "study/letter.dcm": b"only text " * 30,
        "more.zip": packed({"3": ct(3), "../4": ct(4)}),
    }
    answer = send(client, started["files_url"], batch).json()
    assert answer["counts"] == {"stored": 3, "repeated": 0, "quarantined": 2, "ignored": 0}
    assert [(refused["name"], refused["code"]) for refused in answer["refused"]] == [
        ("study/letter.dcm", "not_dicom"),
        ("more.zip/../4", "zip_unsafe_name"),
    ]
    again = send(client, started["files_url"], {"study/1.dcm": ct(1)}).json()
    assert again["counts"]["repeated"] == 1
    finished = client.post(started["finish_url"]).json()
    assert finished == {
        "files": 6,
        "counts": {"stored": 3, "repeated": 1, "quarantined": 2, "ignored": 0},
    }
    assert Instance.objects.filter(site=site, source=f"upload:{started['id']}").count() == 3
    audit = AuditRecord.objects.get(action="upload")
    assert (audit.object_id, audit.detail["stored"]) == (str(started["id"]), 3)
    assert send(client, started["files_url"], {"5.dcm": ct(5)}).status_code == 409
    page = client.get(reverse("receiving:upload")).content.decode()
    assert "Finished" in page
    assert "North" in page
    partial = client.get(reverse("receiving:upload"), headers={"HX-Request": "true"})
    assert partial.content.decode().lstrip().startswith("<h2>Recent uploads</h2>")


def test_files_without_paths_are_sent_back(client: Client, site: Site) -> None:
    url = start(client, site)["files_url"]
    answer = client.post(url, {"files": [SimpleUploadedFile("1.dcm", ct(1))]})
    assert answer.status_code == 422
    assert not Instance.objects.exists()


def test_too_much_at_once_is_refused_in_words(
    client: Client, site: Site, settings: Any
) -> None:
    url = start(client, site)["files_url"]
    settings.MAX_UPLOAD_BYTES = 100
    answer = send(client, url, {"1.dcm": ct(1)})
    assert answer.status_code == 413
    assert "larger than" in answer.json()["detail"]


def test_a_full_disk_is_told_and_what_was_stored_is_counted(
    client: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start(client, site)
    archive = storage.archive

    def full_after_one(staged: storage.Staged) -> Any:
        if Instance.objects.count() > 1:
            raise storage.StorageFull
        return archive(staged)

    monkeypatch.setattr(storage, "archive", full_after_one)
    answer = send(client, started["files_url"], {"1.dcm": ct(1), "2.dcm": ct(2), "3.dcm": ct(3)})
    assert answer.status_code == 507
    assert "disk is full" in answer.json()["detail"]
    assert Upload.objects.get().stored == Instance.objects.count() == 1


def test_one_uploads_only_to_ones_own_sites_and_uploads(client: Client, site: Site) -> None:
    other = SiteFactory(name="Southland")
    url = reverse("receiving:upload-start")
    assert client.post(url, {"site": other.pk}).status_code == 422
    started = start(signed_in(site), site)
    assert send(client, started["files_url"], {"1.dcm": ct(1)}).status_code == 404
    assert client.post(started["finish_url"]).status_code == 404
    assert "Southland" not in client.get(reverse("receiving:upload")).content.decode()


def test_a_user_without_a_site_is_told_what_to_do() -> None:
    client = Client()
    client.force_login(UserFactory())
    page = client.get(reverse("receiving:upload")).content.decode()
    assert "You belong to no site yet" in page


# --- quarantine -----------------------------------------------------------------------------------


@pytest.fixture
def held(site: Site) -> Quarantined:
    cut = ct()[:-10]
    outcome = services.store_instance(site, [cut], source="dimse:SCANNER", filename="cut.dcm")
    return Quarantined.objects.get(pk=outcome.quarantined_id)


def test_the_page_shows_reason_size_and_source_but_no_content(
    client: Client, held: Quarantined
) -> None:
    page = client.get(reverse("receiving:quarantine")).content.decode()
    assert held.reason in page
    assert "dimse:SCANNER" in page
    assert "cut.dcm" in page
    assert "PHANTOMINE" not in page.upper()
    assert "Try again" not in page
    assert AuditRecord.objects.get(action="list").detail == {"quarantined": [held.pk]}


def test_an_empty_quarantine_says_so(client: Client) -> None:
    page = client.get(reverse("receiving:quarantine")).content.decode()
    assert "Nothing is in quarantine" in page


def test_another_site_sees_nothing(held: Quarantined) -> None:
    stranger = signed_in(SiteFactory(), Role.LEAD)
    page = stranger.get(reverse("receiving:quarantine")).content.decode()
    assert "Nothing is in quarantine" in page
    for name in ("receiving:release", "receiving:discard"):
        answer = stranger.post(reverse(name, args=[held.pk]), {"reason": "mine now"})
        assert answer.status_code == 404
    held.refresh_from_db()
    assert held.state == QuarantineState.HELD


@pytest.mark.parametrize("role", [Role.LEAD, Role.ADMINISTRATOR])
def test_who_manages_discards_with_a_reason(site: Site, held: Quarantined, role: Role) -> None:
    client = signed_in(site, role)
    url = reverse("receiving:discard", args=[held.pk])
    answer = client.post(url, {"reason": " "}, follow=True)
    assert "Say why" in answer.content.decode()
    answer = client.post(url, {"reason": "sent again, whole"}, follow=True)
    assert "Deleted." in answer.content.decode()
    page = client.get(reverse("receiving:quarantine") + "?state=discarded").content.decode()
    assert "sent again, whole" in page


def test_trying_again_says_what_is_still_wrong(site: Site, held: Quarantined) -> None:
    client = signed_in(site, Role.LEAD)
    answer = client.post(reverse("receiving:release", args=[held.pk]), follow=True)
    assert "Still refused: The file ends before its pixel data do" in answer.content.decode()


def test_readers_may_not_manage(client: Client, held: Quarantined) -> None:
    for name in ("receiving:release", "receiving:discard"):
        assert client.post(reverse(name, args=[held.pk]), {"reason": "x"}).status_code == 403


@pytest.mark.parametrize("name", ["receiving:upload", "receiving:quarantine"])
def test_nobody_is_sent_to_sign_in(name: str) -> None:
    answer = Client().get(reverse(name))
    assert answer.status_code == 302
    assert "sign-in" in answer["Location"]
