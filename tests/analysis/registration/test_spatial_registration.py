"""Registration objects of others: direction, order, chains; and every way to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from analysis.contracts import VolumeRecord
from analysis.errors import InputRefused
from analysis.registration.claims import DeliveredRegistrations, between
from analysis.registration.spatial_registration import read_registration, read_registrations
from tests.analysis.registration_objects import (
    deformable_item,
    matrix_item,
    spatial_item,
    write_object,
)

VECTORS = Path(__file__).parents[1] / "vectors"
RNG = np.random.default_rng(5)


def shift(x: float, y: float, z: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return matrix


def turn(*degrees: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return matrix


def series(name: str, frame: str, images: tuple[str, ...] = ()) -> VolumeRecord:
    """As the analysis knows a series; only its names matter here."""
    return VolumeRecord(
        key=name, path="", sha256="", levels=(), affine=((0.0,) * 4,) * 4, dtype="int16",
        slope=1.0, intercept=0.0, unit="1", modality="CT", role="CT", label=name,
        series_instance_uid=name, frame_of_reference_uid=frame, sop_instance_uids=images,
    )  # fmt: skip


CT, PET, MR = series("ct", "1.1"), series("pet", "1.2"), series("mr", "1.3")


def smooth(shape: tuple[int, int, int], size: float) -> np.ndarray:
    """A gentle field [z, y, x, 3] that does not fold."""
    z, y, x = np.meshgrid(*(np.linspace(0, np.pi, n) for n in shape), indexing="ij")
    return size * np.stack([np.sin(y) * np.sin(z), np.cos(x), np.sin(x + z)], -1)


def carried(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ np.asarray(matrix)[:3, :3].T + np.asarray(matrix)[:3, 3]


# --- matrices -------------------------------------------------------------------------------------


def test_the_vector_of_the_reference(tmp_path: Path) -> None:
    """M = translate(2.5, -1, 4) takes the item's origin to (2.5, -1, 4)."""
    write_object(tmp_path / "r.dcm", "1.1", spatial_item("1.2", shift(2.5, -1, 4)))
    claim = between(read_registration(str(tmp_path / "r.dcm")), PET, CT)
    assert claim is not None
    assert carried(np.array(claim.matrix), np.zeros((1, 3)))[0] == pytest.approx((2.5, -1, 4))


def test_the_first_matrix_of_an_item_applies_first(tmp_path: Path) -> None:
    item = spatial_item("1.2", turn(0, 0, 90), shift(10, 0, 0))
    write_object(tmp_path / "r.dcm", "1.1", item)
    claim = between(read_registration(str(tmp_path / "r.dcm")), PET, CT)
    assert claim is not None
    # (1, 0, 0) is turned to (0, 1, 0), then shifted.
    found = carried(np.array(claim.matrix), np.array([[1.0, 0.0, 0.0]]))
    assert found[0] == pytest.approx((10, 1, 0), abs=1e-9)


def test_both_directions_and_two_items_are_chained(tmp_path: Path) -> None:
    pet, mr = turn(10, 20, -5) @ shift(1, 2, 3), turn(-7, 4, 30) @ shift(-40, 5, 60)
    items = [spatial_item("1.1", np.eye(4)), spatial_item("1.2", pet), spatial_item("1.3", mr)]
    write_object(tmp_path / "r.dcm", "1.1", *items)
    stored = read_registration(str(tmp_path / "r.dcm"))
    for moving, reference, truth in (
        (PET, CT, pet),
        (CT, PET, np.linalg.inv(pet)),
        (MR, PET, np.linalg.inv(pet) @ mr),
    ):
        claim = between(stored, moving, reference)
        assert claim is not None
        assert np.allclose(claim.matrix, truth, atol=1e-7)
        assert claim.model == "rigid"


def test_images_are_more_than_frames(tmp_path: Path) -> None:
    """A series that shares the reference's frame is moved by a list of its images; others of that
    frame stay."""
    moved, still = series("a", "1.1", ("7.1", "7.2")), series("b", "1.1", ("8.1",))
    item = spatial_item("", shift(5, 0, 0), images=("7.1", "7.2"))
    write_object(tmp_path / "r.dcm", "1.1", spatial_item("1.1", np.eye(4)), item)
    stored = read_registration(str(tmp_path / "r.dcm"))
    claim = between(stored, moved, CT)
    assert claim is not None
    assert np.allclose(claim.matrix, shift(5, 0, 0))
    assert between(stored, still, CT) is None
    assert between(stored, MR, CT) is None


