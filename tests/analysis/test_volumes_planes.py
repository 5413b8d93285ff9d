"""One series that holds several planes: volumes of their own, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import InputRefused
from analysis.volumes import load_series, plan_series
from tests.analysis.dicom_frames import Plane, volume, write_classic
from tests.analysis.loaded import load_all

AXIAL, CORONAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)


def planes(count: int, orientation: Sequence[float], seed: int = 0) -> list[Plane]:
    array = np.random.default_rng(seed).integers(0, 900, (count, 6, 5)).astype(np.uint16)
    return volume(array, orientation=orientation, origin=(seed, 0, 0))


def shuffled(frames: list[Plane]) -> list[Plane]:
    return [frames[n] for n in np.random.default_rng(1).permutation(len(frames))]


def test_axial_and_sagittal_in_one_series_are_two_volumes(tmp_path: Path) -> None:
    axial, sagittal = planes(12, AXIAL), planes(15, SAGITTAL, 1)
    found = load_all(write_classic(tmp_path, shuffled(axial + sagittal)))
    assert [v.setting.name for v in found] == ["axial", "sagittal"]
    assert np.array_equal(found[0].volume.array, [p.pixels for p in axial])
    assert np.array_equal(found[1].volume.array, [p.pixels for p in sagittal])
    assert found[1].volume.grid.to_lps([1, 2, 3]) == pytest.approx(
        np.array(sagittal[3].position) + np.array([0, 1.5 * 1, -2.0 * 2])
    )


def test_scouts_among_the_slices_are_left_out_and_named(tmp_path: Path) -> None:
    series = write_classic(tmp_path, shuffled(planes(12, AXIAL) + planes(2, CORONAL, 1)))
    loaded = load_series(series)
    assert loaded.volume.grid.shape == (12, 6, 5)
    (notice,) = [n for n in loaded.notices if n.severity == "refused"]
    assert notice.code == "too_few_slices"
    assert notice.message.startswith("coronal is left out: ")


@pytest.mark.parametrize(
    "frames",
    [
        planes(5, AXIAL) + planes(5, CORONAL, 1) + planes(5, SAGITTAL, 2),
        [p for n in range(12) for p in volume(
            np.ones((1, 4, 4), np.uint16), origin=(n, 0, 0),
            orientation=(np.cos(n / 4), np.sin(n / 4), 0, 0, 0, -1))],
    ],
    ids=["three-plane localiser", "radial scan"],
)  # fmt: skip
def test_localisers_and_radial_scans_are_refused(tmp_path: Path, frames: list[Plane]) -> None:
    with pytest.raises(InputRefused) as caught:
        plan_series(write_classic(tmp_path, frames))
    assert caught.value.code == "mixed_orientation"
    assert "orientations" in caught.value.message
