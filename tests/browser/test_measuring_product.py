"""One mark through the real product: Chromium, web server, stored volumes. The number on the image
is the server's, and the server's is numpy's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.analyzing.results import ramp
from tests.browser.conftest import CHROMIUM, DIST, FLAGS, need
from tests.browser.viewer_page import box, settle, until
from tests.reading.house import INSIDE

sync_api = pytest.importorskip("playwright.sync_api")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
def opened() -> Iterator[tuple[Any, int]]:
    """The case page of a reader who holds the case, and the case's number."""
    need(CHROMIUM is not None, "Chromium")
    need((DIST / "manifest.json").is_file(), "frontend/dist (npm run build)")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RADFUSE_", "DJANGO_"))}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.browser.reading_server"],
        cwd=ROOT, env=clean, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        assert line, "the server did not start"
        told = json.loads(line)
        with sync_api.sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            context = browser.new_context(
                base_url=told["origin"], viewport={"width": 1600, "height": 950}
            )
            context.add_cookies(
                [{"name": told["cookie"], "value": told["session"], "url": told["origin"]}]
            )
            page = context.new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(f"/cases/{told['case']}/")
            until(page, "Boolean(window.radfuse && window.radfuse.complete)")
            yield page, told["case"]
            assert errors == []
            browser.close()
    finally:
        server.terminate()
        server.wait(20)


def test_an_ellipse_says_what_the_voxels_say(opened: tuple[Any, int]) -> None:
    page, case = opened
    view = page.request.get(f"/api/cases/{case}/view/").json()
    ct = next(layer for layer in view["layers"] if layer["label"] == "CT")
    affine = np.array(ct["affine"])
    page.keyboard.press("o")
    page.click(".layout-card[data-protocol=mpr]")
    page.wait_for_selector(".pane[data-pane=axial] canvas")
    page.evaluate(f"window.radfuse.goto({INSIDE})")
    settle(page)
    area = box(page, "axial")

    def at(i: float, j: float) -> tuple[float, float]:
        lps = [float(v) for v in (affine @ [i, j, 1, 1])[:3]]
        x, y = page.evaluate(f"window.radfuse.toCanvas('axial', {lps})")
        return area["x"] + x, area["y"] + y

    page.keyboard.press("Shift+E")
    page.mouse.move(*at(0.6, 0.7))
    page.mouse.down()
    page.mouse.move(*at(4.4, 3.3), steps=5)
    page.mouse.up()
    label = page.locator(".pane[data-pane=axial] .mark-label[data-state=stored]")
    label.wait_for(timeout=15_000)
    words = label.inner_text()

    [stored] = page.request.get(f"/api/cases/{case}/measurements/").json()["measurements"]
    centre, one, two = (np.array(point) for point in stored["points"])
    k, j, i = np.indices(ramp().shape)
    places = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    away = places - centre
    u, v = one - centre, two - centre
    inside = (away @ u / (u @ u)) ** 2 + (away @ v / (v @ v)) ** 2 <= 1
    values = ramp()[inside & (k == 1)].astype(float)
    assert values.size >= 6
    told = {v["name"]: v for v in stored["values"] if v["layer"] == ct["id"]}
    assert told["mean"]["voxels"] == values.size
    assert told["mean"]["value"] == pytest.approx(values.mean())
    assert told["max"]["value"] == values.max()
    # On screen stand exactly the server's words.
    for name in ("mean", "max"):
        assert told[name]["text"].split(" ")[0] in words, (name, words)
    assert "HU" in words and stored["name"] in words

    page.keyboard.press("Delete")
    until(page, "!document.querySelector('.mark-label')", 10)
    page.keyboard.press("Control+z")
    label.wait_for(timeout=15_000)
    assert told["mean"]["text"] in label.inner_text()
    [again] = page.request.get(f"/api/cases/{case}/measurements/").json()["measurements"]
    assert again["values"] == stored["values"] and again["number"] == stored["number"]
