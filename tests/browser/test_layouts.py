"""Hanging protocols, planes, projections and cameras in headless Chromium."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn

from tests.browser.conftest import need
from tests.browser.mock_case import CT, PET
from tests.browser.mock_layouts import KINDS, KindCase
from tests.browser.mock_server import DIST, App
from tests.browser.mock_volumes import NODULE
from tests.browser.viewer_page import box, canvas, settle, state, until

PANES = {
    "stroke": ["brain", "stroke", "cta", "cta-coronal"],
    "heart": ["heart-axial", "heart-sagittal", "heart-coronal", "lge"],
    "glioma": ["t1c", "flair", "t2", "fourth"],
    "glioma-pet": ["t1c", "flair", "t2", "fourth", "pet", "fused"],
    "prior": ["current", "earlier", "current-coronal", "earlier-coronal"],
    "pet-ct": ["ct", "fused", "pet", "mip"],
    "mpr": ["axial", "sagittal", "coronal"],
}


@pytest.fixture(scope="module")
def kinds() -> Iterator[tuple[str, KindCase]]:
    need((DIST / "manifest.json").is_file(), "frontend/dist (npm run build)")
    case = KindCase()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            App(case), port=port, ws="websockets-sansio", ws_per_message_deflate=False,
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
def case(kinds: tuple[str, KindCase]) -> KindCase:
    kinds[1].reset()
    return kinds[1]


@pytest.fixture
def look(chromium: Any, kinds: tuple[str, KindCase]) -> Iterator[Any]:
    """Opens the case as a new reader; console errors fail the test."""
    contexts: list[Any] = []
    problems: list[str] = []

    def open_case(complete: bool = True) -> Any:
        context = chromium.new_context(viewport={"width": 1400, "height": 860})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(kinds[0])
        if complete:
            until(page, "Boolean(window.radfuse && window.radfuse.complete)")
            settle(page)
        return page

    yield open_case
    for context in contexts:
        context.close()
    assert problems == []


def complete(page: Any) -> None:
    until(page, "Boolean(window.radfuse.complete)")
    settle(page)


def panes_of(page: Any) -> dict[str, Any]:
    return {pane["id"]: pane for pane in state(page)["panes"]}


def letters(page: Any, pane: str) -> list[str]:
    return [
        page.inner_text(f".pane[data-pane='{pane}'] .pane-letter--{edge}")
        for edge in ("left", "right", "top", "bottom")
    ]


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_case_of_each_kind_opens_in_its_protocol(case: KindCase, look: Any, kind: str) -> None:
    case.kind = kind
    page = look()
    now = state(page)
    assert now["protocol"] == kind
    assert [pane["id"] for pane in now["panes"]] == PANES[kind]
    for pane in PANES[kind]:
        assert page.is_visible(f".pane[data-pane='{pane}']"), pane
        assert canvas(page, pane).std() > 8, pane  # there is a picture
        assert all(letters(page, pane)), pane
    bases = {pane["id"]: pane["base"] for pane in now["panes"]}
    wanted = {layer for layer, *_ in KINDS[kind][1]}
    assert set(bases.values()) == wanted


def test_the_reader_chooses_and_the_choice_is_kept(case: KindCase, look: Any) -> None:
    page = look()
    page.keyboard.press("o")
    assert page.locator(".layout-card").count() == 4
    page.click("[data-protocol=pet-ct-planes]")
    complete(page)
    assert state(page)["protocol"] == "pet-ct-planes"
    assert page.locator(".pane:visible").count() == 10
    end = time.monotonic() + 10
    while case.preferences.get("viewer.layouts") != {"lung": "pet-ct-planes"}:
        assert time.monotonic() < end, case.preferences
        time.sleep(0.05)
    page.keyboard.press("Shift+Digit3")
    complete(page)
    assert state(page)["protocol"] == "mpr"
    page.reload()
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")
    assert state(page)["protocol"] == "mpr"  # this case: as it was left
    case.preferences = {"viewer.layouts": {"lung": "one"}}
    assert state(look())["protocol"] == "one"  # another computer: as kept for such cases


def test_one_pane_and_back_changes_nothing_else(case: KindCase, look: Any) -> None:
    page = look()
    page.keyboard.press("2")
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    area = box(page, "pet")
    page.mouse.move(area["x"] + 120, area["y"] + 120)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    settle(page)
    before = state(page)
    frame = "[[0, 0, 0], [40, 30, 0]].map(p => window.radfuse.toCanvas('pet', p))"
    drawn = page.evaluate(frame)
    for pane in ("pet", "mip", "ct"):
        area = box(page, pane)
        for _ in range(2):
            page.mouse.dblclick(area["x"] + area["width"] / 2, area["y"] + area["height"] * 0.12)
            settle(page)
            seen = "all => all.map(e => e.dataset.pane)"
            shown = page.locator(".pane:visible").evaluate_all(seen)
            assert shown == ([pane] if state(page)["layout"] == pane else PANES["pet-ct"])
    after = state(page)
    for key in ("focus", "positions", "layers", "panes", "protocol", "tool", "layout", "mip"):
        assert after[key] == before[key], key
    assert np.allclose(page.evaluate(frame), drawn, atol=0.6)


def test_the_pet_pane_is_the_pet_on_the_references_plane(case: KindCase, look: Any) -> None:
    page = look()
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    settle(page)
    at = {
        pane: page.evaluate(f"window.radfuse.toCanvas('{pane}', {list(NODULE)})")
        for pane in ("ct", "pet")
    }
    assert np.allclose(at["ct"], at["pet"], atol=0.01)  # one plane, one zoom
    image = canvas(page, "pet")
    x, y = (round(v) for v in at["pet"])
    assert image[y, x].max() < 40  # hot is black
    assert np.ptp(image[y, x]) == 0  # and without colour
    # Its window is that of the layer: fused and alone are the same numbers.
    area = box(page, "pet")
    page.mouse.click(area["x"] + 40, area["y"] + 100)
    page.select_option("select[aria-label='Window preset']", "2")
    settle(page)
    assert state(page)["layers"][str(PET)]["width"] == 10
    assert "W 10.0" in page.inner_text(".pane[data-pane=pet]")
    assert "W 10.0" in page.inner_text(".pane[data-pane=fused]")
    assert "W 400" in page.inner_text(".pane[data-pane=ct]")
    # Inverting it here does not turn the fused colours.
    page.keyboard.press("i")
    settle(page)
    assert state(page)["layers"][str(PET)]["invert"] is False
    assert canvas(page, "pet")[y, x].max() > 120


def test_a_pet_that_is_not_registered_stands_alone_and_unlinked(case: KindCase, look: Any) -> None:
    case.loose = True
    page = look()
    panes = panes_of(page)
    assert panes["pet"]["linked"] is False
    assert all(PET not in pane["overlays"] for pane in panes.values())
    assert panes["fused"]["overlays"] and panes["pet"]["overlays"] == []
    assert "not fused" in page.inner_text(".pane[data-pane=pet]").lower()
    before = state(page)
    area = box(page, "pet")
    page.mouse.move(area["x"] + 100, area["y"] + 100)
    page.mouse.wheel(0, 120)
    page.keyboard.press("c")
    page.mouse.click(area["x"] + 90, area["y"] + 120)
    settle(page)
    after = state(page)
    assert after["focus"] == before["focus"]
    assert after["positions"]["pet"] == before["positions"]["pet"] + 1
    assert after["positions"]["ct"] == before["positions"]["ct"]


def test_the_mip_turns_and_a_click_finds_the_hottest_voxel(case: KindCase, look: Any) -> None:
    page = look()
    area = box(page, "mip")
    page.mouse.move(area["x"] + 80, area["y"] + 60)
    for angle in (5, 10, 15):
        page.mouse.wheel(0, 120)
        settle(page)
        assert state(page)["mip"]["angle"] == angle
    assert "turned 15" in page.inner_text(".pane[data-pane=mip]")
    volume = case.arrays[PET]
    k, j, i = np.unravel_index(int(volume.argmax()), volume.shape)
    carried = case.matrices[PET] @ case.affines[PET]
    hottest = (carried @ [i, j, k, 1.0])[:3]
    at = page.evaluate(f"window.radfuse.toCanvas('mip', {hottest.tolist()})")
    page.mouse.click(area["x"] + at[0], area["y"] + at[1])
    settle(page)
    assert np.allclose(state(page)["focus"], hottest, atol=1e-6)
    # A double click beside the patient, later: the crosshair stays where it is by now.
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    page.wait_for_timeout(600)
    for _ in range(2):
        page.mouse.dblclick(area["x"] + 6, area["y"] + area["height"] / 2)
        settle(page)
        assert np.allclose(state(page)["focus"], NODULE)
    page.click(".mip-cine")
    until(page, "window.radfuse.state().mip.angle > 25", 20)
    page.click(".mip-cine")


def test_a_slab_shows_the_maximum_of_its_slices(case: KindCase, look: Any) -> None:
    case.kind = "mpr"
    page = look()
    page.keyboard.press("e")
    page.keyboard.press("x")
    page.click(".pane[data-pane=axial]")
    page.keyboard.press("Shift+M")
    settle(page)
    assert "MIP" in page.inner_text(".pane[data-pane=axial]")
    image = canvas(page, "axial")
    k = round((np.linalg.inv(case.affines[CT]) @ [*state(page)["snapped"], 1.0])[2])
    volume = case.arrays[CT].astype(float)
    sides = {"MIP 15": 2, "MIP 9": 1, "MIP 21": 3}
    text = page.inner_text(".pane[data-pane=axial] .pane-title")
    side = next(n for words, n in sides.items() if words in text)
    highest = volume[k - side : k + side + 1].max(axis=0)
    differences = []
    for j in range(8, 56, 3):
        for i in range(8, 56, 3):
            lps = (case.affines[CT] @ [i, j, k, 1.0])[:3].tolist()
            x, y = page.evaluate(f"window.radfuse.toCanvas('axial', {lps})")
            column, row = round(x - 0.5), round(y - 0.5)
            around = image[row, column, 0]
            expected = 255 * np.clip((highest[j, i] + 160) / 400, 0, 1)
            differences.append(abs(around - expected))
    # The nearest screen pixel lies up to half a pixel from the voxel's centre.
    assert np.median(differences) < 6
    page.keyboard.press("Shift+M")
    settle(page)
    assert "MinIP" in page.inner_text(".pane[data-pane=axial] .pane-title")
    assert canvas(page, "axial").mean() < image.mean()


def test_letters_follow_the_camera(case: KindCase, look: Any) -> None:
    case.kind = "mpr"
    page = look()
    page.click(".pane[data-pane=axial]")
    assert letters(page, "axial") == ["R", "L", "A", "P"]
    page.keyboard.press("h")
    settle(page)
    assert letters(page, "axial") == ["L", "R", "A", "P"]
    x = [page.evaluate(f"window.radfuse.toCanvas('axial', [{v}, 0, 0])")[0] for v in (-50, 50)]
    assert x[0] > x[1]  # and so does the picture
    page.keyboard.press("Shift+ArrowRight")
    settle(page)
    assert letters(page, "axial") == ["P", "A", "L", "R"]
    page.click("[data-action=planes]")
    page.click("[data-action=straighten]")
    settle(page)
    assert letters(page, "axial") == ["R", "L", "A", "P"]


def test_patient_planes_are_straight_whatever_the_gantry(case: KindCase, look: Any) -> None:
    case.kind, case.tilted = "mpr", True
    page = look()
    assert letters(page, "axial") == ["R", "L", "AF", "PH"]
    page.keyboard.press("Shift+V")
    settle(page)
    assert letters(page, "axial") == ["R", "L", "A", "P"]
    assert "patient planes" in page.inner_text(".pane[data-pane=axial] .pane-title")
    before = state(page)["focus"]
    area = box(page, "axial")
    page.mouse.move(area["x"] + 100, area["y"] + 100)
    page.mouse.wheel(0, 120)
    moved = np.subtract(state(page)["focus"], before)
    assert moved[2] < 0 and np.allclose(moved[:2], 0)  # straight towards the feet
    a, b = (
        page.evaluate(f"Array.from(window.radfuse.toWorld('axial', {at}))")
        for at in ([10, 10], [200, 150])
    )
    assert a[2] == pytest.approx(b[2], abs=1e-6)


def test_an_oblique_plane_is_turned_by_its_handle(case: KindCase, look: Any) -> None:
    case.kind = "mpr"
    page = look()
    page.keyboard.press("Shift+X")
    page.focus(".pane[data-pane=axial] .tilt-grip")
    for _ in range(6):
        page.keyboard.press("ArrowLeft")  # 30 degrees
    settle(page)
    assert letters(page, "axial") == ["R", "L", "A", "P"]
    # Anticlockwise as seen from the feet: the plane's right goes from L towards A.
    assert letters(page, "coronal")[:2] == ["RP", "LA"]
    assert "oblique" in page.inner_text(".pane[data-pane=coronal] .pane-title")
    a, b = (
        page.evaluate(f"Array.from(window.radfuse.toWorld('coronal', {at}))")
        for at in ([0, 50], [100, 50])
    )
    along = np.subtract(b, a) / np.linalg.norm(np.subtract(b, a))
    assert np.allclose(along, [np.cos(np.pi / 6), -np.sin(np.pi / 6), 0], atol=1e-4)
    page.click("[data-action=planes]")
    page.click("text=Straighten all")
    settle(page)
    assert letters(page, "coronal")[:2] == ["R", "L"]


def test_zoom_follows_in_the_same_plane_and_can_be_let_go(case: KindCase, look: Any) -> None:
    page = look()
    span = """pane => (([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]))(
      [[0, 0, 0], [50, 0, 0]].map(p => window.radfuse.toCanvas(pane, p)))"""
    length = page.evaluate(span, "ct")
    area = box(page, "ct")
    page.mouse.move(area["x"] + 100, area["y"] + 100)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    settle(page)
    assert page.evaluate(span, "ct") > 1.5 * length
    assert page.evaluate(span, "pet") == pytest.approx(page.evaluate(span, "ct"), rel=1e-3)
    page.click("[data-action=planes]")
    page.uncheck("[data-link=camera]")
    page.mouse.move(area["x"] + 100, area["y"] + 100)
    page.keyboard.down("Control")
    page.mouse.wheel(0, 300)
    page.keyboard.up("Control")
    settle(page)
    assert page.evaluate(span, "pet") > 1.5 * page.evaluate(span, "ct")


def test_images_of_another_patient_are_not_drawn(case: KindCase, look: Any) -> None:
    case.other_patient = True
    page = look(complete=False)
    page.wait_for_selector(".viewer-message")
    assert "not the patient of this page" in page.inner_text(".viewer-message")
    assert page.query_selector(".pane") is None
