"""The one writer of slices of one socket: in order, as far as the window and the access allow."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from workstation.accounts.access import Grant
from workstation.analyzing.volume_files import StoredVolume, VolumeUnreadable
from workstation.reading.pacing import Window
from workstation.reading.stream import HEADER, Order, Slot, pack_header

TURN_BYTES = 512 * 1024
"""Sent without letting the loop serve anybody else: messages of this reader, other readers."""
_ROOM = 1024 * 1024
_thread = threading.local()


def _scratch() -> memoryview:
    """Where a slice is read to on its way into a frame: one per loop, used between two awaits."""
    if not hasattr(_thread, "scratch"):
        _thread.scratch = memoryview(bytearray(_ROOM))
    return _thread.scratch  # type: ignore[no-any-return]


class Sender:
    """Sends while something is wanted, the window has room and access is proved; else it waits."""

    def __init__(
        self,
        order: Order,
        window: Window,
        volumes: dict[int, StoredVolume],
        grant: Grant,
        write: Callable[[dict[str, Any]], Awaitable[None]],
        tell: Callable[..., Awaitable[None]],
    ) -> None:
        self.order = order
        self.window = window
        self.frames = 0
        """Sent so far: the next frame's sequence."""
        self._volumes = volumes
        self._grant = grant
        self._write = write
        self._tell = tell
        self._wake = asyncio.Event()
        self._suspect: set[Slot] = set()
        self._complete = False

    def wake(self) -> None:
        """Focus or window changed."""
        self._wake.set()

    def restart(self) -> None:
        """Something is wanted (again): ``done`` is said again, too."""
        self._complete = False
        self._wake.set()

    def cancel(self) -> None:
        """Nothing is wanted, and nothing was completed."""
        self.order.want(())
        self._complete = True

    def suspect(self, slots: set[Slot]) -> None:
        """These came damaged: what is stored is compared before it is sent again."""
        self._suspect |= slots

    async def run(self) -> None:
        turn = 0
        while True:
            slot = self.order.peek()
            if slot is None:
                if not self._complete:
                    self._complete = True
                    await self._tell("done", frames=self.frames)
                await self._wait()
                continue
            volume = self._volumes[slot[0]]
            start, end = volume.span(*slot[1:])
            size = HEADER.size + end - start
            if not self.window.has_room(size):
                await self._wait()
                continue
            if not self._grant.fresh:
                if not await self._grant.proved():
                    return  # the consumer closes
                continue  # what is wanted may have changed meanwhile
            frame = self._quick_frame(slot, volume, end - start)
            if frame is None:
                frame = await self._careful_frame(slot, volume)
                if frame is None or slot != self.order.peek() or not self._grant.fresh:
                    continue  # unreadable, or the reader or the access moved on meanwhile
            self.order.take()
            self.frames += 1
            self.window.sent += size
            await self._write({"type": "websocket.send", "bytes": frame})
            turn += size
            if turn >= TURN_BYTES:
                turn = 0
                await asyncio.sleep(0)

    async def _wait(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    def _header(self, slot: Slot, volume: StoredVolume, size: int, checksum: int) -> bytes:
        layer, level, index = slot
        return pack_header(
            codec=volume.codec, layer=layer, level=level, index=index, sequence=self.frames,
            size=size, checksum=checksum,
        )  # fmt: skip

    def _quick_frame(self, slot: Slot, volume: StoredVolume, size: int) -> bytes | None:
        """From the page cache, without waiting: shorter than a thread's round trip."""
        if slot in self._suspect or size > _ROOM:
            return None
        payload = _scratch()[:size]
        if not volume.read_cached(slot[1], slot[2], payload):
            return None
        checksum = volume.checksum(slot[1], slot[2])
        if checksum is None:
            checksum = zlib.crc32(payload)
        return b"".join((self._header(slot, volume, size, checksum), payload))

    async def _careful_frame(self, slot: Slot, volume: StoredVolume) -> bytes | None:
        """From the disk, in a thread; compared with its checksum if a client found it damaged."""
        layer, level, index = slot
        try:
            payload = await asyncio.to_thread(volume.read_slice, level, index)
        except VolumeUnreadable as error:
            self.order.drop(layer)
            await self._tell("error", code="unreadable", layer=layer, detail=str(error))
            return None
        checksum = volume.checksum(level, index)
        if checksum is None:
            checksum = zlib.crc32(payload)
        if slot in self._suspect:
            self._suspect.discard(slot)
            if zlib.crc32(payload) != checksum:
                self.order.leave_out(slot)
                await self._tell(
                    "error", code="damaged", layer=layer, level=level, slice=index,
                    detail="A stored slice is damaged; ask for a new analysis.",
                )  # fmt: skip
                return None
        return self._header(slot, volume, len(payload), checksum) + payload
