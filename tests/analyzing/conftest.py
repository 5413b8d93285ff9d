"""A case with a CT and a PET, and a way to take a step through by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dramatiq import Message
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.analyzing.results import leave_result
from tests.factories import (
    CaseFactory,
    InstanceFactory,
    PatientFactory,
    SeriesFactory,
    StudyFactory,
)
from workstation.analyzing.models import Run, Step
from workstation.analyzing.recording import load_result
from workstation.analyzing.requests import run_folder, series_inputs
from workstation.analyzing.services import claim_step, finish_step, start_run
from workstation.broker import QUEUES, broker
from workstation.worklist.models import Case, CaseState


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.RUNS_DIR = tmp_path / "runs"
    settings.ARCHIVE_DIR = tmp_path / "archive"
    broker.flush_all()


@pytest.fixture
def case(db: None) -> Case:
    patient = PatientFactory()
    study = StudyFactory(patient=patient)
    for modality in ("CT", "PT"):
        InstanceFactory(series=SeriesFactory(study=study, modality=modality))
    return CaseFactory(patient=patient, studies=[study], state=CaseState.ANALYSING)


@pytest.fixture
def run(case: Case) -> Run:
    return start_run(case, "first images")


def uids_of(case: Case) -> tuple[str, ...]:
    return tuple(s.series_instance_uid for s in series_inputs(case))


@pytest.fixture
def do_step() -> Callable[[Run, str], Step]:
    """Claim, make a result, finish: what a worker does, without a child."""

    def do(run: Run, name: str) -> Step:
        step = run.steps.get(name=name)
        token = claim_step(step.pk, "test")
        assert token is not None, f"{name} could not be claimed"
        path = leave_result(name, run_folder(run), uids_of(run.case))
        finish_step(step.pk, token, load_result(step, path), peak_memory_mb=10)
        step.refresh_from_db()
        return step

    return do


@pytest.fixture
def sent(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> Callable[[Callable[[], Any]], list[tuple[str, int]]]:
    """Call something, let its on-commit effects happen, and list the messages it sent."""

    def call(act: Callable[[], Any]) -> list[tuple[str, int]]:
        broker.flush_all()
        with django_capture_on_commit_callbacks(execute=True):
            act()
        found = []
        for queue in QUEUES:
            messages = broker.queues[queue]
            while not messages.empty():
                message = Message.decode(messages.get())
                messages.task_done()
                found.append((message.actor_name, message.args[0]))
        return found

    return call






