"""Requests and answers of the DICOMweb tests."""

from __future__ import annotations

from typing import Any

from django.test import Client

from tests.receiving.objects import uid
from workstation.accounts.models import Site, TokenScope, User
from workstation.accounts.tokens import create_token

BOUNDARY = "b0und"
STUDY, SERIES = uid("study"), uid("series")
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def client_with_token(owner: User, site: Site, scope: TokenScope = TokenScope.BOTH) -> Client:
    _, secret = create_token(owner, site, "PACS", scope, 30)
    return Client(headers={"Authorization": f"Bearer {secret}"})


def body_of(*files: bytes, boundary: str = BOUNDARY) -> bytes:
    parts = [
        b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (boundary.encode(), data)
        for data in files
    ]
    return b"".join(parts) + b"--%s--\r\n" % boundary.encode()


def stow(client: Client, *files: bytes, study: str = "", **more: Any) -> Any:
    path = f"/dicomweb/studies/{study}" if study else "/dicomweb/studies"
    more.setdefault("content_type", MULTIPART)
    return client.post(path, body_of(*files), **more)


def content(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def parts_of(answer: Any) -> list[tuple[str, bytes]]:
    """Content type and content of each part of a multipart answer."""
    boundary = answer["Content-Type"].partition("boundary=")[2].encode()
    found = []
    for piece in content(answer).split(b"--" + boundary)[1:-1]:
        head, _, data = piece.partition(b"\r\n\r\n")
        found.append((head.decode().partition("Content-Type: ")[2].strip(), data[:-2]))
    return found
