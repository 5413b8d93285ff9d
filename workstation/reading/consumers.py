"""The slice stream: ``/ws/cases/<id>/slices/``. Protocol: this room's README."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Collection
from typing import Any

import numpy as np
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from workstation.accounts.permissions import allowed
from workstation.accounts.services import record
from workstation.analyzing.models import Layer
from workstation.analyzing.volume_files import StoredVolume, VolumeUnreadable, open_layer
from workstation.reading.fusion_state import layer_statuses
from workstation.reading.services import current_run
from workstation.reading.stream import VERSION, Order, StreamLayer, pack_frame, slots_held
from workstation.worklist.models import Case

ANONYMOUS, FORBIDDEN, NOT_FOUND = 4401, 4403, 4404
MOST_CREDIT = 512
"""Frames a client may have granted at once; more would only fill buffers."""


class BadMessage(Exception):
    """The client's message does not follow the protocol."""


class SliceConsumer(AsyncWebsocketConsumer):
    """Streams the encoded slices of one case: the file's bytes, untouched.

    One sender task per socket (two writers on one socket break frames). It uses no channel
    layer, so the stream lives on while the broker restarts.
    """

    channel_layer_alias = None  # type: ignore[assignment]

    async def connect(self) -> None:
        self.volumes: dict[int, StoredVolume] = {}
        self.layers: list[StreamLayer] = []
        self.order: Order | None = None
        self.admitted = False
        self.credit = 0
        self.sequence = 0
        self.wake = asyncio.Event()
        self.sender: asyncio.Task[None] | None = None
        # Accept first: a browser cannot see the close code of a refused handshake.
        await self.accept()
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(code=ANONYMOUS)
            return
        if not allowed(user, "case.view"):
            await self.close(code=FORBIDDEN)
            return
        if not await database_sync_to_async(self._open)(user):
            await self.close(code=NOT_FOUND)
            return
        self.admitted = True

    def _open(self, user: Any) -> bool:
        """Open the stored volumes of the case; False if the user's sites do not have it."""
        rows = Case.objects.for_user(user).select_related("site")
        case = rows.filter(pk=self.scope["url_route"]["kwargs"]["case_id"]).first()
        if case is None:
            return False
        client = self.scope.get("client")
        record(
            "view", user=user, site=case.site, obj=case, case_id=case.pk,
            remote_address=client[0] if client else "", detail={"what": "stream"},
        )  # fmt: skip
        self.case = case
        self._open_layers()
        return True

    def _open_layers(self, wanted: Collection[int] = ()) -> None:
        """Open what the run has made so far and is not open yet, the reference first: its coarse
        slices are the first image. Of a series with many volumes only its main one is opened
        until another is wanted: forty phases need not hold forty files."""
        run = current_run(self.case)
        statuses = layer_statuses(run) if run else []
        for layer, status, _ in sorted(statuses, key=lambda row: not row[0].is_reference):
            if not layer.is_sibling or layer.pk in wanted:
                self._add(layer, np.array(status.matrix))

    def _add(self, layer: Layer, matrix: np.ndarray) -> None:
        if layer.pk in self.volumes:
            return
        try:
            volume = open_layer(layer)
        except VolumeUnreadable:
            # The view lists the layer; without its file there is nothing to stream.
            return
        self.volumes[layer.pk] = volume
        levels = volume.levels
        self.layers.append(
            StreamLayer(
                id=layer.pk,
                slices=tuple(level.shape[0] for level in levels),
                to_reference=matrix @ volume.affine,
                columns_rows=(levels[0].shape[2], levels[0].shape[1]),
                factors_z=tuple(level.factors[0] for level in levels),
            )
        )

    async def disconnect(self, code: int) -> None:
        if self.sender is not None:
            self.sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.sender
        for volume in self.volumes.values():
            volume.close()
        self.volumes.clear()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if not self.admitted:
            return  # the socket is being closed
        try:
            await self._handle(text_data)
        except BadMessage as error:
            await self.send(
                json.dumps({"type": "error", "code": "bad_message", "detail": str(error)})
            )
            return
        if self.order is not None and self.sender is None:
            await self.send(json.dumps({"type": "ready", "version": VERSION}))
            self.sender = asyncio.create_task(self._send_slices())
        self.wake.set()

    async def _handle(self, text: str | None) -> None:
        try:
            message = json.loads(text or "")
            kind = message["type"]
            if kind == "open":
                await self._start(message)
            elif self.order is None:
                raise BadMessage("send open first")
            elif kind == "focus":
                self.order.focus(int(message["layer"]), int(message["slice"]))
            elif kind == "credit":
                self._grant(message["frames"])
            elif kind == "layers":
                wanted = [int(layer) for layer in message["layers"]]
                await self._learn(wanted)
                self.order.want(wanted)
            else:
                raise BadMessage("unknown message type")
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
            raise BadMessage(f"not understood: {type(error).__name__}") from error

    async def _learn(self, wanted: list[int]) -> None:
        """A run makes layers while its case is open: look again when an unknown one is wanted."""
        if self.volumes.keys() >= set(wanted):
            return
        known = set(self.volumes)
        await database_sync_to_async(self._open_layers)(wanted)
        if self.order is not None:
            self.order.add(layer for layer in self.layers if layer.id not in known)

    async def _start(self, message: dict[str, Any]) -> None:
        if message["version"] != VERSION:
            raise BadMessage(f"this server speaks version {VERSION}")
        wanted = [int(layer) for layer in message["layers"]]
        await self._learn(wanted)
        order = Order(self.layers, slots_held(message.get("have") or {}, self.layers))
        order.want(wanted)
        focus = message.get("focus")
        if focus:
            order.focus(int(focus["layer"]), int(focus["slice"]))
        self.order = order
        self.credit = 0
        self._grant(message["credit"])

    def _grant(self, frames: Any) -> None:
        if not isinstance(frames, int) or not 0 < frames <= MOST_CREDIT:
            raise BadMessage(f"credit is 1 to {MOST_CREDIT} frames")
        self.credit = min(self.credit + frames, MOST_CREDIT)

    async def _send_slices(self) -> None:
        """The one writer of slices: sends while there is credit, sleeps otherwise."""
        announced = False
        while True:
            await self.wake.wait()
            self.wake.clear()
            while self.credit > 0 and self.order is not None:
                slot = self.order.take()
                if slot is None:
                    if not announced:
                        announced = True
                        await self.send(json.dumps({"type": "done"}))
                    break
                announced = False
                layer, level, index = slot
                volume = self.volumes[layer]
                try:
                    # A slice is one pread from the page cache: shorter than a thread's round trip.
                    payload = volume.read_slice(level, index)
                except VolumeUnreadable as error:
                    await self.send(
                        json.dumps({"type": "error", "code": "unreadable", "detail": str(error)})
                    )
                    self.order.drop(layer)
                    continue
                frame = pack_frame(
                    codec=volume.codec, layer=layer, level=level, index=index,
                    sequence=self.sequence, payload=payload,
                )  # fmt: skip
                self.sequence += 1
                self.credit -= 1
                await self.send(bytes_data=frame)
                # Let a change of focus in between two slices.
                await asyncio.sleep(0)
