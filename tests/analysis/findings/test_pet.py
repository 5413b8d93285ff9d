"""SUV figures against bodies whose figures are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.contracts import IDENTITY, Matrix
from analysis.findings.case import Layer
from analysis.findings.pet import PEAK_RADIUS_MM, _peak_weights, grow, measure_pet, suv_peak
from analysis.geometry import Grid, Volume
from analysis.suv import SUV_UNIT


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-20.0, 35.0, 100.0)
    return Grid(shape, affine)


def pet_layer(array: np.ndarray, where: Grid, matrix: Matrix = IDENTITY) -> Layer:
    volume = Volume(array.astype(np.float32), where, SUV_UNIT, "PT", "PET")
    return Layer("1.2.3", "PET", "PET", "1.2", volume, matrix)


def ball(where: Grid, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    k, j, i = np.indices(where.shape)
    points = where.to_lps(np.stack([i, j, k], axis=-1))
    return np.linalg.norm(points - np.asarray(centre), axis=-1) <= radius


def test_peak_sphere_is_one_millilitre() -> None:
    assert 4 / 3 * np.pi * PEAK_RADIUS_MM**3 == pytest.approx(1000, rel=1e-4)


@given(
    st.tuples(*[st.floats(1.0, 6.0) for _ in range(3)]).map(
        lambda t: tuple(round(v, 3) for v in t)
    )
)
@settings(max_examples=25, deadline=None)
def test_peak_weights_hold_the_sphere(spacing: tuple[float, float, float]) -> None:
    weights = _peak_weights(spacing)
    assert weights.sum() == pytest.approx(1.0)
    assert np.allclose(weights, weights[::-1, ::-1, ::-1])
    # The middle voxel lies inside the sphere as a whole, so its share is that of its volume.
    half_diagonal = np.linalg.norm(np.asarray(spacing) / 2)
    if half_diagonal < PEAK_RADIUS_MM:
        middle = weights[tuple(n // 2 for n in weights.shape)]
        assert middle == pytest.approx(np.prod(spacing) / 1000.0, rel=0.02)


def test_peak_of_a_uniform_block_is_its_value() -> None:
    where = grid((21, 21, 21), (4.0, 4.0, 3.0))
    volume = pet_layer(np.full(where.shape, 3.5), where).volume
    found = suv_peak(volume, np.ones(where.shape, dtype=bool))
    assert found is not None
    assert found[0] == pytest.approx(3.5, rel=1e-5)


def test_peak_needs_the_whole_sphere_in_view() -> None:
    where = grid((3, 21, 21), (4.0, 4.0, 3.0))
    volume = pet_layer(np.full(where.shape, 3.5), where).volume
    assert suv_peak(volume, np.ones(where.shape, dtype=bool)) is None


def test_growing_is_connected_and_stops_at_41_percent() -> None:
    suv = np.zeros((1, 1, 9))
    suv[0, 0] = [5, 4.2, 4.0, 9.9, 10, 4.11, 4.09, 8, 0]
    grown = grow(suv, (0, 0, 4), np.ones(suv.shape, dtype=bool))
    assert grown[0, 0].tolist() == [False, False, False, True, True, True, False, False, False]


def test_figures_of_a_ball_on_background() -> None:
    where = grid((30, 30, 30), (3.0, 3.0, 3.0))
    centre = tuple(float(v) for v in where.centre)
    lesion = ball(where, centre, 15.0)  # type: ignore[arg-type]
    array = np.where(lesion, 8.0, 1.0)
    hot = tuple(np.argwhere(lesion)[200])
    array[hot] = 9.0
    found = measure_pet(lesion, where, pet_layer(array, where))
    assert found is not None
    assert found.suv_max == 9.0
    assert found.evidence["suv_max_voxel_ijk"] == [int(v) for v in hot[::-1]]
    assert found.suv_max_position == pytest.approx(where.to_lps(hot[::-1]), abs=0.01)
    assert found.suv_peak == pytest.approx(8.0, abs=0.1)
    assert found.suv_mean == pytest.approx((8.0 * (lesion.sum() - 1) + 9) / lesion.sum(), rel=1e-6)
    assert found.mtv_ml == pytest.approx(lesion.sum() * 0.027, rel=1e-6)


def test_a_lesion_that_does_not_stand_out_has_no_metabolic_volume() -> None:
    where = grid((30, 30, 30), (3.0, 3.0, 3.0))
    lesion = ball(where, tuple(where.centre), 10.0)  # type: ignore[arg-type]
    found = measure_pet(lesion, where, pet_layer(np.where(lesion, 1.2, 1.0), where))
    assert found is not None
    assert found.mtv_ml is None
    assert found.suv_mean == pytest.approx(1.2, abs=0.02)
    assert found.evidence["suv_mean_region"] == "anatomical region"


def test_figures_follow_the_registration() -> None:
    """The same PET, moved away and registered back, gives the same numbers and place."""
    where = grid((30, 30, 30), (3.0, 3.0, 3.0))
    lesion = ball(where, tuple(where.centre), 12.0)  # type: ignore[arg-type]
    array = np.where(lesion, 6.0, 0.5)
    away = Grid(where.shape, where.affine.copy())
    away.affine[:3, 3] -= (13.0, -7.0, 21.0)
    shift: Matrix = (
        (1.0, 0.0, 0.0, 13.0),
        (0.0, 1.0, 0.0, -7.0),
        (0.0, 0.0, 1.0, 21.0),
        (0.0, 0.0, 0.0, 1.0),
    )
    here = measure_pet(lesion, where, pet_layer(array, where))
    there = measure_pet(lesion, where, pet_layer(array, away, shift))
    assert here is not None
    assert there is not None
    assert there.suv_max_position == pytest.approx(here.suv_max_position, abs=0.02)
    assert there.suv_mean == pytest.approx(here.suv_mean, rel=1e-6)


def test_outside_the_pet_there_is_no_uptake() -> None:
    where = grid((30, 30, 30), (3.0, 3.0, 3.0))
    far = Grid(where.shape, where.affine.copy())
    far.affine[:3, 3] += 500.0
    lesion = ball(where, tuple(where.centre), 12.0)  # type: ignore[arg-type]
    assert measure_pet(lesion, where, pet_layer(np.ones(where.shape), far)) is None
