"""Mosaics, refusals, damage, memory and real multi-frame objects."""


from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from analysis.errors import InputRefused
from analysis.volumes import load_series, load_volume, plan_series, scan_folder
from analysis.volumes import pixels as pixel_module
from tests.analysis.dicom_frames import (
    volume,
    write_classic,
    write_enhanced,
    write_mosaic,
)
from tests.analysis.loaded import load_all, same, voxels
from tests.analysis.test_volumes_split import DIFFUSION, DIRECTIONS, OVER_TIME, A, B

# --- mosaics ------------------------------------------------------------------------------------


@pytest.mark.parametrize("slices", [14, 16])
def test_mosaic_is_the_volume_of_its_tiles(tmp_path: Path, slices: int) -> None:
    first, second = voxels(2, (slices, 6, 5))
    times = [{"AcquisitionTime": "100000", "AcquisitionNumber": 1},
             {"AcquisitionTime": "100002", "AcquisitionNumber": 2}]  # fmt: skip
    origin = (-20.0, 7.0, 11.0)
    planes = [
        p
        for array, tags in zip((first, second), times, strict=True)
        for p in volume(array, origin=origin, **tags)
    ]
    reference = load_all(write_classic(tmp_path / "c", planes))
    tiled = [(second, times[1]), (first, times[0])]
    found = load_all(write_mosaic(tmp_path / "m", tiled, origin=origin))
    assert [v.label for v in found] == ["MR phase 1 of 2, 0.0 s", "MR phase 2 of 2, 2.0 s"]
    same(found, reference)
    assert len(set(found[0].sop_instance_uids)) == 1
    assert found[0].frame_numbers == ()


def test_mosaic_follows_the_sign_of_its_normal(tmp_path: Path) -> None:
    """The first tile lies at the position given; the next ones towards the normal."""
    array = voxels(1, (9, 4, 4))[0]
    (one,) = load_all(write_mosaic(tmp_path, [(array, {})], normal=(0, 0, -1)))
    assert np.array_equal(one.volume.array, array[::-1])
    assert one.volume.grid.affine[2, 3] == pytest.approx(-24)


def test_mosaic_without_a_direction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused) as caught:
        plan_series(write_mosaic(tmp_path, [(voxels(1, (9, 4, 4))[0], {})], normal=None))
    assert caught.value.code == "mosaic"
    assert "direction" in caught.value.message


# --- refusals and damage ------------------------------------------------------------------------


def test_frames_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    planes = [*volume(A), *volume(B)]
    with pytest.raises(InputRefused) as caught:
        plan_series(write_enhanced(tmp_path, planes))
    assert caught.value.code == "overlapping_volumes"
    assert "nothing in them" in caught.value.message


def test_one_incomplete_volume_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    planes = [p for n, p in enumerate(DIFFUSION) if n != 5]  # b 500 lacks its second slice
    plan = plan_series(write_enhanced(tmp_path, planes))
    assert [v.setting.name for v in plan.volumes] == ["b 0", "b 1000"]
    assert [v.key for v in plan.volumes] == ["1.2.3.4", "1.2.3.4#3"]
    assert [n.code for n in plan.notices] == ["too_few_slices"] or [
        n.code for n in plan.notices
    ] == ["uneven_spacing"] or [n.code for n in plan.notices] == ["missing_slice"]


def test_one_slice_over_time_is_no_volume(tmp_path: Path) -> None:
    planes = [volume(a[:1], TriggerTime=50.0 * n)[0] for n, a in enumerate(voxels(12))]
    with pytest.raises(InputRefused) as caught:
        plan_series(write_enhanced(tmp_path, planes))
    assert caught.value.code == "too_few_slices"
    assert "12 images at 1 position" in caught.value.message


def test_groups_that_do_not_match_the_frames_are_refused(tmp_path: Path) -> None:
    series = write_enhanced(tmp_path, DIFFUSION)
    ds = dcmread(series.paths[0])
    del ds.PerFrameFunctionalGroupsSequence[3]
    ds.save_as(series.paths[0])
    with pytest.raises(InputRefused) as caught:
        plan_series(series)
    assert caught.value.code == "enhanced_multiframe"


