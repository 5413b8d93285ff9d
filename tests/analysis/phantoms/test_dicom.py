"""The DICOM files: valid, true to the arrays, synthetic by name, the same when written twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from analysis.phantoms.__main__ import main
from analysis.phantoms.dicom import identities, write_dicom
from analysis.phantoms.model import VERSION, Phantom
from analysis.roles import ROLES, facts_of, role_of
from analysis.suv import suv_of


@pytest.fixture(scope="module")
def files(thorax: Phantom, head: Phantom, tmp_path_factory) -> dict[tuple[str, str], list[Path]]:
    """Slices of every series in order, by (kind, role)."""
    out = {}
    for phantom in (thorax, head):
        folders = write_dicom(
            phantom,
            tmp_path_factory.mktemp(phantom.kind),
            patient_name="SYNTHETIC^Test",
            patient_id=f"SYN-{phantom.kind}",
        )
        for role, folder in zip(phantom.series, folders, strict=True):
            out[phantom.kind, role] = sorted(folder.iterdir())
    return out


def pairs(thorax: Phantom, head: Phantom):
    for phantom in (thorax, head):
        for role, series in phantom.series.items():
            yield phantom.kind, role, series


def test_pixels_and_geometry_come_back(files, thorax: Phantom, head: Phantom) -> None:
    for kind, role, series in pairs(thorax, head):
        paths = files[kind, role]
        image = sitk.ReadImage([str(p) for p in paths])  # an independent reader
        grid = series.volume.grid
        assert image.GetSize() == grid.shape[::-1]
        assert np.allclose(image.GetSpacing(), grid.spacing, atol=1e-4)
        assert np.allclose(image.GetOrigin(), grid.affine[:3, 3], atol=1e-3)
        assert np.allclose(np.reshape(image.GetDirection(), (3, 3)), grid.direction, atol=1e-5)
        if role == "PET":
            continue  # see below: one slope a slice
        array = sitk.GetArrayFromImage(image)
        assert np.abs(array - series.volume.array).max() <= 0.501
    assert not np.allclose(head.series["FLAIR"].volume.grid.direction, np.eye(3))


def test_suv_recomputed_from_the_headers(files, thorax: Phantom, head: Phantom) -> None:
    for phantom in (thorax, head):
        datasets = [pydicom.dcmread(p) for p in files[phantom.kind, "PET"]]
        ds = datasets[0]
        drug = ds.RadiopharmaceuticalInformationSequence[0]
        start = pydicom.valuerep.DT(ds.SeriesDate + ds.SeriesTime)
        waited = (start - pydicom.valuerep.DT(drug.RadiopharmaceuticalStartDateTime)).seconds
        assert waited == 3600
        dose = drug.RadionuclideTotalDose * 2 ** (-waited / drug.RadionuclideHalfLife)
        assert ds.Units == "BQML" and ds.DecayCorrection == "START"
        factor = float(ds.PatientWeight) * 1000 / float(dose)
        assert suv_of(datasets).factor == pytest.approx(factor, rel=1e-6)
        slopes = {float(d.RescaleSlope) for d in datasets}
        assert len(slopes) > 1  # every slice has its own
        truth = phantom.series["PET"].volume.array
        for k, d in enumerate(datasets):
            suv = (d.pixel_array * float(d.RescaleSlope) + d.RescaleIntercept) * factor
            assert np.allclose(suv, truth[k], rtol=1e-4, atol=0.51 * d.RescaleSlope * factor)


def test_roles_frames_and_studies(files, thorax: Phantom, head: Phantom) -> None:
    firsts = {key: pydicom.dcmread(paths[0]) for key, paths in files.items()}
    for (_, role), ds in firsts.items():
        assert ROLES[role_of(facts_of([ds])).code].coarse == role
    by_kind = {
        kind: [ds for (k, _), ds in firsts.items() if k == kind] for kind in ("thorax", "head")
    }
    frames = {kind: len({ds.FrameOfReferenceUID for ds in all_}) for kind, all_ in by_kind.items()}
    studies = {kind: len({ds.StudyInstanceUID for ds in all_}) for kind, all_ in by_kind.items()}
    assert frames == {"thorax": 1, "head": 5}
    assert studies == {"thorax": 1, "head": 2}
    uids = [
        pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID
        for paths in files.values()
        for p in paths
    ]
    assert len(set(uids)) == len(uids)


def test_every_file_says_that_it_is_synthetic(files) -> None:
    for paths in files.values():
        for path in (paths[0], paths[-1]):
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            assert str(ds.PatientName).startswith("SYNTHETIC^")
            assert ds.PatientComments == ds.ImageComments
            assert ds.ImageComments == f"SYNTHETIC: made by Radfuse phantoms {VERSION}"


def test_writing_twice_gives_the_same_bytes(thorax: Phantom, files, tmp_path: Path) -> None:
    folders = write_dicom(thorax, tmp_path, patient_name="SYNTHETIC^Test", patient_id="SYN-thorax")
    for role, folder in zip(thorax.series, folders, strict=True):
        for path in files["thorax", role][:3]:
            assert (folder / path.name).read_bytes() == path.read_bytes()


def test_other_patients_and_the_noise_free_twin_have_other_uids(thorax: Phantom) -> None:
    sets = [
        identities(thorax, "A"),
        identities(thorax, "B"),
        identities(thorax, "A", noise_free=True),
    ]
    assert len({one["CT"].series for one in sets}) == 3


def test_a_real_looking_name_is_refused(thorax: Phantom, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SYNTHETIC"):
        write_dicom(thorax, tmp_path, patient_name="Miller^Anna")


def test_dciodvfy_finds_no_error(files) -> None:
    if shutil.which("dciodvfy") is None:
        message = "dciodvfy (Debian package dicom3tools) is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    for (kind, role), paths in files.items():
        for path in (paths[0], paths[len(paths) // 2]):
            done = subprocess.run(
                ["dciodvfy", str(path)], capture_output=True, text=True, check=False
            )
            said = done.stdout + done.stderr
            assert "Error" not in said, f"{kind} {role}: {said}"
            assert "Image" in said  # it did recognise the IOD


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "patient"
    arguments = [
        str(out),
        "--kind",
        "head",
        "--seed",
        "3",
        "--positive",
        "--spacing",
        "6",
        "6",
        "6",
        "--patient-id",
        "SYN-3",
        "--patient-name",
        "SYNTHETIC^Three",
    ]
    assert main(arguments) == 0
    folders = capsys.readouterr().out.split()
    truth = json.loads((out / "truth.json").read_text(encoding="utf-8"))
    assert len(folders) == len(truth["series"]) == 5
    assert truth["generator_version"] == VERSION and truth["high_risk"] is True
    assert truth["lesions"][0]["kind"] == "glioma, high grade"
    for one in truth["series"].values():
        ds = pydicom.dcmread(sorted((out / one["folder"]).iterdir())[0])
        assert ds.SeriesInstanceUID == one["series_instance_uid"]
        assert ds.FrameOfReferenceUID == one["frame_of_reference_uid"]
        assert ds.PatientID == "SYN-3"
    with pytest.raises(SystemExit):
        main(arguments)  # the folder is not empty any more
    assert "not empty" in capsys.readouterr().err
