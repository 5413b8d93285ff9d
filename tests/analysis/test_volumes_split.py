"""Several volumes in one series: split by what the frames say, whatever the encoding or order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from analysis.contracts import SeriesInput
from analysis.errors import InputRefused
from analysis.volumes import LoadedVolume, load_series, load_volume, plan_series, scan_folder
from analysis.volumes import pixels as pixel_module
from tests.analysis.dicom_frames import (
    Plane,
    volume,
    write_classic,
    write_enhanced,
    write_mosaic,
)

rng = np.random.default_rng(11)


def voxels(count: int = 1, shape: tuple[int, int, int] = (4, 3, 2)) -> list[np.ndarray]:
    return [rng.integers(1, 4000, shape).astype(np.uint16) for _ in range(count)]


def load_all(series: SeriesInput) -> list[LoadedVolume]:
    plan = plan_series(series)
    return [load_volume(plan, planned) for planned in plan.volumes]


def labels(series: SeriesInput) -> list[str]:
    return [one.label for one in load_all(series)]


def same(found: Sequence[LoadedVolume], expected: Sequence[LoadedVolume]) -> None:
    """Same volumes, geometry, names and units; keys and places in the series too."""
    assert [v.label for v in found] == [v.label for v in expected]
    assert [v.key for v in found] == [v.key for v in expected]
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.volume.array, other.volume.array)
        assert np.allclose(one.volume.grid.affine, other.volume.grid.affine, atol=1e-6)
        assert one.volume.unit == other.volume.unit
        assert one.source.get("dimensions") == other.source.get("dimensions")


# --- every encoding, every order ----------------------------------------------------------------

A, B, C, D, E = voxels(5)
DIFFUSION = [
    *volume(A, DiffusionBValue=0.0),
    *volume(B, DiffusionBValue=500.0),
    *volume(C, DiffusionBValue=1000.0),
]
OVER_TIME = [
    p
    for n, array in enumerate((A, B, C, D, E))
    for p in volume(
        array,
        TemporalPositionIndex=n + 1,
        AcquisitionDateTime=f"20260101120000.{0:06d}".replace("1200", f"12{n:02d}"),
    )
]
STACKS = [
    *volume(A, StackID="1"),
    *volume(B, StackID="2", orientation=(0, 1, 0, 0, 0, -1), origin=(5, 5, 5)),
]
RESCALED = [
    *volume(A, each=lambda k: {"RescaleSlope": 0.5 * (k + 1), "RescaleIntercept": -3.0 * k},
            DiffusionBValue=0.0),
    *volume(B, each=lambda k: {"RescaleSlope": 2.0, "RescaleIntercept": float(k)},
            DiffusionBValue=800.0),
]  # fmt: skip
DIRECTIONS = [
    *volume(A, DiffusionBValue=0.0, DiffusionDirectionality="NONE"),
    *volume(B, DiffusionBValue=1000.0, DiffusionGradientOrientation=[1.0, 0.0, 0.0]),
    *volume(C, DiffusionBValue=1000.0, DiffusionGradientOrientation=[0.0, 1.0, 0.0]),
    *volume(D, DiffusionBValue=1000.0, DiffusionDirectionality="ISOTROPIC"),
]
ECHOES = [*volume(A, EchoTime=2.3), *volume(B, EchoTime=4.9), *volume(C, EchoTime=7.5)]
COMPONENTS = [
    *volume(A, ComplexImageComponent="MAGNITUDE"),
    *volume(B, ComplexImageComponent="PHASE"),
]
ONE = volume(A)

CASES: dict[str, tuple[list[Plane], list[str]]] = {
    "one": (ONE, ["MR"]),
    "diffusion": (DIFFUSION, ["DWI b 0", "DWI b 500", "DWI b 1000"]),
    "time": (OVER_TIME, [f"MR phase {n + 1} of 5, {60 * n}.0 s" for n in range(5)]),
    "stacks": (STACKS, ["MR stack 1", "MR stack 2"]),
    "rescale": (RESCALED, ["DWI b 0", "DWI b 800"]),
    "directions": (
        DIRECTIONS,
        ["DWI b 0", "DWI b 1000, direction 1", "DWI b 1000, direction 2", "DWI b 1000, trace"],
    ),
    "echoes": (ECHOES, ["MR echo 1, 2.3 ms", "MR echo 2, 4.9 ms", "MR echo 3, 7.5 ms"]),
    "components": (COMPONENTS, ["MR magnitude", "MR phase"]),
}


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_order_and_encoding_gives_the_same_volumes(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    planes, expected = CASES[name]
    folder = tmp_path_factory.mktemp("split")
    reference = load_all(write_classic(folder / "sorted", planes))
    assert [v.label for v in reference] == expected
    shuffled = data.draw(st.permutations(planes))
    same(load_all(write_classic(folder / "classic", shuffled)), reference)
    shared = data.draw(st.booleans())
    same(load_all(write_enhanced(folder / "enhanced", shuffled, shared=shared)), reference)
    cut = data.draw(st.integers(1, len(planes) - 1))
    two = [
        write_enhanced(folder / "two", part, name=f"part{n}").paths[0]
        for n, part in enumerate((shuffled[:cut], shuffled[cut:]))
    ]
    paths = tuple(data.draw(st.permutations(two)))
    same(load_all(SeriesInput("1.2.3.4", "1.2.3", "MR", "test", paths)), reference)
    shutil.rmtree(folder)


def test_every_voxel_comes_from_its_frame(tmp_path: Path) -> None:
    order = rng.permutation(len(DIFFUSION))
    series = write_enhanced(tmp_path, [DIFFUSION[n] for n in order])
    for one, array in zip(load_all(series), (A, B, C), strict=True):
        assert np.array_equal(one.volume.array, array)
        assert len(set(one.sop_instance_uids)) == 1
        stored = dcmread(series.paths[0]).pixel_array
        for k, number in enumerate(one.frame_numbers):
            assert np.array_equal(stored[number - 1], array[k])


def test_keys_number_and_speaker(tmp_path: Path) -> None:
    found = load_all(write_enhanced(tmp_path, DIFFUSION[::-1]))
    assert [v.key for v in found] == ["1.2.3.4", "1.2.3.4#2", "1.2.3.4#3"]
    assert [(v.setting.number, v.setting.count) for v in found] == [(1, 3), (2, 3), (3, 3)]
    assert found[2].source["dimensions"] == [
        {"name": "DiffusionBValue", "value": 1000.0, "unit": "s/mm2"}
    ]
    assert load_series(write_enhanced(tmp_path, DIFFUSION)).label == "DWI b 0"


@pytest.mark.parametrize(
    ("planes", "modality", "speaks"),
    [
        (ECHOES, "MR", "MR echo 1, 2.3 ms"),
        (COMPONENTS[::-1], "MR", "MR magnitude"),
        (OVER_TIME, "MR", "MR phase 1 of 5, 0.0 s"),
        (OVER_TIME, "PT", "PET phase 5 of 5, 240.0 s"),
        ([*volume(A[:3], StackID="1"), *volume(B, StackID="2", origin=(0, 0, 90))], "MR",
         "MR stack 2"),
    ],
)  # fmt: skip
def test_who_speaks_for_a_series(
    tmp_path: Path, planes: list[Plane], modality: str, speaks: str
) -> None:
    assert load_series(write_enhanced(tmp_path, planes, modality)).label.replace(
        "PET (SUVbw)", "PET"
    ) == speaks


# --- what tells frames apart --------------------------------------------------------------------


def test_declared_dimensions_are_used(tmp_path: Path) -> None:
    """Nothing but DimensionIndexValues tells the two apart; slices count in another dimension."""
    planes = [
        Plane(p.pixels, p.position, {"DimensionIndexValues": [k + 1, n + 1]})
        for n, array in enumerate((A, B))
        for k, p in enumerate(volume(array))
    ]
    pointers = ("InStackPositionNumber", "TemporalPositionIndex")
    found = load_all(write_enhanced(tmp_path, planes[::-1], pointers=pointers))
    assert sorted(v.volume.array.tobytes() for v in found) == sorted(
        a.astype(np.float32).tobytes() for a in (A, B)
    )


def test_declared_dimension_that_follows_the_slice_splits_nothing(tmp_path: Path) -> None:
    planes = [
        Plane(p.pixels, p.position, {"DimensionIndexValues": [k + 1]})
        for k, p in enumerate(volume(A))
    ]
    (one,) = load_all(write_enhanced(tmp_path, planes, pointers=("TemporalPositionIndex",)))
    assert np.array_equal(one.volume.array, A)


def test_acquisition_times_of_volumes_one_after_the_other(tmp_path: Path) -> None:
    """Every frame has a time of its own, and the slices are interleaved within a volume."""
    order = [0, 2, 1, 3]
    planes = [
        plane
        for n, array in enumerate((A, B, C))
        for plane in volume(
            array, each=lambda k, n=n: {"AcquisitionTime": f"1000{n:02d}.{order[k]}00000"}
        )
    ]
    found = load_all(write_classic(tmp_path, [planes[n] for n in rng.permutation(12)]))
    assert [v.label for v in found] == [f"MR phase {n + 1} of 3, {n}.0 s" for n in range(3)]
    for one, array in zip(found, (A, B, C), strict=True):
        assert np.array_equal(one.volume.array, array)


def test_an_interrupted_last_phase_is_left_out_with_a_reason(tmp_path: Path) -> None:
    planes = [
        plane
        for n, array in enumerate((A, B, C))
        for plane in volume(array, each=lambda k, n=n: {"AcquisitionTime": f"1000{n:02d}.{k}00000"})
    ]
    plan = plan_series(write_classic(tmp_path, planes[:-2]))
    assert [v.setting.name for v in plan.volumes] == [
        "phase 1 of 3, 0.0 s", "phase 2 of 3, 1.0 s",
    ]  # fmt: skip
    (notice,) = plan.notices
    assert notice.severity == "refused"
    assert notice.message.startswith("phase 3 of 3, 2.0 s is left out: ")


def test_cine_slice_by_slice_with_jittering_triggers(tmp_path: Path) -> None:
    """Each slice is scanned through the heart cycle before the next: delays jitter by slice."""
    planes = [
        plane
        for n, array in enumerate((A, B, C))
        for plane in volume(
            array,
            each=lambda k, n=n: {
                "TriggerTime": 40.0 * n + 1.5 * k,
                "AcquisitionTime": f"10{k:02d}{n:02d}",
            },
        )
    ]
    found = load_all(write_classic(tmp_path, [planes[n] for n in rng.permutation(12)]))
    assert [v.label for v in found] == ["MR trigger 2 ms", "MR trigger 42 ms", "MR trigger 82 ms"]
    for one, array in zip(found, (A, B, C), strict=True):
        assert np.array_equal(one.volume.array, array)


def test_triggers_of_a_plain_gated_volume_split_nothing(tmp_path: Path) -> None:
    planes = volume(
        A, each=lambda k: {"TriggerTime": 100.0 + k, "AcquisitionTime": f"1000{k:02d}"}
    )
    (one,) = load_all(write_classic(tmp_path, planes))
    assert one.label == "MR"


def _siemens(ds: Any, b: float) -> None:
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", int(b))


def _ge(ds: Any, b: float) -> None:
    block = ds.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x39, "IS", [int(b) + 1_000_000_000, 8, 0, 0])


def _philips(ds: Any, b: float) -> None:
    ds.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", b)


@pytest.mark.parametrize("maker", [_siemens, _ge, _philips])
def test_private_b_values(tmp_path: Path, maker: Callable[[Any, float], None]) -> None:
    series = write_classic(tmp_path, [*volume(A), *volume(B, ImageComments="second")])
    for path in series.paths:
        ds = dcmread(path)
        maker(ds, 1000.0 if "ImageComments" in ds else 0.0)
        ds.save_as(path)
    assert labels(series) == ["DWI b 0", "DWI b 1000"]


def test_derived_maps_are_apart_and_are_no_structural_contrast(tmp_path: Path) -> None:
    planes = [
        *volume(A, DiffusionBValue=0.0, ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]),
        *volume(B, DiffusionBValue=1000.0, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]),
        *volume(C, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]),
    ]
    tags = {"SeriesDescription": "T1"}
    for series in (
        write_classic(tmp_path / "c", planes[::-1], **tags),
        write_enhanced(tmp_path / "e", planes[::-1], **tags),
    ):
        found = load_all(series)
        assert [(v.label, v.role) for v in found] == [
            ("DWI", "MR"), ("ADC", "MR"), ("DWI trace", "MR"),
        ]  # fmt: skip


def test_ct_perfusion_map_has_no_hounsfield_units(tmp_path: Path) -> None:
    tags = {"RescaleSlope": 1.0, "RescaleIntercept": -1024.0, "RescaleType": "US"}
    planes = volume(A, ImageType=["DERIVED", "PRIMARY", "PERFUSION", "RCBF"], **tags)
    (one,) = load_all(write_enhanced(tmp_path, planes, "CT"))
    assert (one.volume.unit, one.label, one.role) == ("1", "CBF", "OTHER")
    assert [n.code for n in one.notices] == ["ct_no_hu"]


def test_enhanced_ct_is_exact_hounsfield_units(tmp_path: Path) -> None:
    tags = {"RescaleSlope": 1.0, "RescaleIntercept": -1024.0, "RescaleType": "HU"}
    planes = volume(A, **tags)
    (one,) = load_all(write_enhanced(tmp_path, planes, "CT", BitsStored=12, HighBit=11))
    assert (one.volume.unit, one.volume.array.dtype) == ("[hnsf'U]", np.int16)
    assert np.array_equal(one.volume.array, A.astype(int) - 1024)


def test_enhanced_pet_gives_the_same_suv_as_classic(tmp_path: Path) -> None:
    from tests.analysis.dicom_series import _pet_tags  # the example of clinical.md 1.5

    scale = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
    classic = write_classic(tmp_path / "c", volume(A, **scale), "PT")
    enhanced = write_enhanced(tmp_path / "e", volume(A, **scale), "PT")
    for path in classic.paths:
        ds = dcmread(path)
        _pet_tags(ds)
        ds.save_as(path)
    ds = dcmread(enhanced.paths[0])
    _pet_tags(ds)
    for keyword in ("Units", "DecayCorrection", "CorrectedImage", "SeriesDate", "SeriesTime",
                    "AcquisitionDate", "AcquisitionTime"):  # fmt: skip
        del ds[keyword]
    ds.DecayCorrected = ds.AttenuationCorrected = "YES"
    ds.DecayCorrectionDateTime = "20260101110000.000000"
    unit, mapping = type(ds)("", {}), type(ds)("", {})
    unit.CodeValue, unit.CodingSchemeDesignator = "Bq/ml", "UCUM"
    mapping.MeasurementUnitsCodeSequence = [unit]
    ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = [mapping]
    ds.save_as(enhanced.paths[0])
    (one,), (other,) = load_all(classic), load_all(enhanced)
    assert one.volume.unit == other.volume.unit == "g/ml{SUVbw}"
    assert np.array_equal(one.volume.array, other.volume.array)


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