def test_damaged_enhanced_bytes_end_in_a_refusal_or_volumes(tmp_path: Path) -> None:
    series = write_enhanced(tmp_path / "e", DIRECTIONS)
    mosaic = write_mosaic(tmp_path / "m", [(voxels(1, (9, 4, 4))[0], {})])
    outcomes = set()
    for one in (series, mosaic):
        whole = Path(one.paths[0]).read_bytes()
        for seed in range(150):
            damage = np.random.default_rng(seed)
            changed = bytearray(whole)
            for _ in range(damage.integers(1, 6)):
                changed[damage.integers(132, len(whole))] = damage.integers(0, 256)
            if seed % 4 == 0:
                changed = changed[: damage.integers(200, len(whole))]
            Path(one.paths[0]).write_bytes(changed)
            try:
                outcomes.add(len(load_all(one)))
            except InputRefused as error:
                outcomes.add(error.code)
    assert len(outcomes) > 4


# --- memory -------------------------------------------------------------------------------------


def test_each_frame_is_decoded_once_and_only_when_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    real = pixel_module.PixelSource.decode

    def counting(self: Any, indices: Sequence[int]) -> Any:
        for index, array in real(self, indices):
            decoded.append(index)
            yield index, array

    monkeypatch.setattr(pixel_module.PixelSource, "decode", counting)
    plan = plan_series(write_enhanced(tmp_path, OVER_TIME))
    assert decoded == []
    load_volume(plan, plan.volumes[2])
    assert len(decoded) == 4
    for planned in (*plan.volumes[:2], *plan.volumes[3:]):
        load_volume(plan, planned)
    assert sorted(decoded) == list(range(20))


def test_compressed_frames_are_found_without_an_offset_table(tmp_path: Path) -> None:
    series = write_enhanced(tmp_path, DIFFUSION)
    reference = load_all(series)
    ds = dcmread(series.paths[0])
    ds.compress(RLELossless, generate_instance_uid=False)
    fragments = pixel_module.generate_frames(ds.PixelData, number_of_frames=12)
    ds.PixelData = encapsulate(list(fragments), has_bot=False)
    ds.save_as(series.paths[0])
    same(load_all(series), reference)


# --- real objects -------------------------------------------------------------------------------


def test_real_philips_field_map(real_data: Path) -> None:
    (series,), _ = scan_folder([real_data / "dicom-variety" / "enhanced_mr" / "Philips"])
    magnitude, field_map = load_all(series)
    assert magnitude.volume.array.shape == field_map.volume.array.shape == (32, 64, 64)
    assert (field_map.label, field_map.role) == ("field map", "MR")
    assert (magnitude.frame_numbers[0], field_map.frame_numbers[0]) == (1, 33)
    assert field_map.volume.array.min() < -400  # Hz, by the frames' own rescale
    assert magnitude.volume.array.min() == 0
    assert magnitude.volume.grid.spacing == pytest.approx((4, 4, 4), abs=1e-3)


def test_real_siemens_xa_series_over_time(real_data: Path) -> None:
    """Four files, one volume each; slices were acquired interleaved, two at once."""
    (series,), _ = scan_folder([real_data / "dicom-variety" / "enhanced_mr" / "Siemens"])
    found = load_all(replace(series, paths=series.paths[::-1]))
    assert [v.setting.name for v in found] == [
        f"phase {n + 1} of 4, {n * 0.5:.1f} s" for n in range(4)
    ]
    assert [Path(p).name for p in series.paths] == ["6_1.dcm", "6_2.dcm", "6_3.dcm", "6_4.dcm"]
    for one, path in zip(found, series.paths, strict=True):
        assert np.array_equal(one.volume.array, dcmread(path).pixel_array)
        assert set(one.sop_instance_uids) == {dcmread(path).SOPInstanceUID}


@pytest.mark.parametrize("size", ["23x38x3", "24x38x3"])
def test_real_converted_ct_equals_its_single_slices(real_data: Path, size: str) -> None:
    base = real_data / "dicom-variety" / "seg_sr_paramap_dcmqi" / "segmentations" / size
    one, other = (
        load_series(scan_folder([base / part])[0][0]) for part in ("image", "multiframe")
    )
    assert np.array_equal(one.volume.array, other.volume.array)
    assert np.allclose(one.volume.grid.affine, other.volume.grid.affine)
    assert (one.frame_numbers, other.frame_numbers) == ((), (1, 2, 3))


def test_real_enhanced_ct_map_of_two_slices_is_refused(real_data: Path) -> None:
    (series,), _ = scan_folder([real_data / "dicom-variety" / "enhanced_ct"])
    with pytest.raises(InputRefused) as caught:
        plan_series(series)
    assert caught.value.code == "too_few_slices"


def test_real_adc_is_named(real_data: Path) -> None:
    series, _ = scan_folder([real_data / "fruit-ct-mr" / "1008"])
    adc = next(s for s in series if s.description.endswith("ADC"))
    assert load_series(adc).label == "ADC"
