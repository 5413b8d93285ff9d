"""DICOM coordinates -> volume -> DICOM coordinates, for every way that a series can lie.

The oracle is the formula of PS3.3 C.7.6.2.1.1, applied to each file by itself; nothing of the
product takes part in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from analysis.contracts import SeriesInput
from analysis.volumes import LoadedVolume, load_series
from tests.analysis.dicom_frames import Plane, write_enhanced
from tests.analysis.dicom_series import make_series

SHAPE = (6, 5, 4)
EXACT_MM = 1e-3
MARKED = np.arange(1, 121, dtype=np.int16).reshape(SHAPE)
"""Every voxel holds another value, so each one is a marker."""

POSITIONS: dict[str, tuple[Sequence[int], Sequence[int]]] = {
    "HFS": ((1, 0, 0), (0, 1, 0)), "HFP": ((-1, 0, 0), (0, -1, 0)),
    "HFDR": ((0, 1, 0), (-1, 0, 0)), "HFDL": ((0, -1, 0), (1, 0, 0)),
    "FFS": ((-1, 0, 0), (0, 1, 0)), "FFP": ((1, 0, 0), (0, -1, 0)),
    "FFDR": ((0, 1, 0), (1, 0, 0)), "FFDL": ((0, -1, 0), (-1, 0, 0)),
}  # fmt: skip
"""Rows and columns as scanners write them when images are left as they were acquired."""


def place_of(ds: Dataset, column: float, row: float) -> np.ndarray:
    """PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1: the pixel's centre in LPS mm."""
    s = np.array([float(v) for v in ds.ImagePositionPatient])
    x = np.array([float(v) for v in ds.ImageOrientationPatient[:3]])
    y = np.array([float(v) for v in ds.ImageOrientationPatient[3:]])
    between_rows, between_columns = (float(v) for v in ds.PixelSpacing)
    return s + x * between_columns * column + y * between_rows * row


def check_every_voxel(series: SeriesInput, loaded: LoadedVolume, within: float = EXACT_MM) -> None:
    """Each pixel of each file lies in the volume where the formula has it, and so back."""
    grid, array = loaded.volume.grid, loaded.volume.array
    files = {ds.SOPInstanceUID: ds for ds in map(dcmread, series.paths)}
    assert set(loaded.sop_instance_uids) == set(files)
    for ds in files.values():
        stored = ds.pixel_array
        for row, column in np.ndindex(stored.shape):
            place = place_of(ds, column, row)
            index = grid.to_index(place)
            i, j, k = np.rint(index).astype(int)
            assert np.linalg.norm(grid.to_lps([i, j, k]) - place) < within
            assert array[k, j, i] == stored[row, column]
            assert loaded.sop_instance_uids[k] == ds.SOPInstanceUID
    nz, ny, nx = grid.shape
    for k, j, i in np.ndindex(nz, ny, nx):
        own = place_of(files[loaded.sop_instance_uids[k]], i, j)
        assert np.linalg.norm(grid.to_lps([i, j, k]) - own) < within


def lattice(
    angles: Sequence[float], origin: Sequence[float], spacing: Sequence[float], down: bool
) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 2] *= -1 if down else 1
    affine[:3, 3] = origin
    return affine


@settings(max_examples=20, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    down=st.booleans(),
    position=st.sampled_from(sorted(POSITIONS)),
    shuffle=st.permutations(range(6)),
)
def test_oblique_series_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, ...],
    origin: tuple[float, ...],
    spacing: tuple[float, ...],
    down: bool,
    position: str,
    shuffle: list[int],
) -> None:
    folder = tmp_path_factory.mktemp("oblique")
    series = make_series(folder, MARKED, affine=lattice(angles, origin, spacing, down),
                         order=shuffle, PatientPosition=position)  # fmt: skip
    loaded = load_series(series)
    check_every_voxel(series, loaded)
    assert np.linalg.det(loaded.volume.grid.affine[:3, :3]) > 0
    assert loaded.source["placement_error_mm"] < EXACT_MM
    assert "resampled" not in loaded.source
    assert loaded.notices == ()
    shutil.rmtree(folder)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("position", POSITIONS)
