"""The story of a case: called once, twice, late, or out of order, it ends the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.test import RequestFactory
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analysis.contracts import STEPS
from tests.analyzing.conftest import uids_of
from tests.analyzing.results import leave_result
from tests.factories import (
    PASSWORD,
    CaseFactory,
    InstanceFactory,
    PatientFactory,
    SeriesFactory,
    StudyFactory,
    UserFactory,
)
from workstation import flow
from workstation.analyzing.models import Run, RunState, Step
from workstation.analyzing.recording import load_result
from workstation.analyzing.requests import run_folder
from workstation.analyzing.services import claim_step, fail_step, finish_step, latest_run
from workstation.flow import advance, advance_case, sweep, waiting_cases
from workstation.receiving.models import Patient, Study
from workstation.reporting.documents import render_pdf
from workstation.reporting.models import Origin, ReportSection
from workstation.reporting.services import MEANINGS, save_draft, seal, sign_report
from workstation.worklist.models import Case, CaseEvent, CaseState
from workstation.worklist.services import claim_case

Sent = Callable[[Callable[[], Any]], list[tuple[str, int]]]
DoStep = Callable[[Run, str], Step]
pytestmark = pytest.mark.django_db


def arriving(patient: Patient | None = None, *, quiet_for: float = 0) -> Study:
    """A study with one instance, whose last image came ``quiet_for`` seconds ago."""
    study = StudyFactory(
        patient=patient or PatientFactory(),
        completed_at=None,
        last_received_at=timezone.now() - timedelta(seconds=quiet_for),
    )
    InstanceFactory(series=SeriesFactory(study=study))
    return study


def fresh(case: Case) -> Case:
    return Case.objects.get(pk=case.pk)


def test_from_the_first_image_to_a_ready_case(do_step: DoStep, sent: Sent, settings: Any) -> None:
    study = arriving()
    sweep()
    case = study.cases.get()
    assert case.state == CaseState.RECEIVING and case.runs.count() == 0
    Study.objects.update(last_received_at=timezone.now() - timedelta(seconds=3600))
    sweep()
    case = fresh(case)
    assert case.state == CaseState.ANALYSING and case.activity == "Queued"
    run = case.runs.get()
    for name in STEPS:
        do_step(run, name)
        advance(case.pk)
    case = fresh(case)
    assert (case.state, case.pathway, case.activity) == (CaseState.READY, "lung", "")
    assert case.ready_at is not None
    assert waiting_cases() == []


def test_advance_is_idempotent(case: Case, do_step: DoStep, sent: Sent) -> None:
    advance(case.pk)
    events = CaseEvent.objects.count()
    assert sent(lambda: [advance(case.pk) for _ in range(3)]) == []
    assert case.runs.count() == 1 and CaseEvent.objects.count() == events
    run = case.runs.get()
    for name in STEPS:
        do_step(run, name)
    advance(case.pk)
    events = CaseEvent.objects.count()
    advance(case.pk)
    sweep()
    assert CaseEvent.objects.count() == events and case.runs.count() == 1
    advance(10**9)


@hypothesis_settings(max_examples=25, deadline=None)
@given(calls=st.lists(st.sampled_from(["advance", "sweep", "step", "message"]), max_size=20))
def test_any_order_of_calls_ends_in_the_same_place(calls: list[str]) -> None:
    """Then the missing steps are done and one sweep runs: one run, ready, each step done once."""
    case = CaseFactory()

    def work() -> None:
        run = latest_run(case)
        step = run.steps.filter(state="queued").first() if run else None
        if run is None or step is None:
            return
        token = claim_step(step.pk, "test") or ""
        path = leave_result(step.name, run_folder(run), uids_of(case))
        finish_step(step.pk, token, load_result(step, path))

    act: dict[str, Callable[[], Any]] = {
        "advance": lambda: advance(case.pk),
        "message": lambda: advance_case(case.pk),
        "sweep": sweep,
        "step": work,
    }
    for call in [*calls, "sweep", *["step"] * len(STEPS), "sweep"]:
        act[call]()
    run = case.runs.get()
    assert run.state == RunState.DONE
    assert all(step.attempts == 1 for step in run.steps.all())
    assert fresh(case).state == CaseState.READY
    assert run.findings.count() == 1 and run.layers.count() == 3


def test_two_studies_of_a_patient_are_one_case_and_one_run() -> None:
    patient = PatientFactory()
    first, second = arriving(patient, quiet_for=3600), arriving(patient)
    sweep()
    case = first.cases.get()
    assert second.cases.get() == case
    assert case.runs.count() == 0, "the second study still arrives"
    Study.objects.update(last_received_at=timezone.now() - timedelta(seconds=3600))
    sweep()
    assert case.runs.count() == 1


def test_a_new_study_during_the_run_replaces_it(case: Case, do_step: DoStep) -> None:
    advance(case.pk)
    older = case.runs.get()
    do_step(older, "assemble")
    arriving(case.patient, quiet_for=3600)
    sweep()
    newer = latest_run(case)
    assert newer is not None and newer.number == 2
    assert Run.objects.get(pk=older.pk).state == RunState.CANCELLED
    assert fresh(case).state == CaseState.ANALYSING
    for name in STEPS:
        do_step(newer, name)
    advance(case.pk)
    assert fresh(case).state == CaseState.READY
    assert newer.layers.filter(kind="series").count() == 3


@pytest.mark.parametrize("state", [CaseState.READING, CaseState.DRAFT])
def test_a_reader_keeps_the_case_and_is_told_of_new_images(
    case: Case, do_step: DoStep, state: CaseState
) -> None:
    advance(case.pk)
    first = case.runs.get()
    for name in STEPS:
        do_step(first, name)
    advance(case.pk)
    Case.objects.filter(pk=case.pk).update(state=state)
    arriving(case.patient, quiet_for=3600)
    sweep()
    assert (fresh(case).state, fresh(case).new_images) == (state, True)
    second = latest_run(case)
    assert second is not None and second.number == 2
    for name in STEPS:
        do_step(second, name)
    sweep()
    assert fresh(case).state == state and fresh(case).activity == ""
    arriving(case.patient, quiet_for=3600)
    sweep()
    assert case.runs.count() == 3, "images that arrive later still are seen"


def test_images_after_the_signature_change_nothing_but_are_told(
    case: Case, do_step: DoStep
) -> None:
    advance(case.pk)
    for name in STEPS:
        do_step(case.runs.get(), name)
    advance(case.pk)
    Case.objects.filter(pk=case.pk).update(state=CaseState.SIGNED)
    study = case.studies.get()
    InstanceFactory(series=study.series.first())
    Study.objects.filter(pk=study.pk).update(completed_at=timezone.now())
    sweep()
    assert (fresh(case).state, fresh(case).new_images) == (CaseState.SIGNED, True)
    assert case.runs.count() == 1
    assert waiting_cases() == []


def test_a_failed_analysis_leaves_a_readable_case_with_its_reason(case: Case) -> None:
    advance(case.pk)
    step = case.runs.get().steps.get(name="assemble")
    token = claim_step(step.pk, "test") or ""
    fail_step(step.pk, token, "no_usable_series", "No series can be used.", retriable=False)
    advance(case.pk)
    case = fresh(case)
    assert (case.state, case.problem) == (CaseState.READY, "Volumes: No series can be used.")
    advance(case.pk)
    assert case.runs.count() == 1, "a failed run is not started again by itself"
    sentences = case.report.sentences.all()
    assert {s.section for s in sentences} == set(ReportSection.values), "it can be reported by hand"
    assert {(s.text, s.origin) for s in sentences} == {("", Origin.READER)}


def test_a_report_by_hand_is_signed(case: Case, rf: RequestFactory) -> None:
    test_a_failed_analysis_leaves_a_readable_case_with_its_reason(case)
    case = fresh(case)
    reader = UserFactory(sites=[case.site])
    claim_case(case, reader)
    own = case.report.sentences.get(section=ReportSection.IMPRESSION)
    saved = save_draft(case.report, reader, revision=0, texts={own.pk: "Read by eye."})
    assert saved.revision == 1
    version = sign_report(
        saved, reader, rf.post("/"), password=PASSWORD, meaning=MEANINGS[0], seen=seal(saved)
    )
    assert "Read by eye." in version.content
    assert render_pdf(version).startswith(b"%PDF")


def test_the_sweep_returns_orphans_and_resends(case: Case, sent: Sent, settings: Any) -> None:
    advance(case.pk)
    step = case.runs.get().steps.get(name="assemble")
    claim_step(step.pk, "doomed")
    silent = timezone.now() - timedelta(seconds=settings.ORPHAN_SECONDS + 1)
    Step.objects.filter(pk=step.pk).update(heartbeat_at=silent)
    assert ("run_cpu_step", step.pk) in sent(sweep)
    assert sent(sweep) == []
    Step.objects.filter(pk=step.pk).update(sent_at=silent - timedelta(seconds=60))
    assert sent(lambda: call_command("clock", once=True)) == [("run_cpu_step", step.pk)]


def test_one_study_that_fails_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = arriving(quiet_for=3600), arriving(quiet_for=3600)

    def fails_for_one(study: Study) -> None:
        if study.pk == bad.pk:
            raise ValueError("Doe^Jane")

    monkeypatch.setattr(flow, "request_priors", fails_for_one)
    for _ in range(2):
        sweep()
    bad.refresh_from_db()
    good.refresh_from_db()
    assert bad.completed_at is None
    assert good.completed_at is not None and good.cases.get().runs.count() == 1
    assert f"study {bad.pk} is put off" in caplog.text
    monkeypatch.undo()
    sweep()
    bad.refresh_from_db()
    assert bad.completed_at is not None


def test_a_job_of_the_sweep_that_fails_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    study = arriving(quiet_for=3600)

    def fails(*_: object) -> None:
        raise KeyError("anything")

    for name in ("follow_merges", "return_stalled", "arrivals", "send_due", "apply_all"):
        monkeypatch.setattr(flow, name, fails)
    sweep()
    flow.tidy()
    study.refresh_from_db()
    assert study.completed_at is not None


def test_a_database_that_is_away_puts_the_whole_sweep_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(flow, "quiet_studies", lambda now: [1])
    monkeypatch.setattr(flow, "complete_if_arrived", away)
    with pytest.raises(OperationalError):
        sweep()
