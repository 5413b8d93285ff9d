"""Registration objects of ours: read back by our reader, by numpy after PS3.3, by dciodvfy."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from analysis.deformation import Deformation
from analysis.grids import Grid, as_matrix
from analysis.registration.claims import between
from analysis.registration.spatial_registration import read_registration
from tests.analysis.registration.test_spatial_registration import carried, series, smooth
from tests.exporting.test_objects import code_of, complaints
from workstation.analyzing.transforms import Transform
from workstation.exporting.plain_objects import save
from workstation.exporting.registrations import matrix_type, write_registration
from workstation.exporting.sources import CannotWrite

RNG = np.random.default_rng(12)
NEAR_AND_FAR = np.concatenate([RNG.uniform(-150, 150, (50, 3)), RNG.uniform(-1000, 1000, (50, 3))])
"""LPS mm, up to a metre from the origin."""


def header(name: str, frame: str, study: str = "2.25.1") -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.SOPInstanceUID = f"2.25.{sum(map(ord, name))}.{len(name)}"
    ds.SeriesInstanceUID = f"2.25.{sum(map(ord, name.split()[0]))}.9"
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = study, frame
    ds.PatientName, ds.PatientID = "SYNTHETIC^Ada", "EX-1"
    ds.PatientBirthDate, ds.PatientSex = "19610203", "F"
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20260105", "101500", "S1"
    ds.AccessionNumber, ds.ReferringPhysicianName = "ACC-7", "Refer^Rita"
    return ds


@dataclass
class Signed:
    """What the writer asks of a signed version."""

    reference_headers: list[Dataset] = field(
        default_factory=lambda: [header("ct 1", "1.1"), header("ct 2", "1.1")]
    )
    frame_of_reference_uid: str = "1.1"
    signed_at: datetime = datetime(2026, 1, 6, 9, 30, tzinfo=UTC)
    content: dict[str, Any] = field(
        default_factory=lambda: {
            "signature": {"name": "Ada Läsare, MD"}, "site": {"name": "Nordklinik"},
        }
    )  # fmt: skip


def row(matrix: np.ndarray, **more: Any) -> dict[str, Any]:
    return {
        "matrix": matrix.tolist(), "decision": "", "method": "rigid, Mattes MI", "version": "2",
        "verdict": "usable", "estimated_error_mm": 0.83, **more,
    }  # fmt: skip


def written(
    path: Path,
    matrix: np.ndarray,
    deformation: Deformation | None = None,
    moving: list[Dataset] | None = None,
    **more: Any,
) -> pydicom.Dataset:
    headers = moving or [header("pet 1", "1.2"), header("pet 22", "1.2")]
    placed = Transform(matrix, deformation)
    ds = write_registration(
        Signed(), headers, row(matrix, **more), placed, "2.25.77", "2.25.78"  # type: ignore[arg-type]
    )
    save(ds, path)
    return pydicom.dcmread(path)


def rigid_of(turn: list[float], shift: list[float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def numbers(limit: float) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-limit, limit, allow_subnormal=False), min_size=3, max_size=3)


QUICK = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def plainly(found: pydicom.Dataset, points: np.ndarray) -> np.ndarray:
    """The moving item's matrix with pydicom and numpy alone."""
    [step] = found.RegistrationSequence[1].MatrixRegistrationSequence
    [one] = step.MatrixSequence
    assert all(len(v.original_string) <= 16 for v in one.FrameOfReferenceTransformationMatrix)
    m = np.array([float(v) for v in one.FrameOfReferenceTransformationMatrix]).reshape(4, 4)
    return np.stack([m @ [*point, 1] for point in points])[:, :3]


@QUICK
@given(numbers(np.pi), numbers(1000))
def test_rigid_there_and_back(tmp_path: Path, turn: list[float], shift: list[float]) -> None:
    matrix = rigid_of(turn, shift)
    found = written(tmp_path / "r.dcm", matrix)
    assert np.abs(plainly(found, NEAR_AND_FAR) - carried(matrix, NEAR_AND_FAR)).max() < 1e-3
    [step] = found.RegistrationSequence[1].MatrixRegistrationSequence
    assert step.MatrixSequence[0].FrameOfReferenceTransformationMatrixType == "RIGID"
    claim = between(
        read_registration(str(tmp_path / "r.dcm")), series("pet", "1.2"), series("ct", "1.1")
    )
    assert claim is not None and claim.model == "rigid"
    read = carried(np.array(claim.matrix), NEAR_AND_FAR)
    assert np.abs(read - carried(matrix, NEAR_AND_FAR)).max() < 1e-3


