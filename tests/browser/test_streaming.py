"""The slice stream under a reader's hands: drops and damage on the way change nothing on screen."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.browser.mock_case import CT, PET, Case
from tests.browser.viewer_page import canvas, settle, state, until

COMPLETE = "Boolean(window.radfuse && window.radfuse.complete)"
PANES = ("axial", "sagittal", "coronal")


def pictures(page: Any) -> dict[str, np.ndarray]:
    settle(page)
    return {pane: canvas(page, pane) for pane in PANES}


def assert_same(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> None:
    for pane in PANES:
        assert np.array_equal(before[pane], after[pane]), pane


def test_what_a_bad_line_spoils_is_noticed_and_fetched_again(
    page: Any, served: tuple[str, Case]
) -> None:
    case = served[1]
    truth = pictures(page)
    case.opens = []
    # Payloads of a coarse and two fine slices, then a layer id and a slice number.
    case.spoil = {(1, 3): 40, (1, 70): 33, (1, 90): 300, (1, 100): 5, (2, 10): 12}
    page.reload()
    until(page, COMPLETE, 90)
    damaged = [message for message in case.asked_again if message["damaged"]]
    assert len(damaged) == 3
    # Where a header is wrong, nobody knows which slice that was: a new socket resumes.
    assert len(case.opens) == 3
    assert_same(truth, pictures(page))


def test_ten_drops_while_loading_and_reading_change_nothing(
    page: Any, served: tuple[str, Case]
) -> None:
    case = served[1]
    chance = random.Random(7)
    page.keyboard.press("2")
    page.evaluate("window.radfuse.goto([20, -30, 34.5])")
    page.click("textarea#text")
    page.keyboard.type("Nodule, left upper lobe")
    page.evaluate("document.activeElement.blur()")
    before, truth = state(page), pictures(page)
    case.opens = []
    case.drop_after, case.delay = [chance.randint(1, 15) for _ in range(6)], 0.005
    page.evaluate("sessionStorage.draft = document.querySelector('textarea#text').value")
    page.reload()
    page.evaluate("document.querySelector('textarea#text').value = sessionStorage.draft")
    until(page, COMPLETE, 120)
    assert len(case.opens) == 7

    case.delay = 0.0
    for n in range(4):
        page.keyboard.press(("ArrowUp", "ArrowDown")[n % 2])
        opened = len(case.opens)
        for stream in list(case.streams):
            stream.kick()
        for _ in range(200):
            if len(case.opens) > opened:
                break
            page.wait_for_timeout(50)
        assert len(case.opens) == opened + 1
        until(page, COMPLETE)
    after = state(page)
    for key in ("focus", "positions", "layers", "visible", "tool"):
        assert after[key] == before[key], key
    assert page.input_value("textarea#text") == "Nodule, left upper lobe"
    assert_same(truth, pictures(page))
    for layer in (CT, PET):
        assert after["layers"][str(layer)]["loaded"] == 1
    # A resumed socket sends nothing that was held: each slice was sent once, or was on its way
    # when its socket dropped.
    assert all(opening["have"] for opening in case.opens[1:])


@pytest.mark.parametrize("code", [4401, 4403, 4404])
def test_access_that_ended_is_said_and_not_asked_for_again(
    page: Any, served: tuple[str, Case], code: int
) -> None:
    case = served[1]
    case.opens = []
    for stream in list(case.streams):
        stream.kick(code)
    words = {4401: "signed out", 4403: "may not see", 4404: "no longer"}
    until(page, f"document.querySelector('.viewer-status').innerText.includes('{words[code]}')", 10)
    page.wait_for_timeout(700)
    assert case.opens == []
    assert state(page)["connection"] == "offline"
