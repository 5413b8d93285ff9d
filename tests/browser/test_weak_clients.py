"""Weak browsers, slow lines and little memory: what is on screen is true and says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.browser.mock_case import CT, EARLY, HEATMAP, LABELS, LOOSE, PET, Case
from tests.browser.viewer_page import state, until

COMPLETE = "Boolean(window.radfuse && window.radfuse.complete)"
SHOWN = "document.querySelectorAll('.weak-pane[data-position]').length === 3"
NO_WEBGL2 = """
const real = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  return kind === 'webgl2' ? null : real.call(this, kind, ...more);
};
"""


@pytest.fixture
def weak_page(context: Any, served: tuple[str, Case]) -> Iterator[Any]:
    url, case = served
    case.reset()
    page = context.new_page()
    page.add_init_script("localStorage.clear();" + NO_WEBGL2)
    page.goto(url)
    until(page, SHOWN)
    yield page
    page.close()


def test_without_webgl2_the_server_draws(weak_page: Any, served: tuple[str, Case]) -> None:
    page, case = weak_page, served[1]
    assert "Drawn by the server, lossy" in page.inner_text(".weak-banner")
    assert page.query_selector("[data-action=full-viewer]") is None
    assert page.inner_text(".weak-pane[data-pane=axial] .pane-letter--left") == "R"
    badges = page.inner_text(".weak-pane[data-pane=axial] .pane-badges")
    assert "PET" in badges
    first = parse_qs(case.pictures[0])
    assert first["layers"] == [f"{CT},{PET}"]
    # The wheel goes one slice on; the title is that of the picture on screen.
    before = int(page.get_attribute(".weak-pane[data-pane=axial]", "data-position"))
    page.hover(".weak-pane[data-pane=axial]")
    page.mouse.wheel(0, 100)
    axial = "document.querySelector('.weak-pane[data-pane=axial]').dataset.position"
    until(page, f"{axial} == {before + 1}")
    assert f"{before + 1} / 60" in page.inner_text(".weak-pane[data-pane=axial] .pane-title")
    # Voxel (29, 40, 17): slices count to the feet, to the left, to the back.
    page.evaluate("window.radfuse.goto([-103.5, -70.5, -37.5])")
    places = [f"{p} {n}" for p, n in (("axial", 43), ("sagittal", 30), ("coronal", 41))]
    for place in places:
        plane, number = place.split()
        shown = f"document.querySelector('.weak-pane[data-pane={plane}]').dataset.position"
        until(page, f"{shown} === '{number}'")
    # Another window is another question to the server.
    page.select_option("select[aria-label='Window preset']", label="Lung")
    until(page, "document.querySelector('.weak-pane .pane-windows').textContent.includes('1500')")
    page.wait_for_timeout(300)
    assert f"{CT}:1500:-600" in parse_qs(case.pictures[-1])["window"][0]
    # A value comes from the server, at the point that was clicked.
    page.click(".weak-pane[data-pane=axial] .weak-image")
    until(page, "document.querySelector('.weak-values').textContent.includes('CT')")


def test_on_a_line_that_is_too_slow_the_server_draws(
    context: Any, served: tuple[str, Case]
) -> None:
    url, case = served
    case.reset()
    case.delay = 0.25
    page = context.new_page()
    page.add_init_script("localStorage.clear()")
    page.goto(url)
    until(page, SHOWN)
    assert "line is too slow" in page.inner_text(".weak-banner")
    # Nothing is streamed beside the pictures.
    page.wait_for_timeout(700)
    assert all(not stream.layers for stream in case.streams)
    page.close()
    case.delay = 0.0


def test_the_reader_switches_to_the_server_and_back(page: Any, served: tuple[str, Case]) -> None:
    case = served[1]
    positions = state(page)["positions"]
    page.click("[data-action=server-pictures]")
    until(page, SHOWN)
    assert "as you chose" in page.inner_text(".weak-banner")
    page.click("[data-action=full-viewer]")
    until(page, COMPLETE)
    assert state(page)["positions"] == positions
    assert page.query_selector(".weak-viewer") is None
    assert case.pictures


def test_voxels_held_stay_under_the_budget(page: Any, served: tuple[str, Case]) -> None:
    case = served[1]
    size = {layer: case.arrays[layer].nbytes for layer in (CT, PET, LABELS, HEATMAP, LOOSE)}
    # Everything but one of the layers that are not on screen at first.
    budget = 6 * 1024 * 1024
    assert sum(size.values()) - size[LOOSE] <= budget < sum(size.values())
    case.preferences["viewer.display"] = {"memoryMiB": 6}
    page.reload()
    until(page, COMPLETE)
    assert state(page)["parked"] == [LOOSE]
    assert state(page)["held"] <= budget

    page.evaluate(f"document.querySelector('[data-alone=\"{LOOSE}\"]').click()")
    until(page, f"window.radfuse.state().base === {LOOSE} && window.radfuse.complete")
    # It came from the server, and what was not on screen went.
    assert state(page)["held"] <= budget
    assert HEATMAP in state(page)["parked"]

    page.click(".pane[data-pane=axial] >> text=Back to fused view")
    until(page, f"window.radfuse.state().base === {CT} && window.radfuse.complete")
    page.evaluate(f"document.querySelector('.layer-row[data-layer=\"{HEATMAP}\"] input').click()")
    until(page, f"window.radfuse.state().visible.includes({HEATMAP}) && window.radfuse.complete")
    now = state(page)
    assert HEATMAP not in now["parked"]
    assert now["layers"][str(HEATMAP)]["loaded"] == 1
    assert now["held"] <= budget
    for layer in now["visible"]:
        assert now["layers"][str(layer)]["loaded"] == 1


def test_the_next_series_comes_while_the_reader_rests(page: Any, served: tuple[str, Case]) -> None:
    case = served[1]
    case.delay = 0.03

    def wanted() -> set[int]:
        return set(next(iter(case.streams)).layers)

    def within(seconds: float, condition: Any) -> bool:
        for _ in range(round(seconds * 20)):
            if condition():
                return True
            page.wait_for_timeout(50)
        return False

    # An early volume of the PET series, and the series that is not registered.
    assert within(15, lambda: wanted() >= {EARLY, LOOSE})
    page.evaluate("window.radfuse.goto([0, 0, 9])")
    assert within(2, lambda: not wanted() & {EARLY, LOOSE})
    assert case.warmed == 0
    case.delay = 0.0
    assert within(30, lambda: case.warmed == 1)


def test_a_volume_larger_than_the_memory_is_opened_coarser_and_says_so(
    page: Any, served: tuple[str, Case]
) -> None:
    case = served[1]
    before = state(page)
    case.preferences["viewer.display"] = {"memoryMiB": 1.3}
    page.reload()
    until(page, COMPLETE)
    assert next(iter(case.streams)).finest == {str(CT): 1, str(PET): 1}
    sent = next(iter(case.streams)).sent
    assert not [slot for slot in sent if slot[0] in (CT, PET) and slot[1] == 0]
    now = state(page)
    assert now["held"] <= 1.3 * 1024 * 1024
    for plane in ("axial", "sagittal", "coronal"):
        assert "Coarse preview" in page.inner_text(f".pane[data-pane={plane}]")
    assert "1/4 of its resolution" in page.inner_text(f".layer-row[data-layer='{CT}']")
    # The same place of the patient is on screen.
    assert all(abs(a - b) <= 12 for a, b in zip(now["focus"], before["focus"], strict=True))
