"""Measuring tools in headless Chromium against the mock server, whose numbers have three decimals:
what is on screen is the server's, or it is not there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.browser.mock_case import CT, PET, Case
from tests.browser.mock_volumes import NODULE
from tests.browser.viewer_page import box, settle, state, until

X, Y, Z = NODULE
Point = Sequence[float]
Served = tuple[str, Case]


@pytest.fixture
def marked(page: Any, served: Served) -> tuple[Any, Case]:
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    return page, served[1]


def at(page: Any, pane: str, lps: Point) -> tuple[float, float]:
    x, y = page.evaluate(f"window.radfuse.toCanvas('{pane}', {list(lps)})")
    area = box(page, pane)
    return area["x"] + x, area["y"] + y


def draw(page: Any, pane: str, *points: Point) -> None:
    """A drag along points of the reference."""
    page.mouse.move(*at(page, pane, points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*at(page, pane, point), steps=4)
    page.mouse.up()


def choose(page: Any, tool: str) -> None:
    """By the menu, as somebody who knows no key."""
    page.click(".menu >> nth=0 >> button >> nth=0")
    page.click(f".menu-list [data-tool={tool}]")


def stored(case: Case, page: Any, count: int) -> dict[str, Any]:
    until(
        page,
        f"document.querySelectorAll('.mark-label[data-state=stored]').length >= 1 &&"
        f" document.querySelector('[data-tab=measures]').textContent.endsWith(' {count}')",
        20,
    )
    return case.marks.rows[-1]


def text_of(page: Any, pane: str, row: dict[str, Any]) -> str:
    return page.inner_text(f".pane[data-pane={pane}] .mark-label[data-mark='{row['id']}']")


def gone(page: Any, pane: str, row: dict[str, Any]) -> bool:
    selector = f".pane[data-pane={pane}] .mark-label[data-mark='{row['id']}']"
    return page.locator(selector).count() == 0


def drawn(page: Any, pane: str, lps: Point, reach: int = 3) -> bool:
    """Whether a yellow line of a mark lies at a point."""
    x, y = page.evaluate(f"window.radfuse.toCanvas('{pane}', {[float(v) for v in lps]})")
    return page.evaluate(
        """([pane, x, y, r]) => {
          const c = document.querySelector(`.pane[data-pane=${pane}] .pane-marks`);
          const d = c.getContext('2d').getImageData(x - r, y - r, 2 * r + 1, 2 * r + 1).data;
          for (let p = 0; p < d.length; p += 4)
            if (d[p + 3] > 150 && d[p] > 200 && d[p + 1] > 150 && d[p + 2] < 210) return true;
          return false; }""",
        [pane, round(x), round(y), reach],
    )


def test_every_tool_shows_the_servers_numbers(marked: tuple[Any, Case]) -> None:
    page, case = marked
    choose(page, "length")
    draw(page, "axial", (X - 30, Y - 40, Z), (X + 20, Y - 40, Z))
    row = stored(case, page, 1)
    assert row["text"] in text_of(page, "axial", row) and re.search(r"\.\d{3} mm", row["text"])
    assert row["value"] == pytest.approx(50, abs=3)
    assert drawn(page, "axial", (X - 5, Y - 40, Z))

    choose(page, "bidirectional")
    draw(page, "coronal", (X - 40, Y, Z + 60), (X + 10, Y, Z + 60))
    draw(page, "coronal", (X - 20, Y, Z + 45), (X - 14, Y, Z + 70))  # not square by hand
    row = stored(case, page, 2)
    one, two = (np.subtract(row["points"][n + 1], row["points"][n]) for n in (0, 2))
    assert one @ two == pytest.approx(0, abs=1e-6)
    assert [v["name"] for v in row["values"]] == ["long_axis", "short_axis"]
    assert row["text"] in text_of(page, "coronal", row)

    choose(page, "angle")
    draw(page, "sagittal", (X, Y - 50, Z + 60), (X, Y - 20, Z + 60))
    page.mouse.click(*at(page, "sagittal", (X, Y - 20, Z + 90)))
    row = stored(case, page, 3)
    assert row["value"] == pytest.approx(90, abs=5) and "°" in text_of(page, "sagittal", row)

    choose(page, "ellipse")
    draw(page, "axial", (X - 90, Y + 20, Z), (X - 60, Y + 40, Z))
    row = stored(case, page, 4)
    words = text_of(page, "axial", row)
    by_name = {(v["layer"], v["name"]): v["text"] for v in row["values"]}
    assert by_name[CT, "max"] in words and by_name[PET, "max"] in words
    assert "HU" in words and "SUVbw" in words
    assert np.abs(row["plane"]["normal"]) == pytest.approx([0, 0, 1])

    choose(page, "freehand")
    draw(page, "axial", (0, -60, Z), (20, -60, Z), (20, -40, Z), (0, -40, Z))
    assert len(stored(case, page, 5)["points"]) > 8

    choose(page, "sphere")
    draw(page, "axial", NODULE, (X + 15, Y, Z))
    row = stored(case, page, 6)
    for pane, rim in (("axial", (X, Y + 15, Z)), ("coronal", (X, Y, Z + 15))):
        until(page, f"document.querySelector('.pane[data-pane={pane}] [data-mark=\"6\"]')", 10)
        assert drawn(page, pane, rim), pane

    # Solid in its own plane only; a ball in every plane that it cuts.
    page.evaluate(f"window.radfuse.goto([{X}, {Y}, {Z + 9}])")
    until(page, "!document.querySelector('.pane[data-pane=axial] [data-mark=\"1\"]')", 10)
    assert not drawn(page, "axial", (X - 5, Y - 40, Z))
    assert drawn(page, "axial", (X, Y + 12, Z + 9))
    assert not gone(page, "axial", row)

    page.click("[data-tab=measures]")
    table = page.inner_text(".measures-panel")
    for one in case.marks.rows:
        for value in one["values"]:
            assert value["text"] in table, (one["name"], value["name"])
    page.click("[data-measurement='1'] .measure-goto")
    until(page, f"Math.abs(window.radfuse.state().focus[2] - {Z}) < 3", 10)


def test_a_pet_volume_is_grown_by_the_server_and_outlined_in_every_plane(
    marked: tuple[Any, Case],
) -> None:
    page, case = marked
    page.keyboard.press("u")
    draw(page, "axial", NODULE, (X + 25, Y, Z))
    page.wait_for_selector(".mark-form")
    assert case.marks.rows == []  # asked first
    page.check(".mark-form input[value='50%']")
    page.click("[data-grow=measure]")
    row = stored(case, page, 1)
    assert row["threshold"] == {"method": "50%", "value": None} and row["layers"] == [PET]
    told = {v["name"]: v["text"] for v in row["values"]}
    words = text_of(page, "axial", row)
    assert told["max"].split()[0] in words and told["volume"] in words

    settle(page)
    page.keyboard.press("Escape")  # unselected: only the volume's own outline is drawn
    settle(page)
    for pane, axis in (("axial", 0), ("coronal", 2), ("sagittal", 1)):
        line = [np.add(NODULE, np.eye(3)[axis] * mm) for mm in range(4, 20)]
        assert any(drawn(page, pane, point) for point in line), pane

    # PERCIST needs a liver: said where the mark is, and done once there is one.
    page.keyboard.press("u")
    draw(page, "coronal", (X, Y, Z), (X, Y, Z + 25))
    page.check(".mark-form input[value='percist']")
    page.keyboard.press("Enter")
    failed = page.wait_for_selector(".pane[data-pane=coronal] .mark-label[data-state=failed]")
    assert "PERCIST needs the liver" in failed.inner_text()
    page.keyboard.press("Shift+U")
    page.mouse.click(*at(page, "axial", (-60, 0, Z)))
    page.mouse.click(*at(page, "axial", (-60, 0, Z)))
    until(page, "document.querySelector('[data-tab=measures]').textContent.endsWith(' 2')", 10)
    sphere = case.marks.rows[-1]
    assert np.linalg.norm(np.subtract(*sphere["points"])) == pytest.approx(15, abs=0.1)
    page.click("[data-tab=measures]")
    page.click(f"[data-measurement='{sphere['id']}'] [data-act=liver]")
    until(page, "document.querySelector('.measures-panel').innerText.includes('Liver sphere')", 10)
    page.click(".pane[data-pane=coronal] [data-mark=retry]")
    until(page, "document.querySelector('[data-tab=measures]').textContent.endsWith(' 3')", 10)
    assert not page.query_selector(".mark-label[data-state=failed]")
    assert case.marks.rows[-1]["threshold"]["method"] == "percist"


def test_handles_undo_redo_delete_and_restore(marked: tuple[Any, Case]) -> None:
    page, case = marked
    page.keyboard.press("l")
    draw(page, "axial", (X - 60, Y - 40, Z), (X - 20, Y - 40, Z))
    row = stored(case, page, 1)
    first = [list(p) for p in row["points"]]
    draw(page, "axial", (X - 20, Y - 40, Z), (X, Y - 40, Z))
    until(page, "document.querySelector('[data-mark=\"1\"]').dataset.state === 'stored'", 10)
    assert case.marks.rows[0]["value"] == pytest.approx(60, abs=3)
    assert case.marks.rows[0]["points"][0] == first[0]
    assert case.marks.rows[0]["text"] in text_of(page, "axial", row)
    assert len(case.marks.rows) == 1

    page.keyboard.press("w")
    page.dblclick(".mark-label")
    page.keyboard.type("node 7x")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.mark-label')?.innerText.includes('node 7x')", 10)
    assert case.marks.rows[0]["label"] == "node 7x"
    assert state(page)["layout"] == "mpr"  # letters went into the field

    page.keyboard.press("Delete")
    until(page, "!document.querySelector('.mark-label')", 10)
    assert case.marks.rows == [] and len(case.marks.hidden) == 1
    for _ in range(3):
        page.keyboard.press("Control+z")
    until(page, "document.querySelector('.mark-label')?.innerText.includes('node') === false", 10)
    until(page, "document.querySelector('[data-mark=\"1\"]').innerText.includes('mm')", 10)
    settle(page)
    assert case.marks.rows[0]["label"] == ""
    assert np.allclose(case.marks.rows[0]["points"], first)
    page.keyboard.press("Control+z")
    until(page, "!document.querySelector('.mark-label')", 10)
    for _ in range(4):
        page.keyboard.press("Control+y")
    settle(page)
    until(page, "!document.querySelector('.mark-label')", 10)

    page.click("[data-tab=measures]")
    page.check("[data-act=show-removed]")
    page.wait_for_selector(".is-removed >> text=M1")
    page.click("[data-act=restore]")
    until(page, "document.querySelector('.mark-label')?.innerText.includes('node 7x')", 10)
    page.reload()
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    until(page, "document.querySelector('.mark-label')?.innerText.includes('node 7x')", 10)


def test_what_is_not_saved_stays_and_says_so(marked: tuple[Any, Case]) -> None:
    page, case = marked
    case.marks.refusal = "You do not hold this case. Claim it first."
    page.keyboard.press("Shift+E")
    draw(page, "axial", (X - 60, Y - 40, Z), (X - 20, Y - 20, Z))
    label = page.wait_for_selector(".mark-label[data-state=failed]")
    words = label.inner_text()
    assert "not saved" in words and "Claim it first" in words
    assert not re.search(r"\d", words)
    case.marks.refusal, case.marks.delay = "", 1.0
    page.click(".mark-label [data-mark=retry]")
    until(page, "document.querySelector('.mark-label')?.innerText.trim() === '…'", 5)
    row = stored(case, page, 1)
    assert row["values"][1]["text"].split()[0] in text_of(page, "axial", row)

    # A mark of another window comes on the live notice; a changed one changes.
    other = case.marks.measure(
        {"tool": "length", "points": [[0, 0, Z], [30, 0, Z]], "label": "from elsewhere"}, {}
    )
    case.marks.rows.append({**other, "id": 77, "name": "M77"})
    page.evaluate(
        "window.dispatchEvent(new CustomEvent('radfuse:live-case-1',"
        " {detail: {kind: 'measurement', case: 1}}))"
    )
    until(page, "document.querySelector('[data-mark=\"77\"]')?.innerText.includes('elsewhere')", 10)
    case.marks.rows[-1]["outdated"] = "PET was aligned anew."
    page.evaluate("window.dispatchEvent(new CustomEvent('radfuse:live-case-1', {detail: {}}))")
    until(page, "document.querySelector('[data-mark=\"77\"]')?.innerText.includes('anew')", 10)


def test_arrow_text_probe_and_key_image(marked: tuple[Any, Case]) -> None:
    page, case = marked
    page.keyboard.press("Shift+P")
    draw(page, "axial", (0, -60, Z), (-25, -80, Z))
    page.keyboard.type("cyst?")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.mark-label')?.innerText.includes('cyst?')", 10)
    page.keyboard.press("Shift+T")
    page.mouse.click(*at(page, "coronal", (-60, Y, Z + 60)))
    page.keyboard.type("Segment VI")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('.mark-label[data-state=stored]').length === 2", 10)
    assert [(m["tool"], m["label"]) for m in case.marks.rows] == [
        ("arrow", "cyst?"), ("text", "Segment VI"),
    ]  # fmt: skip
    page.keyboard.press("p")
    page.mouse.click(*at(page, "axial", NODULE))
    page.click(".probe-card >> text=Keep")
    row = stored(case, page, 3)
    words = text_of(page, "axial", row)
    assert all(value["text"] in words for value in row["values"]) and len(row["values"]) == 2

    page.keyboard.press("Shift+K")
    until(page, "document.querySelector('[data-tab=measures]').textContent.endsWith(' 4')", 10)
    image = case.marks.images[0]
    assert image["state"]["layers"][0]["window"] == [400, 40]
    assert np.allclose(image["state"]["point"], state(page)["snapped"])
    page.click("[data-tab=measures]")
    until(page, "document.querySelector('.key-image')?.naturalWidth > 100", 10)
    page.keyboard.press("2")
    page.evaluate("window.radfuse.goto([0, 0, 0])")
    page.click("[data-key-image='1'] .measure-goto")
    assert state(page)["layers"][str(CT)]["width"] == 400
    assert np.allclose(state(page)["focus"], image["state"]["point"])


def test_cine_turns_presets_and_left_button_tools(marked: tuple[Any, Case]) -> None:
    page, _ = marked
    page.click(".pane[data-pane=axial] .pane-title", force=True)
    before = state(page)["positions"]["axial"]
    page.click("[data-act=cine]")
    until(page, f"window.radfuse.state().positions.axial !== {before}", 10)
    page.keyboard.press("End")  # goes round
    until(page, "window.radfuse.state().positions.axial < 20", 10)
    page.keyboard.press("Escape")
    until(page, "document.querySelector('[data-act=cine]').ariaPressed === 'false'", 10)
    stopped = state(page)["positions"]["axial"]
    settle(page)
    assert state(page)["positions"]["axial"] == stopped

    def corner(lps: Point) -> np.ndarray:
        return np.array(page.evaluate(f"window.radfuse.toCanvas('axial', {list(lps)})"))

    middle = corner((0, 0, 0))
    left, front = corner((50, 0, 0)) - middle, corner((0, -50, 0)) - middle
    assert left[0] > 0 and front[1] < 0

    def letters() -> str:
        edges = ("left", "right", "top", "bottom")
        return "".join(
            page.inner_text(f".pane[data-pane=axial] .pane-letter--{edge}") for edge in edges
        )

    page.keyboard.press("h")
    until(page, "document.querySelector('.pane-letter--left').textContent === 'L'", 10)
    assert letters() == "LRAP"
    page.keyboard.press("Shift+H")
    settle(page)
    assert letters() == "LRPA"
    page.keyboard.press("Shift+ArrowRight")
    settle(page)
    assert set(letters()[:2]) == {"A", "P"}

    page.keyboard.press("6")
    assert state(page)["layers"][str(CT)]["width"] == 350  # mediastinum
    page.keyboard.press("q")
    at_slice = state(page)["positions"]["coronal"]
    area = box(page, "coronal")
    page.mouse.move(area["x"] + 150, area["y"] + 150)
    page.mouse.down()
    page.mouse.move(area["x"] + 150, area["y"] + 185, steps=5)
    page.mouse.up()
    assert state(page)["positions"]["coronal"] == at_slice + 5
    page.keyboard.down("j")
    page.wait_for_selector(".magnifier")
    page.keyboard.up("j")
    assert page.locator(".magnifier").count() == 0