def test_an_object_of_plastimatch_is_read_in_its_direction() -> None:
    """Written by ``plastimatch xf-convert --input t.txt --fixed-image ... --output-dicom ...``
    (1.9.4, Debian), where t.txt is an ITK VersorRigid3DTransform: versor (0.1, 0.2, 0.05), centre
    0, translation (5, -7, 2.5). ITK's transforms take fixed points to moving points."""
    stored = read_registration(str(VECTORS / "plastimatch_sro.dcm"))
    assert stored.maker == "Plastimatch"
    fixed = series("fixed", stored.frame)
    moving = series("moving", stored.items[1].frame)
    claim = between(stored, moving, fixed)
    assert claim is not None
    versor = np.array([0.1, 0.2, 0.05])
    rotation = Rotation.from_quat([*versor, np.sqrt(1 - versor @ versor)])
    points = RNG.uniform(-100, 100, (20, 3))
    to_moving = rotation.apply(points) + np.array([5, -7, 2.5])
    assert np.abs(carried(np.array(claim.matrix), to_moving) - points).max() < 2e-3


# --- fields ---------------------------------------------------------------------------------------

LATTICE = np.diag([20.0, 25.0, 30.0, 1.0])
LATTICE[:3, 3] = (-60, -70, -80)


def test_a_field_with_matrices_before_and_after(tmp_path: Path) -> None:
    """x_source = after (before x + D(x)), D sampled at x in the registered RCS (C.20.3.1.1)."""
    before, after = turn(3, -2, 5) @ shift(4, 5, 6), turn(-8, 3, 1) @ shift(-20, 0, 9)
    vectors = smooth((6, 7, 8), 4.0)
    item = deformable_item("1.2", vectors, LATTICE, before=before, after=after)
    write_object(tmp_path / "d.dcm", "1.1", item, deformable=True)
    claim = between(read_registration(str(tmp_path / "d.dcm")), PET, CT)
    assert claim is not None
    assert claim.field is not None and claim.model == "deformable"
    k, j, i = np.meshgrid(*(np.arange(n) for n in (6, 7, 8)), indexing="ij")
    nodes = np.stack([i, j, k], -1) @ LATTICE[:3, :3].T + LATTICE[:3, 3]
    truth = carried(after, carried(before, nodes.reshape(-1, 3)) + vectors.reshape(-1, 3))
    assert np.abs(claim.field.to_moving(nodes.reshape(-1, 3)) - truth).max() < 1e-4


def test_a_field_is_used_the_other_way_round_and_through_a_third_space(tmp_path: Path) -> None:
    after = turn(2, 1, -4) @ shift(3, -6, 2)
    vectors = smooth((9, 9, 9), 2.0)
    item = deformable_item("1.2", vectors, LATTICE, after=after)
    mr = turn(0, 0, 12) @ shift(10, 0, 0)
    third = deformable_item("1.3", None, LATTICE, after=np.linalg.inv(mr))
    write_object(tmp_path / "d.dcm", "1.1", item, third, deformable=True)
    stored = read_registration(str(tmp_path / "d.dcm"))
    forward = between(stored, PET, CT)
    assert forward is not None and forward.field is not None
    points = RNG.uniform(-30, 60, (300, 3))
    pet = forward.field.to_moving(points)
    for moving, reference, start, end in (
        (CT, PET, pet, points),
        (PET, MR, carried(np.linalg.inv(mr), points), pet),
        (MR, PET, pet, carried(np.linalg.inv(mr), points)),
    ):
        claim = between(stored, moving, reference)
        assert claim is not None and claim.field is not None
        # The inverse is linear between nodes 20 to 30 mm apart.
        assert np.abs(claim.field.to_moving(start) - end).max() < 0.5


def test_undefined_nodes_get_the_nearest_vector(tmp_path: Path) -> None:
    vectors = np.full((4, 4, 4, 3), 2.0)
    vectors[0] = np.nan
    write_object(
        tmp_path / "d.dcm", "1.1", deformable_item("1.2", vectors, LATTICE), deformable=True
    )
    [item] = read_registration(str(tmp_path / "d.dcm")).items
    assert item.undefined == 0.25
    assert item.field is not None
    assert (item.field.displacement == 2.0).all()


# --- several, strangers, wrong ones ---------------------------------------------------------------


