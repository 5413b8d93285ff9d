"""The register step: PET by way of its series, priors, readers' decisions, nothing done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import analysis.registering as registering
from analysis.assembling import assemble
from analysis.contracts import (
    IDENTITY,
    AssembleResult,
    RegisterResult,
    RegistrationRecord,
    SeriesInput,
    StepRequest,
    VolumeRecord,
    to_json,
)
from analysis.deformation import Deformation
from analysis.geometry import FloatArray, Grid, as_matrix
from analysis.phantoms.head import make_head
from analysis.phantoms.model import Phantom
from analysis.registration.chains import leg_error
from analysis.registration.rigid import apply, distances, invert, rigid
from analysis.resampling import resample
from analysis.volume_store import read_volume, write_volume
from tests.analysis.dicom_frames import volume as planes
from tests.analysis.dicom_frames import write_classic

MOTION = rigid(
    Rotation.from_euler("zx", (12, -6), degrees=True), np.array([14.0, -9.0, 11.0]), np.zeros(3)
)
"""From the reference's frame to that of T1 and PET, which share one."""


@pytest.fixture(scope="module")
def head() -> Phantom:
    return make_head(5, spacing_mm=(3.0, 3.0, 3.0), positive=True)


def assembled(head: Phantom, folder: Path) -> AssembleResult:
    """T1c is the reference; T1 and PET share another frame; T2 is a prior in a third."""
    frames = {"T1c": "1.1", "T1": "1.2", "PET": "1.2", "T2": "1.3"}
    records: list[VolumeRecord] = []
    for role, frame in frames.items():
        series = head.series[role]  # type: ignore[index]
        placed = MOTION @ np.array(series.to_reference) if frame == "1.2" else np.eye(4)
        grid = Grid(series.volume.grid.shape, placed @ series.volume.grid.affine)
        prior = role == "T2"
        record = write_volume(
            folder / "assemble" / f"{role}.rfv", replace(series.volume, grid=grid),
            run_dir=folder, key=role, label=role, role=role, series_instance_uid=role,  # type: ignore[arg-type]
            frame_of_reference_uid=frame,
        )
        records.append(replace(record, prior=prior, study_date="2024-03-01" if prior else ""))
    return AssembleResult("glioma", "test", "T1c", tuple(records))


