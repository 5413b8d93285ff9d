"""The viewer on the mock server in headless Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from tests.browser.mock_case import Case
from tests.browser.mock_server import DIST, App
from tests.browser.viewer_page import until

CHROMIUM = (
    os.environ.get("RADFUSE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
)
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


def need(present: bool, what: str) -> None:
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Case]]:
    need((DIST / "manifest.json").is_file(), "frontend/dist (npm run build)")
    case = Case(size=128, slices=60)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            App(case),
            port=port,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            log_level="error",
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/", case
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    need(CHROMIUM is not None, "chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(chromium: Any) -> Iterator[Any]:
    """One browser profile for all tests: its code cache makes later pages start faster."""
    context = chromium.new_context(viewport={"width": 1600, "height": 950})
    yield context
    context.close()


@pytest.fixture
def page(context: Any, served: tuple[str, Case]) -> Iterator[Any]:
    url, case = served
    case.reset()
    page = context.new_page()
    page.add_init_script(
        "if (!sessionStorage.kept) { localStorage.clear(); sessionStorage.kept = 1; }"
        # However slow the machine is: the server draws only where a test asks for it.
        "localStorage['radfuse.drawing'] ??= 'browser';"
    )
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: errors.append(message.text) if "Security Policy" in message.text else None,
    )
    page.goto(url)
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")
    yield page
    page.close()
    assert errors == []
