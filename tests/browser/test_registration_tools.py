"""The reader's registration tools in headless Chromium: aligning, landmarks, refining, the cursor.

One page for all of them: each test finds the case as new (`fresh`), the last one reloads it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.browser.mock_case import DEFORMED, LOOSE, PET, Case
from tests.browser.mock_registration import carry, displacement
from tests.browser.mock_volumes import NODULE, rotation
from tests.browser.registration_page import Array, hot_iron, opened, picture, sampled, world
from tests.browser.viewer_page import box, canvas, drag, settle, state, until


@pytest.fixture(scope="module")
def reader(context: Any, served: tuple[str, Case]) -> Iterator[Any]:
    page = opened(context, served)
    yield page
    page.close()
    assert page.errors == []


@pytest.fixture
def working(reader: Any, served: tuple[str, Case]) -> Any:
    """The page with nothing decided, placed or open."""
    served[1].reset()
    reader.keyboard.press("Escape")
    if reader.is_visible("[data-leave=discard]"):
        reader.click("[data-leave=discard]")
    if state(reader)["layout"] == "beside":
        reader.keyboard.press("v")
    reader.evaluate("window.dispatchEvent(new CustomEvent('radfuse:reviewed'))")
    until(reader, in_pane("PET: Registered"), 10)
    reader.evaluate(f"window.radfuse.goto({list(NODULE)})")
    reader.focus(".pane[data-pane=axial]")
    settle(reader)
    return reader


def blended(plain: Array, case: Case, at: Array, matrix: Array) -> Array:
    """The fused image as it must be with the PET under a matrix, over the plain reference."""
    suv = np.nan_to_num(sampled(case, PET, at, matrix) / 1000)
    alpha = 0.5 * np.clip(suv / 5 / 0.2, 0, 1)[..., None]
    return (1 - alpha) * plain + alpha * hot_iron(suv)


def shifted(matrix: Array, mm: tuple[float, float, float]) -> Array:
    moved = np.eye(4)
    moved[:3, 3] = mm
    return moved @ matrix


def test_a_nudge_moves_the_layer_by_its_millimetres(working: Any, served: tuple[str, Case]) -> None:
    page, case = working, served[1]
    on_record = case.matrices[PET].copy()
    page.keyboard.press("f")
    settle(page)
    plain = canvas(page, "axial")
    page.keyboard.press("f")
    page.keyboard.press("a")
    page.wait_for_selector(".fusion-panel form.nudge")
    assert "Registered" in page.inner_text(".pane[data-pane=axial] .fusion-badge")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    settle(page)
    assert state(page)["readout"]["translate"] == pytest.approx([5, 0, 0])
    image = canvas(page, "axial")
    at = world(page, "axial", image.shape)
    middle = np.s_[60:-60, 60:-60]

    def off(mm: float) -> float:
        expected = blended(plain, case, at, shifted(on_record, (mm, 0, 0)))
        return float(np.percentile(np.abs(image - expected)[middle], 99))

    assert off(5) <= 3 and off(4) > 6 and off(6) > 6
    assert "Aligned by hand, not saved" in page.inner_text(".pane[data-pane=coronal]")
    assert float(page.input_value("input[name=tx]")) == 5
    page.keyboard.press("Shift+ArrowUp")
    assert state(page)["readout"]["translate"] == pytest.approx([5, -0.2, 0])
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert state(page)["readout"]["translate"] == pytest.approx([4, 0, 0])
    page.keyboard.press("Control+y")
    page.select_option("select[name=step]", "2")
    page.focus(".pane[data-pane=coronal]")
    page.keyboard.press("ArrowUp")
    assert state(page)["readout"]["translate"] == pytest.approx([5, 0, 2])
    page.keyboard.press(".")
    degrees = state(page)["readout"]["degrees"]
    assert np.abs(degrees) == pytest.approx([0, 2, 0], abs=1e-6)
    page.select_option("select[name=step]", "1")
    page.click("[data-align=reset]")
    assert state(page)["readout"]["translate"] == pytest.approx([0, 0, 0])
    assert np.allclose(case.matrices[PET], on_record)  # nothing was stored

    # By mouse: inside the ring a drag moves, outside it turns about the pane's centre.
    drag(page, "sagittal", (0.5, 0.5), (0, -24))
    points = "[[0, 0], [0, 1]].map(p => Array.from(window.radfuse.toWorld('sagittal', p)))"
    per_pixel = np.linalg.norm(np.diff(page.evaluate(points), axis=0))
    assert state(page)["readout"]["translate"] == pytest.approx([0, 0, 24 * per_pixel], abs=0.05)
    area = box(page, "axial")
    drag(page, "axial", (0.9, 0.5), (0, 60))
    turned = state(page)["readout"]["degrees"]
    expected = np.degrees(np.arctan2(60, 0.4 * area["width"]))
    assert turned == pytest.approx([0, 0, expected], abs=1)
    page.fill("input[name=remark]", "Breathing")
    page.click("[data-align=save]")
    until(
        page,
        "document.querySelector('.pane[data-pane=axial]').innerText.includes('by hand by Dr')",
        10,
    )
    latest = case.tools.decisions[0]
    assert (latest["decision"], latest["reason"]) == ("nudged", "Breathing")
    delta = case.matrices[PET] @ np.linalg.inv(on_record)
    assert np.degrees(np.arctan2(delta[1, 0], delta[0, 0])) == pytest.approx(turned[2], abs=1e-3)
    assert np.allclose(delta[:3, :3].T @ delta[:3, :3], np.eye(3), atol=1e-9)
    page.click("[data-section=history]")
    page.wait_for_selector(".fusion-panel .history >> text=Aligned by hand")
    assert "Dr Demo, 2026-11-22" in page.inner_text(".fusion-panel .history")


def test_an_affine_alignment_lies_where_its_matrix_puts_it(
    working: Any, served: tuple[str, Case]
) -> None:
    page, case = working, served[1]
    page.keyboard.press("f")
    settle(page)
    plain = canvas(page, "axial")
    page.keyboard.press("f")
    sheared = np.eye(4)
    sheared[:3, :3] = [[1.04, 0.08, 0.0], [0.0, 0.95, 0.03], [0.02, 0.0, 1.05]]
    case.tools.matrix = sheared @ case.tools.computed
    case.place()
    page.evaluate("window.dispatchEvent(new CustomEvent('radfuse:reviewed'))")
    settle(page)
    image = canvas(page, "axial")
    expected = blended(plain, case, world(page, "axial", image.shape), case.tools.matrix)
    middle = np.s_[60:-60, 60:-60]
    assert np.percentile(np.abs(image - expected)[middle], 99) <= 3


def test_landmarks_side_by_side_and_the_fit(working: Any, served: tuple[str, Case]) -> None:
    page, case = working, served[1]
    page.keyboard.press("v")
    until(page, "window.radfuse.state().moving !== null", 5)
    settle(page)
    # The linked cursor: the nodule in the PET's own space, and both coordinates on screen.
    own = carry(np.linalg.inv(case.matrices[PET]), np.array([NODULE]))[0]
    assert state(page)["moving"] == pytest.approx(own, abs=1e-6)
    assert "CT 60.0, −10.0, 12.0 mm" in page.inner_text(".pane[data-pane=axial]")
    words = f"PET {own[0]:.1f}, {own[1]:.1f}, {own[2]:.1f} mm".replace("-", "−")
    assert words in page.inner_text(".pane[data-pane=moving]")
    # The moving series stands upright on its own grid: pixels are its voxels', not the reference's.
    image = picture(page, "moving")
    x, y = page.evaluate(f"window.radfuse.toCanvas('moving', {own.tolist()})")
    assert image[round(y), round(x)].min() > 200  # the hottest spot is white
    at = world(page, "moving", image.shape)
    expected = hot_iron(sampled(case, PET, at, np.eye(4)) / 1000)
    assert np.nanpercentile(np.abs(image - expected), 99) <= 3
    # A click there moves the cursor of the reference through the transform.
    page.keyboard.press("c")
    area = box(page, "moving")
    page.mouse.click(area["x"] + 200, area["y"] + 220)
    there = np.array(page.evaluate("Array.from(window.radfuse.toWorld('moving', [200, 220]))"))
    assert state(page)["focus"] == pytest.approx(carry(case.matrices[PET], there[None])[0], abs=0.1)

    page.keyboard.press("m")
    page.wait_for_selector("[data-landmark=place]")
    truth = rotation(3, (4.0, -6.0, 0.0)) @ case.matrices[PET]
    left, right = box(page, "axial"), box(page, "moving")
    depth = state(page)["snapped"][2]
    for n, (px, py) in enumerate([(40, -30), (-60, 20), (20, 60), (-30, -60)]):
        page.evaluate(f"window.radfuse.goto([{px}, {py}, {depth}])")
        settle(page)
        to = page.evaluate(f"window.radfuse.toCanvas('axial', [{px}, {py}, {depth}])")
        page.mouse.click(left["x"] + to[0], left["y"] + to[1])
        page.wait_for_selector("text=Now the same spot in the moving series.")
        moving = carry(np.linalg.inv(truth), np.array([[px, py, depth]]))[0]
        to = page.evaluate(f"window.radfuse.toCanvas('moving', {moving.tolist()})")
        page.mouse.click(right["x"] + to[0], right["y"] + to[1])
        until(page, f"document.querySelectorAll('[data-pair]').length === {n + 1}", 5)
        assert page.locator("[data-landmark=fit]").is_disabled() == (n < 2)
    listed = case.tools.landmarks()
    assert f"{listed['pairs'][0]['residual_mm']:.1f} mm" in page.inner_text("[data-pair] >> nth=0")
    assert f"Mean {listed['mean_mm']:.1f} mm" in page.inner_text("[data-landmark-summary]")
    page.click("[data-landmark=undo]")
    until(page, "document.querySelectorAll('[data-pair]').length === 3", 5)
    page.click("[data-landmark=fit]")
    page.wait_for_selector("[data-fit]")
    page.wait_for_selector("[data-landmark-summary] >> text=on screen (not saved)")
    settle(page)
    assert "tried, not on record" in page.inner_text(".pane[data-pane=axial] .pane-title")
    assert "Fitted to landmarks, not saved" in page.inner_text(".pane[data-pane=axial]")
    fit = case.tools.fitted()
    assert np.allclose(fit, truth, atol=2.5)  # clicks are whole pixels and voxel planes
    page.click("[data-section=align]")
    page.click("[data-align=save]")
    until(page, "window.radfuse.state().readout === null", 5)
    assert case.tools.decisions[0]["method"] == "landmarks"
    decided = [body for path, body in case.tools.asked if path.endswith("/decision/")]
    assert np.allclose(decided[-1]["matrix"], fit)  # what was seen, for the server to compare
    assert np.allclose(case.matrices[PET], fit)


def test_refine_from_here_is_judged_before_it_counts(
    working: Any, served: tuple[str, Case]
) -> None:
    page, case = working, served[1]
    page.keyboard.press("a")
    page.wait_for_selector(".fusion-panel form.nudge")
    page.keyboard.press("ArrowRight")
    page.click("[data-section=refine]")
    page.wait_for_selector(".fusion-panel >> text=your alignment by hand on screen")
    page.select_option("select[name=model]", "affine")
    page.click("[data-refine=start]")
    page.wait_for_selector("[data-refinement] progress")
    start = case.tools.refinements[0]["start"]["matrix"]
    assert np.array(start)[0, 3] - case.tools.computed[0, 3] == pytest.approx(1)
    finish(page)
    page.click("[data-refine=preview-1]")
    until(page, in_pane("Preview, not accepted: affine refinement"), 5)
    assert case.tools.decisions == []
    page.click("[data-refine=accept-1]")
    until(page, in_pane("refined from hand alignment, accepted by Dr Demo"), 5)
    page.wait_for_selector("text=Accepted, in force")

    # Deformable: its layer replaces the source, marked as deformed; the cursor asks the server.
    page.select_option("select[name=model]", "deformable")
    page.click("[data-refine=start]")
    page.wait_for_selector("[data-refinement='2'] progress")
    finish(page)
    page.click("[data-refine=accept-2]")
    until(page, f"window.radfuse.state().visible.includes({DEFORMED})", 10)
    assert PET not in state(page)["visible"]
    until(page, in_pane("PET deformed: Deformed layer"), 5)
    page.keyboard.press("v")
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    there = np.array([NODULE]) + displacement(np.array([NODULE]))
    own = carry(np.linalg.inv(case.matrices[PET]), there)[0]
    end = time.monotonic() + 5
    while not np.allclose(state(page)["moving"] or 0, own, atol=1e-6):
        assert time.monotonic() < end, "the cursor goes through the deformation"
        time.sleep(0.05)


def in_pane(words: str) -> str:
    return f"document.querySelector('.pane[data-pane=axial]').innerText.includes('{words}')"


def finish(page: Any) -> None:
    """The server's notices make the panel ask again; the mock advances with each question."""
    for _ in range(4):
        page.evaluate(
            "document.body.dispatchEvent(new CustomEvent('radfuse:live-case-1',"
            " {bubbles: true, detail: {kind: 'registration', case: 1}}))"
        )
        settle(page)
    assert page.locator("[data-refinement] progress").count() == 0


