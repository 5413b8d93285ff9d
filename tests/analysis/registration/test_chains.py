"""Composed transforms: order, errors, verdicts; and which way a series goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis.contracts import (
    IDENTITY,
    FieldRecord,
    LevelRecord,
    Matrix,
    QualityFigure,
    RegistrationRecord,
    Verdict,
    VolumeRecord,
)
from analysis.deformation import Deformation
from analysis.geometry import Grid, as_matrix
from analysis.registering import ways
from analysis.registration.chains import better, compose, leg_error


def record(
    moving: str,
    reference: str,
    matrix: Matrix = IDENTITY,
    *,
    verdict: Verdict = "usable",
    error: float | None = 1.0,
    state: str = "registered",
) -> RegistrationRecord:
    quality = () if error is None else (QualityFigure("estimated_error", error, "mm", "test"),)
    reasons = () if verdict == "usable" else (f"{moving} is {verdict}",)
    return RegistrationRecord(
        moving, reference, state, matrix, "rigid", "1", verdict, reasons, quality  # type: ignore[arg-type]
    )


def turn(degrees: float, shift: tuple[float, float, float]) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zx", (degrees, 10), degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return as_matrix(matrix)


def test_a_point_goes_through_both_legs_in_order() -> None:
    first, second = turn(30, (10, 0, 5)), turn(-50, (0, 40, -3))
    chain = compose(record("pet", "ct", first), record("ct", "mr", second), rule="test")
    point = np.array([12.0, -7.0, 30.0, 1.0])
    by_way = np.array(second) @ (np.array(first) @ point)
    assert np.allclose(np.array(chain.matrix) @ point, by_way)
    assert (chain.series_instance_uid, chain.reference_series_uid) == ("pet", "mr")
    assert (chain.state, chain.verdict) == ("registered", "usable")


def test_errors_add_as_root_of_squares_over_all_legs_of_nested_chains() -> None:
    two = compose(record("a", "b", error=1.0), record("b", "c", error=2.0), rule="test")
    three = compose(two, record("c", "d", error=2.0), rule="test")
    assert leg_error(two) == pytest.approx(np.sqrt(5))
    assert leg_error(three) == pytest.approx(3.0)
    assert [leg["moving"] for leg in three.parameters["chain"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("usable", "usable", "usable"),
        ("usable", "doubtful", "doubtful"),
        ("doubtful", "usable", "doubtful"),
        ("doubtful", "refused", "refused"),
    ],
)
def test_the_verdict_is_the_worst_and_reasons_are_joined(
    first: Verdict, second: Verdict, wanted: Verdict
) -> None:
    chain = compose(
        record("a", "b", turn(5, (1, 2, 3)), verdict=first), record("b", "c", verdict=second),
        rule="test",
    )
    assert chain.verdict == wanted
    assert len(chain.reasons) == (first != "usable") + (second != "usable")
    if wanted == "refused":
        assert (chain.state, chain.matrix) == ("not_registered", IDENTITY)
        assert chain.parameters["rejected_matrix"]


def test_usable_legs_whose_errors_add_up_are_doubted_or_refused() -> None:
    def of(error: float) -> RegistrationRecord:
        return compose(record("a", "b", error=error), record("b", "c", error=error), rule="test")

    assert of(2.5).verdict == "usable"
    assert of(3.5).verdict == "doubtful"
    assert of(9.0).verdict == "refused"
    assert any("add up" in reason for reason in of(3.5).reasons)


def test_a_leg_without_an_error_is_doubtful_at_best() -> None:
    chain = compose(record("a", "b", error=None), record("b", "c"), rule="test")
    assert chain.verdict == "doubtful"
    assert any("not known" in reason for reason in chain.reasons)


def test_legs_that_do_not_meet_are_refused() -> None:
    with pytest.raises(ValueError, match="do not meet"):
        compose(record("a", "b"), record("c", "d"), rule="test")


def bent_leg(folder: Path, matrix: Matrix) -> tuple[RegistrationRecord, Deformation]:
    """A deformable record b -> c with its field on disk."""
    vectors = np.random.default_rng(4).normal(0, 3, (4, 5, 6, 3)).astype(np.float32)
    field = Deformation(vectors, Grid((4, 5, 6), np.diag([20.0, 20.0, 20.0, 1.0])), matrix)
    kept = field.record(folder, folder / "bent.npz")
    return replace(record("b", "c", matrix), model="deformable", deformation=kept), field


def test_a_point_goes_through_a_field_and_then_through_the_first_leg(tmp_path: Path) -> None:
    first, (bent, field) = turn(5, (2, 0, 0)), bent_leg(tmp_path, turn(3, (1, 1, 1)))

    def keep(given: FieldRecord, matrix: Matrix) -> FieldRecord:
        own = replace(Deformation.read(tmp_path / given.path, sha256=given.sha256), matrix=matrix)
        return own.record(tmp_path, tmp_path / "chain.npz")

    chain = compose(record("a", "b", first), bent, rule="test", keep_field=keep)
    assert chain.model == "deformable" and chain.deformation is not None
    stored = Deformation.read(tmp_path / chain.deformation.path, sha256=chain.deformation.sha256)
    assert stored.matrix == chain.matrix
    points = np.random.default_rng(5).uniform(5, 55, (50, 3))
    by_way = field.to_moving(points) @ np.linalg.inv(first)[:3, :3].T + np.linalg.inv(first)[:3, 3]
    assert np.allclose(stored.to_moving(points), by_way, atol=1e-9)
    with pytest.raises(ValueError, match="chain's matrix"):
        compose(record("a", "b", first), bent, rule="test")
    # With nothing before it the file is right as it is.
    assert compose(record("a", "b"), bent, rule="test").deformation == bent.deformation
    refused = compose(record("a", "b", verdict="refused"), bent, rule="test", keep_field=keep)
    assert (refused.deformation, refused.model) == (None, "rigid")


def test_a_deformable_first_leg_needs_the_identity_behind_it(tmp_path: Path) -> None:
    bent, _ = bent_leg(tmp_path, turn(3, (1, 1, 1)))
    with pytest.raises(ValueError, match="last of a chain"):
        compose(bent, record("c", "d", turn(5, (2, 0, 0))), rule="test")
    same = record("c", "d", state="same_frame")
    assert compose(bent, same, rule="test").deformation == bent.deformation


def test_the_better_record_is_used_and_the_other_kept_as_evidence() -> None:
    doubtful = record("a", "c", verdict="doubtful", error=0.1)
    usable = record("a", "c", turn(1, (0, 0, 0)), error=3.0)
    used = better(doubtful, usable)
    assert used.matrix == usable.matrix
    assert used.parameters["not_used"]["verdict"] == "doubtful"
    assert better(record("a", "c", error=2.0), record("a", "c", error=1.0)).quality[0].value == 1.0


def volume(key: str, modality: str, frame: str, *, prior: bool = False) -> VolumeRecord:
    level = LevelRecord((1, 1, 1), (1, 1, 1), (0, 0))
    role = {"PT": "PET", "CT": "CT"}.get(modality, "T1")
    return VolumeRecord(
        key, "", "", (level,), IDENTITY, "int16", 1.0, 0.0, "1", modality, role,  # type: ignore[arg-type]
        key, series_instance_uid=key, frame_of_reference_uid=frame, prior=prior,
    )


def test_which_way_a_series_may_go() -> None:
    mr = volume("mr", "MR", "1")
    ct, pet, lone = volume("ct", "CT", "2"), volume("pet", "PT", "2"), volume("x", "PT", "3")
    old_ct = volume("old-ct", "CT", "4", prior=True)
    old_pet = volume("old-pt", "PT", "4", prior=True)
    series = [ct, pet, lone, old_ct, old_pet]
    done = {v.key: record(v.key, "mr") for v in (ct, old_ct)}

    def middles(v: VolumeRecord, reference: VolumeRecord = mr) -> list[str]:
        return [way.middle.key for way in ways(v, reference, series, done)]

    assert middles(pet) == ["ct"]
    assert middles(lone) == []
    assert middles(old_ct) == ["ct"]
    assert middles(old_pet)[0] == "old-ct"
    # In the reference's own frame, and with the reference of its own kind, it goes directly.
    assert middles(volume("pet2", "PT", "1")) == []
    assert middles(old_ct, volume("ct-ref", "CT", "9")) == []
    refused = {**done, "ct": record("ct", "mr", verdict="refused")}
    assert ways(pet, mr, series, refused) == []
