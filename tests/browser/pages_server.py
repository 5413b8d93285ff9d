"""Every page of the product over real HTTP, with one object of every kind behind it.

``python -m tests.browser.pages_server`` makes a throw-away database with the house of the
security tests (whose words try to become markup), prints one line of JSON - its origin, a session
for each role, and each page with the first role that may open it - and serves until it is stopped.
"""

from __future__ import annotations

import json
import os
import socket

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "workstation.settings.testing"
    os.environ["RADFUSE_LOG_LEVEL"] = "ERROR"
    django.setup()

    # After the set-up: these modules load models.
    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client
    from django.test.utils import setup_test_environment

    setup_test_environment()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)

    import uvicorn

    from tests.security.house import build
    from tests.security.test_matrix import ALL, GUARDED, permissions_of, url_of
    from workstation.accounts.permissions import allowed
    from workstation.asgi import application

    house = build()
    people = {"reader": house.own, "lead": house.lead, "administrator": house.administrator}
    clients = {role: Client() for role in people}
    for role, user in people.items():
        clients[role].force_login(user)
    found = {}
    for name in GUARDED:
        named = permissions_of(ALL[name])
        role = next((r for r, u in people.items() if any(allowed(u, n) for n in named)), None)
        if role is None:
            continue
        url = url_of(name, house)
        answer = clients[role].get(url)
        is_page = answer.get("Content-Type", "").startswith("text/html") and not answer.streaming
        if is_page and answer.status_code == 200 and b"<html" in answer.content:
            found[name] = [role, url]
    sessions = {role: c.cookies[settings.SESSION_COOKIE_NAME].value for role, c in clients.items()}
    settings.ALLOWED_HOSTS = ["*"]
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    # Whoever connects before the server is up waits instead of being refused.
    listening.listen(128)
    origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
    print(json.dumps({"origin": origin, "sessions": sessions, "pages": found}), flush=True)
    config = uvicorn.Config(
        application, ws="websockets-sansio", lifespan="off", log_level="error", access_log=False
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