def test_what_is_not_registered_is_side_by_side_but_not_linked(
    working: Any, served: tuple[str, Case]
) -> None:
    page = working
    page.click(f"[data-beside-layer='{LOOSE}']")
    until(page, f"window.radfuse.state().beside === {LOOSE}", 5)
    until(page, "window.radfuse.complete", 20)
    settle(page)
    text = page.inner_text(".pane[data-pane=moving]")
    assert "not linked" in text and "Not registered: not fused" in text
    before = state(page)["moving"]
    page.evaluate("window.radfuse.goto([0, 0, 30])")
    settle(page)
    assert state(page)["moving"] == before


def test_the_pane_beside_opens_in_the_plane_it_names(
    working: Any, served: tuple[str, Case]
) -> None:
    page = working
    page.focus(".pane[data-pane=sagittal]")
    page.keyboard.press("v")
    until(page, "window.radfuse.state().moving !== null", 5)
    settle(page)
    assert "Sagittal" in page.inner_text(".pane[data-pane=moving] .pane-title")
    # The whole slice fills the pane: its edges lie near the pane's, not in its middle.
    assert "×1.00" in page.inner_text(".pane[data-pane=moving] .pane-place")
    image = picture(page, "moving")
    lit = np.argwhere(image.max(axis=-1) > 40)
    assert np.ptp(lit, axis=0).max() > 0.3 * min(image.shape[:2])
    page.keyboard.press("v")
    page.focus(".pane[data-pane=axial]")
    page.click(f"[data-beside-layer='{LOOSE}']")
    until(page, f"window.radfuse.state().beside === {LOOSE}", 5)
    settle(page)
    assert "Axial" in page.inner_text(".pane[data-pane=moving] .pane-title")


