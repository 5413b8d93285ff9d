"""Several volumes in one series: split by what the frames say, whatever the encoding or order."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from analysis.contracts import SeriesInput
from analysis.volumes import load_series, plan_series
from tests.analysis.dicom_frames import (
    Plane,
    volume,
    write_classic,
    write_enhanced,
)
from tests.analysis.loaded import load_all, same, voxels

rng = np.random.default_rng(11)

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
    assert [v.label for v in load_all(series)] == ["DWI b 0", "DWI b 1000"]


def test_private_ge_directions(tmp_path: Path) -> None:
    planes = [
        *volume(A, ImageComments="0 0 0"),
        *volume(B, ImageComments="1 0 0"),
        *volume(C, ImageComments="0 1 0"),
    ]
    series = write_classic(tmp_path, planes[::-1])
    for path in series.paths:
        ds = dcmread(path)
        direction = ds.ImageComments.split()
        _ge(ds, 1000.0 if "1" in direction else 0.0)
        block = ds.private_block(0x0019, "GEMS_ACQU_01", create=True)
        for element, value in zip((0xBB, 0xBC, 0xBD), direction, strict=True):
            block.add_new(element, "DS", value)
        ds.save_as(path)
    found = load_all(series)
    assert [v.label for v in found] == [
        "DWI b 0", "DWI b 1000, direction 1", "DWI b 1000, direction 2",
    ]  # fmt: skip
    assert np.array_equal(found[0].volume.array, A)


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
