"""Helpers of the viewer's browser tests: waiting, the canvas, the mouse, the viewer's own state."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import numpy as np
from PIL import Image


def until(page: Any, expression: str, seconds: float = 60) -> None:
    """Waits for a JavaScript expression (polled from here: the CSP forbids eval in the page)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if page.evaluate(expression):
            return
        time.sleep(0.05)
    raise AssertionError(f"not true within {seconds} s: {expression}")


def canvas(page: Any, pane: str) -> np.ndarray:
    """The pane's image without marks, [y, x, rgb] 0..255, device pixels."""
    data = page.evaluate(f"window.radfuse.canvas('{pane}').toDataURL('image/png')")
    image = Image.open(io.BytesIO(base64.b64decode(data.split(",", 1)[1])))
    return np.asarray(image.convert("RGB"), dtype=float)


def settle(page: Any) -> None:
    time.sleep(0.5)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixel(image: np.ndarray, page: Any, pane: str, lps: tuple[float, ...]) -> np.ndarray:
    x, y = page.evaluate(f"window.radfuse.toCanvas('{pane}', {list(lps)})")
    return image[round(y), round(x)]


def state(page: Any) -> dict[str, Any]:
    return page.evaluate("window.radfuse.state()")


def box(page: Any, pane: str) -> dict[str, float]:
    return page.query_selector(f".pane[data-pane={pane}]").bounding_box()


def drag(
    page: Any, pane: str, start: tuple[float, float], by: tuple[float, float], button: str = "left"
) -> None:
    area = box(page, pane)
    x, y = area["x"] + start[0] * area["width"], area["y"] + start[1] * area["height"]
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.mouse.move(x + by[0], y + by[1], steps=5)
    page.mouse.up(button=button)
