"""The product's web server in a thread of the test: real HTTP, real ASGI, real streaming."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from workstation.asgi import application


@contextmanager
def served() -> Iterator[str]:
    """The origin, e.g. ``http://127.0.0.1:40123``."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        # Whoever connects before the server is up waits instead of being refused.
        listening.listen(128)
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            application, log_config=None, lifespan="off", ws="none", access_log=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the web server does not stop"
            # Connections to a database that the test run is about to remove.
            application.application_mapping["http"].close()