class Spy:
    """``register_series``, counted by what is registered to what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self._real = registering.register_series

    def __call__(self, *volumes: Any, **options: Any) -> RegistrationRecord:
        self.calls.append((options["moving_uid"], options["reference_uid"]))
        return self._real(*volumes, **options)


Step = tuple[AssembleResult, RegisterResult, list[tuple[str, str]], Path]


def run(
    head: Phantom, folder: Path, cache: Path, fixed: dict[str, RegistrationRecord] | None = None
) -> Step:
    result = assembled(head, folder)
    request = StepRequest(
        "register", str(folder), (), seed=1, cache_dir=str(cache), fixed_registrations=fixed or {}
    )
    spy = Spy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registering, "register_series", spy)
        found = registering.register(request, folder / "register", lambda *_: None, result)
    return result, found, spy.calls, cache


@pytest.fixture(scope="module")
def step(head: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Step:
    folder = tmp_path_factory.mktemp("case")
    return run(head, folder / "1", folder / "registrations")


def of(step: Step, uid: str) -> RegistrationRecord:
    return next(r for r in step[1].registrations if r.series_instance_uid == uid)


def brain(head: Phantom) -> FloatArray:
    assert head.body is not None
    k, j, i = np.nonzero(head.body.array)
    return head.body.grid.to_lps(np.stack([i, j, k], axis=1))[::20]


def test_pet_goes_by_way_of_the_series_whose_frame_it_shares(head: Phantom, step: Step) -> None:
    pet = of(step, "PET")
    assert ("T1", "T1c") in step[2]
    assert ("PET", "T1") in step[2]
    assert ("PET", "T1c") not in step[2]
    assert (pet.state, pet.verdict) == ("registered", "usable")
    assert [leg["reference"] for leg in pet.parameters["chain"]] == ["T1", "T1c"]
    assert "shares its frame of reference with T1" in pet.parameters["rule"]
    points = apply(MOTION, brain(head))
    assert distances(np.array(pet.matrix), invert(MOTION), points).mean() < 1.5
    error = leg_error(pet)
    assert error is not None
    assert error >= (leg_error(of(step, "T1")) or 0.0)


def test_a_prior_is_registered_to_the_current_reference(head: Phantom, step: Step) -> None:
    prior = of(step, "T2")
    assert (prior.reference_series_uid, prior.verdict) == ("T1c", "usable")
    truth = np.array(head.series["T2"].to_reference)
    points = apply(invert(truth), brain(head))
    assert distances(np.array(prior.matrix), truth, points).mean() < 1.0


def test_records_come_in_the_order_of_the_volumes(step: Step) -> None:
    uids = [r.series_instance_uid for r in step[1].registrations]
    assert uids == ["T1c", "T1", "PET", "T2"]


def test_the_next_run_computes_nothing_and_says_the_same(
    head: Phantom, step: Step, tmp_path: Path
) -> None:
    again = run(head, tmp_path / "2", step[3])
    assert len(step[2]) == 3
    assert again[2] == []
    assert to_json(again[1]) == to_json(step[1])


def test_what_the_reader_decided_is_taken_as_it_is(
    head: Phantom, step: Step, tmp_path: Path
) -> None:
    decided = RegistrationRecord(
        "T1", "T1c", "not_registered", IDENTITY, "hand", "1", "refused", ("rejected by a reader",)
    )
    pet = replace(of(step, "PET"), method="hand", verdict="usable")
    found = run(head, tmp_path / "3", step[3], {"T1": decided, "PET": pet})
    assert found[2] == []
    assert of(found, "T1") == decided
    assert of(found, "PET") == pet
    stranger = replace(decided, reference_series_uid="another")
    found = run(head, tmp_path / "4", step[3], {"T1": stranger})
    assert of(found, "T1") == of(step, "T1")


def test_a_pet_goes_with_its_series_through_the_field_that_a_reader_accepted(
    head: Phantom, step: Step, tmp_path: Path
) -> None:
    """PET lies 2 mm off its T1, and T1 is bent: the layer and the points of the PET know both."""
    grid = head.reference.volume.grid
    corner = grid.affine.copy()
    corner[:3, :3] = corner[:3, :3] * (np.array(grid.shape[::-1]) - 1)
    vectors = np.zeros((2, 2, 2, 3), np.float32)
    vectors[..., 1] = 4.0
    rest = of(step, "T1")
    field = Deformation(vectors, Grid((2, 2, 2), corner), rest.matrix)
    folder = tmp_path / "5"
    (folder / "fixed").mkdir(parents=True)
    bent = replace(
        rest, model="deformable", deformation=field.record(folder, folder / "fixed/f.npz")
    )
    nudged = np.eye(4)
    nudged[0, 3] = 2.0

    def pair(case: Any, record: VolumeRecord, *_: Any) -> RegistrationRecord:
        found = of(step, "T1") if record.key == "T1" else of(step, "PET")
        return replace(
            found, series_instance_uid=record.key, reference_series_uid="T1", parameters={},
            matrix=as_matrix(nudged),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registering, "_pair", pair)
        found = run(head, folder, step[3], {"T1": bent})
    pet = of(found, "PET")
    assert (pet.model, pet.deformation is not None) == ("deformable", True)
    assert pet.deformation is not None and pet.deformation != bent.deformation
    stored = Deformation.read(folder / pet.deformation.path, sha256=pet.deformation.sha256)
    assert stored.matrix == pet.matrix == as_matrix(np.array(rest.matrix) @ nudged)
    points = grid.centre + np.array([[0.0, 0, 0], [30, 20, -20]])
    assert np.allclose(stored.to_moving(points), field.to_moving(points) - [2.0, 0, 0], atol=1e-6)
    # The drawn layer is the PET at those places.
    drawn = next(v for v in found[1].deformed if v.key == "deformed-PET")
    there = read_volume(folder, drawn)
    pull = as_matrix(np.array(pet.matrix) @ np.linalg.inv(shift(0, 4, 0)))
    moving = next(v for v in found[0].volumes if v.key == "PET")
    shown, inside = resample(read_volume(folder, moving), there.grid, matrix=pull)
    assert np.abs(there.array - shown.array)[inside].mean() < 0.01 * np.ptp(shown.array)


def shift(x: float, y: float, z: float) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return matrix


def test_a_prior_with_thinner_slices_is_neither_reference_nor_channel(tmp_path: Path) -> None:
    """Two CT: the earlier one would win by its slices if it were not a prior."""
    rng = np.random.default_rng(2)
    series = []
    for uid, slices, prior in (("1.2.1", 10, False), ("1.2.2", 30, True)):
        pixels = rng.integers(900, 1100, (slices, 24, 24)).astype(np.uint16)
        written = write_classic(
            tmp_path / uid, planes(pixels, RescaleSlope=1.0, RescaleIntercept=-1024.0), "CT",
            SeriesInstanceUID=uid, BodyPartExamined="CHEST",
        )  # fmt: skip
        series.append(
            SeriesInput(uid, f"{uid}.9", "CT", "CT", written.paths, study_date="2025-03-05",
                        prior=prior)
        )  # fmt: skip

    def assemble_(*given: SeriesInput) -> AssembleResult:
        run_dir = tmp_path / str(len(given))
        (run_dir / "assemble").mkdir(parents=True)
        request = StepRequest("assemble", str(run_dir), given)
        return assemble(request, run_dir / "assemble", lambda *_: None)

    both = assemble_(*series)
    assert both.reference_series_uid == "1.2.1"
    labels = {v.key: v.label for v in both.volumes}
    assert labels["1.2.2"].endswith("(prior 2025-03-05)")
    assert "prior" not in labels["1.2.1"]
    assert "1.2.2" not in (tmp_path / "2" / "assemble" / "channels.json").read_text()
    # Where there is nothing else, it is at least shown.
    assert assemble_(series[1]).reference_series_uid == "1.2.2"
