"""SUVpeak and grown volumes: against the analysis' own functions and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from analysis.findings import pet as analysis
from analysis.geometry import Grid, Volume
from tests.reading.measuring.arrays import ArrayVoxels, affine_of
from workstation.reading.measuring import CannotMeasure
from workstation.reading.measuring.growing import Region, from_runs, grow, hottest, run_lengths
from workstation.reading.measuring.lattices import Lattice
from workstation.reading.measuring.peak import RADIUS_MM, suv_peak
from workstation.reading.measuring.selecting import ball


def blobs(seed: int, shape: tuple[int, int, int] = (16, 20, 22)) -> ArrayVoxels:
    rng = np.random.default_rng(seed)
    array = rng.gamma(2.0, 0.3, shape)
    k, j, i = np.indices(shape)
    for _ in range(3):
        c = rng.uniform(4, np.array(shape) - 4)
        away = (k - c[0]) ** 2 + (j - c[1]) ** 2 + (i - c[2]) ** 2
        array += rng.uniform(3, 9) * np.exp(-away / rng.uniform(4, 16))
    return ArrayVoxels(array)


def lattice_of(voxels: ArrayVoxels, spacing: tuple[float, float, float]) -> Lattice:
    turn = Rotation.from_euler("xyz", [5, 9, -20], True)
    return Lattice(voxels.shape, affine_of(spacing, turn, (3, 4, 5)), np.eye(4))


def test_the_radius_is_that_of_one_millilitre() -> None:
    assert 4 / 3 * np.pi * RADIUS_MM**3 == pytest.approx(1000.0, rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.tuples(*[st.floats(1.5, 5.0)] * 3))
def test_the_peak_agrees_with_the_analysis(
    seed: int, spacing: tuple[float, float, float]
) -> None:
    voxels = blobs(seed)
    lattice = Lattice(voxels.shape, np.diag([*spacing, 1.0]), np.eye(4))
    region = voxels.array > 4.0
    kji = np.argwhere(region)
    found = suv_peak(lattice, voxels, kji[:, ::-1])
    turned = suv_peak(lattice_of(voxels, spacing), voxels, kji[:, ::-1])
    volume = Volume(voxels.array, Grid(voxels.shape, lattice.affine), "g/ml{SUVbw}")
    expected = analysis.suv_peak(volume, region)
    if expected is None or found is None:
        assert found is None and expected is None
        return
    assert found.value == pytest.approx(expected[0])
    assert found.voxel == expected[1][::-1]
    # Turned, a ninth of a voxel may fall on the other side of the sphere's surface.
    assert turned is not None and turned.value == pytest.approx(expected[0], rel=2e-3)


def test_the_peak_of_a_uniform_image_is_its_value_and_needs_room() -> None:
    voxels = ArrayVoxels(np.full((15, 15, 15), 3.5))
    lattice = lattice_of(voxels, (2.0, 2.0, 2.0))
    found = suv_peak(lattice, voxels, np.array([[7, 7, 7], [0, 0, 0]]))
    assert found is not None and found.voxel == (7, 7, 7)
    assert found.value == pytest.approx(3.5)
    assert suv_peak(lattice, voxels, np.array([[0, 7, 7]])) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(8.0, 25.0))
def test_a_volume_at_41_per_cent_agrees_with_the_analysis(seed: int, radius: float) -> None:
    voxels = blobs(seed)
    lattice = lattice_of(voxels, (2.0, 2.0, 3.0))
    centre = lattice.place_of((lattice.size - 1) / 2)[0]
    sphere = ball(lattice, voxels, centre, radius, margin=1)
    assert sphere is not None
    region = grow(lattice, sphere, 0.41 * hottest(sphere), "")
    place = lattice.place_of(np.argwhere(np.ones(voxels.shape, bool))[:, ::-1])
    within = (np.linalg.norm(place - centre, axis=1) <= radius).reshape(voxels.shape)
    top = np.unravel_index(int(np.where(within, voxels.array, -1).argmax()), voxels.shape)
    expected = analysis.grow(voxels.array, tuple(int(n) for n in top), within)  # type: ignore[arg-type]
    mine = np.zeros(voxels.shape, bool)
    i, j, k = region.selection.voxels.T
    mine[k, j, i] = True
    assert (mine == expected).all()
    assert from_runs(*run_lengths(region)).sum() == expected.sum()


def test_a_region_says_when_it_goes_on_and_when_the_image_ends() -> None:
    array = np.ones((11, 11, 31))
    array[5, 5, 4:27] = 8.0
    array[5, 5, 15] = 9.0
    voxels = ArrayVoxels(array)
    lattice = Lattice(voxels.shape, np.diag([1.0, 1.0, 1.0, 1.0]), np.eye(4))
    centre = np.array([15.0, 5.0, 5.0])
    small = ball(lattice, voxels, centre, 5.0, margin=1)
    assert small is not None
    region = grow(lattice, small, 4.0, "")
    assert (region.selection.values.size, region.goes_on, region.at_edge) == (11, True, False)
    large = ball(lattice, voxels, centre, 40.0, margin=1)
    assert large is not None
    region = grow(lattice, large, 4.0, "")
    assert (region.selection.values.size, region.goes_on, region.at_edge) == (23, False, False)
    region = grow(lattice, large, 1.0, "")
    assert region.at_edge
    with pytest.raises(CannotMeasure, match=r"9\.00, below the threshold of 9\.50"):
        grow(lattice, large, 9.5, "")


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_run_lengths_say_the_mask(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.uniform(size=(4, 5, 6)) < share
    mask[2, 3, 4] = True
    region = Region(None, np.array([10, 20, 30]), mask, 0.0, False, False)  # type: ignore[arg-type]
    (low, high), counts = run_lengths(region)
    whole = np.zeros((40, 40, 40), bool)
    (i0, j0, k0), (i1, j1, k1) = low, high
    whole[k0:k1, j0:j1, i0:i1] = from_runs([low, high], counts)
    expected = np.zeros_like(whole)
    expected[30:34, 20:25, 10:16] = mask
    assert (whole == expected).all()
    assert sum(counts) == (i1 - i0) * (j1 - j0) * (k1 - k0)