def test_what_is_decided_is_said_as_it_stands(working: Any, served: tuple[str, Case]) -> None:
    page, case = working, served[1]
    page.click("[data-tab=registration]")
    page.click("[data-registration='3'] >> text=Open")
    page.fill("input[name=reason]", "Wrong patient")
    page.click("[data-decision=rejected]")
    page.wait_for_selector("[data-decision=withdrawn]")
    assert page.input_value("input[name=reason]") == ""  # the next decision has its own
    page.click("[data-section=history]")
    page.wait_for_selector(".history >> text=in force")
    page.click("[data-section=summary]")
    page.click("[data-decision=withdrawn]")
    page.click("[data-section=history]")
    page.wait_for_selector(".history >> text=Decision taken back")
    assert "in force" not in page.inner_text(".fusion-panel .history")
    assert [row["reason"] for row in case.tools.decisions] == ["", "Wrong patient"]


def test_what_a_decision_will_not_do_is_said_above_it(
    working: Any, served: tuple[str, Case]
) -> None:
    page, case = working, served[1]
    case.tools.problem = "The stored deformation is gone; register again."
    case.tools.notices = [
        {"code": "report_keeps_run", "message": "The report was begun with analysis 1.",
         "severity": "warning", "subject": ""},
    ]  # fmt: skip
    page.evaluate("window.dispatchEvent(new CustomEvent('radfuse:reviewed'))")
    page.click("[data-tab=registration]")
    page.click("[data-registration='3'] >> text=Open")
    page.wait_for_selector(".fusion-panel [data-problem] >> text=deformation is gone")
    page.wait_for_selector(".fusion-panel [data-warning] >> text=begun with analysis 1")
    page.wait_for_selector("[data-decision=accepted]")
    page.click(".fusion-panel [data-close]")
    page.click("[data-tab=notices]")
    page.wait_for_selector(".notices-panel >> text=begun with analysis 1")


