"""The least an ASGI application can do: the same frames from memory, as fast as the server takes
them. Run by uvicorn; ``FRAMES`` names the file."""

from __future__ import annotations

import asyncio
import os
import struct
from pathlib import Path
from typing import Any


def _load(path: Path) -> list[bytes]:
    data, at, frames = path.read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        frames.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


FRAMES = _load(Path(os.environ["FRAMES"]))


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    try:
        while True:
            for n, frame in enumerate(FRAMES):
                await send({"type": "websocket.send", "bytes": frame})
                if n % 16 == 0:
                    # uvicorn's send does not yield while the line takes everything: without this
                    # one reader would starve all others, and never be noticed to have gone.
                    await asyncio.sleep(0)
    except OSError:
        return  # the reader went
