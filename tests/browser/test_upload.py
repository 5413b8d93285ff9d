"""Resumable upload as a person sees it: the web server is killed, the browser is closed, and the
quarantine page with a correction. Real web server, real Chromium."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import FLAGS
from tests.conftest import need
from tests.receiving.objects import ct, uid
from tests.receiving.servers import ROOT, ListenerProcess, free_port

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(400)]

PASSWORD = "a long password"
MAKE_USERS = """
from workstation.accounts.models import Role, Site
from workstation.accounts.services import create_user
site = Site.objects.get(code="north")
for name, role in (("rosa", Role.RADIOLOGIST), ("lead", Role.LEAD)):
    create_user(name, %r, role=role, sites=[site])
""" % PASSWORD  # noqa: UP031
SMALL, BYTES_PER_SECOND = 40, 4_000_000
SIDE = 3200
SENDING = re.compile(r"Sending: (\d+) of 41 files")
BIG = f"study/big{SMALL:03}.dcm"


class Web:
    """The product's web server alone, over an archive of its own; it can be killed."""

    def __init__(self, home: Path) -> None:
        self.house = ListenerProcess(home)
        self.house.prepare()
        self.house.manage("collectstatic", "--no-input", "-v0")
        self.house.manage("shell", "-v0", "-c", MAKE_USERS)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        with (self.house.home / "web.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "uvicorn", "workstation.asgi:application",
                    "--port", str(self.port), "--ws", "websockets-sansio", "--lifespan", "off",
                ],
                cwd=ROOT, env=self.house.environment, stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise AssertionError((self.house.home / "web.log").read_text())

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    web = Web(tmp_path_factory.mktemp("web") / "home")
    yield web
    web.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = need("chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


def signed_in(browser: Any, web: Web, name: str = "rosa") -> Any:
    context = browser.new_context(base_url=web.url, viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto("/accounts/sign-in/")
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("h1:has-text('Worklist')")
    page.goto("/receiving/")
    return page


def slow_down(page: Any, upload: int = BYTES_PER_SECOND) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 5, "downloadThroughput": -1, "uploadThroughput": upload},
    )


def study(folder: Path, name: str) -> Path:
    """Forty small images and one that travels in three pieces."""
    folder = folder / "study"
    folder.mkdir()
    ids = {"StudyInstanceUID": uid(name), "SeriesInstanceUID": uid(name), "PatientID": name}
    for number in range(SMALL):
        pixels = {"Rows": 300, "Columns": 300, "PixelData": bytes(300 * 300 * 2)}
        data = ct(number, SOPInstanceUID=uid(name, number), **ids, **pixels)
        (folder / f"{number:03}.dcm").write_bytes(data)
    pixels = {"Rows": SIDE, "Columns": SIDE, "PixelData": os.urandom(SIDE * SIDE * 2)}
    (folder / Path(BIG).name).write_bytes(ct(99, SOPInstanceUID=uid(name, 99), **ids, **pixels))
    return folder


def stored(web: Web, patient: str) -> int:
    query = f"Instance.objects.filter(series__study__patient__patient_id={patient!r}).count()"
    return int(web.house.ask(query))


def text(page: Any) -> str:
    return str(page.locator("[data-upload-text]").inner_text())