def test_a_counterpart_that_the_server_does_not_tell_is_said(
    working: Any, served: tuple[str, Case]
) -> None:
    page, case = working, served[1]
    case.tools.refine({"model": "deformable", "matrix": None})
    for _ in range(4):
        case.tools.state()
    case.tools.decide({"decision": "accepted", "refinement": 1})
    page.evaluate("window.dispatchEvent(new CustomEvent('radfuse:reviewed'))")
    until(page, in_pane("PET deformed: Deformed layer"), 10)
    page.route("**/map/", lambda route: route.fulfill(status=503, body=""))
    page.keyboard.press("v")
    page.evaluate("window.radfuse.goto([0, 0, 30])")
    page.wait_for_selector(".pane[data-pane=moving] >> text=the server did not answer")
    assert state(page)["moving"] is None
    page.unroute("**/map/")
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    until(page, "window.radfuse.state().moving !== null", 5)
    settle(page)
    assert "did not answer" not in page.inner_text(".pane[data-pane=moving]")


def test_leaving_with_an_unsaved_alignment_asks(working: Any, served: tuple[str, Case]) -> None:
    page, case = working, served[1]
    page.keyboard.press("a")
    page.wait_for_selector(".fusion-panel form.nudge")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    page.click("[data-leave=stay]")
    assert state(page)["readout"]["translate"] == pytest.approx([1, 0, 0])
    page.click(".fusion-panel [data-close]")
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.click("[data-leave=discard]")
    until(page, "window.radfuse.state().readout === null", 5)
    settle(page)
    assert "Registered" in page.inner_text(".pane[data-pane=axial] .fusion-badge")
    assert case.tools.decisions == []
    page.keyboard.press("a")
    page.wait_for_selector(".fusion-panel form.nudge")
    page.keyboard.press("ArrowRight")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    assert asked == ["beforeunload"]
