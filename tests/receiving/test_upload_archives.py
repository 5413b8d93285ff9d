"""Uploaded ZIPs that take long are opened by a worker, which may be killed at any moment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import SiteFactory
from tests.receiving.conftest import files_below
from tests.receiving.objects import ct, packed
from tests.receiving.tus_client import counts, create, signed_in, start
from workstation.accounts.models import Site
from workstation.receiving import arriving, partials, storage
from workstation.receiving.models import (
    Instance,
    Quarantined,
    UploadedFile,
    UploadedFileState,
)
from workstation.receiving.services import opening

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return SiteFactory(name="North")


@pytest.fixture
def client(site: Site) -> Client:
    return signed_in(site)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workstation.receiving.files.INLINE_ENTRIES", 2)
    monkeypatch.setattr(arriving, "TELL_ENTRIES", 2)


def hand_in(client: Client, site: Site, entries: int = 5) -> dict[str, Any]:
    started = start(client, site, files=1)
    data = packed({f"cd/{n}": ct(n) for n in range(1, entries + 1)})
    answer = create(client, started["files_url"], "big.zip", len(data), data)
    assert answer["Upload-Offset"] == str(len(data))
    return started


def test_a_large_zip_is_left_to_a_worker(client: Client, site: Site, large: None) -> None:
    started = hand_in(client, site)
    assert not Instance.objects.exists()
    state = client.post(started["finish_url"]).json()
    assert state["finished"] is True
    assert state["opening"] == [{"name": "big.zip", "entries": 5, "done": 0}]
    assert "Opening 1 archive" in client.get(reverse("receiving:upload")).content.decode()
    row = UploadedFile.objects.get()
    arriving.open_archive(row.pk)
    assert Instance.objects.count() == 5
    assert counts(client, started)["stored"] == 5
    assert not UploadedFile.objects.exists(), "names are kept no longer than they serve"
    assert files_below(partials.folder()) == []
    arriving.open_archive(row.pk)  # a message that comes twice
    assert counts(client, started)["stored"] == 5


def test_a_killed_worker_loses_and_doubles_nothing(
    client: Client, site: Site, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = hand_in(client, site)
    row = UploadedFile.objects.get()
    real, calls = arriving.note_opened, []

    def dies_at_the_second(file: UploadedFile, outcomes: list[Any]) -> None:
        calls.append(len(outcomes))
        if len(calls) > 1:
            raise KeyboardInterrupt
        real(file, outcomes)

    monkeypatch.setattr(arriving, "note_opened", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        arriving.open_archive(row.pk)
    monkeypatch.undo()
    row.refresh_from_db()
    assert (row.state, row.entries_done) == (UploadedFileState.OPENING, 2)
    soon = timezone.now() + timedelta(seconds=opening.SILENT_SECONDS - 10)
    assert opening.return_stalled(soon) == 0
    assert opening.return_stalled(soon + timedelta(seconds=20)) == 1
    arriving.open_archive(row.pk)
    told = counts(client, started)
    assert told["stored"] + told["repeated"] == 5
    assert Instance.objects.count() == 5


def test_a_zip_that_kills_every_worker_goes_to_quarantine(
    client: Client, site: Site, large: None
) -> None:
    started = hand_in(client, site)
    row = UploadedFile.objects.get()
    for _ in range(opening.MAX_ATTEMPTS):
        assert opening.start_opening(row.pk) is not None
        assert opening.start_opening(row.pk) is None
        opening.return_stalled(timezone.now() + timedelta(hours=1))
    arriving.open_archive(row.pk)
    held = Quarantined.objects.get()
    assert (held.code, held.filename) == ("zip_not_opened", "big.zip")
    assert len(storage.quarantine_opened(held.sha256).read()) == row.size
    assert counts(client, started)["quarantined"] == 1
    assert files_below(partials.folder()) == []


def test_a_full_disk_lets_the_archive_wait(
    client: Client, site: Site, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = hand_in(client, site)
    row = UploadedFile.objects.get()

    def full(staged: storage.Staged) -> None:
        raise storage.StorageFull

    monkeypatch.setattr(storage, "archive", full)
    arriving.open_archive(row.pk)
    row.refresh_from_db()
    assert (row.state, row.attempts) == (UploadedFileState.WAITING, 0)
    monkeypatch.undo()
    assert opening.return_stalled(timezone.now() + timedelta(hours=1)) == 1
    arriving.open_archive(row.pk)
    assert counts(client, started)["stored"] == 5
