"""Readers for the streaming benchmark: they count what comes and keep asking; nothing is decoded.

All readers of a round live in one process on uvloop, so that the measured server has the other
processor to itself.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

WINDOW = 4 * 1024 * 1024
"""What the browser grants on a fast line (frontend/src/viewer/credit.ts)."""


@dataclass
class Seen:
    """What one reader saw."""

    started: float = 0.0
    first: float = 0.0
    """When its first slice was complete, of whatever level."""
    first_fine: float = 0.0
    slices: int = 0
    bytes: int = 0
    """Of complete slices, headers included."""
    log: list[tuple[float, int]] = field(default_factory=list)


class StreamReader(asyncio.Protocol):
    """One WebSocket: sends ``hello`` after the handshake; with ``layer`` it speaks slice stream 2:
    acknowledges as the browser does and wants everything again when it has everything."""

    def __init__(self, path: str, cookie: str, hello: dict[str, Any], layer: int, slices: int):
        self.seen = Seen()
        self.hello = hello
        self.layer, self.all_slices = layer, {str(layer): {"0": [[0, slices - 1]]}}
        self.request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"Sec-WebSocket-Version: 13\r\nCookie: {cookie}\r\n\r\n"
        ).encode()
        self.handshake = bytearray()
        self.open = False
        self.head = bytearray()
        self.kept = bytearray()
        self.left = 0
        self.size = 0
        self.opcode = 0
        self.acknowledged = 0
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def say(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
        self.transport.write(b"\x81" + length + b"\0\0\0\0" + data)

    def data_received(self, data: bytes) -> None:
        if not self.open:
            self.handshake += data
            end = self.handshake.find(b"\r\n\r\n")
            if end < 0:
                return
            assert self.handshake.startswith(b"HTTP/1.1 101"), bytes(self.handshake[:100])
            self.open = True
            self.say(self.hello)
            data = bytes(self.handshake[end + 4 :])
        at, n = 0, len(data)
        while at < n:
            if self.left:
                step = min(self.left, n - at)
                if self.opcode == 1 or len(self.kept) < 16:
                    self.kept += data[at : at + step]
                self.left -= step
                at += step
                if not self.left:
                    self.message()
                continue
            self.head.append(data[at])
            at += 1
            if len(self.head) < 2:
                continue
            short = self.head[1] & 127
            more = {126: 2, 127: 8}.get(short, 0)
            if len(self.head) < 2 + more:
                continue
            self.opcode = self.head[0] & 15
            self.size = self.left = int.from_bytes(self.head[2:]) if more else short
            self.head.clear()
            self.kept.clear()

    def message(self) -> None:
        if self.opcode == 2:
            now, seen = time.perf_counter(), self.seen
            seen.first = seen.first or now
            if not seen.first_fine and self.kept[8:10] == b"\0\0":
                seen.first_fine = now
            seen.slices += 1
            seen.bytes += self.size
            seen.log.append((now, self.size))
            if self.layer and (seen.bytes - self.acknowledged) * 4 >= WINDOW:
                self.acknowledge()
        elif self.opcode == 1 and json.loads(self.kept)["type"] == "done":
            self.acknowledge()
            self.say({"type": "again", "slices": self.all_slices})
        elif self.opcode == 8:
            raise AssertionError(f"closed by the server: {int.from_bytes(self.kept[:2])}")

    def acknowledge(self) -> None:
        self.acknowledged = self.seen.bytes
        self.say(
            {"type": "credit", "received": self.acknowledged, "window": WINDOW, "rate": 50_000_000}
        )


class WadoReader(asyncio.Protocol):
    """One keep-alive connection that retrieves frame after frame by WADO-RS."""

    def __init__(self, paths: list[str], offset: int, step: int) -> None:
        self.seen = Seen()
        self.paths, self.at, self.step = paths, offset, step
        self.buffer = bytearray()
        self.left = 0
        self.size = 0
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def ask(self) -> None:
        path = self.paths[self.at % len(self.paths)]
        self.at += self.step
        self.transport.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: multipart/related; "
            f'type="application/octet-stream"\r\nConnection: keep-alive\r\n\r\n'.encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self.left:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.buffer[:end]).lower()
            assert head.startswith(b"http/1.1 200"), head[:200]
            self.size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            self.left = self.size - (len(self.buffer) - end - 4)
            self.buffer.clear()
        else:
            self.left -= len(data)
        if self.left:
            return
        now, seen = time.perf_counter(), self.seen
        seen.first = seen.first or now
        seen.first_fine = seen.first_fine or now
        seen.slices += 1
        seen.bytes += self.size
        seen.log.append((now, self.size))
        self.ask()


async def watch(makers: list[Any], port: int, seconds: float) -> list[Seen]:
    """All readers at once for so long; what each saw."""
    loop = asyncio.get_running_loop()
    readers = []

    async def one(make: Any) -> None:
        reader = make()
        reader.seen.started = time.perf_counter()
        await loop.create_connection(lambda: reader, "127.0.0.1", port)
        readers.append(reader)

    await asyncio.gather(*(one(make) for make in makers))
    await asyncio.sleep(seconds)
    for reader in readers:
        assert not reader.closed, "a reader was dropped"
        reader.transport.abort()
    return [reader.seen for reader in readers]
