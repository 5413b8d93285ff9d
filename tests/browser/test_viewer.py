"""The viewer island in headless Chromium against the mock server: tools, decisions, resume."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from tests.browser.mock_case import CT, EARLY, PET, Case
from tests.browser.mock_volumes import NODULE
from tests.browser.viewer_page import box, canvas, drag, pixel, settle, state, until


def test_mouse_and_keys_do_what_readers_expect(page: Any) -> None:
    before = state(page)
    drag(page, "axial", (0.3, 0.5), (50, 0))
    wider = state(page)["layers"][str(CT)]
    assert wider["width"] > before["layers"][str(CT)]["width"]
    assert wider["centre"] == before["layers"][str(CT)]["centre"]
    page.keyboard.press("2")
    assert (state(page)["layers"][str(CT)]["width"], state(page)["layers"][str(CT)]["centre"]) == (
        1500,
        -600,
    )

    area = box(page, "axial")
    page.mouse.move(area["x"] + 100, area["y"] + 100)
    page.mouse.wheel(0, 120)
    assert state(page)["positions"]["axial"] == before["positions"]["axial"] + 1
    page.keyboard.press("PageUp")
    assert state(page)["positions"]["axial"] == before["positions"]["axial"] - 9
    page.keyboard.press("End")
    assert state(page)["positions"]["axial"] == 60

    centre = page.evaluate("window.radfuse.toCanvas('axial', [0, 0, 0])")
    drag(page, "axial", (0.3, 0.5), (40, 10), button="middle")
    moved = page.evaluate("window.radfuse.toCanvas('axial', [0, 0, 0])")
    assert np.allclose(np.subtract(moved, centre), [40, 10], atol=1.5)
    span = """(([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]))(
      [[0, 0, 0], [50, 0, 0]].map(p => window.radfuse.toCanvas('axial', p)))"""
    length = page.evaluate(span)
    drag(page, "axial", (0.3, 0.5), (0, -60), button="right")
    assert page.evaluate(span) > 1.3 * length
    page.keyboard.press("r")
    assert page.evaluate(span) == pytest.approx(length, rel=1e-3)
    assert state(page)["layers"][str(CT)]["width"] == 400

    page.mouse.dblclick(area["x"] + 120, area["y"] + 200)
    assert state(page)["layout"] == "axial"
    assert not page.is_visible(".pane[data-pane=coronal]")
    page.keyboard.press("Enter")
    assert state(page)["layout"] == "mpr"

    page.click("textarea#text")
    page.keyboard.type("fx1 [r")
    assert page.input_value("textarea#text") == "fx1 [r"
    assert state(page)["fusion"] is True


def test_orientation_letters(page: Any) -> None:
    def letters(pane: str) -> str:
        return "".join(
            page.inner_text(f".pane[data-pane={pane}] .pane-letter--{edge}")
            for edge in ("left", "right", "top", "bottom")
        )

    assert [letters(pane) for pane in ("axial", "coronal", "sagittal")] == ["RLAP", "RLHF", "APHF"]
    x = [page.evaluate(f"window.radfuse.toCanvas('axial', [{v}, 0, 0])")[0] for v in (-50, 50)]
    assert x[0] < x[1]  # The patient's left is on the right of the screen.


def test_crosshair_click_moves_the_other_panes(page: Any) -> None:
    page.keyboard.press("c")
    at = page.evaluate(f"window.radfuse.toCanvas('axial', [{NODULE[0]}, {NODULE[1]}, 0])")
    area = box(page, "axial")
    page.mouse.click(area["x"] + at[0], area["y"] + at[1])
    focus = state(page)["focus"]
    assert np.allclose(focus[:2], NODULE[:2], atol=1.5)
    settle(page)
    image = canvas(page, "coronal")
    assert pixel(image, page, "coronal", NODULE)[0] > 120  # The hot nodule is in the coronal plane.


def test_length_and_probe_show_the_servers_values(page: Any, served: tuple[str, Case]) -> None:
    case = served[1]
    page.click("[data-tool=length]")
    drag(page, "axial", (0.4, 0.4), (80, 30))
    until(
        page, "document.querySelector('[data-tab=measures]').textContent === 'Measurements 1'", 10
    )
    stored = case.marks.rows[0]
    per_pixel = abs(
        page.evaluate(
            "(at => at([1, 0])[0] - at([0, 0])[0])(p => window.radfuse.toWorld('axial', p))"
        )
    )
    assert stored["value"] == pytest.approx(np.hypot(80, 30) * per_pixel, rel=0.03)
    page.click("[data-tab=measures]")
    assert stored["text"] in page.inner_text(".measures-panel")

    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    page.click("[data-tool=probe]")
    at = page.evaluate(f"window.radfuse.toCanvas('axial', {list(NODULE)})")
    area = box(page, "axial")
    page.mouse.click(area["x"] + at[0], area["y"] + at[1])
    page.wait_for_selector(".probe-card")
    text = page.inner_text(".probe-card")
    assert "HU" in text and "SUVbw" in text
    page.click(".probe-card >> text=Keep")
    until(
        page, "document.querySelector('[data-tab=measures]').textContent === 'Measurements 2'", 10
    )


def test_finding_is_reached_and_accepted_and_the_page_hears_of_it(
    page: Any, served: tuple[str, Case]
) -> None:
    page.evaluate(
        "window.heard = [];"
        "window.addEventListener('radfuse:review', e => window.heard.push(e.detail))"
    )
    page.evaluate("window.dispatchEvent(new CustomEvent('radfuse:goto', {detail: {finding: 5}}))")
    assert np.allclose(state(page)["focus"], NODULE)
    page.click("[data-tab=findings]")
    assert "AI, unverified" in page.inner_text(".findings-panel")
    page.click(".findings-panel [data-review=accepted]")
    until(page, "window.heard.length === 1", 10)
    assert page.evaluate("window.heard[0]") == {"finding": 5, "state": "accepted"}
    until(page, "document.querySelector('.findings-panel').innerText.includes('Accepted')", 10)
    page.click(".findings-panel [data-review=edited]")
    page.fill(".findings-panel input[name=label]", "Part-solid nodule")
    page.click(".findings-panel >> text=Save")
    until(
        page,
        "document.querySelector('.findings-panel').innerText.includes('Part-solid nodule')",
        10,
    )
    assert served[1].reviews[5]["state"] == "edited"


def test_a_rejected_registration_is_no_longer_fused(page: Any, served: tuple[str, Case]) -> None:
    assert PET in state(page)["visible"]
    page.click(".pane[data-pane=axial] .fusion-badge[data-fusion=registered]")
    assert "Mattes" in page.inner_text(".fusion-panel")
    page.click(".fusion-panel [data-decision=rejected]")
    assert "Say why" in page.inner_text(".fusion-panel")
    page.fill(".fusion-panel input[name=reason]", "Shifted by breathing")
    page.click(".fusion-panel [data-decision=rejected]")
    until(page, f"!window.radfuse.state().visible.includes({PET})", 15)
    assert served[1].decision["reason"] == "Shifted by breathing"
    until(page, f"!document.querySelector('.pane .fusion-badge[data-layer=\"{PET}\"]')", 10)
    page.click(".fusion-panel >> text=Back")
    page.click(f"[data-alone='{PET}']")
    until(page, f"window.radfuse.state().visible.join() === '{PET}'", 10)
    until(
        page,
        "document.querySelector('.pane[data-pane=axial]').innerText.includes('nothing fused')",
        10,
    )
    page.click(".pane[data-pane=axial] >> text=Back to fused view")
    until(page, f"window.radfuse.state().base === {CT}", 10)


def test_a_nudge_is_previewed_then_stored(page: Any, served: tuple[str, Case]) -> None:
    case = served[1]
    before = case.matrices[PET].copy()
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    page.keyboard.press("e")
    settle(page)
    x, y = (round(v) for v in page.evaluate(f"window.radfuse.toCanvas('axial', {list(NODULE)})"))
    hot = canvas(page, "axial")[y, x, 1]
    page.click(".pane[data-pane=axial] .fusion-badge[data-fusion=registered]")
    page.click("[data-section=align]")
    page.click("[data-align=begin]")
    page.fill("input[name=tx]", "40")
    page.press("input[name=tx]", "Tab")
    settle(page)
    assert canvas(page, "axial")[y, x, 1] < hot - 15  # The nodule's uptake has moved away.
    assert np.array_equal(case.matrices[PET], before)
    page.click("[data-align=save]")
    page.wait_for_selector(".fusion-panel >> text=by hand by Dr Demo")
    assert np.allclose(case.matrices[PET][:3, 3] - before[:3, 3], [40, 0, 0], atol=1e-6)


def test_reload_resumes_at_the_same_slice_window_and_layers(page: Any) -> None:
    page.keyboard.press("2")
    page.evaluate("window.radfuse.goto([20, -30, 33])")
    page.keyboard.press("[")
    page.keyboard.press("p")
    before = state(page)
    page.reload()
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")
    after = state(page)
    for key in ("focus", "positions", "layers", "tool", "visible"):
        assert after[key] == before[key], key


def test_a_dropped_socket_resumes_with_what_it_has(page: Any, served: tuple[str, Case]) -> None:
    case = served[1]
    case.opens = []
    case.drop_after, case.delay = [90], 0.01
    page.reload()
    until(page, "Boolean(window.radfuse && window.radfuse.complete)", 90)
    assert len(case.opens) == 2
    first, second = case.opens
    assert first["have"] == {}
    held = sum(
        high - low + 1
        for levels in second["have"].values()
        for ranges in levels.values()
        for low, high in ranges
    )
    assert held == 90
    assert second["focus"] == first["focus"]
    assert state(page)["connection"] == "connected"


def test_what_is_not_loaded_is_marked(page: Any, served: tuple[str, Case]) -> None:
    case = served[1]
    case.delay = 0.15
    page.reload()
    until(page, "document.querySelectorAll('.pane-marks')[0]?.width > 10", 30)
    marked = """(() => { const c = document.querySelector('.pane[data-pane=coronal] .pane-marks');
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
      for (let p = 0; p < d.length; p += 4)
        n += d[p + 3] > 200 && d[p] < 90 && d[p + 2] > d[p] + 30;
      return n / (c.width * c.height); })()"""
    until(page, f"{marked} > 0.3", 30)
    assert "Coarse preview" in page.inner_text(".pane[data-pane=coronal]")
    case.delay = 0
    until(page, "window.radfuse.complete", 60)
    settle(page)
    assert page.evaluate(marked) < 0.02
    assert "Coarse preview" not in page.inner_text(".pane[data-pane=coronal]")


def test_without_any_canvas_the_server_draws(chromium: Any, served: tuple[str, Case]) -> None:
    context = chromium.new_context()
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page = context.new_page()
    page.goto(served[0])
    page.wait_for_selector(".weak-pane[data-position]")
    assert "WebGL 2" in page.inner_text(".weak-banner")
    context.close()


def test_a_series_of_two_volumes_is_one_row_and_one_of_them_is_shown(page: Any) -> None:
    def row() -> Any:
        return page.locator(f".layers-panel select[data-series='{PET}']")

    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    settle(page)
    late = pixel(canvas(page, "axial"), page, "axial", NODULE)
    assert row().count() == 1
    assert row().locator("option").all_inner_texts() == [
        "phase 1 of 2, 0.0 s", "phase 2 of 2, 60.0 s (main)",
    ]  # fmt: skip
    assert str(EARLY) not in state(page)["layers"]  # not wanted: not streamed
    page.fill(f"input[data-opacity='{PET}']", "80")
    row().focus()
    page.keyboard.press("ArrowUp")
    until(page, "window.radfuse.complete", 20)
    settle(page)
    now = state(page)
    assert EARLY in now["visible"] and PET not in now["visible"]
    assert now["layers"][str(EARLY)]["opacity"] == 0.8  # the looks go with the series
    end = time.monotonic() + 10
    # The hot nodule is white at its late uptake, red at a quarter of it.
    while pixel(canvas(page, "axial"), page, "axial", NODULE)[1] > late[1] - 60:
        assert time.monotonic() < end, "the early volume is not on screen"
        settle(page)
    assert row().evaluate("e => document.activeElement === e")  # arrow keys go on from here

    page.click(".layers-panel .layer-name >> text=PET early")
    page.keyboard.press(".")
    until(page, f"window.radfuse.state().visible.includes({PET})", 10)
    page.keyboard.press(".")  # at the end it stays
    settle(page)
    assert PET in state(page)["visible"] and EARLY not in state(page)["visible"]
    page.keyboard.press(",")
    until(page, f"window.radfuse.state().visible.includes({EARLY})", 10)
    page.reload()
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")
    assert EARLY in state(page)["visible"]  # kept with the case
