"""The mock's end of the slice stream, version 2 of ``workstation/reading/README.md``; it can drop
sockets and spoil frames on their way, as a bad line or proxy would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from tests.browser.mock_case import Case

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Slot = tuple[int, int, int]


def slots(slices: dict[str, dict[str, list[list[int]]]]) -> set[Slot]:
    return {
        (int(layer), int(level), k)
        for layer, levels in slices.items()
        for level, ranges in levels.items()
        for low, high in ranges
        for k in range(low, high + 1)
    }


class MockStream:
    """One socket."""

    def __init__(self, case: Case, receive: Receive, send: Send) -> None:
        self.case = case
        self.receive = receive
        self.send = send
        self.open = True
        self.bytes_sent = self.bytes_received = 0
        self.sequence = 0
        self.told = False
        self.wake = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def kick(self, code: int = 1011) -> None:
        """Close this socket now; from any thread."""
        asyncio.run_coroutine_threadsafe(self.close(code), self.loop).result(timeout=10)

    async def close(self, code: int) -> None:
        self.open = False
        self.wake.set()
        with contextlib.suppress(OSError):  # the browser was faster
            await self.send({"type": "websocket.close", "code": code})

    async def run(self) -> None:
        await self.receive()
        await self.send({"type": "websocket.accept"})
        opened = json.loads((await self.receive())["text"])
        assert opened["versions"] == [2]
        self.case.opens.append(opened)
        self.number = len(self.case.opens)
        self.sent = slots(opened["have"])
        self.window: int = opened["window"]
        self.focus, self.layers = opened["focus"], opened["layers"]
        self.finest: dict[str, int] = opened["finest"]
        listener = asyncio.create_task(self.listen())
        await self.tell(type="ready", version=2)
        self.case.streams.add(self)
        try:
            while self.open:
                await self.step()
        finally:
            self.case.streams.discard(self)
            listener.cancel()

    async def tell(self, **message: Any) -> None:
        await self.send({"type": "websocket.send", "text": json.dumps(message)})

    async def listen(self) -> None:
        while self.open:
            event = await self.receive()
            if event["type"] == "websocket.disconnect":
                self.open = False
            else:
                await self.hear(json.loads(event["text"]))
            self.wake.set()

    async def hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "credit":
            assert self.bytes_received <= message["received"] <= self.bytes_sent
            self.bytes_received, self.window = message["received"], message["window"]
        elif kind == "focus":
            self.focus = {"layer": message["layer"], "slice": message["slice"]}
        elif kind == "layers":
            self.layers, self.told = message["layers"], False
            self.finest = message["finest"]
        elif kind == "cancel":
            self.layers, self.told = [], True
            await self.tell(type="cancelled", frames=self.sequence)
        elif kind == "again":
            self.case.asked_again.append(message)
            self.sent -= slots(message["slices"])
            self.told = False

    def is_due(self, slot: Slot) -> bool:
        return slot not in self.sent and slot[1] >= self.finest.get(str(slot[0]), 0)

    async def step(self) -> None:
        case = self.case
        todo = next((s for s in case.order(self.layers, self.focus) if self.is_due(s)), None)
        under_way = self.bytes_sent - self.bytes_received
        frame = b"" if todo is None else self.frame(todo)
        room = under_way + len(frame) <= self.window or under_way < self.window // 4 + 1
        if todo is None or not room:
            if todo is None and not self.told:
                self.told = True
                await self.tell(type="done", frames=self.sequence)
            self.wake.clear()
            await self.wake.wait()
            return
        self.told = False
        self.sent.add(todo)
        self.sequence += 1
        self.bytes_sent += len(frame)
        at = case.spoil.get((self.number, self.sequence))
        if at is not None:
            frame = frame[:at] + bytes([frame[at] ^ 8]) + frame[at + 1 :]
        await self.send({"type": "websocket.send", "bytes": frame})
        if case.delay:
            await asyncio.sleep(case.delay)
        if case.drop_after and self.sequence >= case.drop_after[0]:
            del case.drop_after[0]
            await self.close(1011)

    def frame(self, slot: Slot) -> bytes:
        layer, level, k = slot
        payload = self.case.payloads[slot]
        codec = 1 if self.case.arrays[layer].dtype == np.int16 else 2
        header = struct.pack(
            "<HBBIHHIIII", 0x4652, 2, codec, layer, level, 0, k, len(payload), self.sequence,
            zlib.crc32(payload),
        )  # fmt: skip
        return header + struct.pack("<I", zlib.crc32(header)) + payload
