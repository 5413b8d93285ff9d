"""A worker's turn, with rows and a real child process: whatever happens ends in the rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from dramatiq.middleware import Shutdown

from workstation.analyzing import performing
from workstation.analyzing.models import Run, Step, StepState
from workstation.analyzing.performing import perform_step, stop_child
from workstation.analyzing.services import cancel_run


@pytest.fixture(autouse=True)
def _fake(settings: Any) -> Iterator[None]:
    settings.STEP_COMMAND = [sys.executable, "-m", "tests.analyzing.fake_child"]
    settings.HEARTBEAT_SECONDS = 0.3
    stop_child()
    yield
    stop_child()


def first(run: Run) -> Step:
    return run.steps.get(name="assemble")


def test_a_whole_run(run: Run) -> None:
    for step in run.steps.all():
        perform_step(step.pk)
    steps = list(run.steps.all())
    assert [s.state for s in steps] == ["done"] * 5
    assert all(s.attempts == 1 and s.peak_memory_mb for s in steps)
    assert run.findings.count() == 1 and run.sentences.count() == 2


def test_a_step_that_is_not_due_is_left_alone(run: Run) -> None:
    perform_step(run.steps.get(name="draft").pk)
    perform_step(first(run).pk)
    perform_step(first(run).pk)
    assert first(run).attempts == 1
    assert run.steps.get(name="draft").attempts == 0


@pytest.mark.parametrize(
    ("behaviour", "state", "code"),
    [
        ("refuse", StepState.FAILED, "pet_no_dose"),
        ("nonsense", StepState.FAILED, "result_invalid"),
        ("escape", StepState.FAILED, "result_invalid"),
        ("killed", StepState.QUEUED, "child_killed"),
        ("garbage", StepState.QUEUED, "child_garbled"),
        ("shortage", StepState.QUEUED, "out_of_memory"),
    ],
)
def test_failures_stand_in_the_row(
    run: Run, settings: Any, behaviour: str, state: str, code: str
) -> None:
    settings.MODELS_DIR = behaviour
    perform_step(first(run).pk)
    step = first(run)
    assert (step.state, step.error_code, step.token) == (state, code, "")
    assert step.error and run.layers.count() == 0


def test_a_cancelled_step_stops_and_drops_its_result(
    run: Run, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODELS_DIR = "slow-20"
    real = performing.heartbeat

    def cancelled_meanwhile(*args: Any) -> bool:
        cancel_run(Run.objects.get(pk=run.pk), reason="a newer run")
        return real(*args)

    monkeypatch.setattr(performing, "heartbeat", cancelled_meanwhile)
    perform_step(first(run).pk)
    assert first(run).state == StepState.CANCELLED
    assert run.layers.count() == 0


def test_a_worker_that_is_stopped_hands_the_step_back(
    run: Run, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODELS_DIR = "hang"

    def stopped(*args: Any) -> bool:
        raise Shutdown

    monkeypatch.setattr(performing, "heartbeat", stopped)
    with pytest.raises(Shutdown):
        perform_step(first(run).pk)
    step = first(run)
    assert (step.state, step.attempts) == (StepState.QUEUED, 0)


def test_a_defect_of_ours_costs_an_attempt_and_is_not_hidden(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(performing, "finish_step", broken)
    with pytest.raises(ZeroDivisionError):
        perform_step(first(run).pk)
    step = first(run)
    assert (step.state, step.error_code, step.attempts) == ("queued", "internal_error", 1)
