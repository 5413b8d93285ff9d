"""Labels on another grid: none invented, none mixed, thin ones not lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from analysis.contracts import Matrix
from analysis.geometry import Grid, Volume, isotropic_grid
from analysis.resampling import resample
from tests.analysis.test_resampling import box, grids, motions, places, some_field

rng = np.random.default_rng(5)


def moved(volume: Volume, grid: Grid, **more: object) -> np.ndarray:
    return np.asarray(resample(volume, grid, interpolation="labels", **more)[0].array)


@settings(max_examples=60, deadline=None)
@given(grids(), grids((0.5, 6.0)), motions(), st.integers(0, 1000))
def test_no_label_is_invented(source: Grid, target: Grid, matrix: Matrix, seed: int) -> None:
    values = np.array([0, 0, 0, 2, 7, 200], np.uint8)
    array = np.random.default_rng(seed).choice(values, source.shape)
    labels, inside = resample(
        Volume(array, source, "1"), target, matrix=matrix, interpolation="labels"
    )
    assert labels.array.dtype == np.uint8
    assert set(np.unique(labels.array)) <= set(np.unique(array)) | {0}
    assert not labels.array[~inside].any()


@settings(max_examples=30, deadline=None)
@given(grids(), st.integers(0, 1000))
def test_the_same_grid_gives_the_same_labels(grid: Grid, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 5, grid.shape).astype(np.int16)
    assert np.array_equal(moved(Volume(array, grid, "1"), grid), array)


@settings(max_examples=40, deadline=None)
@given(grids(), grids((0.6, 1.0)), motions(), st.integers(0, 1000))
def test_the_largest_share_wins(source: Grid, target: Grid, matrix: Matrix, seed: int) -> None:
    """Against shares from scipy; a target this fine needs no averaging."""
    array = np.random.default_rng(seed).integers(0, 4, source.shape).astype(np.uint8)
    labels, inside = resample(
        Volume(array, source, "1"), target, matrix=matrix, interpolation="labels", averaged=False
    )
    where = places(source, target, matrix)[..., ::-1]
    shares = np.stack(
        [
            map_coordinates((array == n).astype(float), np.moveaxis(where, -1, 0), order=1,
                            mode="nearest")
            for n in range(4)
        ]
    )  # fmt: skip
    first, second = np.sort(shares, axis=0)[-1], np.sort(shares, axis=0)[-2]
    clear = inside & (first - second > 1e-3)
    won = set(np.unique(shares.argmax(axis=0)[clear]))
    alone = np.isin(labels.array, [*won, 0]) | ~clear  # a label that won nothing keeps its best
    assert np.array_equal(labels.array[clear & alone], shares.argmax(axis=0)[clear & alone])
    assert alone.mean() > 0.9 or not clear.any()


def test_a_label_thinner_than_a_voxel_keeps_its_volume() -> None:
    """A vessel of 1 mm on a grid of 4 mm has less than half of any voxel."""
    grid = box((40, 40, 40))
    array = np.zeros(grid.shape, np.uint8)
    array[18:20, 18:20, :] = 3
    coarse = moved(Volume(array, grid, "1"), isotropic_grid(grid, 4.0))
    volume_mm3 = 4.0**3 * int((coarse == 3).sum())
    assert volume_mm3 == pytest.approx(int(array.astype(bool).sum()), abs=64)
    k, j, _ = np.nonzero(coarse == 3)
    assert set(k) == set(j) == {4}


def test_a_single_voxel_inside_another_label_is_kept() -> None:
    grid = box((24, 24, 24))
    array = np.ones(grid.shape, np.uint8)
    array[13, 9, 17] = 2
    coarse = moved(Volume(array, grid, "1"), isotropic_grid(grid, 4.0))
    assert np.argwhere(coarse == 2).tolist() == [[3, 2, 4]]
    assert np.all(np.delete(coarse.ravel(), np.ravel_multi_index((3, 2, 4), (6, 6, 6))) == 1)


def test_two_labels_lost_in_one_voxel_do_not_overwrite_each_other() -> None:
    grid = box((24, 24, 24))
    array = np.zeros(grid.shape, np.uint8)
    array[13, 9, 17], array[14, 10, 18] = 1, 2
    coarse = moved(Volume(array, grid, "1"), box((6, 6, 6), 4.0))
    assert int((coarse == 1).sum()) == int((coarse == 2).sum()) == 1


def test_a_rescued_label_does_not_take_the_last_voxel_of_another() -> None:
    """Two labels of one fine voxel, a third that wins the coarse voxel they both lie in."""
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2:4] = 9
    labels[2, 2, 2] = 3
    labels[3, 3, 3] = 4
    grid = Grid((6, 6, 6), np.eye(4))
    target = Grid((1, 1, 1), np.diag([2.0, 2.0, 2.0, 1.0]))
    target.affine[:3, 3] = 2.5
    small = moved(Volume(labels, grid, "1"), target)
    assert small.ravel().tolist() == [9], "the only voxel stays with the label that won it"


def test_a_mask_stays_a_mask() -> None:
    array = np.zeros((8, 8, 8), bool)
    array[2:6, 2:6, 2:6] = True
    volume = Volume(array, box((8, 8, 8)), "1")
    fine = moved(volume, isotropic_grid(volume.grid, 0.5))
    assert fine.dtype == np.bool_
    assert fine.sum() / 8 == pytest.approx(64, rel=0.1)  # corners are rounded off


def test_labels_follow_a_deformation() -> None:
    source, target = box((14, 14, 14)), box((16, 16, 16), 0.8)
    array = np.zeros(source.shape, np.uint8)
    array[3:11, 3:11, 3:11] = 4
    field = some_field(target)
    labels, inside = resample(
        Volume(array, source, "1"), target, deformation=field, interpolation="labels"
    )
    soft, _ = resample(Volume((array == 4).astype(np.float32), source, "1"), target,
                       deformation=field)  # fmt: skip
    clear = inside & (np.abs(soft.array - 0.5) > 1e-3)
    assert np.array_equal(labels.array[clear] == 4, soft.array[clear] > 0.5)
    assert (labels.array == 4).any()


@pytest.mark.parametrize("array", [np.ones((3, 3, 3), np.float32), np.full((3, 3, 3), -1)])
def test_what_is_no_label_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        moved(Volume(array, box((3, 3, 3)), "1"), box((3, 3, 3)))
