"""An earlier case beside the current one, and what became of a lesion, in headless Chromium."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from tests.browser.conftest import need
from tests.browser.mock_case import CT
from tests.browser.mock_priors import BRIGHTER, STUDY, PriorApp, PriorCase
from tests.browser.mock_server import DIST
from tests.browser.viewer_page import settle, until


@pytest.fixture(scope="module")
def priors() -> Iterator[tuple[str, PriorCase]]:
    need((DIST / "manifest.json").is_file(), "frontend/dist (npm run build)")
    case = PriorCase()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            PriorApp(case), port=port, ws="websockets-sansio", ws_per_message_deflate=False,
            log_level="error",
        )
    )  # fmt: skip
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/", case
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def case(priors: tuple[str, PriorCase]) -> PriorCase:
    priors[1].reset()
    return priors[1]


@pytest.fixture
def page(chromium: Any, priors: tuple[str, PriorCase], case: PriorCase) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1600, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(priors[0])
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")
    yield page
    context.close()
    assert problems == []


def open_tab(page: Any) -> None:
    page.click("[data-tab=priors]")
    page.wait_for_selector(".priors-panel .prior, .priors-panel .empty h3")


def picture(page: Any) -> np.ndarray:
    data = page.evaluate("document.querySelector('.prior-image').toDataURL('image/png')")
    image = Image.open(io.BytesIO(base64.b64decode(data.split(",", 1)[1])))
    return np.asarray(image.convert("RGB"), dtype=float)


def test_an_earlier_case_opens_beside_in_its_own_space(page: Any, case: PriorCase) -> None:
    open_tab(page)
    assert "same body part, same modality (CT), 180 days earlier" in page.inner_text(".prior")
    before = page.query_selector(".viewer-grid").bounding_box()["width"]
    page.click(f"[data-open-prior='{STUDY}']")
    page.wait_for_selector(".prior-pane:not([hidden]) .prior-bar select")
    banner = page.inner_text(".prior-banner")
    assert "PRIOR 2026-05-26" in banner and "SYN-1" in banner
    assert "Not registered: cursor not linked" in page.inner_text(".prior-bar")
    until(page, "!document.querySelector('.prior-pane .pane-corner--bl')"
                ".textContent.includes('loading')")
    settle(page)
    assert page.query_selector(".viewer-grid").bounding_box()["width"] < before - 100
    # The middle of the middle slice in the window that the earlier view names: 400 wide at 40.
    array = case.earlier.arrays[CT]
    nz, ny, nx = array.shape
    image = picture(page)
    drawn = image[image.shape[0] // 2 - 6 : image.shape[0] // 2 + 6,
                  image.shape[1] // 2 - 6 : image.shape[1] // 2 + 6].mean()
    around = array[nz // 2, ny // 2 - 1 : ny // 2 + 1, nx // 2 - 1 : nx // 2 + 1].mean()
    def shade(hu: float) -> float:
        return float(np.clip((hu - (40 - 200)) / 400, 0, 1) * 255)

    assert drawn == pytest.approx(shade(around), abs=6)
    assert abs(shade(around) - shade(around - BRIGHTER)) > 60, "the current case looks otherwise"
    # Its own wheel: another slice here, the same point in the current images.
    focus = page.evaluate("JSON.stringify(window.radfuse.state().focus)")
    place = page.inner_text(".prior-pane .pane-corner--bl")
    box = page.query_selector(".prior-canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, 120)
    settle(page)
    assert page.inner_text(".prior-pane .pane-corner--bl") != place
    assert page.evaluate("JSON.stringify(window.radfuse.state().focus)") == focus
    page.click(f"[data-open-prior='{STUDY}']")
    page.wait_for_selector(".prior-pane", state="hidden")
    assert page.query_selector(".viewer-grid").bounding_box()["width"] == before


def test_another_patient_is_never_drawn(page: Any, case: PriorCase) -> None:
    case.stranger = True
    opened = len(case.earlier.opens)
    open_tab(page)
    page.click(f"[data-open-prior='{STUDY}']")
    page.wait_for_selector(".prior-note .badge--bad")
    assert "Nothing is drawn" in page.inner_text(".prior-note")
    assert page.query_selector(".prior-bar select") is None
    assert len(case.earlier.opens) == opened, "no stream was asked for"


def test_change_over_time_is_the_servers_and_can_be_taken_back(page: Any, case: PriorCase) -> None:
    open_tab(page)
    assert page.is_disabled("[data-act=pair]")
    page.select_option("[data-pair-now]", "finding:5")
    page.select_option("[data-pair-then]", "finding:9")
    page.click("[data-act=pair]")
    page.wait_for_selector("[data-pair='31']")
    told = page.inner_text("[data-pair='31']")
    for words in ("20.5 mm", "22.0 mm", "+1.5 mm", "+7.3 %", "412 days", "at least 25 %"):
        assert words in told, told
    assert "Sum of diameters since 2026-05-26" in page.inner_text(".prior-sum")
    page.click("[data-unpair='31']")
    page.wait_for_selector("[data-act=pair-again]")
    assert page.query_selector("[data-pair='31']") is None and case.pairs == []
    page.click("[data-act=pair-again]")
    page.wait_for_selector("[data-pair='31']")


def test_registering_is_asked_for_and_taken_back(page: Any, case: PriorCase) -> None:
    open_tab(page)
    page.click(f"[data-register-prior='{STUDY}']")
    page.wait_for_selector(".prior .badge:has-text('waits for the analysis')")
    assert case.registered == [STUDY]
    page.click("text=Take out of this case")
    page.wait_for_selector(f"[data-register-prior='{STUDY}']")
    assert case.registered == []


def test_no_earlier_study_says_so(page: Any, case: PriorCase) -> None:
    case.has_priors = False
    open_tab(page)
    assert "No earlier study" in page.inner_text(".priors-panel")
