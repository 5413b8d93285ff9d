"""Series of one patient in other positions on the table, as DICOM folders through the command line:
feet first against head first, prone against supine; and image files of every kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from scipy.spatial.transform import Rotation

from analysis.__main__ import main
from analysis.geometry import FloatArray, Volume, to_sitk
from analysis.phantoms.dicom import write_dicom
from analysis.phantoms.head import make_head
from analysis.phantoms.model import Phantom
from analysis.registration.rigid import apply, rigid
from tests.analysis.registration.conftest import placed

TABLE = np.array([35.0, -20.0, -640.0])
"""Another table, mm."""


@pytest.fixture(scope="module")
def head() -> Phantom:
    return make_head(5, spacing_mm=(3.0, 3.0, 3.0), positive=True)


@pytest.fixture(scope="module")
def folders(head: Phantom, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The DICOM folder of each series by its role, all head first and supine."""
    written = write_dicom(head, tmp_path_factory.mktemp("dicom"))
    return dict(zip(head.series, written, strict=True))


def lying(folder: Path, out: Path, position: str, turn: FloatArray, backwards: str) -> Path:
    """The series written again: the patient moved by ``turn`` in its coordinates, PatientPosition
    changed, and the image axes named in ``backwards`` (x, y) read the other way round, with slices
    numbered from the other end, as scanners store these positions."""
    out.mkdir()
    files = sorted(folder.glob("*.dcm"))
    for number, path in enumerate(reversed(files), start=1):
        ds = dcmread(path)
        pixels = ds.pixel_array
        row, column = np.reshape([float(v) for v in ds.ImageOrientationPatient], (2, 3))
        origin = np.array([float(v) for v in ds.ImagePositionPatient])
        dy, dx = (float(v) for v in ds.PixelSpacing)
        if "x" in backwards:
            origin, row = origin + (ds.Columns - 1) * dx * row, -row
            pixels = pixels[:, ::-1]
        if "y" in backwards:
            origin, column = origin + (ds.Rows - 1) * dy * column, -column
            pixels = pixels[::-1]
        ds.ImagePositionPatient = [f"{v:.6f}" for v in apply(turn, origin[None])[0]]
        axes = np.concatenate([turn[:3, :3] @ row, turn[:3, :3] @ column])
        ds.ImageOrientationPatient = [f"{v:.8f}" for v in axes]
        ds.PatientPosition, ds.InstanceNumber = position, number
        ds.PixelData = np.ascontiguousarray(pixels).tobytes()
        ds.save_as(out / f"{number:04d}.dcm", enforce_file_format=True)
    return out


def answer(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["register", *map(str, arguments), "--threads", "2"]) == 0
    return dict(json.loads(capfd.readouterr().out))


def brain(head: Phantom) -> FloatArray:
    assert head.body is not None
    k, j, i = np.nonzero(head.body.array)
    return head.body.grid.to_lps(np.stack([i, j, k], axis=1))[::20]


def error_mm(found: dict[str, Any], truth: FloatArray, points: FloatArray) -> float:
    """Of the printed matrix (fixed -> moving) against the truth (moving -> fixed)."""
    pull = np.array(found["matrix"] or found["rejected_matrix"])
    landed = apply(truth, apply(pull, points))
    return float(np.linalg.norm(landed - points, axis=1).mean())


@pytest.mark.parametrize(
    ("position", "role", "axis", "backwards"),
    [
        ("FFS", "T2", None, "x"),  # written as the standard says: only the lattice is reversed
        ("FFS", "T1", (0, 1, 0), ""),  # entered as head first at the console: turned coordinates
        ("HFP", "T2", None, "xy"),
        ("HFP", "FLAIR", (0, 0, 1), ""),
        ("FFP", "T1", (1, 0, 0), "x"),
    ],
)
def test_feet_first_and_prone_series_meet_a_head_first_supine_one(
    position: str,
    role: str,
    axis: tuple[int, int, int] | None,
    backwards: str,
    head: Phantom,
    folders: dict[str, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    series = head.series[role]  # type: ignore[index]
    turn = Rotation.from_rotvec(np.pi * np.array(axis)) if axis else Rotation.identity()
    moved = rigid(turn, TABLE, series.volume.grid.centre)
    folder = lying(folders[role], tmp_path / "moving", position, moved, backwards)
    assert {str(dcmread(path).PatientPosition) for path in folder.glob("*")} == {position}
    found = answer(capfd, folders["T1c"], folder)
    assert found["verdict"] == "usable", found["reasons"]
    truth = np.array(series.to_reference) @ np.linalg.inv(moved)
    assert error_mm(found, truth, brain(head)) < 1.5


@pytest.mark.parametrize(("fixed", "moving"), [("nrrd", "mha"), ("mha", "nrrd")])
def test_nrrd_and_mha_with_oblique_axes(
    fixed: str, moving: str, head: Phantom, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tilt = rigid(Rotation.from_euler("xy", (14, -9), degrees=True), TABLE, np.zeros(3))
    series = head.series["T2"]

    def written(volume: Volume, name: str) -> Path:
        sitk.WriteImage(to_sitk(volume), str(tmp_path / name))
        return tmp_path / name

    found = answer(
        capfd, written(placed(head.reference.volume, tilt), f"fixed.{fixed}"),
        written(series.volume, f"moving.{moving}"),
    )  # fmt: skip
    assert found["verdict"] == "usable", found["reasons"]
    truth = tilt @ np.array(series.to_reference)
    assert error_mm(found, truth, apply(tilt, brain(head))) < 1.0
