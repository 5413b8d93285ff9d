"""What the viewer draws, pixel by pixel, against the window formula and the registration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from tests.browser.mock_case import CT, PET, Case
from tests.browser.mock_volumes import NODULE
from tests.browser.viewer_page import canvas, settle


def linear(array: np.ndarray, inverse: np.ndarray, lps: tuple[float, ...]) -> float:
    """Trilinear sample of an array [z, y, x] at an LPS point."""
    i, j, k = (inverse @ [*lps, 1.0])[:3]
    return float(map_coordinates(array.astype(float), [[k], [j], [i]], order=1, mode="nearest")[0])


def drawn_points(
    page: Any, pane: str, image: np.ndarray, count: int
) -> list[tuple[int, int, tuple[float, ...]]]:
    """Random device pixels with the LPS of their centres (canvas pixel + 0.5)."""
    rng = np.random.default_rng(3)
    height, width = image.shape[:2]
    ratio = width / page.evaluate(f"window.radfuse.canvas('{pane}').clientWidth")
    result = []
    for _ in range(count):
        x, y = (
            int(rng.integers(width * 0.25, width * 0.75)),
            int(rng.integers(height * 0.25, height * 0.75)),
        )
        at = [(x + 0.5) / ratio, (y + 0.5) / ratio]
        lps = page.evaluate(f"Array.from(window.radfuse.toWorld('{pane}', {at}))")
        result.append((x, y, tuple(lps)))
    return result


@pytest.mark.parametrize("pane", ["axial", "sagittal", "coronal"])
def test_reference_pixels_follow_the_window_formula(
    page: Any, served: tuple[str, Case], pane: str
) -> None:
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


def test_rotated_pet_lies_where_its_registration_puts_it(
    page: Any, served: tuple[str, Case]
) -> None:
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
        red, green = (
            min(t / 0.5, 1),
            min(max((t - 0.5) / 0.25 * 0.5, 0), 0.5) + max((t - 0.75) / 0.5, 0),
        )
        alpha = 0.5 * min(t / 0.2, 1)
        for channel, value in ((0, red), (1, green)):
            expected = (1 - alpha) * plain[y, x, channel] + alpha * value * 255
            differences.append(abs(fused[y, x, channel] - expected))
    assert np.percentile(differences, 99) <= 3, np.sort(differences)[-10:]
