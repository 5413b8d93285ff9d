"""Keys of the reader's own, mouse schemes, the viewer without a mouse, and the second window."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.mock_case import CT, PREFERRED, Case
from tests.browser.mock_volumes import NODULE
from tests.browser.viewer_page import drag, settle, state, until

Served = tuple[str, Case]
FOCUSED = "document.activeElement"


def ready(page: Any) -> None:
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")


def window_of(page: Any) -> tuple[float, float]:
    look = state(page)["layers"][str(CT)]
    return look["width"], look["centre"]


def search(page: Any, words: str) -> None:
    page.fill(".key-editor input[type=search]", words)


def test_a_key_is_taken_kept_and_given_back(page: Any, served: Served) -> None:
    case = served[1]
    page.keyboard.press("?")
    sheet = page.inner_text(".key-sheet")
    assert "Length tool" in sheet and "Ctrl+Enter" in sheet
    page.click("[data-action=change-keys]")
    search(page, "length")
    page.click("[data-key-row='tool.length'] [data-key-add]")
    page.keyboard.press("F2")
    assert "cannot be chosen" in page.inner_text(".key-said")
    page.keyboard.press("k")
    assert "Checkerboard" in page.inner_text(".key-said"), "whose key it is"
    page.keyboard.press("Enter")  # the focus is on "Take K"
    page.click("[data-action=save-keys]")
    page.keyboard.press("k")
    assert (state(page)["tool"], state(page)["compare"]) == ("length", "blend")
    title = page.get_attribute(".viewer-toolbar > .tool-group > [data-tool=length]", "title")
    assert title == "Length (L, K)"
    settle(page)
    assert case.preferences["viewer.keys"] == {
        "tool.length": ["l", "k"],
        "compare.checkerboard": [],
    }

    page.reload()
    ready(page)
    page.keyboard.press("w")
    page.keyboard.press("k")
    assert state(page)["tool"] == "length", "kept on the server"
    page.keyboard.press("?")
    assert "Checkerboard" not in page.inner_text(".key-sheet"), "no key, no line"
    page.click("[data-action=change-keys]")
    page.click("[data-action=reset-keys]")
    page.click("[data-action=save-keys]")
    page.keyboard.press("k")
    assert state(page)["compare"] == "checkerboard"
    settle(page)
    assert case.preferences["viewer.keys"] is None


def with_mouse(page: Any, served: Served, **chosen: object) -> None:
    served[1].preferences["viewer.mouse"] = chosen
    page.reload()
    ready(page)


def test_window_on_the_right_button_and_its_sign(page: Any, served: Served) -> None:
    with_mouse(page, served, scheme="window-right", darker="up", slices=2)
    page.keyboard.press("c")
    width, centre = window_of(page)
    drag(page, "axial", (0.5, 0.5), (40, 25), button="right")
    wider, lower = window_of(page)
    assert wider > width and lower < centre, "down is brighter in this scheme"
    before = state(page)["positions"]["axial"]
    page.mouse.wheel(0, 120)
    settle(page)
    assert state(page)["positions"]["axial"] == before + 2
    page.keyboard.press("?")
    assert "right = wider, up = darker" in page.inner_text(".key-sheet")


def test_the_wheel_zooms_where_the_reader_wants_it(page: Any, served: Served) -> None:
    with_mouse(page, served, scheme="wheel-zooms")
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    settle(page)
    before = state(page)["positions"]["axial"]
    far = page.evaluate("window.radfuse.toWorld('axial', [10, 10])")
    drag(page, "axial", (0.5, 0.5), (0, 21), button="right")
    settle(page)
    assert state(page)["positions"]["axial"] == before + 3, "a right drag scrolls"
    page.mouse.wheel(0, 200)
    settle(page)
    assert state(page)["positions"]["axial"] == before + 3
    assert page.evaluate("window.radfuse.toWorld('axial', [10, 10])")[0] != pytest.approx(far[0])


def focus_is(page: Any, selector: str) -> bool:
    return bool(page.evaluate(f"{FOCUSED}.matches('{selector}')"))


def measured(page: Any, case: Case, count: int) -> dict[str, Any]:
    until(
        page,
        f"document.querySelector('[data-tab=measures]').textContent.endsWith(' {count}')",
        20,
    )
    return case.marks.rows[-1]


def test_the_viewer_without_a_mouse(page: Any, served: Served) -> None:
    case = served[1]
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    press = page.keyboard.press

    press("F8")
    assert focus_is(page, ".viewer-toolbar [data-tool=window]")
    press("ArrowRight")
    assert focus_is(page, ".viewer-toolbar [data-tool=crosshair]")
    assert (
        page.evaluate(
            "[...document.querySelectorAll('.viewer-toolbar :is(button, select, input)')]"
            ".filter(one => one.tabIndex === 0 && !one.closest('.menu-list, .view-panel')).length"
        )
        == 1
    ), "one stop of Tab"
    press("Enter")
    assert state(page)["tool"] == "crosshair"
    press("Escape")
    assert focus_is(page, ".pane[data-pane=axial]")
    press("ArrowRight")
    assert focus_is(page, ".pane[data-pane=sagittal]"), "the focus follows the keys' pane"
    press("ArrowLeft")

    # A length of 12 mm along the axial pane's right.
    start = state(page)["focus"]
    press("l")
    press("Enter")
    press("Control+Shift+ArrowRight")
    press("Control+ArrowRight")
    press("Control+ArrowRight")
    press("Enter")
    row = measured(page, case, 1)
    assert row["tool"] == "length"
    (a, b) = row["points"]
    assert a == pytest.approx(start, abs=1.6), "in the drawn slice"
    assert b[0] - a[0] == pytest.approx(12, abs=1e-3) and b[1] == pytest.approx(a[1], abs=1e-3)
    press("Shift+U")
    press("Enter")
    press("Enter")
    assert measured(page, case, 2)["tool"] == "sphere"
    press("p")
    press("Enter")
    page.wait_for_selector(".probe-card:not([hidden])")
    assert state(page)["layout"] == "mpr", "Enter places, it does not change the layout"
    press("w")
    press("Enter")
    assert state(page)["layout"] == "axial"
    press("Enter")

    press("F9")
    assert focus_is(page, ".viewer-side [role=tab]")
    for _ in range(5):
        if focus_is(page, "[data-tab=measures]"):
            break
        press("ArrowRight")
    press("Enter")
    chosen = "document.querySelector('[data-tab=measures]').getAttribute('aria-selected')"
    until(page, f"{chosen} === 'true'", 5)
    press("Tab")
    assert page.evaluate(f"Boolean({FOCUSED}.closest('.viewer-side'))"), "into the panel"

    press("F8")
    for _ in range(12):
        if page.evaluate(f"Boolean({FOCUSED}.closest('.menu'))"):
            break
        press("ArrowRight")
    press("Enter")
    assert page.evaluate(f"Boolean({FOCUSED}.closest('.menu-list'))"), "a menu takes the focus"
    press("Escape")
    press("Escape")
    assert focus_is(page, ".pane")
    press("o")
    for _ in range(8):
        press("Tab")
        assert page.evaluate(
            f"{FOCUSED} === document.body || Boolean({FOCUSED}.closest('dialog[open]'))"
        ), "a dialog keeps the focus"
    press("Escape")
    assert not page.query_selector("dialog[open]")


def open_second(page: Any) -> Any:
    with page.context.expect_page() as opened:
        page.keyboard.press("Shift+W")
    second = opened.value
    ready(second)
    return second


def test_two_windows_share_the_reading_not_the_layout(page: Any, served: Served) -> None:
    case = served[1]
    page.goto(served[0] + "cases/1/")
    ready(page)
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    second = open_second(page)
    assert second.url.endswith("/cases/1/?window=2")
    assert second.query_selector(".banner .patient-name") and not second.query_selector("#text")
    assert second.evaluate("document.querySelector('[data-action=second-window]')") is None
    until(
        second,
        f"window.radfuse.state().focus.every((x, n) => Math.abs(x - {list(NODULE)}[n]) < 1e-6)",
    )

    second.keyboard.press("2")  # a window, there
    second.keyboard.press("f")
    second.keyboard.press("l")
    until(page, "window.radfuse.state().tool === 'length' && !window.radfuse.state().fusion")
    assert window_of(page) == window_of(second)
    page.keyboard.press("ArrowDown")
    stands = state(page)["positions"]["axial"]
    until(second, f"window.radfuse.state().positions.axial === {stands}")
    page.keyboard.press("n")
    second.click("[data-tab=findings]")
    until(second, "Boolean(document.querySelector('.finding.is-selected'))")

    second.keyboard.press("o")
    second.click(".layout-card[data-protocol=one]")
    until(second, "window.radfuse.state().protocol === 'one'")
    settle(page)
    assert state(page)["protocol"] != "one", "each window has its own layout"
    assert case.preferences == PREFERRED, "nor is it kept for other cases"

    page.keyboard.press("Enter")
    page.keyboard.press("Control+ArrowRight")
    page.keyboard.press("Control+Shift+ArrowRight")
    page.keyboard.press("Enter")
    measured(page, case, 1)
    until(second, "document.querySelector('[data-tab=measures]').textContent.endsWith(' 1')", 20)

    # The first window goes on to another patient.
    assert not second.is_visible(".other-case")
    page.goto(served[0] + "cases/2/")
    ready(page)
    second.wait_for_selector(".other-case", state="visible")
    assert "another patient" in second.inner_text(".other-case")
    assert second.evaluate("document.body.classList.contains('is-other-case')")
    focus = state(second)["focus"]
    page.keyboard.press("ArrowDown")
    settle(second)
    assert state(second)["focus"] == focus, "nothing of another case comes here"
    second.click("[data-action=follow]")
    until(second, "location.pathname === '/cases/2/'")
    ready(second)
    assert not second.is_visible(".other-case")
    assert "SYN-2" in second.inner_text(".banner")
    second.close()
    page.keyboard.press("ArrowDown")
    ready(page)