def test_how_the_patient_lies_changes_no_place(tmp_path: Path, position: str, down: bool) -> None:
    """Head or feet first, supine, prone or on a side: one marker in the patient's left arm."""
    row, column = (np.array(v, dtype=float) for v in POSITIONS[position])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * 0.8, column * 0.9
    affine[:3, 2] = np.cross(row, column) * (-2.5 if down else 2.5)
    affine[:3, 3] = (11.0, -23.0, 400.0)
    series = make_series(tmp_path, MARKED, affine=affine, order=[4, 1, 5, 0, 2, 3],
                         PatientPosition=position)  # fmt: skip
    loaded = load_series(series)
    check_every_voxel(series, loaded)
    assert loaded.source["patient_position"] == position
    marker = (affine @ [3, 1, 2, 1])[:3]  # pixel (column 3, row 1) of slice 2 as acquired
    i, j, k = np.rint(loaded.volume.grid.to_index(marker)).astype(int)
    assert loaded.volume.array[k, j, i] == MARKED[2, 1, 3]


@settings(max_examples=10, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    shuffle=st.permutations(range(6)),
    shared=st.booleans(),
)
def test_frames_of_one_object_lie_where_it_says(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, ...],
    shuffle: list[int],
    shared: bool,
) -> None:
    affine = lattice(angles, (-40, 60, 900), (1.0, 1.0, 3.0), down=False)
    turned = [float(v) for v in (*affine[:3, 0], *affine[:3, 1])]
    planes = [
        Plane(MARKED[k], [float(v) for v in affine[:3, 3] + k * affine[:3, 2]],
              orientation=turned, spacing=(0.7, 1.3))
        for k in shuffle
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("enhanced")
    loaded = load_series(write_enhanced(folder, planes, shared=shared))
    for k, j, i in np.ndindex(SHAPE):
        frame = planes[loaded.frame_numbers[k] - 1]
        own = np.array(frame.position) + affine[:3, 0] * 1.3 * i + affine[:3, 1] * 0.7 * j
        assert np.linalg.norm(loaded.volume.grid.to_lps([i, j, k]) - own) < EXACT_MM
        assert loaded.volume.array[k, j, i] == frame.pixels[j, i]
    shutil.rmtree(folder)


SLOPE = 0.02


def ramp_series(
    folder: Path, places: Callable[[int], np.ndarray], affine: np.ndarray,
    direction: np.ndarray, count: int = 7, **tags: Any,
) -> SeriesInput:  # fmt: skip
    """Slices at ``places(k)`` (LPS of their first pixel) whose value is 10 times the millimetres
    that each pixel lies along ``direction``, to a thousandth of a millimetre or so."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    j, i = np.indices((9, 8))

    def paint(k: int, ds: Dataset) -> None:
        ds.ImagePositionPatient = [f"{v:.9f}"[:16] for v in places(k)]
        at = (
            places(k)
            + i[..., None] * affine[:3, 0]
            + j[..., None] * affine[:3, 1]
        )
        ds.PixelData = np.rint(10 * (at @ direction) / SLOPE).astype("<i2").tobytes()
        assert np.allclose(place_of(ds, 3, 2), at[2, 3], atol=1e-6)

    assert np.isfinite(spacing).all()
    return make_series(folder, np.zeros((count, 9, 8), np.int16), affine=affine, change=paint,
                       RescaleSlope=SLOPE, **tags)  # fmt: skip


def check_ramp(loaded: LoadedVolume, direction: np.ndarray, scanned: np.ndarray) -> None:
    """``scanned`` [z, y, x]: voxels that hold image. Exact to a few thousandths of a millimetre,
    which is what the stored whole numbers allow."""
    k, j, i = np.nonzero(scanned)
    expected = 10 * (loaded.volume.grid.to_lps(np.stack([i, j, k], -1)) @ direction)
    assert np.abs(loaded.volume.array[scanned] - expected).max() < 0.03


@settings(max_examples=20, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    lean=st.tuples(st.floats(0.05, 0.5), st.floats(-0.5, 0.5)),
    direction=st.tuples(*[st.floats(-1, 1)] * 3),
    down=st.booleans(),
)
def test_a_tilted_stack_keeps_every_place(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, ...],
    lean: tuple[float, float],
    direction: tuple[float, ...],
    down: bool,
) -> None:
    """A ramp in patient coordinates is that ramp after the tilt is taken out, to the outer rows."""
    affine = lattice(angles, (5, -8, 12), (1.0, 1.2, 2.0), down)
    step = affine[:3, 2] + affine[:3, 0] * lean[0] + affine[:3, 1] * lean[1]
    folder = tmp_path_factory.mktemp("tilt")
    along = np.array(direction)
    series = ramp_series(folder, lambda k: affine[:3, 3] + k * step, affine, along)
    loaded = load_series(series)
    grid = loaded.volume.grid
    k, j, i = np.indices(grid.shape)
    # Which voxels were scanned: by hand, from the slices' own corners.
    sheared = np.column_stack([affine[:3, 0], affine[:3, 1], step])
    own = (grid.to_lps(np.stack([i, j, k], -1)) - affine[:3, 3]) @ np.linalg.inv(sheared).T
    scanned = np.all((own >= -1e-6) & (own <= np.array([7, 8, 6]) + 1e-6), axis=-1)
    assert scanned.sum() > 200
    check_ramp(loaded, along, scanned)
    beyond = np.any((own < -0.51) | (own > np.array([7, 8, 6]) + 0.51), axis=-1)
    assert np.all(loaded.volume.array[beyond] == -1024)
    tilt = np.degrees(np.arctan2(np.hypot(lean[0], 1.2 * lean[1]), 2.0))
    assert loaded.source["tilt_degrees"] == pytest.approx(tilt, abs=0.01)
    assert loaded.source["resampled"] == "slices shifted within their planes, linear"
    assert [n.code for n in loaded.notices] == ["gantry_tilt"]
    assert loaded.source["not_scanned"]["value"] == -1024
    assert loaded.source["not_scanned"]["share"] > 0 or not beyond.any()
    shutil.rmtree(folder)


@settings(max_examples=20, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    shifts=st.tuples(*[st.floats(-0.2, 0.2)] * 7),
    direction=st.tuples(*[st.floats(-1, 1)] * 3),
    tilted=st.booleans(),
)
def test_uneven_slices_keep_every_place(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, ...],
    shifts: tuple[float, ...],
    direction: tuple[float, ...],
    tilted: bool,
) -> None:
    """Slices off their even places by up to a fifth of the spacing: even or interpolated, the
    ramp is where it was."""
    affine = lattice(angles, (5, -8, 12), (1.0, 1.2, 2.0), False)
    step = affine[:3, 2] + (affine[:3, 1] * 0.5 if tilted else 0)
    folder = tmp_path_factory.mktemp("uneven")
    along = np.array(direction)
    series = ramp_series(
        folder, lambda k: affine[:3, 3] + (k + shifts[k]) * step, affine, along
    )
    loaded = load_series(series)
    interpolated = "interpolated between slices" in loaded.source.get("resampled", "")
    assert interpolated == ("slices_interpolated" in {n.code for n in loaded.notices})
    if interpolated and not tilted:
        check_ramp(loaded, along, np.ones(loaded.volume.grid.shape, dtype=bool))
        assert loaded.source["placement_error_mm"] < EXACT_MM
    else:
        assert loaded.source["placement_error_mm"] <= 0.5  # a quarter of the spacing
    steps = np.diff(np.arange(7) + np.array(shifts))
    if np.ptp(steps) > 0.5:
        assert interpolated
    shutil.rmtree(folder)
