"""Any starting position will do; models, masks and given starts do what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis.contracts import IDENTITY, RegistrationRecord
from analysis.geometry import FloatArray, Grid, Volume, as_matrix
from analysis.phantoms.head import make_head
from analysis.phantoms.model import Phantom
from analysis.registration import register_series
from analysis.registration.rigid import apply, distances, invert, is_rigid, rigid
from tests.analysis.registration.conftest import placed


def register(moving: Volume, reference: Volume, **more: object) -> RegistrationRecord:
    return register_series(
        moving, reference, moving_uid="1.2.3", reference_uid="1.2.4",
        same_frame=False, seed=1, threads=2, **more,  # type: ignore[arg-type]
    )


def turned(volume: Volume, axis: tuple[float, float, float], degrees: float) -> FloatArray:
    """A turn about the volume's middle with 40 mm of shift."""
    direction = np.array(axis) / np.linalg.norm(axis)
    turn = Rotation.from_rotvec(np.radians(degrees) * direction)
    return rigid(turn, np.array([25.0, -20.0, 24.0]), volume.grid.centre)


def part(volume: Volume, begin: float, end: float) -> Volume:
    """The slices between two shares of the volume."""
    low, high = (round(share * volume.grid.shape[0]) for share in (begin, end))
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_lps([0, 0, low])
    grid = Grid((high - low, *volume.grid.shape[1:]), affine)
    return Volume(volume.array[low:high], grid, volume.unit, volume.modality, volume.role)


def error_mm(head: Phantom, role: str, record: RegistrationRecord, motion: FloatArray) -> float:
    """Mean error in the brain of a series that was moved by ``motion``."""
    assert head.body is not None
    k, j, i = np.nonzero(head.body.array)
    points = head.body.grid.to_lps(np.stack([i, j, k], axis=1))[::20]
    truth = np.array(head.series[role].to_reference) @ invert(motion)
    places = apply(np.linalg.inv(truth), points)
    return float(distances(np.array(record.matrix), truth, places).mean())


@pytest.mark.parametrize(
    ("role", "axis", "degrees"),
    [
        ("T2", (0, 1, 0), 180),  # feet first against head first
        ("PET", (0, 0, 1), 180),  # prone against supine
        ("FLAIR", (1, 0.2, 0), 180),
        ("PET", (-0.7, 0.1, 0.7), 45),
    ],
)
def test_half_turns_and_45_degrees_are_found(
    head: Phantom, role: str, axis: tuple[float, float, float], degrees: float
) -> None:
    volume = head.series[role].volume
    motion = turned(volume, axis, degrees)
    record = register(placed(volume, motion), head.reference.volume)
    assert record.verdict == "usable", record.reasons
    assert error_mm(head, role, record, motion) < 2.0


def test_halves_that_meet_are_brought_together(head: Phantom) -> None:
    moving = part(head.series["T1"].volume, 0.4, 1.0)
    motion = turned(moving, (0, 0, 1), 12)
    record = register(placed(moving, motion), part(head.reference.volume, 0.0, 0.75))
    assert record.state == "registered", record.reasons
    assert error_mm(head, "T1", record, motion) < 2.0


@pytest.mark.parametrize("role", ["T1", "T2"])
def test_parts_that_share_half_of_each_and_are_turned_by_30_degrees(
    head: Phantom, role: str
) -> None:
    moving = part(head.series[role].volume, 0.5, 1.0)
    motion = turned(moving, (0.3, 0.2, 0.93), 30)
    record = register(placed(moving, motion), part(head.reference.volume, 0.0, 0.66))
    assert record.state == "registered", record.reasons
    assert error_mm(head, role, record, motion) < 2.0
    shared = next(figure.value for figure in record.quality if figure.name == "overlap")
    assert 0.45 < shared < 0.55


