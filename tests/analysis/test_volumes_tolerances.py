"""What headers may round, what is interpolated and said, and what is refused in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from analysis.contracts import SeriesInput
from analysis.errors import InputRefused
from analysis.volumes import LoadedVolume, load_series
from tests.analysis.dicom_series import make_series

rng = np.random.default_rng(3)


def at(
    folder: Path,
    heights: Sequence[float],
    *,
    thickness: Sequence[float] | float | None = None,
    sideways: Callable[[int], float] = lambda k: 0.0,
    array: np.ndarray | None = None,
    **tags: object,
) -> SeriesInput:
    """Axial slices at these heights in mm, in files whose order says nothing."""
    count = len(heights)
    if array is None:
        array = rng.integers(-500, 900, (count, 5, 4)).astype(np.int16)

    def change(k: int, ds: Dataset) -> None:
        ds.ImagePositionPatient = [sideways(k), 0, heights[k]]
        if thickness is not None:
            ds.SliceThickness = thickness if isinstance(thickness, float) else thickness[k]

    order = [int(n) for n in np.random.default_rng(count).permutation(count)]
    return make_series(folder, array, change=change, order=order, **tags)


def codes(loaded: LoadedVolume) -> list[str]:
    return [n.code for n in loaded.notices]


def refusal(series: SeriesInput) -> InputRefused:
    with pytest.raises(InputRefused) as caught:
        load_series(series)
    return caught.value


# --- spacing -------------------------------------------------------------------------------------


def test_overlapping_slices_are_an_even_stack(tmp_path: Path) -> None:
    """5 mm slices every 2.5 mm: the spacing is what positions say, not the thickness."""
    loaded = load_series(at(tmp_path, [2.5 * k for k in range(8)], thickness=5.0))
    assert loaded.volume.grid.spacing[2] == pytest.approx(2.5)
    assert "resampled" not in loaded.source
    assert codes(loaded) == []


def test_uneven_slices_are_interpolated_and_said(tmp_path: Path) -> None:
    heights = [0.0, 3.0, 6.6, 9.0, 12.0, 15.0]
    planes = np.array([np.full((5, 4), 100 * h) for h in heights], dtype=np.int16)
    loaded = load_series(at(tmp_path, heights, array=planes))
    grid = loaded.volume.grid
    assert grid.shape[0] == 6
    assert grid.spacing[2] == pytest.approx(3.0)
    for k in range(6):
        assert loaded.volume.array[k] == pytest.approx(100 * grid.to_lps([0, 0, k])[2], abs=0.5)
    assert loaded.source["resampled"] == "interpolated between slices, linear"
    (notice,) = loaded.notices
    assert notice.code == "slices_interpolated"
    assert notice.severity == "warning"
    assert "2.40 to 3.60 mm" in notice.message
    assert "6 slices to 6 of 3.00 mm" in notice.message


def test_each_interpolated_slice_names_the_nearest_that_was_acquired(tmp_path: Path) -> None:
    heights = [0.0, 5.0, 10.0, 15.0, 25.0, 35.0]
    series = at(tmp_path, heights, thickness=[5.0, 5.0, 5.0, 5.0, 10.0, 10.0],
                PatientPosition="HFS")  # fmt: skip
    loaded = load_series(series)
    assert len(loaded.sop_instance_uids) == loaded.volume.grid.shape[0] == 8
    assert len(set(loaded.sop_instance_uids)) == 6
    assert loaded.sop_instance_uids[:4] == tuple(dict.fromkeys(loaded.sop_instance_uids))[:4]
    assert loaded.source["slices"] == 6


def test_thin_slices_below_thick_ones_are_one_volume(tmp_path: Path) -> None:
    """A head CT of the old kind: 5 mm through the skull base, 10 mm above. Its 10 mm steps are
    two of the small ones, and yet no slice is missing."""
    thickness = [5.0] * 6 + [10.0] * 4
    faces = np.concatenate([[0.0], np.cumsum(thickness)])
    heights = [float(h) for h in (faces[:-1] + faces[1:]) / 2]
    loaded = load_series(at(tmp_path, heights, thickness=thickness))
    assert codes(loaded) == ["slices_interpolated"]
    grid = loaded.volume.grid
    assert grid.spacing[2] == pytest.approx(5.0, abs=0.3)
    assert grid.to_lps([0, 0, 0])[2] == pytest.approx(heights[0])
    assert grid.to_lps([0, 0, grid.shape[0] - 1])[2] == pytest.approx(heights[-1])


def test_the_same_steps_with_one_thickness_miss_slices(tmp_path: Path) -> None:
    heights = [0.0, 5, 10, 15, 20, 25, 35, 45]
    error = refusal(at(tmp_path, heights, thickness=5.0))
    assert error.code == "missing_slice"
    assert "2 of 10 slices are missing" in error.message


@pytest.mark.parametrize("thickness", [None, 3.0])
def test_a_missing_slice_is_never_bridged_though_others_are_off(
    tmp_path: Path, thickness: float | None
) -> None:
    heights = [3.0 * k + (0.35 if k % 3 else 0.0) for k in range(12)]
    load_series(at(tmp_path / "whole", heights, thickness=thickness))
    del heights[5]
    error = refusal(at(tmp_path / "gap", heights, thickness=thickness))
    assert error.code in ("missing_slice", "uneven_spacing")
    assert "between slices 5 and 6" in error.message


def test_steps_beyond_the_limit_are_refused_with_their_place(tmp_path: Path) -> None:
    error = refusal(at(tmp_path, [0.0, 3, 6, 11.1, 14.1, 17.1]))
    assert error.code == "uneven_spacing"
    assert "mostly 3.00 mm, but 5.10 mm between slices 3 and 4" in error.message


def test_a_drifting_stack_is_interpolated(tmp_path: Path) -> None:
    heights = [float(h) for h in np.cumsum([3.0 + 0.02 * k for k in range(30)])]
    loaded = load_series(at(tmp_path, heights))
    assert "slices_interpolated" in codes(loaded)
    assert loaded.source["placement_error_mm"] < 1e-3


# --- straightness and directions -----------------------------------------------------------------


@pytest.mark.parametrize("decimals", [4, 5, 6])
def test_rounded_directions_are_no_tilt(tmp_path: Path, decimals: int) -> None:
    """Cosines to four decimals lean a long stack by tenths of a millimetre: no resampling for
    that, and what it costs is known."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [11.3, -7.7, 4.1], degrees=True).as_matrix()
    affine[:3, 2] *= 4

    def rounded(k: int, ds: Dataset) -> None:
        ds.ImageOrientationPatient = [round(float(v), decimals) for v in ds.ImageOrientationPatient]

    array = rng.integers(0, 99, (60, 5, 4)).astype(np.int16)
    loaded = load_series(make_series(tmp_path, array, affine=affine, change=rounded))
    assert np.array_equal(loaded.volume.array, array)
    assert "tilt_degrees" not in loaded.source
    assert loaded.source["placement_error_mm"] < 30 * 10.0**-decimals * 4
    direction = loaded.volume.grid.direction
    assert direction.T @ direction == pytest.approx(np.eye(3), abs=1e-9)
    assert loaded.volume.grid.affine == pytest.approx(affine, abs=0.1)


