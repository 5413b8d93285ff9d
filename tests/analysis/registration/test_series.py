"""Known motions are found, impossible pairs are refused, shared frames are checked, not moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from analysis.contracts import IDENTITY, RegistrationRecord
from analysis.geometry import FloatArray, Grid, Volume, grid_of
from analysis.phantoms.head import make_head
from analysis.phantoms.model import Phantom
from analysis.registration import register_series, series
from analysis.registration.preparation import build_pyramid
from analysis.registration.rigid import apply, distances, invert, is_rigid, rigid
from analysis.resampling import resample
from tests.analysis.registration.conftest import placed, translation


def register(
    moving: Volume, reference: Volume, *, same_frame: bool = False, threads: int = 2
) -> RegistrationRecord:
    return register_series(
        moving, reference, moving_uid="1.2.3", reference_uid="1.2.4",
        same_frame=same_frame, seed=1, threads=threads,
    )


def in_reference(head: Phantom, role: str) -> Volume:
    """The series as if it had been acquired in the reference's frame."""
    return placed(head.series[role].volume, np.array(head.series[role].to_reference))


def brain(head: Phantom, role: str) -> FloatArray:
    assert head.body is not None
    k, j, i = np.nonzero(head.body.array)
    points = head.body.grid.to_lps(np.stack([i, j, k], axis=1))[::20]
    return apply(invert(np.array(head.series[role].to_reference)), points)


def figure(record: RegistrationRecord, name: str) -> float:
    return next(q.value for q in record.quality if q.name == name)


@pytest.fixture(scope="module")
def t2(head: Phantom) -> RegistrationRecord:
    return register(head.series["T2"].volume, head.reference.volume)


def error_mm(head: Phantom, role: str, record: RegistrationRecord) -> float:
    truth = np.array(head.series[role].to_reference)
    return float(distances(np.array(record.matrix), truth, brain(head, role)).mean())


def test_mr_to_mr_is_found_within_a_millimetre(head: Phantom, t2: RegistrationRecord) -> None:
    assert (t2.state, t2.verdict, t2.reasons) == ("registered", "usable", ())
    assert error_mm(head, "T2", t2) < 1.0
    assert is_rigid(np.array(t2.matrix))


def test_pet_to_mr_is_found_within_two_millimetres(head: Phantom) -> None:
    record = register(head.series["PET"].volume, head.reference.volume)
    assert (record.state, record.verdict) == ("registered", "usable")
    assert error_mm(head, "PET", record) < 2.0


def test_the_same_seed_gives_the_same_record_on_any_number_of_threads(
    head: Phantom, t2: RegistrationRecord
) -> None:
    assert register(head.series["T2"].volume, head.reference.volume, threads=1) == t2


def test_matrix_maps_moving_to_reference_points(head: Phantom) -> None:
    """A known shift with a large turn, in words: moving lies 40 mm to the left (+x), so the
    matrix must bring its points 40 mm to the right. The resampled image must then fit."""
    reference = head.reference.volume
    centre = reference.grid.centre
    motion = translation(40.0, -12.0, 25.0) @ rigid(
        Rotation.from_euler("zx", (35, 10), degrees=True), np.zeros(3), centre
    )
    moving = placed(reference, motion)
    record = register(moving, reference)
    mapped = apply(np.array(record.matrix), apply(motion, centre[None]))[0]
    assert np.allclose(mapped, centre, atol=0.5)
    back, _ = resample(moving, reference.grid, matrix=record.matrix)
    assert np.corrcoef(back.array.ravel(), reference.array.ravel())[0, 1] > 0.99


def test_left_right_flipped_is_refused(head: Phantom) -> None:
    moving = head.series["T1"].volume
    record = register(moving.with_array(moving.array[:, :, ::-1].copy()), head.reference.volume)
    assert (record.state, record.verdict, record.matrix) == ("not_registered", "refused", IDENTITY)
    assert any("laterality" in reason for reason in record.reasons)


def test_noise_is_refused(head: Phantom) -> None:
    reference = head.reference.volume
    noise = np.random.default_rng(3).normal(100, 20, reference.array.shape).astype(np.float32)
    record = register(reference.with_array(noise), reference)
    assert (record.state, record.verdict, record.matrix) == ("not_registered", "refused", IDENTITY)
    assert record.reasons


def test_empty_thin_and_tiny_images_are_refused_at_once(head: Phantom) -> None:
    reference = head.reference.volume
    empty = reference.with_array(np.zeros_like(reference.array))
    grid = Grid((4, *reference.grid.shape[1:]), reference.grid.affine)
    slab = Volume(reference.array[28:32], grid, reference.unit, "MR")
    for spoiled, word in ((empty, "empty"), (slab, "too thin")):
        record = register(spoiled, reference)
        assert (record.state, record.verdict) == ("not_registered", "refused")
        assert any(word in reason for reason in record.reasons)


