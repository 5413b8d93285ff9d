"""STOW bodies are read while they come: over real HTTP, byte by byte where it matters."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import RequestDataTooBig
from django.db.backends.signals import connection_created
from django.test import Client

from tests.factories import SiteFactory, UserFactory
from tests.receiving.dicomweb import MULTIPART, body_of
from tests.receiving.listening import wait_until
from tests.receiving.objects import ct
from tests.receiving.web_server import served
from workstation.accounts.models import Role, TokenScope
from workstation.accounts.tokens import create_token
from workstation.receiving import kept_connections
from workstation.receiving.dicomweb.streaming import Body
from workstation.receiving.kept_connections import KeptThreads
from workstation.receiving.models import Instance, Quarantined

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def origin() -> Iterator[tuple[str, int]]:
    with served() as url:
        parts = urlsplit(url)
        yield str(parts.hostname), int(parts.port or 0)


@pytest.fixture
def secret(transactional_db: None) -> str:
    site = SiteFactory(code="north")
    owner = UserFactory(role=Role.ADMINISTRATOR, sites=[site])
    return create_token(owner, site, "PACS", TokenScope.BOTH, 30)[1]


def head(secret: str, *more: str) -> bytes:
    lines = [
        "POST /dicomweb/studies HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {secret}",
        f"Content-Type: {MULTIPART}", "Accept: application/dicom+json", *more, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def status_of(connection: socket.socket) -> int:
    connection.settimeout(20)
    return int(connection.recv(4096).split()[1])


def test_who_shows_no_valid_token_is_refused_before_the_body(origin: tuple[str, int]) -> None:
    with socket.create_connection(origin) as connection:
        connection.sendall(head("rf_wrong", "Content-Length: 1000000000"))
        assert status_of(connection) == 401


def test_what_came_whole_is_kept_when_the_sender_hangs_up(
    origin: tuple[str, int], secret: str
) -> None:
    body = body_of(ct(1), ct(2), ct(3))
    with socket.create_connection(origin) as connection:
        connection.sendall(head(secret, f"Content-Length: {len(body)}") + body[: -len(ct(3)) // 2])
    wait_until(lambda: Instance.objects.count() == 2)
    wait_until(lambda: Quarantined.objects.filter(code="truncated").count() == 1)


def test_a_body_without_a_length_is_taken_in_and_bounded(
    origin: tuple[str, int], secret: str, settings: object
) -> None:
    body = body_of(ct(1), ct(2))
    pieces = b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece)
        for piece in (body[i : i + 997] for i in range(0, len(body), 997))
    )
    with socket.create_connection(origin) as connection:
        connection.sendall(head(secret, "Transfer-Encoding: chunked") + pieces + b"0\r\n\r\n")
        assert status_of(connection) == 200
    assert Instance.objects.count() == 2
    settings.MAX_UPLOAD_BYTES = 500  # type: ignore[attr-defined]
    with socket.create_connection(origin) as connection:
        connection.sendall(head(secret, "Transfer-Encoding: chunked") + pieces + b"0\r\n\r\n")
        assert status_of(connection) == 413
    # What was cut off is kept for people to see, and no more of it than the limit.
    assert Quarantined.objects.get().size < 500


def test_a_sender_that_falls_silent_is_answered_and_what_came_whole_is_kept(
    origin: tuple[str, int], secret: str, settings: object
) -> None:
    settings.DICOM_DIMSE_SECONDS = 0.3  # type: ignore[attr-defined]
    body = body_of(ct(1), ct(2), ct(3))
    with socket.create_connection(origin) as connection:
        connection.sendall(head(secret, f"Content-Length: {len(body)}") + body[: -len(ct(3)) // 2])
        assert status_of(connection) == 202
    assert Instance.objects.count() == 2
    assert Quarantined.objects.get().code == "truncated"


def test_requests_one_after_the_other_share_a_database_connection(
    origin: tuple[str, int], secret: str
) -> None:
    opened: list[int] = []

    def note(connection: object, **more: object) -> None:
        opened.append(threading.get_ident())

    connection_created.connect(note)
    try:
        for number in range(4):
            body = body_of(ct(number))
            with socket.create_connection(origin) as connection:
                connection.sendall(head(secret, f"Content-Length: {len(body)}") + body)
                assert status_of(connection) == 200
    finally:
        connection_created.disconnect(note)
    assert len(opened) == 1


def test_a_stranger_cannot_fill_the_disk(origin: tuple[str, int]) -> None:
    lines = ["POST /accounts/sign-in/ HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1000000000"]
    with socket.create_connection(origin) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + bytes(3_000_000))
        assert status_of(connection) == 401


def test_who_is_signed_in_may_send_much(
    origin: tuple[str, int], transactional_db: None, settings: object
) -> None:
    client = Client()
    client.force_login(UserFactory(role=Role.ADMINISTRATOR))
    cookie = client.cookies["sessionid"].value
    lines = [
        "POST /accounts/sign-in/ HTTP/1.1", "Host: 127.0.0.1", f"Cookie: sessionid={cookie}",
        "Content-Type: application/octet-stream", "Content-Length: 3000000", "", "",
    ]  # fmt: skip
    with socket.create_connection(origin) as connection:
        connection.sendall("\r\n".join(lines).encode() + bytes(3_000_000))
        # Without a CSRF token; but it was read.
        assert status_of(connection) == 403
    settings.MAX_UPLOAD_BYTES = 1_000_000  # type: ignore[attr-defined]
    with socket.create_connection(origin) as connection:
        connection.sendall("\r\n".join(lines).encode() + bytes(3_000_000))
        assert status_of(connection) == 413


def test_a_whole_body_is_read_up_to_the_length_of_a_form(settings: object) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000  # type: ignore[attr-defined]

    async def read(length: int) -> bytes:
        body = Body(1.0)
        await body.feed(b"x" * length)
        body.end()
        return await asyncio.to_thread(body.read)

    assert asyncio.run(read(1000)) == b"x" * 1000
    with pytest.raises(RequestDataTooBig):
        asyncio.run(read(1001))


def test_threads_end_when_asked_and_begin_again() -> None:
    threads = KeptThreads(2)
    for _ in range(2):
        found = [threads.submit(threading.get_ident).result(5) for _ in range(3)]
        assert threading.get_ident() not in found
        assert threads.submit(int, "7").result(5) == 7
        with pytest.raises(ValueError):
            threads.submit(int, "seven").result(5)
        threads.shutdown()
        assert not threads._threads


def test_no_more_threads_than_allowed_and_nothing_is_lost() -> None:
    threads = KeptThreads(3)
    begun = threading.Barrier(3)
    first = [threads.submit(begun.wait, 5) for _ in range(3)]
    later = [threads.submit(pow, number, 2) for number in range(20)]
    assert sorted(future.result(5) for future in first) == [0, 1, 2]
    assert [future.result(5) for future in later] == [number**2 for number in range(20)]
    assert len(threads._threads) == 3
    threads.shutdown()


def test_calls_that_come_as_threads_end_are_all_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a thread whose call another one took ends as well: it would keep its connection."""
    monkeypatch.setattr(kept_connections, "IDLE_SECONDS", 0.001)
    threads = KeptThreads(3)
    for turn in range(300):
        found = [threads.submit(pow, number, 2) for number in range(3)]
        assert [future.result(5) for future in found] == [0, 1, 4]
        if turn % 5 == 0:
            time.sleep(0.0015)
    wait_until(lambda: not threads._threads)