def test_a_given_start_is_refined_and_not_replaced(head: Phantom) -> None:
    volume = head.series["T2"].volume
    truth = np.array(head.series["T2"].to_reference)
    near = truth @ rigid(Rotation.from_euler("xz", (4, -3), degrees=True), np.array([4.0, -3, 5]),
                         volume.grid.centre)
    record = register(volume, head.reference.volume, start=as_matrix(near))
    assert record.parameters["searched"] is False
    assert error_mm(head, "T2", record, np.eye(4)) < 1.0
    wrong = truth @ turned(volume, (0, 1, 0), 180)
    record = register(volume, head.reference.volume, start=as_matrix(wrong))
    assert record.verdict != "usable"


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan)])
def test_a_start_that_is_no_transform_is_an_error(head: Phantom, bad: FloatArray) -> None:
    with pytest.raises(ValueError, match="start"):
        register(head.series["T2"].volume, head.reference.volume, start=bad)


def test_known_scales_are_found_and_implausible_ones_refused(head: Phantom) -> None:
    volume = head.series["T1"].volume
    for scales, verdict in (((1.04, 0.97, 1.0), "usable"), ((1.3, 1.0, 1.0), "refused")):
        centre = volume.grid.centre
        motion = np.eye(4)
        motion[:3, :3] = np.diag(scales)
        motion[:3, 3] = centre - motion[:3, :3] @ centre
        record = register(placed(volume, motion), head.reference.volume, model="affine")
        assert (record.model, record.verdict) == ("affine", verdict), record.reasons
        found = {figure.name: figure.value for figure in record.quality}
        # The matrix takes the scale back.
        assert abs(found["smallest_scale"] - 1 / max(scales)) < 0.02
        assert abs(found["largest_scale"] - 1 / min(scales)) < 0.02
        if verdict == "usable":
            assert error_mm(head, "T1", record, motion) < 1.0
            assert not is_rigid(np.array(record.matrix))
        else:
            assert record.matrix == IDENTITY
            assert any("scales" in reason for reason in record.reasons)


def test_masks_hide_what_moved_on_its_own(head: Phantom) -> None:
    """Half of the moving head is replaced by the same half 12 mm off; with that half masked out
    the other one alone decides."""
    volume = head.series["T1"].volume
    array = volume.array.copy()
    middle = array.shape[0] // 2
    array[:middle] = np.roll(array[:middle], 4, axis=1)
    allowed = np.zeros(array.shape, dtype=np.uint8)
    allowed[middle:] = 1
    mask = volume.with_array(allowed)
    spoiled = volume.with_array(array)
    free = register(spoiled, head.reference.volume)
    record = register(spoiled, head.reference.volume, moving_mask=mask)
    assert record.parameters["masks"] == ["moving"]
    found = np.array(record.parameters.get("rejected_matrix", record.matrix))
    truth = np.array(head.series["T1"].to_reference)
    k, j, i = np.nonzero(allowed & (array > np.percentile(array, 60)))
    points = volume.grid.to_lps(np.stack([i, j, k], axis=1))[::50]
    assert distances(found, truth, points).mean() < 1.5
    assert free.verdict != "usable"


def test_a_mask_that_leaves_nothing_is_refused(head: Phantom) -> None:
    reference = head.reference.volume
    nothing = reference.with_array(np.zeros(reference.array.shape, dtype=np.uint8))
    record = register(head.series["T1"].volume, reference, reference_mask=nothing)
    assert (record.state, record.verdict) == ("not_registered", "refused")
    assert "mask" in record.reasons[0]


@pytest.mark.parametrize("role", ["T1", "PET"])
def test_another_patient_is_never_usable(head: Phantom, role: str) -> None:
    other = make_head(6, spacing_mm=(3.0, 3.0, 3.0), positive=True)
    record = register(other.series[role].volume, head.reference.volume)
    assert record.verdict != "usable"
    assert record.reasons


@pytest.mark.parametrize("role", ["T2", "PET"])
def test_left_right_exchanged_is_never_usable(head: Phantom, role: str) -> None:
    volume = head.series[role].volume
    record = register(
        volume.with_array(volume.array[:, :, ::-1].copy()), head.reference.volume
    )
    assert record.verdict != "usable"
