"""Nodules of known volume in small painted pieces of lung: free, on the wall, on a vessel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.findings.nodule import refine
from analysis.findings.shape import in_plane_axes
from analysis.geometry import Grid, Volume

LUNG_HU, NODULE_HU = -850.0, 40.0
SPACING = (0.8, 0.8, 1.25)
FINE = 3


def scene(
    diameter: float,
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    nodule_hu: float = NODULE_HU,
    wall_at: float | None = None,
    vessel_mm: float = 0.0,
    noise: float = 20.0,
) -> tuple[Volume, np.ndarray, float]:
    """(CT box, candidate, true ml): painted fine, then averaged, blurred and made noisy."""
    shape = (56, 80, 80)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(shape[::-1], SPACING, strict=True)]
    grid = Grid(shape, affine)
    hu = np.full(shape, LUNG_HU)
    k, j, i = np.indices(shape)
    points = grid.to_lps(np.stack([i, j, k], axis=-1))
    share = np.zeros(shape)
    near = np.linalg.norm(points - np.asarray(centre), axis=-1) < diameter / 2 + 2
    steps = (np.arange(FINE) + 0.5) / FINE - 0.5
    for offset in itertools.product(*(steps * s for s in SPACING)):
        inside = np.linalg.norm(points[near] + offset - np.asarray(centre), axis=-1) < diameter / 2
        share[near] += inside / FINE**3
    if wall_at is not None:
        hu[points[..., 0] > wall_at] = 50.0
    if vessel_mm:
        beside = np.hypot(points[..., 1] - centre[1], points[..., 2] - centre[2]) < vessel_mm / 2
        hu[beside & (points[..., 0] > centre[0])] = 45.0
    hu = hu + share * (nodule_hu - hu)
    hu = ndi.gaussian_filter(hu, [0.5 / s for s in SPACING[::-1]])
    hu += np.random.default_rng(7).normal(0, noise, shape)
    volume = Volume(np.rint(hu).astype(np.float32), grid, "[hnsf'U]", "CT", "CT")
    return volume, share > 0.5, np.pi / 6 * diameter**3 / 1000


@given(st.floats(10.0, 24.0), st.tuples(*[st.floats(-2.0, 2.0)] * 3))
@settings(max_examples=5, deadline=None)
def test_free_nodules_above_10_mm_are_true_within_5_percent(
    diameter: float, centre: tuple[float, float, float]
) -> None:
    ct, candidate, truth = scene(diameter, centre)
    nodule = refine(ct, candidate)
    assert nodule is not None
    assert nodule.volume_ml == pytest.approx(truth, rel=0.05)
    axes = in_plane_axes(nodule.shares, ct.grid)
    assert axes.long_mm == pytest.approx(diameter, abs=1.2)


@pytest.mark.parametrize("shift", ["smaller", "larger", "moved"])
def test_a_poor_candidate_ends_in_the_same_nodule(shift: str) -> None:
    ct, candidate, truth = scene(14.0)
    poor = {
        "smaller": ndi.binary_erosion(candidate, iterations=3),
        "larger": ndi.binary_dilation(candidate, iterations=3),
        "moved": np.roll(candidate, 4, axis=2),
    }[shift]
    nodule = refine(ct, poor)
    assert nodule is not None
    assert nodule.volume_ml == pytest.approx(truth, rel=0.05)


def test_a_vessel_is_cut_off() -> None:
    ct, candidate, truth = scene(14.0, vessel_mm=3.5)
    nodule = refine(ct, candidate)
    assert nodule is not None
    assert nodule.volume_ml == pytest.approx(truth, rel=0.10)


def test_the_chest_wall_is_cut_off() -> None:
    ct, candidate, truth = scene(14.0, wall_at=6.0)
    nodule = refine(ct, candidate)
    assert nodule is not None
    # A cap of the sphere lies within the wall, where nothing tells it from the wall.
    assert 0.8 * truth < nodule.volume_ml < 1.1 * truth


def test_ground_glass_is_measured_at_its_own_density() -> None:
    ct, candidate, truth = scene(16.0, nodule_hu=-550.0)
    nodule = refine(ct, candidate)
    assert nodule is not None
    assert nodule.threshold_hu == pytest.approx((LUNG_HU - 550) / 2, abs=25)
    assert nodule.volume_ml == pytest.approx(truth, rel=0.10)


def test_nothing_in_the_lung_is_no_nodule() -> None:
    ct, candidate, _ = scene(12.0, nodule_hu=LUNG_HU)
    assert refine(ct, candidate) is None
