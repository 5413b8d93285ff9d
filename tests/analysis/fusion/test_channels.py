"""Series become network input: values by rule, places by geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.contracts import IDENTITY
from analysis.errors import ModelError
from analysis.fusion.bundle import Normalisation
from analysis.fusion.channels import crop_around, normalise, prepare
from analysis.geometry import Grid, Volume, as_matrix, axial_grid, subgrid
from analysis.training.patients import draft_contract
from analysis.training.plans import HU, PLANS, SUV

CONTRACT = draft_contract(PLANS["lung"])
HOT = np.array([30.0, -21.0, 45.0])


def ball(
    grid: Grid, centre: np.ndarray, inside: float, outside: float, radius: float
) -> np.ndarray:
    nz, ny, nx = grid.shape
    k, j, i = np.meshgrid(np.arange(nz), np.arange(ny), np.arange(nx), indexing="ij")
    gap = np.linalg.norm(grid.to_lps(np.stack([i, j, k], axis=-1)) - centre, axis=-1)
    return np.where(gap < radius, inside, outside).astype(np.float32)


def chest() -> Volume:
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-100, -90, -60)
    grid = Grid((60, 90, 100), affine)
    return Volume(ball(grid, np.array([0, 0, 30.0]), 40.0, -1000.0, 75.0), grid, HU, "CT", "CT")


def pet(matrix: np.ndarray) -> Volume:
    """A PET whose own frame is moved by ``matrix`` (PET LPS -> reference LPS)."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-120, -110, -90)
    grid = Grid((60, 55, 60), affine)
    here = (np.linalg.inv(matrix) @ [*HOT, 1.0])[:3]
    return Volume(ball(grid, here, 9.0, 0.0, 9.0), grid, SUV, "PT", "PET")


def test_a_moved_series_lands_where_its_matrix_says() -> None:
    angle = np.radians(9.0)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = (11.0, -7.0, 5.0)
    reference = chest()
    given_ = {"CT": (reference, IDENTITY), "PET": (pet(matrix), as_matrix(matrix))}
    prepared = prepare(given_, reference.grid, CONTRACT)
    hot = prepared.image[1]
    weights = hot / hot.sum()
    k, j, i = (float((weights * axis).sum()) for axis in np.indices(hot.shape))
    assert np.linalg.norm(prepared.grid.to_lps([i, j, k]) - HOT) < 1.0
    assert prepared.present == ("CT", "PET")
    assert prepared.missing == ()
    # Cropped to the body: a ball of 75 mm plus two voxels' margin, not the whole field of view.
    assert all(150 <= n * 3.0 <= 168 for n in prepared.image.shape[1:])


def test_a_missing_channel_is_zero_and_named() -> None:
    reference = chest()
    prepared = prepare({"CT": (reference, IDENTITY)}, reference.grid, CONTRACT)
    assert prepared.missing == ("PET",)
    assert not prepared.image[1].any()
    assert prepared.image[0].any()


def test_an_empty_view_is_refused() -> None:
    reference = chest()
    air = reference.with_array(np.full_like(reference.array, -1000.0))
    with pytest.raises(ModelError) as error:
        prepare({"CT": (air, IDENTITY)}, reference.grid, CONTRACT)
    assert error.value.code == "nothing_in_view"


@given(st.floats(-3000, 3000))
def test_ct_is_clipped_and_scaled(value: float) -> None:
    rule = CONTRACT.normalisation["CT"]
    out = float(normalise(np.array([value]), rule)[0])
    assert out == pytest.approx(np.clip((value + 1000) / 700 - 1, -1, 1), abs=1e-4)


@given(st.floats(0.01, 1000), st.integers(0, 2**32 - 1))
def test_mr_normalisation_ignores_the_scanners_gain(gain: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(0, 100, (6, 6, 6)).astype(np.float32)
    rule = Normalisation("zscore", (-5.0, 5.0))
    first = normalise(values, rule)
    assert np.allclose(first, normalise(values * np.float32(gain), rule), atol=1e-2)
    foreground = first[values > values.mean() / 2]
    assert abs(float(foreground.mean())) < 1e-3
    assert float(foreground.std()) == pytest.approx(1.0, abs=1e-3)


def test_a_flat_mr_gives_zeros_not_nan() -> None:
    rule = Normalisation("zscore", (-5.0, 5.0))
    assert not normalise(np.full((3, 3, 3), 7.0), rule).any()
    assert not normalise(np.zeros((3, 3, 3)), rule).any()


def test_crop_continues_the_edge() -> None:
    image = np.arange(2 * 4 * 5 * 6, dtype=np.float32).reshape(2, 4, 5, 6)
    crop = crop_around(image, (0, 4, 3), (4, 4, 4))
    assert crop.shape == (2, 4, 4, 4)
    assert crop[1, 2, 2, 2] == image[1, 0, 4, 3]
    assert crop[0, 0, 2, 2] == image[0, 0, 4, 3]
    assert crop[0, 2, 3, 2] == image[0, 0, 4, 3]


def test_zoomed_crop_interpolates_between_voxels() -> None:
    ramp = np.broadcast_to(np.arange(12, dtype=np.float32), (1, 12, 12, 12))
    crop = crop_around(ramp, (6, 6, 6), (4, 4, 4), zoom=2)
    assert np.allclose(crop[0, 0, 0], [5.0, 5.5, 6.0, 6.5])
    assert np.array_equal(
        crop_around(ramp, (6, 6, 6), (4, 4, 4)), crop_around(ramp, (6, 6, 6), (4, 4, 4), zoom=1)
    )


def test_axial_grid_covers_an_oblique_box() -> None:
    angle = np.radians(30.0)
    affine = np.eye(4)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine[:3, :3] = turn * [1.0, 1.0, 2.0]
    grid = Grid((20, 40, 50), affine)
    out = axial_grid(grid, 3.0)
    assert np.allclose(out.direction, np.eye(3))
    corners = [grid.to_lps([i, j, k]) for i in (0, 49) for j in (0, 39) for k in (0, 19)]
    places = out.to_index(corners)
    assert (places > -0.5).all()
    assert (places < np.array(out.shape[::-1]) - 0.5).all()


def test_subgrid_keeps_places() -> None:
    volume = chest()
    part = subgrid(volume.grid, (5, 6, 7), (20, 30, 40))
    assert part.shape == (15, 24, 33)
    assert np.allclose(part.to_lps([1, 2, 3]), volume.grid.to_lps([8, 8, 8]))


def test_what_lies_outside_a_series_is_known() -> None:
    """A PET of the lower half: above it the channel holds no uptake, and says that it ends."""
    reference, whole = chest(), pet(np.eye(4))
    half = replace(
        whole, array=whole.array[:30], grid=subgrid(whole.grid, (0, 0, 0), (30, 55, 60))
    )
    prepared = prepare(
        {"CT": (reference, IDENTITY), "PET": (half, IDENTITY)}, reference.grid, CONTRACT
    )
    z = prepared.grid.to_lps([[0, 0, k] for k in range(prepared.grid.shape[0])])[:, 2]
    ends = half.grid.to_lps([0, 0, 29.5])[2]
    assert np.array_equal(prepared.inside["PET"].any(axis=(1, 2)), z <= ends)
    assert not prepared.image[1][~prepared.inside["PET"]].any()
    assert prepared.inside["CT"].mean() > 0.99
    assert prepared.coverage["CT"] > 0.99
    assert 0.3 < prepared.coverage["PET"] < 0.7
    assert np.array_equal(prepared.seen, prepared.inside["CT"] | prepared.inside["PET"])
