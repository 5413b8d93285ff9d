"""DICOM files to volumes: the place of every voxel, its value, and every way to be refused."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from analysis.contracts import SeriesInput
from analysis.errors import InputRefused
from analysis.volumes import load_series, scan_folder
from tests.analysis.dicom_series import make_series

rng = np.random.default_rng(7)
ARRAY = rng.integers(-1000, 2000, (6, 5, 4)).astype(np.int16)


def refused(series: SeriesInput) -> InputRefused:
    with pytest.raises(InputRefused) as caught:
        load_series(series)
    for secret in ("T1", "Test^", "SYNTHETIC"):
        assert secret not in caught.value.message
    return caught.value


def set_tags(**tags: object) -> Callable[[int, Dataset], None]:
    def change(k: int, ds: Dataset) -> None:
        for keyword, value in tags.items():
            setattr(ds, keyword, value)

    return change


# --- geometry; see also test_volumes_coordinates.py and test_volumes_tolerances.py ---------------


def test_slices_are_sorted_by_position_not_by_number(tmp_path: Path) -> None:
    series = make_series(tmp_path, ARRAY, order=[3, 0, 5, 1, 4, 2])
    loaded = load_series(series)
    assert np.array_equal(loaded.volume.array, ARRAY)
    by_path = {dcmread(p).ImagePositionPatient[2]: dcmread(p).SOPInstanceUID for p in series.paths}
    assert loaded.sop_instance_uids == tuple(by_path[z] for z in sorted(by_path))


def test_downward_stack_ends_up_right_handed(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, -2.0, 1.0])
    loaded = load_series(make_series(tmp_path, ARRAY, affine=affine))
    assert np.linalg.det(loaded.volume.grid.affine[:3, :3]) > 0
    assert np.array_equal(loaded.volume.array, ARRAY[::-1])


def test_missing_slice_is_named_with_its_place(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.5, 1.0])
    affine[2, 3] = -40
    error = refused(make_series(tmp_path, ARRAY, affine=affine, skip=(2,)))
    assert error.code == "missing_slice"
    assert "1 of 6 slices is missing" in error.message
    assert "between slices 2 and 3" in error.message
    assert "-35.0 mm" in error.message


def test_two_gaps_are_both_counted(tmp_path: Path) -> None:
    array = np.zeros((12, 3, 3), np.int16)
    error = refused(make_series(tmp_path, array, skip=(2, 7, 8)))
    assert error.code == "missing_slice"
    assert "3 of 12 slices are missing" in error.message


def test_positions_rounded_to_a_tenth_are_even(tmp_path: Path) -> None:
    def rounded(k: int, ds: Dataset) -> None:
        ds.ImagePositionPatient = [0, 0, round(k * 1.25, 1)]

    assert load_series(make_series(tmp_path, ARRAY, change=rounded)).volume.grid.spacing[2] == (
        pytest.approx(1.25, abs=0.02)
    )


def _moved(k: int, ds: Dataset) -> None:
    if k == 3:
        ds.ImagePositionPatient = [0, 0, 3.8]


def _turned(k: int, ds: Dataset) -> None:
    if k == 3:
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def _twice(k: int, ds: Dataset) -> None:
    ds.ImagePositionPatient = [0, 0, k // 2]


def _sideways(k: int, ds: Dataset) -> None:
    if k == 3:
        ds.ImagePositionPatient = [1.5, 0, 3]


def _other_patient(k: int, ds: Dataset) -> None:
    if k == 3:
        ds.PatientID = "T2"


def _cut(k: int, ds: Dataset) -> None:
    if k == 3:
        ds.PixelData = ds.PixelData[:-6]


def _nowhere(k: int, ds: Dataset) -> None:
    del ds.ImagePositionPatient


def _other_size(k: int, ds: Dataset) -> None:
    if k == 3:
        ds.Rows, ds.Columns = 4, 5


def _undescribed(k: int, ds: Dataset) -> None:
    ds.NumberOfFrames = 4
    ds.PixelData = ds.PixelData * 4


def _colour(k: int, ds: Dataset) -> None:
    ds.PhotometricInterpretation, ds.SamplesPerPixel, ds.BitsAllocated = "RGB", 3, 8


@pytest.mark.parametrize(
    ("code", "change", "words"),
    [
        ("uneven_spacing", _moved, "evenly"),
        ("mixed_orientation", _turned, "orientations"),
        ("overlapping_volumes", _twice, "2 images at each of 3 positions"),
        ("mixed_geometry", _sideways, "shifted"),
        ("mixed_geometry", _other_size, "differ in size"),
        ("several_patients", _other_patient, "different patients"),
        ("truncated_pixel_data", _cut, "34 of 40 bytes"),
        ("no_geometry", _nowhere, "ImagePositionPatient"),
        ("colour_image", _colour, "colour"),
        ("enhanced_multiframe", _undescribed, "does not say where its frames lie"),
        ("truncated_pixel_data", set_tags(NumberOfFrames=4), "40 of 160 bytes"),
        ("unreadable_file", set_tags(NumberOfFrames="900000000"), "how many frames"),
        ("mosaic", set_tags(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "does not say"),
        ("bad_rescale", set_tags(RescaleSlope=0), "slope"),
        ("no_geometry", set_tags(PixelSpacing=[0, 0]), "PixelSpacing"),
        ("no_geometry", set_tags(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "Orientation"),
    ],
)
def test_each_refusal_has_its_own_words(
    tmp_path: Path, code: str, change: Callable[[int, Dataset], None], words: str
) -> None:
    error = refused(make_series(tmp_path, ARRAY, change=change))
    assert (error.code, words in error.message) == (code, True), error.message


def test_single_image_is_no_volume(tmp_path: Path) -> None:
    assert refused(make_series(tmp_path, ARRAY[:1])).code == "too_few_slices"


def test_text_file_named_dcm_is_refused(tmp_path: Path) -> None:
    series = make_series(tmp_path, ARRAY)
    Path(series.paths[2]).write_text("This is a letter.\n")
    assert refused(series).code == "unreadable_file"


def test_file_cut_in_the_middle_is_refused(tmp_path: Path) -> None:
    series = make_series(tmp_path, rng.integers(0, 9, (4, 64, 64)).astype(np.int16))
    whole = Path(series.paths[1]).read_bytes()
    Path(series.paths[1]).write_bytes(whole[: len(whole) // 2])
    assert refused(series).code == "truncated_pixel_data"


def test_compressed_file_cut_off_is_refused(real_data: Path, tmp_path: Path) -> None:
    source = min((real_data / "neck-ct-lossy" / "dicom").glob("*"))
    ds = dcmread(source)
    (tmp_path / "cut.dcm").write_bytes(source.read_bytes()[:-2000])
    series = SeriesInput(
        ds.SeriesInstanceUID, ds.StudyInstanceUID, "CT", "", (str(tmp_path / "cut.dcm"),)
    )
    assert refused(series).code == "truncated_pixel_data"


@pytest.mark.parametrize("modality", ["CT", "PT"])
def test_damaged_bytes_end_in_a_refusal_or_a_volume(tmp_path: Path, modality: str) -> None:
    """120 random damages: bytes changed or cut off, in one file or in all. Nothing else may
    come out than a volume or a refusal."""
    series = make_series(tmp_path, np.abs(ARRAY[:4, :3, :3]), modality=modality)
    whole = [Path(path).read_bytes() for path in series.paths]
    codes = set()
    for seed in range(120):
        for path, data in zip(series.paths, whole, strict=True):
            damage = np.random.default_rng(seed)
            damaged = bytearray(data)
            if seed % 3 == 0 or path == series.paths[1]:
                for _ in range(damage.integers(1, 4)):
                    damaged[damage.integers(132, len(data))] = damage.integers(0, 256)
                if seed % 5 == 0:
                    damaged = damaged[: damage.integers(0, len(data))]
            Path(path).write_bytes(damaged)
        try:
            load_series(series)
        except InputRefused as error:
            codes.add(error.code)
        try:
            scan_folder([tmp_path])
        except InputRefused as error:
            codes.add(error.code)
    assert len(codes) > 4


def test_same_file_twice_is_used_once(tmp_path: Path) -> None:
    series = make_series(tmp_path, ARRAY)
    copy = tmp_path / "copy.dcm"
    shutil.copy(series.paths[0], copy)
    again = SeriesInput(**{**series.__dict__, "paths": (*series.paths, str(copy))})
    loaded = load_series(again)
    assert loaded.volume.array.shape == ARRAY.shape
    assert [n.code for n in loaded.notices] == ["repeated_instance"]


def test_same_instance_with_other_pixels_is_refused(tmp_path: Path) -> None:
    series = make_series(tmp_path, ARRAY)
    ds = dcmread(series.paths[0])
    ds.PixelData = bytes(len(ds.PixelData))
    ds.save_as(tmp_path / "copy.dcm")
    again = SeriesInput(**{**series.__dict__, "paths": (*series.paths, str(tmp_path / "copy.dcm"))})
    assert refused(again).code == "instance_conflict"


def test_gantry_tilt_is_straightened_and_said(tmp_path: Path) -> None:
    """A straight rod along z, scanned by tilted slices, is straight again."""
    tilt = np.radians(20)
    nz, ny, nx = 8, 40, 20
    affine = np.eye(4)
    affine[:3, 1] = [0, np.cos(tilt), np.sin(tilt)]
    affine[:3, 2] = [0, 0, 2]  # the table moves along z, not along the slice normal
    z, y, x = np.indices((nz, ny, nx))
    lps = np.stack([x, y, z], -1) @ affine[:3, :3].T
    rod = 1000 * np.exp(-((lps[..., 0] - 10) ** 2 + (lps[..., 1] - 18) ** 2) / 18)
    loaded = load_series(make_series(tmp_path, rod.astype(np.int16), affine=affine))
    grid = loaded.volume.grid
    assert loaded.source["tilt_degrees"] == pytest.approx(20, abs=0.01)
    assert "gantry_tilt" in {n.code for n in loaded.notices}
    assert grid.direction.T @ grid.direction == pytest.approx(np.eye(3), abs=1e-6)
    for k in range(nz):
        plane = np.where(loaded.volume.array[k] > 0, loaded.volume.array[k], 0)
        j, i = np.unravel_index(plane.argmax(), plane.shape)
        assert grid.to_lps([i, j, k])[:2] == pytest.approx([10, 18], abs=0.75)


# --- values --------------------------------------------------------------------------------------


def test_rescale_is_read_per_slice(tmp_path: Path) -> None:
    def change(k: int, ds: Dataset) -> None:
        ds.RescaleSlope = 0.5 * (k + 1)

    loaded = load_series(make_series(tmp_path, ARRAY, change=change))
    expected = ARRAY * (0.5 * (np.arange(6) + 1))[:, None, None]
    assert loaded.volume.array == pytest.approx(expected)
    assert loaded.source["rescale"]["per_slice"] is True


def test_unsigned_ct_with_intercept_is_exact_int16(tmp_path: Path) -> None:
    array = rng.integers(0, 4096, (4, 3, 3)).astype(np.uint16)
    loaded = load_series(
        make_series(tmp_path, array, BitsStored=12, HighBit=11, RescaleIntercept=-1024)
    )
    assert loaded.volume.array.dtype == np.int16
    assert np.array_equal(loaded.volume.array, array.astype(int) - 1024)
    assert (loaded.volume.unit, loaded.role) == ("[hnsf'U]", "CT")


def test_ct_beyond_int16_is_kept_as_float(tmp_path: Path) -> None:
    array = np.full((4, 3, 3), 60000, np.uint16)
    loaded = load_series(make_series(tmp_path, array, RescaleIntercept=-1024))
    assert loaded.volume.array.max() == 58976


def test_ct_padding_becomes_air(tmp_path: Path) -> None:
    array = ARRAY.copy()
    array[:, 0, 0] = -2000
    loaded = load_series(make_series(tmp_path, array, PixelPaddingValue=-2000))
    assert np.all(loaded.volume.array[:, 0, 0] == -1024)
    assert loaded.source["padding_voxels"] == 6


def test_padding_that_would_erase_water_is_not_believed(tmp_path: Path) -> None:
    array = ARRAY.copy()
    array[0, 0, 0] = 0
    loaded = load_series(make_series(tmp_path, array, PixelPaddingValue=0))
    assert np.array_equal(loaded.volume.array, array)
    assert "padding_ignored" in {n.code for n in loaded.notices}


def test_monochrome1_keeps_its_values(tmp_path: Path) -> None:
    loaded = load_series(make_series(tmp_path, ARRAY, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(loaded.volume.array, ARRAY)
    assert "monochrome1" in {n.code for n in loaded.notices}


def test_ct_without_rescale_is_shown_but_not_in_hu(tmp_path: Path) -> None:
    def change(k: int, ds: Dataset) -> None:
        del ds.RescaleSlope

    loaded = load_series(make_series(tmp_path, ARRAY, change=change))
    assert loaded.volume.unit == "1"
    assert [(n.code, n.severity) for n in loaded.notices] == [("ct_no_hu", "refused")]


def test_pet_without_dose_is_shown_without_suv(tmp_path: Path) -> None:
    def change(k: int, ds: Dataset) -> None:
        del ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose

    series = make_series(tmp_path, np.abs(ARRAY), modality="PT", change=change)
    loaded = load_series(series)
    assert (loaded.volume.unit, loaded.label, loaded.role) == ("Bq/ml", "PET", "PET")
    assert np.array_equal(loaded.volume.array, np.abs(ARRAY))
    (notice,) = loaded.notices
    assert (notice.code, notice.severity) == ("pet_no_dose", "refused")
    assert notice.subject == series.series_instance_uid
    assert notice.message.startswith("SUV refused: ")


def test_pet_in_suv(tmp_path: Path) -> None:
    array = np.full((4, 3, 3), 5000, np.int16)
    loaded = load_series(make_series(tmp_path, array, modality="PT"))
    assert loaded.volume.unit == "g/ml{SUVbw}"
    assert loaded.volume.array == pytest.approx(1.3817, abs=5e-5)
    assert loaded.volume.array.dtype == np.float32
    assert loaded.label == "PET (SUVbw)"


def test_evidence_holds_no_patient_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        loaded = load_series(make_series(tmp_path, np.abs(ARRAY), modality="PT"))
    for text in (repr(loaded.source), repr(loaded.header), caplog.text):
        assert "Test^" not in text
        assert "20260101" not in text
    assert loaded.patient_key not in ("", "T1")
    assert loaded.synthetic


# --- folders -------------------------------------------------------------------------------------


def test_scan_groups_series_and_reports_what_it_left_out(tmp_path: Path) -> None:
    one = make_series(tmp_path / "a", ARRAY, seed="one")
    two = make_series(tmp_path / "b" / "c", np.abs(ARRAY), modality="PT", seed="two")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "letter.dcm").write_text("hello")
    found, notices = scan_folder([tmp_path])
    assert {(s.series_instance_uid, s.modality, len(s.paths)) for s in found} == {
        (one.series_instance_uid, "CT", 6),
        (two.series_instance_uid, "PT", 6),
    }
    assert [(n.code, "2 file" in n.message) for n in notices] == [("not_dicom", True)]


def test_scan_refuses_two_patients(tmp_path: Path) -> None:
    make_series(tmp_path / "a", ARRAY, seed="one")
    make_series(tmp_path / "b", ARRAY, seed="two", PatientID="other")
    with pytest.raises(InputRefused) as caught:
        scan_folder([tmp_path])
    assert caught.value.code == "several_patients"


def test_same_id_of_two_issuers_is_two_patients(tmp_path: Path) -> None:
    make_series(tmp_path / "a", ARRAY, seed="one", IssuerOfPatientID="X")
    make_series(tmp_path / "b", ARRAY, seed="two", IssuerOfPatientID="Y")
    with pytest.raises(InputRefused):
        scan_folder([tmp_path])


def test_a_stored_role_goes_before_the_header(tmp_path: Path) -> None:
    """What the web stored, by hand or by rule, is what the analysis uses."""
    series = make_series(tmp_path, ARRAY, modality="MR", SeriesDescription="AX T2")
    told = load_series(replace(series, role="MR_T1C"))
    assert (told.code, told.role, told.label) == ("MR_T1C", "T1c", "T1 + contrast")
    assert load_series(series).code == load_series(replace(series, role="GONE")).code == "MR_T2"


# --- real images ---------------------------------------------------------------------------------


def test_sarcoma_patients(real_data: Path) -> None:
    for patient, suv_max in (("STS_001", 25.4), ("STS_005", 6.72)):
        series, notices = scan_folder([real_data / "sarcoma-ct-mr-pet" / patient])
        images = {s.modality: load_series(s) for s in series if s.modality != "RTSTRUCT"}
        assert not notices
        assert {m: v.role for m, v in images.items()} == {"CT": "CT", "MR": "T1", "PT": "PET"}
        assert images["PT"].volume.array.max() == pytest.approx(suv_max, rel=0.002)
        assert images["PT"].source["suv"]["branch"] == "GML"
        assert len({v.frame_of_reference_uid for v in images.values()}) == 1
        assert len({v.patient_key for v in images.values()}) == 1
        assert not any(v.synthetic for v in images.values())


def test_full_size_lossy_series_says_so(real_data: Path) -> None:
    (series,), _ = scan_folder([real_data / "neck-ct-lossy"])
    loaded = load_series(series)
    assert loaded.volume.array.shape == (295, 512, 512)
    assert loaded.volume.grid.spacing == pytest.approx((0.541015625, 0.541015625, 1.0))
    assert loaded.lossy == "J2K 20:1"
    assert "lossy" in {n.code for n in loaded.notices}
    assert loaded.body_part == "NECK"


def test_nine_transfer_syntaxes_give_the_same_volume(real_data: Path, tmp_path: Path) -> None:
    """The nine files hold the same pixels: stacked as nine slices, all slices are equal."""
    folder = real_data / "dicom-variety" / "transfer_syntaxes_identical_pixels"
    paths = []
    for k, source in enumerate(sorted(folder.glob("*.dcm"))):
        ds = dcmread(source)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
        ds.SOPInstanceUID = f"1.2.3.{k + 1}"
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, k]
        ds.SeriesInstanceUID = "1.2.3"
        paths.append(str(tmp_path / f"{k}.dcm"))
        ds.save_as(paths[-1])
    loaded = load_series(SeriesInput("1.2.3", "1.2", "MR", "", tuple(paths)))
    assert len(paths) == 9
    syntaxes = {dcmread(p, stop_before_pixels=True).file_meta.TransferSyntaxUID for p in paths}
    assert ExplicitVRBigEndian in syntaxes
    assert len(syntaxes) >= 6
    assert loaded.volume.array.max() > 0
    assert np.all(loaded.volume.array == loaded.volume.array[0])


def test_fruit_localisers_and_reports_are_refused_by_name(real_data: Path) -> None:
    series, _ = scan_folder([real_data / "fruit-ct-mr" / "1005"])
    codes = {}
    for one in series:
        try:
            codes[one.description] = load_series(one).role
        except InputRefused as error:
            codes[one.description] = error.code
    assert codes["Topogramm  0.6  T20f"] == "too_few_slices"
    assert codes["FUJI Basic Text SR for HL7 Radiological Report"] == "not_an_image"
    assert codes["t2_tse_tra 5mm"] == "T2"
    assert codes["SWI_Images"] == "MR"


def test_malformed_files_never_crash(real_data: Path) -> None:
    """Every malformed file alone: a series with a refusal, or left out with a notice."""
    for path in sorted((real_data / "dicom-variety" / "malformed").iterdir()):
        series, notices = scan_folder([path])
        assert series or notices, path.name
        for one in series:
            with pytest.raises(InputRefused):
                load_series(one)
