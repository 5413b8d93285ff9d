"""Bytes are synced once, and survive who discards the same bytes at the same moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import TestCase

from tests.factories import SiteFactory, UserFactory
from tests.receiving.objects import ct
from workstation.accounts.models import Role, Site
from workstation.receiving import services, storage, stores
from workstation.receiving.headers import read_header
from workstation.receiving.models import Quarantined, QuarantineState
from workstation.receiving.outcomes import Outcome, Result

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return SiteFactory()


def store(site: Site, data: bytes, source: str = "test") -> Outcome:
    return services.store_instance(site, [data], source=source)


def test_an_object_of_a_new_series_is_synced_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[Path] = []
    real = stores.sync

    def sync(path: Path) -> None:
        if path.is_file():
            settled.append(path)
        real(path)

    monkeypatch.setattr(stores, "sync", sync)
    with storage.staged([ct(1)]) as staged:
        header = read_header(staged.path)
        arrival = services.Arrival(site, staged, "test", header=header)
        assert services.store_many([arrival])[0].result is Result.STORED
    assert len(settled) == 1


def test_bytes_that_come_again_while_they_are_discarded_are_kept(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = ct()[:-10]
    store(site, cut)
    held = Quarantined.objects.get()
    real = storage.set_aside_in_quarantine

    def sent_again_meanwhile(sha256: str) -> None:
        store(site, cut)
        real(sha256)

    monkeypatch.setattr(storage, "set_aside_in_quarantine", sent_again_meanwhile)
    with TestCase.captureOnCommitCallbacks(execute=True):
        services.discard(held, UserFactory(role=Role.LEAD, sites=[site]), "broken")
    again = Quarantined.objects.get(state=QuarantineState.HELD)
    assert storage.quarantine_opened(again.sha256).read() == cut
    # The other way round: they vanish between its bytes and its row.
    with monkeypatch.context() as patched:
        create = Quarantined.objects.create

        def discarded_meanwhile(**values: Any) -> Quarantined:
            storage.quarantine_store().delete(storage.name_of(again.sha256))
            return create(**values)

        patched.setattr(Quarantined.objects, "create", discarded_meanwhile)
        store(site, cut, source="another")
    assert storage.quarantine_opened(again.sha256).read() == cut