def test_a_long_stack_that_leans_slightly_is_straightened(tmp_path: Path) -> None:
    """A tenth of a degree is 1 mm over 600 mm; it used to be taken for rounding."""
    lean = np.tan(np.radians(0.1)) * 20.0
    heights = [20.0 * k for k in range(30)]
    loaded = load_series(at(tmp_path, heights, sideways=lambda k: lean * k))
    assert loaded.source["tilt_degrees"] == pytest.approx(0.1, abs=1e-3)
    assert "gantry_tilt" in codes(loaded)


def test_what_rounding_moves_is_said(tmp_path: Path) -> None:
    """Wide pixels and directions at the edge of what passes for parallel."""

    def turned(k: int, ds: Dataset) -> None:
        if k % 2:
            ds.ImageOrientationPatient = [1, 0.0009, 0, -0.0009, 1, 0]

    array = np.zeros((6, 256, 256), np.int16)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    loaded = load_series(make_series(tmp_path, array, affine=affine, change=turned))
    assert "placed_approximately" in codes(loaded)
    assert 0.5 < loaded.source["placement_error_mm"] < 1.0


def test_directions_that_are_not_orthogonal_are_refused(tmp_path: Path) -> None:
    def skewed(k: int, ds: Dataset) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0.004, 1, 0]

    array = np.zeros((4, 5, 4), np.int16)
    assert refusal(make_series(tmp_path, array, change=skewed)).code == "no_geometry"


@pytest.mark.parametrize(("modality", "outside"), [("CT", -1024.0), ("PT", 0.0), ("MR", 0.0)])
def test_what_a_tilted_stack_did_not_scan_is_declared(
    tmp_path: Path, modality: str, outside: float
) -> None:
    array = np.full((8, 20, 12), 500, np.int16)
    loaded = load_series(
        at(tmp_path, [2.0 * k for k in range(8)], sideways=lambda k: 0.8 * k, array=array,
           modality=modality)
    )  # fmt: skip
    beyond = loaded.source["not_scanned"]
    assert beyond["value"] == outside
    values = loaded.volume.array
    fill = values == outside
    assert beyond["share"] == pytest.approx(fill.mean(), abs=1e-3)
    assert 0.1 < beyond["share"] < 0.5
    assert np.ptp(values[~fill]) == pytest.approx(0, abs=1e-3)  # no mixture at the edge
