"""Streamed answers: one piece in memory at a time, under ASGI and WSGI alike."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from rest_framework.request import Request

Headers = dict[str, str]
PartContent = tuple[str, Iterable[bytes]]
"""Content type of a part, and its pieces."""


def streamed(
    request: Request, pieces: Iterator[bytes], content_type: str, headers: Headers | None = None
) -> StreamingHttpResponse:
    """An answer of pieces that are made while they are sent."""
    content = _asynchronous(pieces) if _is_asgi(request._request) else pieces
    return StreamingHttpResponse(content, content_type=content_type, headers=headers)


def _is_asgi(request: HttpRequest) -> bool:
    return isinstance(request, ASGIRequest)


async def _asynchronous(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Django would collect a plain iterator in a list before it sends the first byte."""
    take = sync_to_async(next, thread_sensitive=True)
    close = getattr(pieces, "close", None)
    try:
        while (piece := await take(pieces, None)) is not None:
            yield piece
    finally:
        if close is not None:
            # In the same thread, behind a step that may still run: the client hung up.
            await sync_to_async(close, thread_sensitive=True)()


def multipart(
    request: Request, parts: Iterable[PartContent], media_type: str, transfer_syntax: str = ""
) -> StreamingHttpResponse:
    """``multipart/related`` of parts that are made while they are sent (PS3.18 8.6.1.2)."""
    boundary = secrets.token_hex(16)
    syntax = f"; transfer-syntax={transfer_syntax}" if transfer_syntax else ""
    content_type = f'multipart/related; type="{media_type}"{syntax}; boundary={boundary}'
    return streamed(request, _body(parts, boundary), content_type)


def _body(parts: Iterable[PartContent], boundary: str) -> Iterator[bytes]:
    before = f"--{boundary}\r\n"
    for content_type, pieces in parts:
        yield f"{before}Content-Type: {content_type}\r\n\r\n".encode()
        yield from pieces
        before = f"\r\n--{boundary}\r\n"
    yield f"\r\n--{boundary}--\r\n".encode()
