"""The viewer island in headless Chromium against the mock server: pixels, tools, resume."""

from __future__ import annotations

import base64
import io
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

sync_api = pytest.importorskip("playwright.sync_api")
uvicorn = pytest.importorskip("uvicorn")

from tests.browser.mock_server import CT, DIST, NODULE, PET, App, Case  # noqa: E402

CHROMIUM = os.environ.get("RADFUSE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-gl=angle --use-angle=swiftshader "
    "--enable-unsafe-swiftshader"
).split()


def _need(present: bool, what: str) -> None:
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Case]]:
    _need((DIST / "manifest.json").is_file(), "frontend/dist (npm run build)")
    case = Case(size=128, slices=60)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(App(case), port=port, ws="websockets-sansio", ws_per_message_deflate=False, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/", case
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    _need(CHROMIUM is not None, "chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def until(page: Any, expression: str, seconds: float = 60) -> None:
    """Waits for a JavaScript expression (polled from here: the CSP forbids eval in the page)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if page.evaluate(expression):
            return
        time.sleep(0.05)
    raise AssertionError(f"not true within {seconds} s: {expression}")


@pytest.fixture
def page(chromium: Any, served: tuple[str, Case]) -> Iterator[Any]:
    url, case = served
    case.measurements, case.reviews, case.decision, case.opens = [], {}, None, []
    case.drop_after, case.delay = 0, 0.0
    context = chromium.new_context(viewport={"width": 1600, "height": 950})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None)
    page.goto(url)
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")
    yield page
    context.close()
    assert errors == []


def canvas(page: Any, pane: str) -> np.ndarray:
    """The pane's image without marks, [y, x, rgb] 0..255, device pixels."""
    from PIL import Image

    data = page.evaluate(f"window.radfuse.canvas('{pane}').toDataURL('image/png')")
    image = Image.open(io.BytesIO(base64.b64decode(data.split(",", 1)[1])))
    return np.asarray(image.convert("RGB"), dtype=float)


def settle(page: Any) -> None:
    time.sleep(0.5)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixel(image: np.ndarray, page: Any, pane: str, lps: tuple[float, ...]) -> np.ndarray:
    x, y = page.evaluate(f"window.radfuse.toCanvas('{pane}', {list(lps)})")
    return image[round(y), round(x)]


def voxel_centres(case: Case, rng: np.random.Generator, k: int, count: int) -> list[tuple[float, ...]]:
    ny, nx = case.arrays[CT].shape[1:]
    picks = zip(rng.integers(24, nx - 24, count), rng.integers(30, ny - 30, count), strict=True)
    return [tuple((case.affines[CT] @ [i, j, k, 1])[:3]) for i, j in picks]


def linear(array: np.ndarray, inverse: np.ndarray, lps: tuple[float, ...]) -> float:
    """Trilinear sample of an array [z, y, x] at an LPS point."""
    from scipy.ndimage import map_coordinates

    i, j, k = (inverse @ [*lps, 1.0])[:3]
    return float(map_coordinates(array.astype(float), [[k], [j], [i]], order=1, mode="nearest")[0])


def drawn_points(page: Any, pane: str, image: np.ndarray, count: int) -> list[tuple[int, int, tuple[float, ...]]]:
    """Random device pixels with the LPS of their centres (canvas pixel + 0.5)."""
    rng = np.random.default_rng(3)
    height, width = image.shape[:2]
    ratio = width / page.evaluate(f"window.radfuse.canvas('{pane}').clientWidth")
    result = []
    for _ in range(count):
        x, y = int(rng.integers(width * 0.25, width * 0.75)), int(rng.integers(height * 0.25, height * 0.75))
        lps = page.evaluate(f"Array.from(window.radfuse.toWorld('{pane}', [{(x + 0.5) / ratio}, {(y + 0.5) / ratio}]))")
        result.append((x, y, tuple(lps)))
    return result


@pytest.mark.parametrize("pane", ["axial", "sagittal", "coronal"])
def test_reference_pixels_follow_the_window_formula(page: Any, served: tuple[str, Case], pane: str) -> None:
    case = served[1]
    page.keyboard.press("f")  # fusion off
    page.keyboard.press("x")
    settle(page)
    image = canvas(page, pane)
    inverse = np.linalg.inv(case.affines[CT])
    differences = []
    for x, y, lps in drawn_points(page, pane, image, 300):
        hu = linear(case.arrays[CT], inverse, lps)
        expected = 255 * min(max((hu - (40 - 200)) / 400, 0), 1)
        differences.append(abs(image[y, x, 0] - expected))
    assert np.percentile(differences, 99) <= 3, np.sort(differences)[-10:]
    assert image.std() > 20


def test_rotated_pet_lies_where_its_registration_puts_it(page: Any, served: tuple[str, Case]) -> None:
    case = served[1]
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    page.keyboard.press("e")  # AI off
    settle(page)
    fused = canvas(page, "axial")
    page.keyboard.press("f")
    settle(page)
    plain = canvas(page, "axial")
    carried = np.linalg.inv(case.matrices[PET] @ case.affines[PET])
    differences = []
    for x, y, lps in drawn_points(page, "axial", fused, 300):
        suv = linear(case.arrays[PET], carried, lps) / 1000
        t = min(max(suv / 5, 0), 1)
        red, green = min(t / 0.5, 1), min(max((t - 0.5) / 0.25 * 0.5, 0), 0.5) + max((t - 0.75) / 0.5, 0)
        alpha = 0.5 * min(t / 0.2, 1)
        for channel, value in ((0, red), (1, green)):
            expected = (1 - alpha) * plain[y, x, channel] + alpha * value * 255
            differences.append(abs(fused[y, x, channel] - expected))
    assert np.percentile(differences, 99) <= 3, np.sort(differences)[-10:]
