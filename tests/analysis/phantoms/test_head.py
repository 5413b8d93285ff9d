"""The head: rigid known transforms that really relate the images, and a tumour as labelled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.contracts import IDENTITY
from analysis.geometry import as_matrix
from analysis.phantoms.head import CENTRE, make_head
from analysis.phantoms.model import Phantom
from analysis.resampling import resample

VERY_COARSE = (7.0, 7.0, 7.0)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_every_series_is_moved_rigidly_within_the_promised_range(seed: int) -> None:
    phantom = make_head(seed, spacing_mm=VERY_COARSE)
    assert phantom.series["T1c"].to_reference == IDENTITY
    frames = [series.frame for series in phantom.series.values()]
    assert len(set(frames)) == len(frames)
    for role, series in phantom.series.items():
        if role == "T1c":
            continue
        matrix = np.array(series.to_reference)
        turn = matrix[:3, :3]
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1.0)
        angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
        assert 4 <= angle <= 12.0001
        shift = np.linalg.norm((matrix @ [*CENTRE, 1])[:3] - CENTRE)
        assert 4 <= shift <= 15.0001
        assert np.allclose(matrix[3], [0, 0, 0, 1])


@pytest.mark.parametrize("role", ["T1", "T2", "FLAIR", "PET"])
def test_the_transform_maps_the_series_onto_the_reference(
    head: Phantom, still: Phantom, role: str
) -> None:
    series = head.series[role]
    target = still.series[role].noise_free
    brain = head.body.array > 0

    def likeness(matrix) -> float:
        moved = resample(series.noise_free, target.grid, matrix=matrix)[0].array
        return float(np.corrcoef(moved[brain], target.array[brain])[0, 1])

    true = np.array(series.to_reference)
    right = likeness(series.to_reference)
    assert right > 0.65  # slices of 4 mm see less than the cubic voxels of the reference
    assert right > likeness(as_matrix(np.linalg.inv(true))) + 0.2
    assert right > likeness(IDENTITY) + 0.1
    for axis in range(3):  # 3 mm off in any direction is worse
        off = true.copy()
        off[axis, 3] += 3
        assert right > likeness(as_matrix(off))


def test_same_seed_same_patient_bit_for_bit(low_grade: Phantom) -> None:
    again = make_head(7, spacing_mm=(3.0, 3.0, 3.0), positive=False, aligned=True)
    assert again.lesions == low_grade.lesions
    for role, series in low_grade.series.items():
        assert np.array_equal(series.volume.array, again.series[role].volume.array)


def test_aligned_series_lie_on_the_reference_grid(low_grade: Phantom) -> None:
    grid = low_grade.reference.volume.grid
    for series in low_grade.series.values():
        assert series.to_reference == IDENTITY and series.frame == low_grade.reference.frame
        assert series.volume.grid.shape == grid.shape
        assert np.array_equal(series.volume.grid.affine, grid.affine)
        assert series.volume.array.dtype == np.float32


def test_high_grade_enhances_and_is_hot_low_grade_is_neither(
    still: Phantom, low_grade: Phantom
) -> None:
    high = still
    (lesion,) = high.lesions
    core, whole = (high.labels[k].array > 0 for k in ("core", "whole"))
    assert high.high_risk and core.any() and not np.any(core & ~whole)
    pictures = {role: s.noise_free.array for role, s in high.series.items()}
    brain = high.body.array > 0
    gain = pictures["T1c"] / np.maximum(pictures["T1"], 20)
    assert np.percentile(gain[core], 75) > 1.3 * np.median(gain[brain & ~whole])
    assert pictures["FLAIR"][whole].mean() > 1.15 * np.median(pictures["FLAIR"][brain & ~whole])
    assert pictures["PET"][core].max() > 0.8 * lesion.uptake_suv
    assert lesion.volume_ml == pytest.approx(
        core.sum() * high.labels["core"].grid.voxel_volume_ml, rel=0.1
    )

    (lesion,) = low_grade.lesions
    whole = low_grade.labels["whole"].array > 0
    assert not low_grade.high_risk and not low_grade.labels["core"].array.any()
    pet = low_grade.series["PET"].noise_free.array
    assert pet[whole].mean() < 0.75 * np.median(pet[(low_grade.body.array > 0) & ~whole])
    assert lesion.volume_ml == pytest.approx(
        whole.sum() * low_grade.labels["whole"].grid.voxel_volume_ml, rel=0.1
    )


def test_white_matter_spots_are_bright_on_flair_but_no_tumour() -> None:
    found = 0
    for seed in range(2):
        phantom = make_head(
            seed, spacing_mm=(4.0, 4.0, 4.0), positive=True, aligned=True, noise=0.0
        )
        flair = phantom.series["FLAIR"].noise_free.array
        whole = phantom.labels["whole"].array > 0
        brain = phantom.body.array > 0
        bright = (brain & ~whole & (flair > np.median(flair[whole]))).sum()
        found += bright * phantom.labels["whole"].grid.voxel_volume_ml
    assert found > 0.3  # ml


def test_the_two_sides_differ(head: Phantom) -> None:
    """A head equal to its mirror image would leave registration ill posed."""
    body = head.body.array.astype(bool)
    mirrored = body[:, :, ::-1]
    overlap = 2 * (body & mirrored).sum() / (body.sum() + mirrored.sum())
    assert overlap < 0.985
    t1 = head.reference.noise_free.array
    assert np.corrcoef(t1[body], t1[:, :, ::-1][body])[0, 1] < 0.8
