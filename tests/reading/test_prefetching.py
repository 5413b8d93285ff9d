"""The next case gets ready on the server: whose it is, and that nothing of it is told."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.test import Client

from tests.factories import UserFactory
from tests.reading.house import House
from workstation.accounts.models import AuditRecord
from workstation.worklist.models import Claim
from workstation.worklist.services import release_case

URL = "/api/next-case/warm/"


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(file, bytes) that the system was asked to read."""
    seen: list[tuple[str, int]] = []

    def note(fd: int, start: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        seen.append((os.path.basename(os.readlink(f"/proc/self/fd/{fd}")), size))

    monkeypatch.setattr(os, "posix_fadvise", note)
    return seen


def client(user: Any) -> Client:
    made = Client()
    made.force_login(user)
    return made


def test_the_top_of_the_list_gets_ready_and_is_not_claimed(
    house: House, advised: list[tuple[str, int]]
) -> None:
    release_case(house.case, house.reader)
    records = AuditRecord.objects.count()
    answer = client(house.reader).post(URL)
    assert answer.json() == {"ready": True}
    assert {name for name, size in advised if size} >= {"0.rfv", "1.rfv"}
    assert not Claim.objects.filter(case=house.case).exists()
    # Nobody saw anything.
    assert AuditRecord.objects.count() == records


def test_what_is_not_the_readers_to_open_stays_as_it_is(
    house: House, advised: list[tuple[str, int]]
) -> None:
    # Held by somebody already.
    assert client(house.reader).post(URL).json() == {"ready": False}
    release_case(house.case, house.reader)
    # Of another site.
    assert client(UserFactory()).post(URL).json() == {"ready": False}
    assert advised == []