@QUICK
@given(numbers(0.3), numbers(500), numbers(0.2), numbers(0.2))
def test_affine_there_and_back(
    tmp_path: Path, turn: list[float], shift: list[float], stretch: list[float], shear: list[float]
) -> None:
    matrix = rigid_of(turn, shift)
    more = np.diag(1 + np.array(stretch))
    more[0, 1], more[0, 2], more[1, 2] = shear
    matrix[:3, :3] @= more
    found = written(tmp_path / "a.dcm", matrix)
    [step] = found.RegistrationSequence[1].MatrixRegistrationSequence
    kind = step.MatrixSequence[0].FrameOfReferenceTransformationMatrixType
    assert kind == matrix_type(matrix)
    assert kind == "AFFINE" or np.abs(more - np.eye(3)).max() < 1e-5
    claim = between(
        read_registration(str(tmp_path / "a.dcm")), series("ct", "1.1"), series("pet", "1.2")
    )
    assert claim is not None
    read = carried(np.array(claim.matrix), carried(matrix, NEAR_AND_FAR))
    assert np.abs(read - NEAR_AND_FAR).max() < 1e-3


@pytest.mark.parametrize(
    ("linear", "kind"),
    [
        (np.eye(3), "RIGID"),
        (Rotation.from_euler("xyz", (170, 3, -80), degrees=True).as_matrix(), "RIGID"),
        (np.diag([1.0, 1.0, 1.0001]), "AFFINE"),
        (np.eye(3) + np.eye(3, k=1) * 1e-4, "AFFINE"),
        (np.diag([1.0, 1.0, -1.0]), "AFFINE"),
    ],
)
def test_rigid_is_said_of_rotations_only(linear: np.ndarray, kind: str) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    assert matrix_type(matrix) == kind


# --- fields ---------------------------------------------------------------------------------------


def lattice(*, left_handed: bool) -> Grid:
    affine = rigid_of([0.2, -0.3, 0.1], [-90.0, -120.0, -60.0])
    affine[:3, :3] *= (12.5, 17.0, 21.0)
    if left_handed:
        affine[:3, 2] *= -1
    return Grid((7, 9, 11), affine)


def trilinear(item: Dataset, points: np.ndarray) -> np.ndarray:
    """x_source = M_post (x + D(x)) of PS3.3 C.20.3.1.1 at points of the registered RCS."""
    [grid] = item.DeformableRegistrationGridSequence
    nx, ny, nz = grid.GridDimensions
    vectors = np.frombuffer(grid.VectorGridData, "<f4").reshape(nz, ny, nx, 3).astype(float)
    row, column = np.array(grid.ImageOrientationPatient, float).reshape(2, 3)
    axes = np.stack([row, column, np.cross(row, column)])
    origin = np.array(grid.ImagePositionPatient, float)
    at = (points - origin) @ axes.T / np.array(grid.GridResolution, float)
    moved = points.copy()
    for n, (i, j, k) in enumerate(at):
        i0, j0, k0 = (int(v) for v in np.minimum((i, j, k), (nx - 2, ny - 2, nz - 2)))
        for c in range(8):
            di, dj, dk = c & 1, c >> 1 & 1, c >> 2
            share = np.prod(
                [w if d else 1 - w for w, d in ((i - i0, di), (j - j0, dj), (k - k0, dk))]
            )
            moved[n] += share * vectors[k0 + dk, j0 + dj, i0 + di]
    [after] = item.PostDeformationMatrixRegistrationSequence
    assert "PreDeformationMatrixRegistrationSequence" not in item
    matrix = np.array(after.FrameOfReferenceTransformationMatrix, float).reshape(4, 4)
    return np.stack([matrix @ [*point, 1] for point in moved])[:, :3]


@pytest.mark.parametrize("left_handed", [False, True])
def test_a_field_there_and_back(tmp_path: Path, left_handed: bool) -> None:
    grid = lattice(left_handed=left_handed)
    matrix = rigid_of([0.1, 0.4, -0.2], [30.0, -12.0, 55.0])
    made = Deformation(smooth(grid.shape, 9.0).astype(np.float32), grid, as_matrix(matrix))
    found = written(tmp_path / "d.dcm", matrix, made)
    assert found.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.3"
    inside = grid.to_lps(RNG.uniform(0, np.array(grid.shape[::-1]) - 1, (200, 3)))
    truth = made.to_moving(inside)
    assert np.abs(trilinear(found.DeformableRegistrationSequence[1], inside) - truth).max() < 0.01
    claim = between(
        read_registration(str(tmp_path / "d.dcm")), series("pet", "1.2"), series("ct", "1.1")
    )
    assert claim is not None and claim.field is not None
    assert np.abs(claim.field.to_moving(inside) - truth).max() < 0.01
    assert np.abs(np.array(claim.matrix) - matrix).max() < 1e-9
    assert complaints(tmp_path / "d.dcm") == []


