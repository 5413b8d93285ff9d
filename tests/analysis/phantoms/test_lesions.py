"""Shapes of known volume, and the resolution of the simulated PET."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.phantoms.canvas import Canvas, SmoothField, axial_grid, rotation_matrix
from analysis.phantoms.lesions import Blob
from analysis.phantoms.scanner import FWHM_TO_SIGMA, pet_view


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    diameter=st.floats(6, 30),
    roughness=st.floats(0, 0.07),
    spacing=st.tuples(st.floats(0.8, 3), st.floats(0.8, 3), st.floats(1, 4)),
)
def test_voxel_shares_add_up_to_the_volume(seed, diameter, roughness, spacing):
    grid = axial_grid((-35, -35, -35), (35, 35, 35), spacing)
    rng = np.random.default_rng(seed)
    blob = Blob.make(rng, rng.uniform(-3, 3, 3), diameter, roughness)
    box, share = blob.shares(Canvas(grid))
    assert box is not None
    assert share.min() >= 0 and share.max() <= 1
    volume = float(share.sum()) * grid.voxel_volume_ml
    assert volume == pytest.approx(math.pi / 6 * diameter**3 / 1000, rel=0.02)


def ball_recovery(radius: float, sigma: float) -> float:
    """Value at the centre of a unit ball after a Gaussian blur (closed form)."""
    u = radius / (math.sqrt(2) * sigma)
    return math.erf(u) - 2 / math.sqrt(math.pi) * u * math.exp(-u * u)


@pytest.mark.parametrize("spacing", [(1.4, 1.4, 2.0), (3.0, 3.0, 3.0)])
@pytest.mark.parametrize("diameter", [8.0, 12.0, 20.0, 30.0])
def test_pet_blur_does_not_depend_on_the_grid_of_the_object(spacing, diameter):
    grid = axial_grid((-40, -40, -40), (40, 40, 40), spacing)
    canvas = Canvas(grid, suv=0.0)
    blob = Blob.make(np.random.default_rng(0), (0, 0, 0), diameter, 0.0)
    box, share = blob.shares(canvas)
    canvas.paint(share, box, suv=1.0)
    target = axial_grid((-26, -26, -26), (26, 26, 26), (4.0, 4.0, 4.0))  # a voxel at the origin
    seen = pet_view(canvas.layers["suv"], grid, target, 6.5)
    middle = seen[tuple(n // 2 for n in seen.shape)]
    assert middle == pytest.approx(ball_recovery(diameter / 2, 6.5 * FWHM_TO_SIGMA), abs=0.03)


def test_a_smooth_field_is_the_same_on_every_grid_and_has_unit_variance():
    field = SmoothField(np.random.default_rng(3), (-50, -50, -50), (50, 50, 50), 6.0)
    fine = Canvas(axial_grid((-50, -50, -50), (50, 50, 50), (1.0, 1.0, 1.0)))
    coarse = Canvas(axial_grid((-48.5, -48.5, -48.5), (48.5, 48.5, 48.5), (3.0, 3.0, 3.0)))
    a = field.on(fine.x, fine.y, fine.z)
    b = field.on(coarse.x, coarse.y, coarse.z)
    assert a.std() == pytest.approx(1.0, abs=0.1)
    index = np.round(fine.grid.to_index(coarse.grid.to_lps([3, 5, 7])) * 1000) / 1000
    assert np.allclose(index, np.round(index))  # the grids share voxel centres
    i, j, k = index.astype(int)
    assert b[7, 5, 3] == pytest.approx(a[k, j, i], abs=1e-4)


def test_rotation_turns_x_towards_y():
    assert np.allclose(rotation_matrix((0, 0, 90)) @ [1, 0, 0], [0, 1, 0])