def test_the_newest_wins_and_the_others_are_named(tmp_path: Path) -> None:
    old = write_object(
        tmp_path / "old.dcm", "1.1", spatial_item("1.2", shift(1, 0, 0)), ContentDate="20250101"
    )
    new = write_object(
        tmp_path / "new.dcm", "1.1", spatial_item("1.2", shift(2, 0, 0)), ContentDate="20260301"
    )
    other = write_object(tmp_path / "other.dcm", "4.4", spatial_item("4.5", np.eye(4)))
    objects, notices = read_registrations([old, other, new])
    assert notices == ()
    delivered = DeliveredRegistrations(objects)
    claim = delivered.claim(PET, CT)
    assert claim is not None
    assert claim.matrix[0][3] == 2.0
    assert [stored.made[:8] for stored in claim.older] == ["20250101"]
    assert delivered.claim(MR, CT) is None
    [stranger] = delivered.notices
    assert (stranger.code, stranger.subject) == (
        "registration_unrelated", other.series_instance_uid,
    )  # fmt: skip


def _none(item: Dataset) -> None:
    del item.MatrixRegistrationSequence


def _nan(item: Dataset) -> None:
    matrix = item.MatrixRegistrationSequence[0].MatrixSequence[0]
    matrix.FrameOfReferenceTransformationMatrix = ["1e400"] + ["0"] * 15


def _short(item: Dataset) -> None:
    matrix = item.MatrixRegistrationSequence[0].MatrixSequence[0]
    matrix.FrameOfReferenceTransformationMatrix = ["1"] * 12


def _replaced(matrix: np.ndarray, kind: str) -> Callable[[Dataset], None]:
    def change(item: Dataset) -> None:
        item.MatrixRegistrationSequence[0].MatrixSequence = [matrix_item(matrix, kind)]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_none, "no matrix"),
        (_nan, "not a number"),
        (_short, "12 values instead of 16"),
        (_replaced(np.diag([1.1, 1, 1, 1]), "RIGID"), "called RIGID is none"),
        (_replaced(np.diag([1, 1, 0, 1.0]), "AFFINE"), "singular"),
        (_replaced(np.diag([-1, 1, 1, 1.0]), "RIGID"), "mirrors"),
        (_replaced(np.diag([9, 9, 9, 1.0]), "RIGID_SCALE"), "stretches"),
        (_replaced(np.eye(4), "FLUID"), "no known type"),
        (_replaced(np.eye(4) + np.eye(4, k=-3), "AFFINE"), "last row"),
    ],
)
def test_what_is_malformed_is_refused_with_a_notice(
    tmp_path: Path, change: Callable[[Dataset], None], words: str
) -> None:
    item = spatial_item("1.2", np.eye(4))
    change(item)
    given = write_object(tmp_path / "r.dcm", "1.1", item)
    objects, [notice] = read_registrations([given])
    assert objects == ()
    assert words in notice.message
    assert (notice.code, notice.subject) == ("registration_malformed", given.series_instance_uid)


def test_contradictions_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.dcm"
    for frame, items in (
        ("", [spatial_item("1.2", np.eye(4))]),
        ("1.1", []),
        ("1.1", [spatial_item("", np.eye(4))]),
        ("1.1", [spatial_item("1.1", shift(1, 0, 0))]),
    ):
        write_object(path, frame, *items)
        with pytest.raises(InputRefused):
            read_registration(str(path))
    write_object(path, "1.1", spatial_item("1.2", np.eye(4)), spatial_item("1.2", shift(1, 0, 0)))
    delivered = DeliveredRegistrations([read_registration(str(path))])
    assert delivered.claim(PET, CT) is None
    [notice] = delivered.notices
    assert "in several ways" in notice.message
    data = path.read_bytes()
    rng = np.random.default_rng(11)
    for _ in range(60):
        spoiled = bytearray(data[: rng.integers(100, len(data))])
        for at in rng.integers(132, len(spoiled), 8) if len(spoiled) > 140 else ():
            spoiled[at] = rng.integers(0, 256)
        path.write_bytes(bytes(spoiled))
        try:
            read_registration(str(path))
        except InputRefused:
            continue


def test_a_grid_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.dcm"
    write_object(
        path, "1.1", deformable_item("1.2", np.zeros((3, 3, 3, 3)), LATTICE), deformable=True
    )
    ds = dcmread(path)
    for keyword, value in (
        ("GridDimensions", [3, 3, 4]),
        ("GridDimensions", [1, 27, 1]),
        ("GridDimensions", [2**31, 2**31, 2]),
        ("GridResolution", [1.0, 0.0, 1.0]),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("VectorGridData", np.full(81, np.nan, "<f4").tobytes()),
    ):
        grid = ds.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0]
        kept = grid[keyword].value
        setattr(grid, keyword, value)
        ds.save_as(path)
        with pytest.raises(InputRefused):
            read_registration(str(path))
        setattr(grid, keyword, kept)
