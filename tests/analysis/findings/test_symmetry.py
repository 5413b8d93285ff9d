"""The mirror plane of a head that was turned by known angles."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi

from analysis.findings.symmetry import mirror_plane
from analysis.geometry import Grid, Volume


def head(yaw: float, shift: float) -> tuple[Volume, np.ndarray]:
    """A symmetric head of ellipsoids, turned about z and moved along x, and its plane's normal."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-110.0, -120.0, -90.0)
    grid = Grid((46, 60, 56), affine)
    k, j, i = np.indices(grid.shape)
    p = grid.to_lps(np.stack([i, j, k], axis=-1)) - (shift, 0.0, 0.0)
    c, s = np.cos(yaw), np.sin(yaw)
    x, y, z = c * p[..., 0] + s * p[..., 1], -s * p[..., 0] + c * p[..., 1], p[..., 2]
    inside = (x / 70) ** 2 + (y / 90) ** 2 + (z / 75) ** 2 < 1
    image = 100.0 * inside
    for at, radius, value in ((22, 14, 40.0), (45, 10, 180.0)):
        image[(np.abs(x) - at) ** 2 + (y - at) ** 2 + z**2 < radius**2] = value
    image[(np.abs(x) < 6) & inside & (y < -20)] = 30.0
    noisy = ndi.gaussian_filter(image, 0.7) + np.random.default_rng(1).normal(0, 2, image.shape)
    return Volume(noisy.astype(np.float32), grid, "1"), np.array([c, s, 0.0])


@pytest.mark.parametrize(("degrees", "shift"), [(0.0, 0.0), (8.0, 6.0), (-10.0, -5.0)])
def test_a_turned_head_gives_its_plane(degrees: float, shift: float) -> None:
    volume, normal = head(np.radians(degrees), shift)
    plane = mirror_plane(volume)
    assert plane is not None
    assert np.degrees(np.arccos(min(1.0, float(plane.normal @ normal)))) < 1.5
    assert plane.side(np.array([shift, 0.0, 0.0])) == pytest.approx(0.0, abs=2.0)
    left = np.array([[shift, 0.0, 0.0]]) + 30 * normal
    assert plane.side(left[0]) > 0
    assert plane.mirror(left)[0] == pytest.approx(left[0] - 60 * normal, abs=4.0)


def test_noise_has_no_plane() -> None:
    volume, _ = head(0.0, 0.0)
    noise = np.random.default_rng(2).gamma(1.0, 50.0, volume.array.shape)
    smooth = ndi.gaussian_filter(noise, 2.0)
    assert mirror_plane(volume.with_array(smooth.astype(np.float32))) is None
