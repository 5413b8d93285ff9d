"""A slow line between a client and a server: a TCP proxy with a rate and a delay each way.

One token bucket per direction, shared by all connections, as on a reader's line: packets leave one
after another at ``bits_per_second`` and arrive half a round trip later. What has not left yet waits
in the sender's socket, whose buffers are kept small, as a modem's are.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

PACKET = 1460
SOCKET_BUFFER = 32 * 1024


class Line:
    """One direction: when a packet has left, and how much went through."""

    def __init__(self, bits_per_second: float) -> None:
        self.bytes_per_second = bits_per_second / 8
        self.free_at = 0.0
        self.bytes = 0

    def send(self, size: int, now: float) -> float:
        """The time at which the last bit of a packet has left."""
        self.free_at = max(now, self.free_at) + size / self.bytes_per_second
        self.bytes += size
        return self.free_at


class SlowLine:
    """``async with SlowLine(port, rate, rtt).open() as own_port``"""

    def __init__(self, port: int, bits_per_second: float, round_trip_seconds: float) -> None:
        self.port = port
        self.up, self.down = Line(bits_per_second), Line(bits_per_second)
        self.delay = round_trip_seconds / 2
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # TCP's own handshake crosses the line once there and back.
        await asyncio.sleep(2 * self.delay)
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        far.setblocking(False)
        await asyncio.get_running_loop().sock_connect(far, ("127.0.0.1", self.port))
        far_reader, far_writer = await asyncio.open_connection(sock=far, limit=SOCKET_BUFFER)
        for source, sink, line in (
            (reader, far_writer, self.up), (far_reader, writer, self.down)
        ):  # fmt: skip
            task = asyncio.create_task(self._carry(source, sink, line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, line: Line
    ) -> None:
        loop = asyncio.get_running_loop()

        def arrive(what: Any, *more: Any) -> None:
            if not sink.is_closing():
                what(*more)

        while data := await source.read(PACKET):
            left = line.send(len(data), loop.time())
            loop.call_at(left + self.delay, arrive, sink.write, data)
            # A timer is late by a millisecond or so; the bucket remembers, so the rate holds.
            if left > loop.time():
                await asyncio.sleep(left - loop.time())
        loop.call_at(loop.time() + self.delay, arrive, sink.close)
