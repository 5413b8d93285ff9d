"""A transform made elsewhere is used if the images confirm it, and only then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis.contracts import (
    IDENTITY,
    FieldRecord,
    QualityFigure,
    RegistrationRecord,
    SeriesInput,
    Verdict,
    VolumeRecord,
)
from analysis.deformation import Deformation
from analysis.geometry import Grid, Volume
from analysis.phantoms.model import Phantom
from analysis.registration import delivered, register_series
from analysis.registration.claims import Claim, DeliveredRegistrations
from analysis.registration.delivered import decide, field_store, judge_claim
from analysis.registration.preparation import build_pyramid
from analysis.registration.rigid import invert, is_rigid, rigid
from analysis.registration.spatial_registration import read_registrations
from analysis.resampling import resample
from tests.analysis.registration.conftest import translation
from tests.analysis.registration.test_spatial_registration import CT, PET, smooth
from tests.analysis.registration_objects import deformable_item, spatial_item, write_object


def claim_of(
    given: SeriesInput, moving: VolumeRecord = PET, reference: VolumeRecord = CT
) -> Claim:
    objects, notices = read_registrations([given])
    assert notices == ()
    claim = DeliveredRegistrations(objects).claim(moving, reference)
    assert claim is not None
    return claim


def judged(claim: Claim, head: Phantom, folder: Path, role: str = "T2") -> RegistrationRecord:
    return judge_claim(
        claim, head.series[role].volume, head.reference.volume, moving_uid="pet",
        reference_uid="ct", seed=1, threads=2, store=field_store(folder, folder, "pet"),
    )  # fmt: skip


def figure(record: RegistrationRecord, name: str) -> float:
    return next(q.value for q in record.quality if q.name == name)


def test_a_true_transform_is_used_as_it_is(head: Phantom, tmp_path: Path) -> None:
    truth = np.array(head.series["T2"].to_reference)
    # The object's own space is a third one, the reference is an item of it too.
    third = rigid(Rotation.from_euler("x", 90, degrees=True), np.array([0, 0, 900.0]), np.zeros(3))
    given = write_object(
        tmp_path / "r.dcm", "9.9", spatial_item("1.1", third), spatial_item("1.2", third @ truth)
    )
    claim = claim_of(given)
    record = judged(claim, head, tmp_path)
    assert (record.state, record.verdict, record.reasons) == ("registered", "usable", ())
    assert np.abs(np.array(record.matrix) - truth).max() < 1e-6
    assert record.method == "DICOM Spatial Registration by Else Where 3"
    assert figure(record, "distance_to_delivered") < 1.0
    assert figure(record, "estimated_error") >= figure(record, "distance_to_delivered")

    def own() -> RegistrationRecord:
        raise AssertionError("nothing is searched when the delivered transform is good")

    used, [notice] = decide(record, claim, own, "T2")
    assert used is record
    assert (notice.code, notice.severity) == ("registration_object_used", "info")


def test_one_that_is_30_mm_off_is_not_used(head: Phantom, tmp_path: Path) -> None:
    truth = np.array(head.series["T2"].to_reference)
    wrong = translation(30 / np.sqrt(2), -30 / np.sqrt(2), 0) @ truth
    claim = claim_of(write_object(tmp_path / "r.dcm", "1.1", spatial_item("1.2", wrong)))
    record = judged(claim, head, tmp_path)
    assert (record.state, record.verdict) == ("not_registered", "refused")
    assert np.allclose(record.parameters["rejected_matrix"], wrong)
    mine = replace(
        record, state="registered", verdict="usable", reasons=(), method="our own", parameters={}
    )
    used, [notice] = decide(record, claim, lambda: mine, "T2")
    assert (used.method, used.verdict) == ("our own", "usable")
    assert np.allclose(used.parameters["not_used"]["matrix"], wrong)
    assert notice.code == "registration_object_not_used"
    assert "Else Where 3" in notice.message


@pytest.mark.parametrize(
    ("claimed", "own", "winner"),
    [
        ("usable", "usable", "claimed"),
        ("doubtful", "usable", "own"),
        ("doubtful", "doubtful", "own"),
        ("doubtful", "refused", "claimed"),
        ("refused", "refused", "own"),
    ],
)
def test_the_better_verdict_wins(
    claimed: Verdict, own: Verdict, winner: str, tmp_path: Path
) -> None:
    claim = claim_of(write_object(tmp_path / "r.dcm", "1.1", spatial_item("1.2", np.eye(4))))
    record = RegistrationRecord("pet", "ct", "registered", claim.matrix, "claimed", "1", claimed)
    record = replace(record, quality=(QualityFigure("estimated_error", 1.0, "mm", ""),))
    mine = replace(record, method="own", verdict=own)
    used, _ = decide(record, claim, lambda: mine, "PET")
    assert used.method == winner


@dataclass
class Bent:
    """A head that a field of ``size`` mm has deformed, and the claim that says so."""

    head: Phantom
    folder: Path
    size: float
    stored: list[FieldRecord] = field(default_factory=list)
    register: Callable[..., RegistrationRecord] = register_series

    def __post_init__(self) -> None:
        self.truth = np.array(self.head.series["T1"].to_reference)
        self.grid = self.head.reference.volume.grid
        corners = self.grid.to_lps([[0, 0, 0], [*(np.array(self.grid.shape[::-1]) - 1)]])
        shape = (7, 8, 9)
        lattice = np.diag([*((corners[1] - corners[0]) / (np.array(shape[::-1]) - 1)), 1.0])
        lattice[:3, 3] = corners[0]
        vectors = smooth(shape, self.size).astype(np.float32)
        # Where x lies now, x + u(x) lay before.
        made = Deformation(vectors, Grid(shape, lattice))
        self.reference, _ = resample(self.head.reference.volume, self.grid, deformation=made)
        item = deformable_item("1.2", vectors, lattice, after=invert(self.truth))
        path = self.folder / f"d{self.size}.dcm"
        self.claim = claim_of(write_object(path, "1.1", item, deformable=True))

    def store(self, made: Deformation) -> FieldRecord:
        self.stored.append(field_store(self.folder, self.folder, "pet")(made))
        return self.stored[-1]

    def judged(self) -> RegistrationRecord:
        return judge_claim(
            self.claim, self.head.series["T1"].volume, self.reference, moving_uid="pet",
            reference_uid="ct", seed=1, threads=2, store=self.store, register=self.register,
        )  # fmt: skip


def test_a_true_field_is_used(head: Phantom, tmp_path: Path) -> None:
    bent = Bent(head, tmp_path, 1.5)
    record = bent.judged()
    assert (record.verdict, record.model, record.reasons) == ("usable", "deformable", ())
    assert record.method.startswith("DICOM Deformable Spatial Registration")
    assert record.deformation == bent.stored[0]
    kept = Deformation.read(tmp_path / bent.stored[0].path)
    assert kept.matrix == record.matrix
    # The matrix is a rigid registration of its own; with the field it leads where it was told to.
    top = np.array(bent.grid.shape[::-1]) - 1
    points = bent.grid.to_lps(np.random.default_rng(1).uniform(0, top, (99, 3)))
    assert bent.claim.field is not None
    delivered = bent.claim.field.to_moving(points)
    assert np.nanmax(np.abs(kept.to_moving(points) - delivered)) < 1e-3
    assert is_rigid(np.array(record.matrix))
    assert np.abs(np.array(record.matrix) - bent.truth).max() > 0.1


def test_a_field_without_which_the_series_does_not_fit_is_left_to_the_reader(
    head: Phantom, tmp_path: Path
) -> None:
    """The images confirm it, but networks and measurements would use its rigid part alone."""
    bent = Bent(head, tmp_path, 5.0)
    record = bent.judged()
    assert (record.verdict, record.model) == ("doubtful", "deformable")
    [reason] = record.reasons
    assert reason.startswith("its rigid part alone")
    assert figure(record, "distance_to_delivered") < 1.5
    mine = replace(record, model="rigid", deformation=None, method="own")
    used, [notice] = decide(record, bent.claim, lambda: mine, "T1")
    assert used.deformation == record.deformation
    assert "for you to judge" in notice.message


def test_a_folded_or_too_small_field_is_refused(head: Phantom, tmp_path: Path) -> None:
    for name, (vectors, spacing, words) in {
        "folded": (smooth((6, 6, 6), 150.0), 40.0, "folds"),
        "small": (smooth((6, 6, 6), 0.1), 4.0, "covers"),
    }.items():
        lattice = np.diag([spacing, spacing, spacing, 1.0])
        lattice[:3, 3] = head.reference.volume.grid.centre - 2.5 * spacing
        item = deformable_item("1.2", vectors, lattice)
        given = write_object(tmp_path / f"{name}.dcm", "1.1", item, deformable=True)
        record = judged(claim_of(given), head, tmp_path)
        assert (record.verdict, record.deformation) == ("refused", None)
        assert words in record.reasons[0]
        assert not list(tmp_path.glob("*.npz"))


class Answers:
    """Stands for ``register_series``: the same answer each time, and what was asked."""

    def __init__(self, *answers: RegistrationRecord) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, moving: Volume, reference: Volume, **options: Any) -> RegistrationRecord:
        self.asked.append({"moving": moving, **options})
        found = self.answers[min(len(self.asked), len(self.answers)) - 1]
        return replace(found, matrix=options["start"])


def checked(error: float | None, verdict: Verdict = "usable") -> RegistrationRecord:
    quality = () if error is None else (QualityFigure("estimated_error", error, "mm", ""),)
    return RegistrationRecord(
        "pet", "ct", "registered", IDENTITY, "check", "1", verdict, quality=quality
    )


@pytest.mark.parametrize(
    ("error", "verdict", "words"),
    [
        (3.9, "usable", ""),
        (4.1, "doubtful", "add up to an error of 4.1 mm"),
        (10.5, "refused", "10.5 mm"),
        (None, "doubtful", "no error of its own"),
        (float("nan"), "refused", "nan"),
    ],
)
def test_the_error_of_the_check_counts_and_a_missing_one_is_not_zero(
    error: float | None, verdict: Verdict, words: str, head: Phantom, tmp_path: Path
) -> None:
    claim = claim_of(write_object(tmp_path / "r.dcm", "1.1", spatial_item("1.2", np.eye(4))))
    record = judge_claim(
        claim, head.series["T2"].volume, head.reference.volume, moving_uid="pet",
        reference_uid="ct", seed=1, threads=2, store=field_store(tmp_path, tmp_path, "pet"),
        register=Answers(checked(error)),
    )  # fmt: skip
    assert record.verdict == verdict
    assert words in "; ".join(record.reasons)
    assert ("estimated_error" in {q.name for q in record.quality}) == (error is not None)


def test_a_field_that_the_images_refuse_is_not_asked_about_twice(
    head: Phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Volume] = []

    def counted(volume: Volume) -> Any:
        built.append(volume)
        return build_pyramid(volume)

    monkeypatch.setattr(delivered, "build_pyramid", counted)
    bent = Bent(head, tmp_path, 1.5)
    refusing = Answers(checked(1.0, "refused"))
    bent.register = refusing
    assert bent.judged().verdict == "refused"
    assert len(refusing.asked) == len(built) == 1
    # Beyond the box of its nodes a field says nothing; that is masked, not compared as air.
    mask = refusing.asked[0]["moving_mask"]
    assert 0 < np.mean(mask.array) < 1
    assert mask.grid.affine is refusing.asked[0]["moving"].grid.affine
    agreeing = Answers(checked(1.0))
    bent.register = agreeing
    assert bent.judged().verdict == "usable"
    assert len(agreeing.asked) == 2 and len(built) == 2
    assert agreeing.asked[1]["moving_mask"] is None
