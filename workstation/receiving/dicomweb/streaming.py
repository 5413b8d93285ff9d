"""Request bodies of DICOMweb as streams: a view reads its objects while they are sent.

Django waits for a whole body and spools it to the disk before it looks at who sends it. Here a view
begins with the headers, so that a sender without a valid token is refused at once, and parts go to
the archive while the rest is still on the way. Memory holds a few pieces.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.handlers.asgi import ASGIHandler

PREFIX = "/dicomweb/"
MOST_HELD = 4 * 1024**2
"""Bytes that may wait for the view; the sender waits beyond that."""
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Body:
    """A body that is still coming: the event loop feeds it, a view's thread reads it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
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
        """At most so many bytes, as soon as there are any; all of them without a size. Empty at
        the end, also of a body that was cut off."""
        with self._more:
            while not self._ended and (not self._pieces or size < 0):
                self._make_room()
                self._more.wait()
            taken = self._take(size)
            self._make_room()
        return taken

    def _take(self, size: int) -> bytes:
        taken, count = [], 0
        while self._pieces and (size < 0 or count < size):
            piece = self._pieces.popleft()
            left = len(piece) if size < 0 else size - count
            if len(piece) > left:
                self._pieces.appendleft(piece[left:])
                piece = piece[:left]
            taken.append(piece)
            count += len(piece)
        self._held -= count
        return b"".join(taken)

    def _make_room(self) -> None:
        if not self._room.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._room.set)

    def close(self) -> None:
        """What still comes is passed over."""
        with self._more:
            self._ended = True
            self._pieces.clear()
            self._held = 0
            self._make_room()


class Receiving:
    """Stands for ``receive`` of a request whose body is read elsewhere: tells of a hang-up only."""

    def __init__(self, receive: Receive) -> None:
        self.body = Body()
        self._receive = receive
        self._gone = asyncio.Event()

    async def __call__(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def pump(self) -> None:
        """Feed the body. Who hangs up inside it ends it there: what came whole is kept, so the
        view goes on to its end."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.body.end()
                return
            await self.body.feed(message.get("body", b""))
            more = message.get("more_body", False)
        self.body.end()
        await self._receive()
        self._gone.set()


class StreamingHandler(ASGIHandler):
    """Django's handler, with streamed bodies for what is stored by DICOMweb."""

    async def handle(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        if scope["method"] != "POST" or not scope["path"].startswith(PREFIX):
            await super().handle(scope, receive, send)
            return
        receiving = Receiving(receive)
        pump = asyncio.create_task(receiving.pump())
        try:
            await super().handle(scope, receiving, send)
        finally:
            receiving.body.close()
            pump.cancel()

    async def read_body(self, receive: Any) -> Any:
        if isinstance(receive, Receiving):
            return receive.body
        return await super().read_body(receive)
