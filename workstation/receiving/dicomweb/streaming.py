"""Request bodies on their way in: who may send how much, and DICOMweb's as streams.

Django waits for a whole body and spools it to the disk before it looks at who sends it. Here

- a long body is spooled only for who is signed in: a stranger cannot fill the disk;
- what is stored by DICOMweb is not spooled: its view begins with the headers, so that a sender
  without a valid token is refused at once, and parts go to the archive while the rest is still on
  the way. Memory holds a few pieces. Middleware and view run in one thread that keeps its database
  connection: with small requests, as PACS send them, the ways between threads and the opening of
  connections took longer than the storing.
"""

from __future__ import annotations

import asyncio
import io
import logging
import tempfile
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import aget_user
from django.core import signals
from django.core.exceptions import RequestAborted, RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.db import Error
from django.http import HttpResponseBadRequest, HttpResponseBase, JsonResponse
from django.urls import set_script_prefix
from django.utils.module_loading import import_string

from workstation.accounts.middleware import SIGNED_OUT
from workstation.receiving.kept_connections import KeptThreads, keep_connection

log = logging.getLogger(__name__)
PREFIX = "/dicomweb/"
MOST_HELD = 4 * 1024**2
"""Bytes that may wait for the view; the sender waits beyond that."""
MOST_AT_ONCE = 32
"""Requests that are stored at the same time; more wait, and their senders with them."""
NO_DATABASE = "The archive is not available at the moment. Send it again."
SLACK = 1024**2
"""A form is a little longer than the file that it carries."""
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Body:
    """A body that is still coming: the event loop feeds it, a view's thread reads it.

    A sender that is silent for ``patience`` seconds is taken for one that hung up.
    """

    def __init__(self, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._room = asyncio.Event()
        self._more = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False

    async def feed(self, piece: bytes) -> None:
        """Take a piece, and wait until there is room for the next one."""
        with self._more:
            if self._ended:
                return
            self._pieces.append(piece)
            self._held += len(piece)
            self._more.notify()
            if self._held <= MOST_HELD:
                return
            self._room.clear()
        await self._room.wait()

    def end(self) -> None:
        """Nothing more will come."""
        with self._more:
            self._ended = True
            self._more.notify()

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes, as soon as there are any. Empty at the end, also of a body that
        was cut off or stalled.

        Without a size all of a short body, as Django reads a form. Raises ``RequestDataTooBig``.
        """
        if size < 0:
            return self._whole(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        with self._more:
            while not self._ended and not self._pieces:
                if not self._more.wait(self._patience):
                    log.warning("a request body stalled and is taken as cut off")
                    self._ended = True
            taken = self._take(size)
            if not self._room.is_set() and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._room.set)
        return taken

    def _whole(self, most: int) -> bytes:
        pieces, count = [], 0
        while piece := self.read(MOST_HELD):
            pieces.append(piece)
            count += len(piece)
            if count > most:
                raise RequestDataTooBig("The body is longer than a form may be.")
        return b"".join(pieces)

    def _take(self, size: int) -> bytes:
        taken, count = [], 0
        while self._pieces and count < size:
            piece = self._pieces.popleft()
            left = size - count
            if len(piece) > left:
                self._pieces.appendleft(piece[left:])
                piece = piece[:left]
            taken.append(piece)
            count += len(piece)
        self._held -= count
        return b"".join(taken)

    def close(self) -> None:
        """What still comes is passed over."""
        with self._more:
            self._ended = True
            self._pieces.clear()
            self._held = 0
        self._room.set()


async def pump(receive: Receive, body: Body) -> None:
    """Feed a body. Who hangs up inside it ends it there: what came whole is kept, so the view goes
    on to its end."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        await body.feed(message.get("body", b""))
        more = message.get("more_body", False)
    body.end()


class OneThreadHandler(BaseHandler):
    """Middleware and views as one call that is answered in the thread it is made in."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware(is_async=False)

    def answer(self, scope: dict[str, Any], body: Body) -> HttpResponseBase:
        """The whole answer; its content is in memory."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        try:
            keep_connection()
            request = ASGIRequest(scope, body)
        except Error as error:
            log.error("request not served: %s", type(error).__name__)
            return JsonResponse({"detail": NO_DATABASE}, status=503)
        except UnicodeDecodeError:
            return HttpResponseBadRequest()
        response = self.get_response(request)
        response._handler_class = type(self)
        response.close()  # tells that the request is finished, here where its connection is
        return response


class NotTaken(Exception):
    """A body is not read to its end: status, and why in words."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class StreamingHandler(ASGIHandler):
    """Django's handler, with streamed bodies for what is stored by DICOMweb."""

    def __init__(self) -> None:
        super().__init__()
        self.threads = KeptThreads(MOST_AT_ONCE)
        self.storing = OneThreadHandler()

    async def handle(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        if scope["method"] == "POST" and scope["path"].startswith(PREFIX):
            await self._store(scope, receive, send)
            return
        try:
            await super().handle(scope, Announced(scope, receive), send)
        except NotTaken as reason:
            await self.send_response(
                JsonResponse({"detail": str(reason)}, status=reason.status), send
            )

    async def _store(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        body = Body(settings.DICOM_DIMSE_SECONDS)
        feeding = asyncio.create_task(pump(receive, body))
        try:
            answer = sync_to_async(
                self.storing.answer, thread_sensitive=False, executor=self.threads
            )
            await self.send_response(await answer(scope, body), send)
        finally:
            body.close()
            feeding.cancel()

    async def read_body(self, receive: Announced) -> IO[bytes]:  # type: ignore[override]
        """As Django's, but more than a form is read only from who is signed in."""
        with ExitStack() as unless_whole:
            body = unless_whole.enter_context(
                tempfile.SpooledTemporaryFile(settings.FILE_UPLOAD_MAX_MEMORY_SIZE)
            )
            most, known, more = settings.DATA_UPLOAD_MAX_MEMORY_SIZE, False, True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestAborted
                piece = message.get("body", b"")
                if body.tell() + len(piece) > most and not known:
                    known = await receive.is_signed_in()
                    if not known:
                        raise NotTaken(401, SIGNED_OUT)
                    most = settings.MAX_UPLOAD_BYTES + SLACK
                if body.tell() + len(piece) > most:
                    raise NotTaken(413, "The request is larger than this server takes in one.")
                body.write(piece)
                more = message.get("more_body", False)
            body.seek(0)
            unless_whole.pop_all()
        return body

    def close(self) -> None:
        """End the threads that store; the next request begins new ones."""
        self.threads.shutdown()


class Announced:
    """``receive`` of a request, with what its headers say of who sends it."""

    def __init__(self, scope: dict[str, Any], receive: Receive) -> None:
        self._scope = scope
        self._receive = receive

    async def __call__(self) -> dict[str, Any]:
        return await self._receive()

    async def is_signed_in(self) -> bool:
        request = ASGIRequest(self._scope, io.BytesIO())
        store = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
        request.session = store(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
        return bool((await aget_user(request)).is_authenticated)
