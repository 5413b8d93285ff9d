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


@pytest.fixture(scope="module")
def context(chromium: Any) -> Iterator[Any]:
    """One browser profile for all tests: its code cache makes later pages start faster."""
    context = chromium.new_context(viewport={"width": 1600, "height": 950})
    yield context
    context.close()


@pytest.fixture
def page(context: Any, served: tuple[str, Case]) -> Iterator[Any]:
    url, case = served
    case.measurements, case.reviews, case.decision, case.opens = [], {}, None, []
    case.drop_after, case.delay = 0, 0.0
    page = context.new_page()
    page.add_init_script("if (!sessionStorage.kept) { localStorage.clear(); sessionStorage.kept = 1; }")
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None)
    page.goto(url)
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")
    yield page
    page.close()
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


def state(page: Any) -> dict[str, Any]:
    return page.evaluate("window.radfuse.state()")


def box(page: Any, pane: str) -> dict[str, float]:
    return page.query_selector(f".pane[data-pane={pane}]").bounding_box()


def drag(page: Any, pane: str, start: tuple[float, float], by: tuple[float, float], button: str = "left") -> None:
    area = box(page, pane)
    x, y = area["x"] + start[0] * area["width"], area["y"] + start[1] * area["height"]
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.mouse.move(x + by[0], y + by[1], steps=5)
    page.mouse.up(button=button)


def test_mouse_and_keys_do_what_readers_expect(page: Any) -> None:
    before = state(page)
    drag(page, "axial", (0.3, 0.5), (50, 0))
    wider = state(page)["layers"][str(CT)]
    assert wider["width"] > before["layers"][str(CT)]["width"]
    assert wider["centre"] == before["layers"][str(CT)]["centre"]
    page.keyboard.press("2")
    assert (state(page)["layers"][str(CT)]["width"], state(page)["layers"][str(CT)]["centre"]) == (1500, -600)

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
    span = "(a => Math.hypot(a[0][0] - a[1][0], a[0][1] - a[1][1]))([[0,0,0],[50,0,0]].map(p => window.radfuse.toCanvas('axial', p)))"
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
        return "".join(page.inner_text(f".pane[data-pane={pane}] .pane-letter--{edge}") for edge in ("left", "right", "top", "bottom"))

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
    until(page, "document.querySelector('[data-tab=measures]').textContent === 'Measurements 1'", 10)
    stored = case.measurements[0]
    per_pixel = abs(page.evaluate("window.radfuse.toWorld('axial', [1, 0])[0] - window.radfuse.toWorld('axial', [0, 0])[0]"))
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
    until(page, "document.querySelector('[data-tab=measures]').textContent === 'Measurements 2'", 10)


def test_finding_is_reached_and_accepted_and_the_page_hears_of_it(page: Any, served: tuple[str, Case]) -> None:
    page.evaluate("window.heard = []; window.addEventListener('radfuse:review', e => window.heard.push(e.detail))")
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
    until(page, "document.querySelector('.findings-panel').innerText.includes('Part-solid nodule')", 10)
    assert served[1].reviews[5]["state"] == "edited"


def test_a_rejected_registration_is_no_longer_fused(page: Any, served: tuple[str, Case]) -> None:
    assert PET in state(page)["visible"]
    page.click(".pane[data-pane=axial] .fusion-badge[data-fusion=registered]")
    assert "Mattes" in page.inner_text(".fusion-panel")
    page.fill(".fusion-panel input[type=text]", "Shifted by breathing")
    page.click(".fusion-panel [data-decision=rejected]")
    until(page, f"!window.radfuse.state().visible.includes({PET})", 15)
    assert served[1].decision["reason"] == "Shifted by breathing"
    until(page, f"!document.querySelector('.pane .fusion-badge[data-layer=\"{PET}\"]')", 10)
    page.click(".fusion-panel >> text=Back")
    page.click(f"[data-alone='{PET}']")
    until(page, f"window.radfuse.state().visible.join() === '{PET}'", 10)
    until(page, "document.querySelector('.pane[data-pane=axial]').innerText.includes('nothing fused')", 10)
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
    page.fill("input[name=tx]", "40")
    settle(page)
    assert canvas(page, "axial")[y, x, 1] < hot - 15  # The nodule's uptake has moved away.
    assert np.array_equal(case.matrices[PET], before)
    page.click("text=Store nudge")
    until(page, "document.querySelector('.fusion-panel')?.innerText.includes('nudged by Dr Demo') ?? false", 15)
    assert np.allclose(case.matrices[PET][:3, 3] - before[:3, 3], [40, 0, 0], atol=1e-6)
    case.matrices[PET] = before


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
    case.drop_after, case.delay = 90, 0.01
    page.reload()
    until(page, "Boolean(window.radfuse && window.radfuse.complete)", 90)
    assert len(case.opens) == 2
    first, second = case.opens
    assert first["have"] == {}
    held = sum(high - low + 1 for levels in second["have"].values() for ranges in levels.values() for low, high in ranges)
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
      for (let p = 0; p < d.length; p += 4) n += d[p + 3] > 200 && d[p] < 90 && d[p + 2] > d[p] + 30;
      return n / (c.width * c.height); })()"""
    until(page, f"{marked} > 0.3", 30)
    assert "Coarse preview" in page.inner_text(".pane[data-pane=coronal]")
    case.delay = 0
    until(page, "window.radfuse.complete", 60)
    settle(page)
    assert page.evaluate(marked) < 0.02
    assert "Coarse preview" not in page.inner_text(".pane[data-pane=coronal]")


def test_without_webgl_the_page_says_what_to_do(chromium: Any, served: tuple[str, Case]) -> None:
    context = chromium.new_context()
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page = context.new_page()
    page.goto(served[0])
    page.wait_for_selector(".viewer-message")
    assert "WebGL 2" in page.inner_text(".viewer-message")
    context.close()