def test_a_defect_is_no_verdict(head: Phantom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was found to leave nothing to compare is an answer; other errors come out."""

    def broken(*_: object) -> object:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(series, "build_pyramid", broken)
    with pytest.raises(ValueError, match="broadcast"):
        register(head.series["T2"].volume, head.reference.volume)


def test_progress_grows_to_one_and_can_stop_the_work(head: Phantom) -> None:
    seen: list[float] = []

    class Cancelled(Exception):
        """The caller has had enough."""

    def progress(share: float, _text: str) -> None:
        seen.append(share)
        if share >= 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        register_series(
            head.series["T1"].volume, head.reference.volume, moving_uid="m", reference_uid="r",
            same_frame=False, seed=1, threads=2, progress=progress,
        )
    assert seen == sorted(seen)
    assert 0.3 <= seen[-1] < 0.7


def test_shared_frame_is_verified_and_left_alone(head: Phantom) -> None:
    for role in ("T2", "PET"):
        record = register(in_reference(head, role), head.reference.volume, same_frame=True)
        assert (record.state, record.verdict, record.matrix) == ("same_frame", "usable", IDENTITY)


def test_a_patient_who_moved_within_one_frame_is_doubted_not_moved(head: Phantom) -> None:
    moved = placed(in_reference(head, "T2"), translation(0.0, 14.0, 8.0))
    record = register(moved, head.reference.volume, same_frame=True)
    assert (record.state, record.verdict, record.matrix) == ("same_frame", "doubtful", IDENTITY)
    assert any("moved" in reason for reason in record.reasons)
    assert abs(figure(record, "better_match_distance") - np.hypot(14, 8)) < 3.0


def test_left_right_exchanged_or_another_patient_within_one_frame_is_doubted(
    head: Phantom,
) -> None:
    """Also where nothing matches better near by: the distance alone would let them pass."""
    reference = head.reference.volume
    series = in_reference(head, "T2")
    wrong = register(series.with_array(series.array[:, :, ::-1].copy()), reference, same_frame=True)
    assert wrong.verdict == "doubtful"
    assert any("laterality" in reason for reason in wrong.reasons)
    other = make_head(6, spacing_mm=(3.0, 3.0, 3.0), positive=True).reference.volume
    levels = [build_pyramid(volume).middle for volume in (reference, other)]
    moved = placed(other, translation(*(levels[0].centroid - levels[1].centroid)))
    record = register(moved, reference, same_frame=True)
    assert (record.verdict, len(record.reasons) > 0) == ("doubtful", True)


def test_shared_frame_without_common_region_is_refused(head: Phantom) -> None:
    away = placed(in_reference(head, "T2"), translation(0.0, 0.0, 900.0))
    record = register(away, head.reference.volume, same_frame=True)
    assert (record.state, record.verdict) == ("not_registered", "refused")


@pytest.mark.parametrize(("flipped", "usable"), [(True, False), (False, True)])
def test_scales_do_not_hide_that_left_and_right_are_exchanged(
    flipped: bool, usable: bool, real_data: Path
) -> None:
    """Averages of many people are nearly symmetric: only a fair trial of both senses tells."""
    pd, t1 = (
        Volume(sitk.GetArrayFromImage(image), grid_of(image), "1", "MR")
        for image in (
            sitk.ReadImage(str(real_data / "brain-multimodal-mni" / f"{name}.nii"))
            for name in ("PD", "T1")
        )
    )
    moving = pd.with_array(pd.array[:, :, ::-1].copy()) if flipped else pd
    record = register_series(
        moving, t1, moving_uid="m", reference_uid="r", same_frame=False, seed=1, threads=2,
        model="affine",
    )
    assert (figure(record, "mirror_gain") < 0) == usable
    if flipped:
        assert record.verdict != "usable"
        assert any("laterality" in reason for reason in record.reasons)


def test_real_brain_averages_come_together(real_data: Path) -> None:
    """T2 and T1 averages of one space, 30 degrees and 31 mm apart: back within 2 mm (the averages
    themselves agree no better: every start ends 0.95 mm from the identity)."""

    def load(name: str) -> Volume:
        image = sitk.ReadImage(str(real_data / "brain-multimodal-mni" / f"{name}.nii"))
        return Volume(sitk.GetArrayFromImage(image), grid_of(image), "1", "MR")

    moving, reference = load("T2"), load("T1")
    points = reference.grid.centre + np.array([[0, 0, 0], [50, 0, 0], [0, 60, 0], [0, 0, 40]])
    motion = translation(-20.0, 15.0, -18.0) @ rigid(
        Rotation.from_rotvec(np.radians(-30.0) * np.array([0.48, 0.6, 0.64])),
        np.zeros(3), reference.grid.centre,
    )
    record = register(placed(moving, motion), reference)
    assert record.verdict == "usable"
    assert distances(np.array(record.matrix) @ motion, np.eye(4), points).mean() < 2.0
