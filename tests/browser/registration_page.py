"""Helpers of the registration tools' browser tests: pictures, what they must show, an open page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from tests.browser.mock_case import Case
from tests.browser.mock_registration import carry
from tests.browser.mock_volumes import NODULE
from tests.browser.viewer_page import settle, until

Array = np.ndarray[Any, Any]


def picture(page: Any, pane: str) -> Array:
    """A pane's image with what a comparison draws over it, without marks."""
    data = page.evaluate(f"window.radfuse.canvas('{pane}', true).toDataURL('image/png')")
    image = Image.open(io.BytesIO(base64.b64decode(data.split(",", 1)[1])))
    return np.asarray(image.convert("RGB"), dtype=float)


def world(page: Any, pane: str, shape: tuple[int, ...]) -> Array:
    """LPS of every pixel's centre, [y, x, 3]: the mapping is affine."""
    corners = "[[.5, .5], [100.5, .5], [.5, 100.5]]"
    o, u, v = np.array(
        page.evaluate(f"{corners}.map(p => Array.from(window.radfuse.toWorld('{pane}', p)))")
    )
    y, x = np.mgrid[: shape[0], : shape[1]]
    return o + x[..., None] * (u - o) / 100 + y[..., None] * (v - o) / 100


def sampled(case: Case, layer: int, points: Array, matrix: Array) -> Array:
    """Trilinear stored numbers at points of the reference; NaN outside the voxel edges."""
    shape = case.arrays[layer].shape
    ijk = carry(np.linalg.inv(matrix @ case.affines[layer]), points.reshape(-1, 3))
    value = map_coordinates(
        case.arrays[layer].astype(np.float32), ijk.T[::-1], order=1, mode="nearest"
    )
    counts = np.array(shape[::-1])
    value[np.any((ijk < -0.5) | (ijk > counts - 0.5), axis=1)] = np.nan
    return value.reshape(points.shape[:2])


def hot_iron(suv: Array) -> Array:
    t = np.clip(suv / 5, 0, 1)
    return 255 * np.stack(
        [
            np.minimum(t / 0.5, 1),
            np.clip((t - 0.5) / 0.25 * 0.5, 0, 0.5) + np.clip((t - 0.75) / 0.5, 0, 0.5),
            np.clip((t - 0.75) / 0.25, 0, 1),
        ],
        axis=-1,
    )


def grey(hu: Array) -> Array:
    return np.repeat(255 * np.clip((hu + 160) / 400, 0, 1)[..., None], 3, axis=-1)


def opened(context: Any, served: tuple[str, Case]) -> Any:
    """A page at the nodule, AI off, as `page` of conftest makes one for each test."""
    served[1].reset()
    page = context.new_page()
    page.add_init_script(
        "if (!sessionStorage.kept) { localStorage.clear(); sessionStorage.kept = 1; }"
    )
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(served[0])
    until(page, "Boolean(window.radfuse && window.radfuse.complete)")
    page.evaluate(f"window.radfuse.goto({list(NODULE)})")
    page.keyboard.press("e")
    settle(page)
    return page
