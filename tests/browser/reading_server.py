"""The product over real HTTP and sockets with one case that a reader holds, whose voxels are known.

``python -m tests.browser.reading_server`` makes a throw-away database with the house of the reading
room's tests, prints one line of JSON - origin, session, case - and serves until it is stopped.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from pathlib import Path

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "workstation.settings.testing"
    os.environ["RADFUSE_LOG_LEVEL"] = "ERROR"
    django.setup()

    # After the set-up: these modules load models.
    from django.conf import settings
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    setup_test_environment()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)

    import uvicorn

    from tests.reading.house import build
    from tests.reading.socket_server import sign_in
    from workstation.asgi import application

    settings.ALLOWED_HOSTS = ["*"]
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listening:
        settings.RUNS_DIR = Path(folder)
        house = build()
        listening.bind(("127.0.0.1", 0))
        # Whoever connects before the server is up waits instead of being refused.
        listening.listen(128)
        told = {
            "origin": f"http://127.0.0.1:{listening.getsockname()[1]}",
            "cookie": settings.SESSION_COOKIE_NAME,
            "session": sign_in(house.reader).session_key,
            "case": house.case.pk,
        }
        print(json.dumps(told), flush=True)
        config = uvicorn.Config(
            application, ws="websockets-sansio", lifespan="off", log_level="error",
            access_log=False,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
