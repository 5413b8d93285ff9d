"""STOW bodies are read while they come: over real HTTP, byte by byte where it matters."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.factories import SiteFactory, UserFactory
from tests.receiving.dicomweb import MULTIPART, body_of
from tests.receiving.listening import wait_until
from tests.receiving.objects import ct
from tests.receiving.web_server import served
from workstation.accounts.models import Role, TokenScope
from workstation.accounts.tokens import create_token
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
        assert status_of(connection) == 409
