"""Every record, whatever made it, answers for the same six aspects: by a figure, or by why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.contracts import IDENTITY, QualityFigure, RegistrationRecord
from analysis.deformation import Deformation
from analysis.geometry import Volume, as_matrix
from analysis.phantoms.model import Phantom
from analysis.registration import register_series
from analysis.registration.answers import ASPECTS, NOT_MEASURED, answered
from analysis.registration.chains import compose
from analysis.registration.deformable import deform_series
from analysis.registration.delivered import field_store, judge_claim
from tests.analysis.registration.conftest import placed, translation
from tests.analysis.registration.test_delivered import Bent, claim_of
from tests.analysis.registration_objects import spatial_item, write_object


def register(moving: Volume, reference: Volume, **more: object) -> RegistrationRecord:
    options = {"same_frame": False} | more
    return register_series(
        moving, reference, moving_uid="m", reference_uid="r", seed=1, threads=2,
        **options,  # type: ignore[arg-type]
    )


def answers(record: RegistrationRecord) -> dict[str, str | float]:
    """Aspect -> its figure or the reason; exactly one of both, and every figure with its basis."""
    figures = {q.name: q for q in record.quality}
    reasons = record.parameters.get(NOT_MEASURED, {})
    found: dict[str, str | float] = {}
    for aspect, names in ASPECTS.items():
        present = [figures[name] for name in names if name in figures]
        assert bool(present) != (aspect in reasons), aspect
        found[aspect] = present[0].value if present else reasons[aspect]
        assert all(figure.basis and np.isfinite(figure.value) for figure in present)
    assert all(reasons.values())
    return found


@pytest.fixture(scope="module")
def rigid(head: Phantom) -> RegistrationRecord:
    return register(head.series["T2"].volume, head.reference.volume)


@pytest.fixture(scope="module")
def same(head: Phantom) -> RegistrationRecord:
    series = head.series["T1"]
    return register(
        placed(series.volume, np.array(series.to_reference)), head.reference.volume,
        same_frame=True,
    )


def test_rigid_and_affine(head: Phantom, rigid: RegistrationRecord) -> None:
    assert NOT_MEASURED not in rigid.parameters
    assert answers(rigid)["jacobian"] == 1.0
    centre = head.series["T1"].volume.grid.centre
    motion = np.diag([1.05, 0.97, 1.0, 1.0])
    motion[:3, 3] = centre - motion[:3, :3] @ centre
    affine = register(
        placed(head.series["T1"].volume, motion), head.reference.volume, model="affine"
    )
    # The moving series was made larger by this.
    assert answers(affine)["jacobian"] == pytest.approx(1.05 * 0.97, abs=0.02)
    assert NOT_MEASURED not in affine.parameters


def test_a_shared_frame(head: Phantom, same: RegistrationRecord) -> None:
    found = answers(same)
    assert found.pop("jacobian") == "nothing is moved or bent"
    assert all(isinstance(value, float) for value in found.values())
    for name in ("estimated_error", "inverse_consistency", "start_spread"):
        assert 0 < float(found[name]) < 2.0
    moved = register(
        placed(head.series["T1"].volume, translation(9, 0, 0) @ np.array(
            head.series["T1"].to_reference)), head.reference.volume, same_frame=True,
    )  # fmt: skip
    assert float(answers(moved)["estimated_error"]) == pytest.approx(9.0, abs=1.0)
    away = register(
        placed(head.reference.volume, translation(0, 0, 900)), head.reference.volume,
        same_frame=True,
    )
    assert set(away.parameters[NOT_MEASURED]) == set(ASPECTS) - {"overlap"}
    answers(away)


def test_an_image_that_cannot_be_compared(head: Phantom) -> None:
    empty = head.reference.volume.with_array(np.zeros_like(head.reference.volume.array))
    record = register(empty, head.reference.volume)
    assert set(record.parameters[NOT_MEASURED]) == set(ASPECTS)
    answers(record)


def test_chains_of_all_kinds(
    rigid: RegistrationRecord, same: RegistrationRecord, tmp_path: Path
) -> None:
    second = replace(rigid, series_instance_uid="r", reference_series_uid="z")
    found = answers(compose(same, second, rule="test"))
    assert found["metric_gain"] == answers(rigid)["metric_gain"]
    for name in ("inverse_consistency", "start_spread", "estimated_error"):
        legs = float(answers(same)[name]), float(answers(rigid)[name])
        assert found[name] == pytest.approx(np.hypot(*legs))
    assert found["overlap"] == min(answers(same)["overlap"], answers(rigid)["overlap"])
    assert found["jacobian"] == pytest.approx(1.0)
    # A part without figures takes them from the chain; why is said.
    hand = replace(rigid, quality=(), parameters={}, method="by hand")
    told = answers(compose(hand, second, rule="test"))
    assert told["start_spread"] == "a part of the chain has no such figure"
    ratios = (QualityFigure("jacobian_min", 0.8, "1", "x"), QualityFigure("overlap", 0.5, "1", "x"))
    half = replace(rigid, matrix=as_matrix(np.diag([0.5, 1, 1, 1])), model="affine")
    bent = replace(second, matrix=IDENTITY, model="deformable", quality=ratios)
    chain = compose(half, bent, rule="test")
    assert answers(chain)["jacobian"] == pytest.approx(1.6)
    assert answers(compose(chain, replace(
        second, series_instance_uid="z", matrix=IDENTITY), rule="nested"
    ))["jacobian"] == pytest.approx(1.6)  # fmt: skip


def test_delivered_ones(head: Phantom, tmp_path: Path) -> None:
    truth = np.array(head.series["T2"].to_reference)
    claim = claim_of(write_object(tmp_path / "r.dcm", "1.1", spatial_item("1.2", truth)))
    record = judge_claim(
        claim, head.series["T2"].volume, head.reference.volume, moving_uid="pet",
        reference_uid="ct", seed=1, threads=2, store=field_store(tmp_path, tmp_path, "pet"),
    )  # fmt: skip
    assert NOT_MEASURED not in record.parameters
    answers(record)
    bent = Bent(head, tmp_path, 1.5)
    record = bent.judged()
    assert answers(record)["jacobian"] != 1.0
    assert record.deformation is not None
    field = Deformation.read(tmp_path / record.deformation.path)
    figures = {q.name: q.value for q in record.quality}
    assert field.jacobian().min() <= figures["jacobian_min"] < 1 < figures["jacobian_max"]


def test_a_deformation_that_is_not_tried(head: Phantom, rigid: RegistrationRecord) -> None:
    refused = replace(rigid, verdict="refused", state="not_registered", quality=())
    volume = head.series["T2"].volume
    record, _ = deform_series(volume, head.reference.volume, refused, seed=1, threads=2)
    assert set(record.parameters[NOT_MEASURED]) == set(ASPECTS)
    assert "not bent" in str(answers(record)["jacobian"])


def test_reasons_go_when_figures_come() -> None:
    bare = RegistrationRecord("m", "r", "registered", IDENTITY, "x", "1", "usable")
    told = answered(bare, "why", overlap="because")
    assert told.parameters[NOT_MEASURED]["overlap"] == "because"
    full = replace(told, quality=tuple(
        QualityFigure(names[0], 1.0, "1", "x") for names in ASPECTS.values()
    ))  # fmt: skip
    assert answered(full, "why").parameters == {}