def test_a_known_shift_has_the_sense_of_the_standard(tmp_path: Path) -> None:
    """The moving series lies 10 mm to the left (+x) everywhere: sampling it means adding 10."""
    grid = Grid((3, 3, 3), np.diag([50.0, 50.0, 50.0, 1.0]))
    vectors = np.zeros((3, 3, 3, 3), np.float32)
    vectors[..., 0] = 10.0
    found = written(tmp_path / "d.dcm", np.eye(4), Deformation(vectors, grid))
    points = np.array([[20.0, 30.0, 40.0]])
    assert trilinear(found.DeformableRegistrationSequence[1], points)[0] == pytest.approx(
        (30, 30, 40)
    )


def test_a_lattice_without_right_angles_is_a_reason(tmp_path: Path) -> None:
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[0, 2] = 2.0
    made = Deformation(np.zeros((2, 2, 2, 3), np.float32), Grid((2, 2, 2), affine))
    with pytest.raises(CannotWrite, match="right angles"):
        written(tmp_path / "d.dcm", np.eye(4), made)


# --- words and references -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "how", "comment"),
    [
        ({}, "125024", "rigid, Mattes MI", "usable, estimated error 0.8 mm"),
        (
            {"decision": "accepted", "verdict": "doubtful"}, "125024", "rigid, Mattes MI",
            "doubtful, estimated error 0.8 mm, accepted",
        ),
        ({"decision": "nudged", "decision_method": "hand"}, "125025", "Aligned by hand", "by hand"),
        (
            {"decision": "nudged", "decision_method": "landmarks", "evidence": {"rms_mm": 1.26}},
            "125022", "Aligned by landmark pairs", "landmarks, RMS residual 1.3 mm",
        ),
    ],
)  # fmt: skip
def test_how_it_was_made_and_who_accepted_it(
    tmp_path: Path, more: dict[str, Any], code: str, how: str, comment: str
) -> None:
    decided = {"decided_by_name": "Bo Ek", "decided_at": "2026-01-06T08:00:00+00:00"}
    found = written(tmp_path / "r.dcm", np.eye(4), **more, **(decided if more else {}))
    [step] = found.RegistrationSequence[1].MatrixRegistrationSequence
    assert code_of(step.RegistrationTypeCodeSequence[0]) == (code, "DCM")
    assert step.FrameOfReferenceTransformationComment == comment
    assert found.ContentDescription == how
    [equipment] = found.ContributingEquipmentSequence
    who, when = ("Ek^Bo", "20260106080000+0000") if more else ("Läsare^Ada", "20260106093000+0000")
    assert (str(equipment.OperatorsName), equipment.ContributionDateTime) == (who, when)
    assert str(found.ContentCreatorName) == who
    assert comment in equipment.ContributionDescription
    assert complaints(tmp_path / "r.dcm") == []
    private = [element for element in found.iterall() if element.tag.is_private]
    assert private == []


def test_images_of_both_are_named_by_study_and_series(tmp_path: Path) -> None:
    moving = [header("mr 1", "1.3", study="2.25.2"), header("mr 22", "1.3", study="2.25.2")]
    found = written(tmp_path / "r.dcm", np.eye(4), moving=moving)
    [own] = found.ReferencedSeriesSequence
    assert {i.ReferencedSOPInstanceUID for i in own.ReferencedInstanceSequence} == {
        h.SOPInstanceUID for h in Signed().reference_headers
    }
    [other] = found.StudiesContainingOtherReferencedInstancesSequence
    assert other.StudyInstanceUID == "2.25.2"
    named = {
        item.ReferencedSOPInstanceUID
        for one in other.ReferencedSeriesSequence
        for item in one.ReferencedInstanceSequence
    }
    assert named == {h.SOPInstanceUID for h in moving}
    assert complaints(tmp_path / "r.dcm") == []


def test_a_series_moved_within_its_frame_moves_alone(tmp_path: Path) -> None:
    moving = [header("pet 1", "1.1")]
    written(tmp_path / "r.dcm", rigid_of([0, 0, 0], [3, 0, 0]), moving=moving, decision="nudged")
    stored = read_registration(str(tmp_path / "r.dcm"))
    pet = series("pet", "1.1", (moving[0].SOPInstanceUID,))
    ct = series("ct", "1.1", tuple(h.SOPInstanceUID for h in Signed().reference_headers))
    claim = between(stored, pet, ct)
    assert claim is not None and claim.matrix[0][3] == 3.0
    assert between(stored, series("other", "1.1", ("5.5",)), ct) is None
    assert complaints(tmp_path / "r.dcm") == []
