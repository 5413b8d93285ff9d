"""De-identification of real files of many vendors: nobody is left in them, and they stay useful."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from analysis.errors import InputRefused
from analysis.suv import suv_of
from tests.conftest import need
from tests.receiving.deidentified import (
    BASIC,
    INSTANCE_UIDS,
    RESEARCH,
    SUBSTITUTES,
    dicom_files,
    elements,
    leaks,
    original_uids,
    originals,
    read_again,
    texts,
    written,
)
from workstation.receiving.deidentification.engine import deidentify
from workstation.receiving.deidentification.options import Options

SARCOMA = "sarcoma-ct-mr-pet"


def sample(folder: Path, every: int) -> list[Path]:
    """Each kind of object is in it: files of one series lie side by side."""
    return dicom_files(folder)[::every]


@pytest.mark.parametrize("options", [BASIC, RESEARCH], ids=["basic", "research"])
@pytest.mark.parametrize(
    ("folder", "every"),
    [
        (SARCOMA, 12), ("pet-vendors", 1), ("fruit-ct-mr", 1),
        ("dicom-variety/charsets_orthanc", 1), ("dicom-variety/charsets_pydicom", 1),
        ("dicom-variety/enhanced_mr", 1), ("dicom-variety/enhanced_ct", 1),
        ("dicom-variety/seg_sr_paramap_dcmqi", 1),
        ("dicom-variety/transfer_syntaxes_identical_pixels", 1),
    ],
)  # fmt: skip
def test_no_original_string_remains(
    real_data: Path, folder: str, every: int, options: Options
) -> None:
    looked_for = 0
    for path in sample(real_data / folder, every):
        before = pydicom.dcmread(path)
        strings, uids = originals(before), original_uids(before)
        looked_for += len(strings)
        after = pydicom.dcmread(path)
        deidentify(after, options, SUBSTITUTES)
        again = read_again(after)
        assert leaks(strings, uids, again) == [], path.name
        assert again.PatientIdentityRemoved == "YES"
        assert again.get("PixelData") == before.get("PixelData")
        assert again.file_meta.MediaStorageSOPInstanceUID == again.SOPInstanceUID
        assert again.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
    assert looked_for, "the files name nobody: nothing was tested"


def test_suv_stays_computable_and_equal(real_data: Path) -> None:
    """clinical.md 8.9: with patient characteristics and moved dates, and only then."""
    factors: list[str] = []
    for path in dicom_files(real_data / "pet-vendors") + sample(real_data / SARCOMA, 12):
        before = pydicom.dcmread(path, stop_before_pixels=True)
        if before.get("Modality") != "PT" or not before.get("Units"):
            continue
        after = pydicom.dcmread(path, stop_before_pixels=True)
        deidentify(after, RESEARCH, SUBSTITUTES)
        try:
            expected = suv_of([before])
        except InputRefused as refusal:
            with pytest.raises(InputRefused) as caught:
                suv_of([after])
            assert caught.value.code == refusal.code, path.name
            continue
        found = suv_of([after])
        assert found.factor == pytest.approx(expected.factor, rel=1e-12), path.name
        assert found.branch == expected.branch
        factors.append(found.branch)
    # Philips' private factors and decay-corrected activity are both among them.
    assert {"philips-suv-factor", "BQML/START"} <= set(factors)
    assert len(factors) > 25


def test_basic_profile_takes_the_suv_away(real_data: Path) -> None:
    path = sorted((real_data / SARCOMA / "STS_001/PET/image").iterdir())[0]
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    assert dataset.PatientWeight
    deidentify(dataset, BASIC, SUBSTITUTES)
    assert "PatientWeight" not in dataset
    drug = dataset.RadiopharmaceuticalInformationSequence[0]
    assert "RadiopharmaceuticalStartTime" not in drug
    assert "RadiopharmaceuticalStartDateTime" not in drug
    assert drug.RadionuclideTotalDose


def test_structure_sets_still_point_at_their_images(real_data: Path) -> None:
    """By study, series and frame of reference; the sample's cropped slices have UIDs of their own,
    so for those each reference must be the substitute of the original one."""
    kinds = {
        "StudyInstanceUID": ("StudyInstanceUID", "ReferencedSOPInstanceUID"),
        "SeriesInstanceUID": ("SeriesInstanceUID",),
        "FrameOfReferenceUID": ("FrameOfReferenceUID", "ReferencedFrameOfReferenceUID"),
    }
    files = dicom_files(real_data / SARCOMA / "STS_001")
    structure_sets = [p for p in files if pydicom.dcmread(p).Modality == "RTSTRUCT"]
    images = [p for p in files if p not in structure_sets]
    assert len(structure_sets) == 3
    for path in structure_sets:
        before, after = pydicom.dcmread(path), pydicom.dcmread(path)
        deidentify(after, RESEARCH, SUBSTITUTES)
        uids = [uid for e in elements(before) if e.keyword in INSTANCE_UIDS for uid in texts(e)]
        new = [uid for e in elements(after) if e.keyword in INSTANCE_UIDS for uid in texts(e)]
        assert new == [SUBSTITUTES.uid(uid) for uid in uids]
        linked = False
        for image in images[:: max(1, len(images) // 12)]:
            old, fresh = pydicom.dcmread(image), pydicom.dcmread(image)
            deidentify(fresh, RESEARCH, SUBSTITUTES)
            for keyword, named_in in kinds.items():
                for reference in named_in:
                    was = _points(before, reference, old[keyword].value)
                    assert was == _points(after, reference, fresh[keyword].value)
                    linked = linked or was
        assert linked


def _points(dataset: Dataset, keyword: str, uid: str) -> bool:
    return any(uid in texts(e) for e in elements(dataset) if e.keyword == keyword)


def test_segmentations_and_reports_still_point_at_their_images(real_data: Path) -> None:
    folder = real_data / "dicom-variety/seg_sr_paramap_dcmqi/segmentations"
    for names in (("23x38x3/image", "23x38x3/seg"), ("24x38x3/image", "24x38x3/seg")):
        image_folder, seg_folder = (folder / name for name in names)
        if not image_folder.is_dir():
            continue
        images = set()
        for path in dicom_files(image_folder):
            dataset = pydicom.dcmread(path)
            deidentify(dataset, RESEARCH, SUBSTITUTES)
            images.add(str(dataset.SOPInstanceUID))
        for path in dicom_files(seg_folder):
            dataset = pydicom.dcmread(path)
            deidentify(dataset, RESEARCH, SUBSTITUTES)
            named = {
                uid
                for element in elements(dataset)
                if element.keyword == "ReferencedSOPInstanceUID"
                for uid in texts(element)
            }
            assert named
            assert named <= images


def test_a_report_keeps_its_measurements(real_data: Path) -> None:
    folder = real_data / "dicom-variety/seg_sr_paramap_dcmqi/sr-example"
    reports = [p for p in dicom_files(folder) if pydicom.dcmread(p).Modality == "SR"]
    for path in reports:
        before, after = pydicom.dcmread(path), pydicom.dcmread(path)
        deidentify(after, RESEARCH, SUBSTITUTES)
        numbers = [str(e.value) for e in elements(before) if e.keyword == "NumericValue"]
        assert numbers
        assert [str(e.value) for e in elements(after) if e.keyword == "NumericValue"] == numbers
        bare = pydicom.dcmread(path)
        deidentify(bare, BASIC, SUBSTITUTES)
        assert not [e for e in elements(bare) if e.keyword == "NumericValue"]
    assert reports


def test_the_private_attributes_that_stay_are_the_safe_ones(real_data: Path) -> None:
    seen = 0
    for path in dicom_files(real_data / "pet-vendors"):
        before = pydicom.dcmread(path, stop_before_pixels=True)
        creators = [str(e.value) for e in before if e.tag.is_private_creator]
        safe = pydicom.dcmread(path, stop_before_pixels=True)
        deidentify(safe, RESEARCH, SUBSTITUTES)
        left = [(e.tag.group, e.tag.elem & 0xFF) for e in safe if e.tag.is_private]
        assert set(left) <= {(0x7053, 0x10), (0x7053, 0x00), (0x7053, 0x09), (0x0025, 0x10),
                             (0x0025, 0x07), (0x00E1, 0x10), (0x00E1, 0x50), (0x0903, 0x10),
                             (0x0903, 0x11), (0x0903, 0x12)}, path.name  # fmt: skip
        seen += "Philips PET Private Group" in creators and (0x7053, 0x00) in left
        bare = pydicom.dcmread(path, stop_before_pixels=True)
        deidentify(bare, BASIC, SUBSTITUTES)
        assert not [e for e in elements(bare) if e.tag.is_private]
    assert seen > 3


def test_diffusion_weighting_stays_readable(real_data: Path) -> None:
    """Siemens' private b value (0019,xx0C) is in the standard's list."""
    weighted = [
        path
        for path in dicom_files(real_data / "fruit-ct-mr")
        if "TRACEW" in path.parent.name
    ]
    assert weighted
    for path in weighted:
        before, after = pydicom.dcmread(path), pydicom.dcmread(path)
        deidentify(after, RESEARCH, SUBSTITUTES)
        block = read_again(after).private_block(0x0019, "SIEMENS MR HEADER")
        assert block[0x0C].value == before.private_block(0x0019, "SIEMENS MR HEADER")[0x0C].value


def _errors(path: Path) -> set[str]:
    result = subprocess.run(
        [need("dciodvfy"), str(path)], capture_output=True, timeout=60, check=False
    )
    lines = (result.stdout + result.stderr).decode(errors="replace").splitlines()
    return {line.split("- for")[0].strip() for line in lines if line.startswith("Error")}


@pytest.mark.parametrize("options", [BASIC, RESEARCH], ids=["basic", "research"])
def test_dciodvfy_finds_no_new_errors(
    real_data: Path, tmp_path: Path, options: Options
) -> None:
    need("dciodvfy")
    files = (
        dicom_files(real_data / SARCOMA / "STS_001")[::60]
        + dicom_files(real_data / "pet-vendors/ge")[::6]
        + dicom_files(real_data / "fruit-ct-mr")[::9]
        + dicom_files(real_data / "dicom-variety/seg_sr_paramap_dcmqi/sr-example")
        + dicom_files(real_data / "dicom-variety/enhanced_mr")
    )
    for path in files:
        dataset = pydicom.dcmread(path)
        deidentify(dataset, options, SUBSTITUTES)
        result = tmp_path / "result.dcm"
        result.write_bytes(written(dataset))
        assert _errors(result) - _errors(path) == set(), path
