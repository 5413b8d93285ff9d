"""The slice stream: ``/ws/cases/<id>/slices/``. Protocol: this room's README."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from workstation.accounts import access
from workstation.accounts.permissions import allowed
from workstation.reading.pacing import Window
from workstation.reading.sending import Sender
from workstation.reading.stream import VERSION, Order, slots_of
from workstation.reading.stream_case import StreamedCase, open_case

log = logging.getLogger(__name__)

NO_COMMON_VERSION, BROKEN = 4406, 1011
PERMISSION = "case.view"


class BadMessage(Exception):
    """The client's message does not follow the protocol."""


def _finest(message: dict[str, Any]) -> dict[int, int]:
    """Layer -> the finest level that the client wants of it, where that is not full resolution."""
    return {int(layer): int(level) for layer, level in (message.get("finest") or {}).items()}


class SliceConsumer(AsyncWebsocketConsumer):
    """Streams the encoded slices of one case: the file's bytes, untouched.

    One sender task per socket. It uses no channel layer, so the stream lives on while the broker
    restarts.
    """

    channel_layer_alias = None  # type: ignore[assignment]
    streamed: StreamedCase | None = None
    grant: access.Grant | None = None
    sender: Sender | None = None
    sending: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As Channels', for a consumer without a layer, but credit and focus come a dozen times a
        second: their way in must not pass through the thread that clears database connections."""
        self.scope, self.base_send, self.channel_layer = scope, send, None
        try:
            with contextlib.suppress(StopConsumer):
                while True:
                    message = await receive()
                    if message["type"] == "websocket.receive":
                        await self.websocket_receive(message)
                    else:
                        await self.dispatch(message)
        finally:
            # Also of a socket that broke, which no disconnect follows.
            await self._release()

    async def connect(self) -> None:
        asked_at = time.monotonic()
        # Accept first: a browser cannot see the close code of a refused handshake.
        await self.accept()
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(code=access.ANONYMOUS)
            return
        if not allowed(user, PERMISSION):
            await self.close(code=access.FORBIDDEN)
            return
        case_id = self.scope["url_route"]["kwargs"]["case_id"]
        client = self.scope.get("client")
        self.streamed = await database_sync_to_async(open_case)(
            user, case_id, client[0] if client else ""
        )
        if self.streamed is None:
            await self.close(code=access.NOT_FOUND)
            return
        self.grant = access.Grant(
            self.scope, PERMISSION, self._withdrawn, row=self.streamed.case, asked_at=asked_at
        )
        access.watch(self.grant)

    async def _release(self) -> None:
        if self.grant is not None:
            access.unwatch(self.grant)
        try:
            await self._stop_sending()
        finally:
            if self.streamed is not None:
                self.streamed.close()

    async def _withdrawn(self, code: int) -> None:
        await self._stop_sending()
        await self.close(code=code)

    async def _stop_sending(self) -> None:
        sending, self.sending, self.sender = self.sending, None, None
        if sending is not None and not sending.done():
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sending

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.grant is None or self.grant.code:
            return  # the socket is being closed
        try:
            await self._handle(text_data)
        except BadMessage as error:
            await self._tell("error", code="bad_message", detail=str(error))

    async def _tell(self, kind: str, **fields: Any) -> None:
        await self.send(json.dumps({"type": kind, **fields}))

    async def _handle(self, text: str | None) -> None:
        try:
            message = json.loads(text or "")
            kind = message["type"]
            if kind == "open":
                await self._open(message)
                return
            sender = self.sender
            if sender is None:
                raise BadMessage("send open first")
            if kind == "credit":
                sender.window.acknowledge(message["received"])
                sender.window.resize(message["window"])
                sender.order.line(float(message.get("rate", 0)))
                sender.wake()
            elif kind == "focus":
                sender.order.focus(int(message["layer"]), int(message["slice"]))
                sender.wake()
            elif kind == "layers":
                wanted = [int(layer) for layer in message["layers"]]
                await self._learn(wanted)
                sender.order.want(wanted, _finest(message))
                sender.restart()
            elif kind == "cancel":
                sender.cancel()
                await self._tell("cancelled", frames=sender.frames)
            elif kind == "again":
                self._again(sender, message)
            else:
                raise BadMessage("unknown message type")
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
            raise BadMessage(f"not understood: {type(error).__name__}") from error

    async def _open(self, message: dict[str, Any]) -> None:
        assert self.streamed is not None
        assert self.grant is not None
        if self.sender is not None:
            raise BadMessage("this socket is open already")
        versions = message.get("versions") or [message["version"]]
        if VERSION not in versions:
            await self._tell(
                "error", code="version", versions=[VERSION],
                detail="This page and the server do not speak the same version. Reload the page.",
            )  # fmt: skip
            await self.close(code=NO_COMMON_VERSION)
            return
        wanted = [int(layer) for layer in message["layers"]]
        window = Window(message["window"])
        await self._learn(wanted)
        layers = self.streamed.layers
        order = Order(layers, slots_of(message.get("have") or {}, layers))
        order.want(wanted, _finest(message))
        order.line(float(message.get("rate", 0)))
        focus = message.get("focus")
        if focus:
            order.focus(int(focus["layer"]), int(focus["slice"]))
        await self._tell("ready", version=VERSION)
        await self._tell_unreadable(wanted)
        self.sender = Sender(
            order, window, self.streamed.volumes, self.grant, self.base_send, self._tell
        )
        self.sending = asyncio.create_task(self.sender.run())
        self.sending.add_done_callback(self._sender_ended)

    def _sender_ended(self, sending: asyncio.Task[None]) -> None:
        if sending.cancelled():
            return
        error = sending.exception()
        # OSError: the client went while a slice was on its way to it.
        if error is not None and not isinstance(error, OSError):
            log.error("slice stream broke", exc_info=error)
            self.closing = asyncio.create_task(self.close(code=BROKEN))

    async def _learn(self, wanted: list[int]) -> None:
        """A run makes layers while its case is open: look again when an unknown one is wanted."""
        streamed = self.streamed
        assert streamed is not None
        if set(wanted) <= streamed.volumes.keys() | streamed.unreadable.keys():
            return
        new = await database_sync_to_async(streamed.open)(wanted)
        if self.sender is not None:
            self.sender.order.add(new)
            await self._tell_unreadable(wanted)

    async def _tell_unreadable(self, wanted: list[int]) -> None:
        assert self.streamed is not None
        for layer in wanted:
            why = self.streamed.unreadable.get(layer)
            if why is not None:
                await self._tell("error", code="unreadable", layer=layer, detail=why)

    def _again(self, sender: Sender, message: dict[str, Any]) -> None:
        assert self.streamed is not None
        slots = slots_of(message["slices"], self.streamed.layers)
        if message.get("damaged"):
            sender.suspect(slots)
        sender.order.again(slots)
        sender.restart()