def wait_for(page: Any, words: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while words not in text(page):
        assert time.monotonic() < end, f"{words!r} did not come: {text(page)!r}"
        page.wait_for_timeout(100)


def wait_until_sent(page: Any, files: int) -> None:
    end = time.monotonic() + 90
    while not ((found := SENDING.match(text(page))) and int(found[1]) >= files):
        assert time.monotonic() < end and "Finished" not in text(page), text(page)
        page.wait_for_timeout(50)


def test_the_web_server_is_killed(web: Web, browser: Any, tmp_path: Path) -> None:
    page = signed_in(browser, web)
    slow_down(page)
    page.locator("input[webkitdirectory]").set_input_files(study(tmp_path, "KILLED"))
    wait_until_sent(page, 15)
    assert "/s," in text(page) and "left" in text(page)
    web.kill()
    wait_for(page, "Waiting for the server")
    page.get_by_text("It goes on by itself").wait_for()
    web.start()
    wait_for(page, "Finished: ")
    assert stored(web, "KILLED") == SMALL + 1
    # Stored in the moment before the kill, but not yet counted: then known when it comes again.
    told = [int(number) for number in re.findall(r"(\d+) (?:stored|known)", text(page))]
    assert sum(told) == SMALL + 1 and told[0] >= SMALL - 3, text(page)
    assert web.house.manage("verify_archive", check=False).returncode == 0
    page.context.close()


def test_pause_and_continue(web: Web, browser: Any, tmp_path: Path) -> None:
    page = signed_in(browser, web)
    slow_down(page)
    page.locator("input[webkitdirectory]").set_input_files(study(tmp_path, "PAUSED"))
    wait_until_sent(page, 8)
    page.get_by_role("button", name="Pause").click()
    wait_for(page, "Paused:")
    before = text(page)
    page.wait_for_timeout(1500)
    assert text(page) == before
    page.get_by_role("button", name="Continue").click()
    wait_for(page, "Finished: 41 stored")
    page.context.close()


def test_the_browser_is_closed_in_the_middle(web: Web, browser: Any, tmp_path: Path) -> None:
    folder = study(tmp_path, "CLOSED")
    page = signed_in(browser, web)
    slow_down(page)
    page.locator("input[webkitdirectory]").set_input_files(folder)
    half = "UploadedFile.objects.filter(name__endswith='big040.dcm', state='receiving', offset__gt=0, upload__finished_at=None).count()"  # noqa: E501
    end = time.monotonic() + 60
    while web.house.ask(half) != "1":
        assert time.monotonic() < end, text(page)
    page.context.close()

    page = signed_in(browser, web)
    page.get_by_text("is not finished").wait_for()
    sent: list[tuple[str, str]] = []
    page.on("request", lambda request: sent.append(
        (request.method, request.headers.get("upload-offset", ""))
    ))  # fmt: skip
    page.locator("input[webkitdirectory]").set_input_files(folder)
    page.get_by_text("Going on with your earlier upload").wait_for()
    wait_for(page, "Finished: 41 stored")
    assert stored(web, "CLOSED") == SMALL + 1
    patches = [offset for method, offset in sent if method == "PATCH"]
    assert patches and "0" not in patches, "the half-sent file goes on at its byte"
    creations = sum(method == "POST" for method, _ in sent)
    assert creations < SMALL, "what arrived is not sent again"
    page.context.close()


def test_a_refused_file_is_corrected(web: Web, browser: Any, tmp_path: Path) -> None:
    nameless = tmp_path / "nameless.dcm"
    nameless.write_bytes(
        ct(5, PatientID="", SOPInstanceUID=uid("n"), StudyInstanceUID=uid("n"),
           SeriesInstanceUID=uid("n"))
    )  # fmt: skip
    page = signed_in(browser, web)
    page.locator("input[type=file][multiple]").set_input_files(nameless)
    wait_for(page, "Finished: 1 not accepted")
    assert "no patient ID" in page.locator("[data-upload-refused]").inner_text()
    page.context.close()
    lead = signed_in(browser, web, "lead")
    lead.goto("/receiving/quarantine/")
    lead.get_by_role("link", name="Correct…").click()
    lead.fill("#id_PatientID", "CORRECTED-1")
    lead.fill("#id_reason", "told by phone")
    lead.get_by_role("button", name="Store the corrected copy").click()
    lead.get_by_text("Accepted.").wait_for()
    lead.get_by_text("Nothing is in quarantine").wait_for()
    assert stored(web, "CORRECTED-1") == 1
    lead.context.close()
