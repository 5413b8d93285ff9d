"""Checkerboard, swipe, edges, difference of a registered pair, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.browser.mock_case import CT, PET, Case
from tests.browser.mock_registration import carry
from tests.browser.mock_volumes import NODULE
from tests.browser.registration_page import grey, hot_iron, opened, picture, sampled, world
from tests.browser.viewer_page import box, canvas, settle, state


@pytest.fixture(scope="module")
def comparing(context: Any, served: tuple[str, Case]) -> Iterator[Any]:
    """One page for the comparison modes, which change nothing on the server."""
    page = opened(context, served)
    yield page
    page.close()
    assert page.errors == []


@pytest.fixture
def at_nodule(comparing: Any) -> Iterator[Any]:
    yield comparing
    comparing.focus(".pane[data-pane=axial]")
    comparing.keyboard.press("r")
    comparing.select_option("[data-compare]", "blend")


@pytest.mark.parametrize("pane", ["axial", "coronal"])
def test_checkerboard_shows_tiles_of_both_where_they_belong(
    at_nodule: Any, served: tuple[str, Case], pane: str
) -> None:
    page, case = at_nodule, served[1]
    page.keyboard.press("k")
    page.keyboard.press("+" if pane == "axial" else "-")
    settle(page)
    side = 40 if pane == "axial" else 30
    assert (state(page)["compare"], state(page)["tile"]) == ("checkerboard", side)
    assert f"{side} mm tiles" in page.inner_text(f".pane[data-pane={pane}]")
    image = picture(page, pane)
    at = world(page, pane, image.shape)
    axes = {"axial": (0, 1), "coronal": (0, 2)}[pane]
    grid = case.arrays[CT].shape
    centre = carry(case.affines[CT], (np.array([grid[::-1]]) - 1) / 2)[0]
    down = 1 if pane == "axial" else -1
    across = np.floor((at[..., axes[0]] - centre[axes[0]]) / side)
    below = np.floor(down * (at[..., axes[1]] - centre[axes[1]]) / side)
    moving = (across + below) % 2 == 1
    ct = grey(sampled(case, CT, at, np.eye(4)))
    pet = hot_iron(sampled(case, PET, at, case.matrices[PET]) / 1000)
    expected = np.where(moving[..., None], pet, ct)
    middle = np.s_[
        image.shape[0] // 5 : -image.shape[0] // 5, image.shape[1] // 4 : -image.shape[1] // 4
    ]
    off = np.abs(image - expected).max(axis=-1)[middle]
    assert np.nanpercentile(off, 97) <= 4  # tile borders may differ by a pixel
    for part in (moving, ~moving):
        assert image[middle][part[middle]].std() > 10  # both really show something

    # The tiles stay with the patient: zoomed, each place keeps its layer.
    page.mouse.move(*centre_of(page, pane))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -250)
    page.keyboard.up("Control")
    settle(page)
    zoomed = picture(page, pane)
    near = world(page, pane, zoomed.shape)
    across = np.floor((near[..., axes[0]] - centre[axes[0]]) / side)
    below = np.floor(down * (near[..., axes[1]] - centre[axes[1]]) / side)
    inside = (across + below) % 2 == 1
    pet = hot_iron(sampled(case, PET, near, case.matrices[PET]) / 1000)
    off = np.abs(zoomed - pet).max(axis=-1)[inside]
    assert np.nanpercentile(off, 97) <= 4


def centre_of(page: Any, pane: str) -> tuple[float, float]:
    area = box(page, pane)
    return area["x"] + area["width"] / 2, area["y"] + area["height"] / 2


def test_swipe_divider_follows_mouse_and_keys(at_nodule: Any, served: tuple[str, Case]) -> None:
    page, case = at_nodule, served[1]
    page.keyboard.press("s")
    settle(page)

    def check(fraction: float) -> None:
        image = picture(page, "axial")
        at = world(page, "axial", image.shape)
        ct = grey(sampled(case, CT, at, np.eye(4)))
        pet = hot_iron(sampled(case, PET, at, case.matrices[PET]) / 1000)
        line = round(image.shape[1] * fraction)
        assert np.nanpercentile(np.abs(image - ct)[60:-60, 2 : line - 1], 98) <= 4
        assert np.nanpercentile(np.abs(image - pet)[60:-60, line + 1 : -1], 98) <= 4

    check(0.5)
    handle = page.locator(".pane[data-pane=axial] .swipe")
    area, pane = handle.bounding_box(), box(page, "axial")
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + 40)
    page.mouse.down()
    page.mouse.move(pane["x"] + 0.7 * pane["width"], area["y"] + 40, steps=4)
    page.mouse.up()
    settle(page)
    assert state(page)["divider"] == pytest.approx(0.7, abs=0.01)
    check(state(page)["divider"])
    assert handle.get_attribute("role") == "slider"
    before = state(page)["positions"]
    page.keyboard.press("ArrowLeft")  # the handle has the focus
    page.keyboard.press("ArrowLeft")
    assert state(page)["divider"] == pytest.approx(0.66, abs=0.011)
    assert state(page)["positions"] == before
    assert handle.get_attribute("aria-valuenow") == "66"


def test_edges_of_the_moving_layer_lie_on_the_reference(at_nodule: Any) -> None:
    page = at_nodule
    page.keyboard.press("f")
    settle(page)
    plain = canvas(page, "axial")
    page.keyboard.press("f")
    page.keyboard.press("g")
    settle(page)
    image = picture(page, "axial")
    edge = np.all(np.abs(image - [64, 224, 255]) < 40, axis=-1)
    assert np.abs(image - plain)[~edge].mean() < 1  # the reference is untouched between them
    x, y = page.evaluate(f"window.radfuse.toCanvas('axial', {list(NODULE)})")
    rows, columns = np.nonzero(edge)
    mm = abs(np.diff(world(page, "axial", image.shape)[0, :2, 0])[0])
    away = np.hypot(rows - y, columns - x) * mm
    ring = (away > 4) & (away < 16)
    assert ring.sum() > 20  # the hot nodule is outlined ...
    assert not np.any(away < 3)  # ... and not filled
    few = edge.sum()
    for _ in range(4):
        page.keyboard.press("+")
    settle(page)
    image = picture(page, "axial")
    assert np.all(np.abs(image - [64, 224, 255]) < 40, axis=-1).sum() > 1.05 * few


def test_difference_says_what_it_is_worth(at_nodule: Any, served: tuple[str, Case]) -> None:
    page, case = at_nodule, served[1]
    page.keyboard.press("d")
    settle(page)
    text = page.inner_text(".pane[data-pane=axial]")
    assert "CT and PT differ in contrast" in text and "Orange: CT brighter" in text
    image = picture(page, "axial")
    at = world(page, "axial", image.shape)
    ct = np.clip((sampled(case, CT, at, np.eye(4)) + 160) / 400, 0, 1)
    pet = np.clip(sampled(case, PET, at, case.matrices[PET]) / 5000, 0, 1)
    d = (ct - pet)[..., None]
    shade = np.where(d > 0, [255, 158, 66], [92, 172, 255])
    expected = 16 + (shade - 16) * np.abs(d)
    middle = np.s_[60:-60, 60:-60]
    assert np.nanpercentile(np.abs(image - expected)[middle], 98) <= 3
    page.select_option("[data-compare]", "blend")
    settle(page)
    assert state(page)["compare"] == "blend"
    assert page.locator(".pane[data-pane=axial] .pane-compare").is_hidden()
