"""The verbs on runs and steps: counted attempts, orphans, quarantine, fences, idempotence."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from analysis.contracts import STEPS
from tests.analyzing.conftest import uids_of
from tests.analyzing.results import leave_result
from tests.factories import InstanceFactory, UserFactory
from workstation.accounts.models import AuditRecord
from workstation.analyzing import services
from workstation.analyzing.models import Run, RunState, Step, StepState
from workstation.analyzing.recording import load_result
from workstation.analyzing.requests import inputs_digest, run_folder
from workstation.analyzing.services import (
    RetryRefused,
    cancel_run,
    claim_step,
    due_steps,
    fail_step,
    finish_step,
    hand_back_step,
    heartbeat,
    latest_done_run,
    latest_run,
    retry_run,
    return_orphans,
    run_summary,
    start_run,
)
from workstation.analyzing.states import LostLease
from workstation.worklist.models import Case, CaseState

Sent = Callable[[Callable[[], Any]], list[tuple[str, int]]]
DoStep = Callable[[Run, str], Step]


def first(run: Run) -> Step:
    return run.steps.get(name="assemble")


def age(step: Step, seconds: float, *columns: str) -> None:
    """Make the times of a step older."""
    then = timezone.now() - timedelta(seconds=seconds)
    Step.objects.filter(pk=step.pk).update(**dict.fromkeys(columns, then))


def test_a_run_starts_with_its_first_step_queued_and_sent(case: Case, sent: Sent) -> None:
    messages = sent(lambda: start_run(case, "first images"))
    run = latest_run(case)
    assert run is not None and run.number == 1 and run.inputs_digest == inputs_digest(case)
    assert [s.name for s in run.steps.all()] == list(STEPS)
    assert [s.queue for s in run.steps.all()] == ["cpu", "cpu", "gpu", "cpu", "cpu"]
    assert [s.state for s in run.steps.all()] == ["queued"] + ["waiting"] * 4
    assert ("run_cpu_step", first(run).pk) in messages


def test_steps_follow_each_other_to_the_end(run: Run, do_step: DoStep, sent: Sent) -> None:
    for name in STEPS:
        messages = sent(lambda name=name: do_step(run, name))
        following = run.steps.filter(state="queued").first()
        if following is not None:
            actor = "run_gpu_step" if following.name == "infer" else "run_cpu_step"
            assert (actor, following.pk) in messages
        assert ("advance_case", run.case_id) in messages
    run = Run.objects.get(pk=run.pk)
    assert run.state == RunState.DONE and run.finished_at is not None
    assert latest_done_run(run.case) == run


def test_a_step_is_claimed_once(run: Run) -> None:
    step = first(run)
    assert claim_step(step.pk, "one")
    assert claim_step(step.pk, "two") is None
    step.refresh_from_db()
    assert (step.attempts, step.worker, step.state) == (1, "one", "running")


@pytest.mark.parametrize("name", ["register", "draft"])
def test_a_waiting_step_is_not_to_be_had(run: Run, name: str) -> None:
    assert claim_step(run.steps.get(name=name).pk, "one") is None
    assert claim_step(10**9, "one") is None


def test_the_heartbeat_renews_and_tells_of_a_lost_lease(run: Run) -> None:
    step = first(run)
    token = claim_step(step.pk, "one")
    assert token
    age(step, 100, "heartbeat_at")
    assert heartbeat(step.pk, token, 0.4, "reading CT")
    step.refresh_from_db()
    assert timezone.now() - step.heartbeat_at < timedelta(seconds=10)
    assert (step.progress, step.progress_text) == (0.4, "reading CT")
    assert Case.objects.get(pk=run.case_id).activity == "Volumes 40%"
    assert not heartbeat(step.pk, "stale", 0.5, "")
    cancel_run(run, reason="test")
    assert not heartbeat(step.pk, token, 0.5, "")


def test_a_silent_step_returns_to_the_queue_and_is_sent(
    run: Run, sent: Sent, settings: Any
) -> None:
    step = first(run)
    stale = claim_step(step.pk, "one")
    assert return_orphans() == 0
    age(step, settings.ORPHAN_SECONDS + 1, "heartbeat_at")
    messages = sent(lambda: return_orphans())
    assert messages == [("run_cpu_step", step.pk)]
    assert return_orphans() == 0
    assert claim_step(step.pk, "two")
    step.refresh_from_db()
    assert step.attempts == 2
    with pytest.raises(LostLease):
        fail_step(step.pk, stale or "", "x", "late", retriable=True)


def test_a_late_result_of_a_lost_lease_is_dropped(run: Run, settings: Any) -> None:
    step = first(run)
    stale = claim_step(step.pk, "one")
    path = leave_result("assemble", run_folder(run), uids_of(run.case))
    age(step, settings.ORPHAN_SECONDS + 1, "heartbeat_at")
    return_orphans()
    with pytest.raises(LostLease):
        finish_step(step.pk, stale or "", load_result(step, path))
    assert run.layers.count() == 0 and run.facts.count() == 0
    step.refresh_from_db()
    assert step.state == StepState.QUEUED


def test_a_step_that_kills_its_workers_ends_in_quarantine(run: Run, settings: Any) -> None:
    step = first(run)
    for attempt in range(1, settings.STEP_MAX_ATTEMPTS + 1):
        assert claim_step(step.pk, "doomed")
        step.refresh_from_db()
        assert step.attempts == attempt
        age(step, settings.ORPHAN_SECONDS + 1, "heartbeat_at")
        assert return_orphans() == 1
    step.refresh_from_db()
    assert (step.state, step.error_code) == (StepState.FAILED, "quarantined")
    assert "3 attempts" in step.error and "stopped answering" in step.error
    assert claim_step(step.pk, "again") is None
    run = Run.objects.get(pk=run.pk)
    assert run.state == RunState.FAILED and run.problem.startswith("Volumes: ")
    assert run.finished_at is not None


def test_a_claim_beyond_the_last_attempt_is_refused(run: Run, settings: Any) -> None:
    step = first(run)
    Step.objects.filter(pk=step.pk).update(attempts=settings.STEP_MAX_ATTEMPTS)
    assert claim_step(step.pk, "one") is None
    step.refresh_from_db()
    assert (step.state, step.error_code) == (StepState.FAILED, "quarantined")


def test_a_retriable_failure_waits_longer_each_time_then_fails(run: Run, sent: Sent) -> None:
    step, waits = first(run), []
    for _ in range(3):
        Step.objects.filter(pk=step.pk).update(due_at=timezone.now())
        token = claim_step(step.pk, "one")
        assert token
        messages = sent(
            lambda token=token: fail_step(step.pk, token, "oom", "Memory ran out.", retriable=True)
        )
        assert ("run_cpu_step", step.pk) not in messages
        step.refresh_from_db()
        if step.state == StepState.QUEUED:
            waits.append((step.due_at - step.queued_at).total_seconds())
            assert claim_step(step.pk, "too early") is None
    assert waits == [2, 4]
    assert step.state == StepState.FAILED
    assert step.error == "Memory ran out. (Tried 3 times.)"


def test_a_refused_input_is_not_tried_again(run: Run) -> None:
    step = first(run)
    token = claim_step(step.pk, "one") or ""
    fail_step(step.pk, token, "pet_no_dose", "The PET names no dose.", retriable=False)
    step.refresh_from_db()
    assert (step.state, step.attempts) == (StepState.FAILED, 1)
    assert Run.objects.get(pk=run.pk).problem == "Volumes: The PET names no dose."


def test_a_stopped_worker_costs_no_attempt(run: Run, sent: Sent) -> None:
    step = first(run)
    token = claim_step(step.pk, "one") or ""
    assert ("run_cpu_step", step.pk) in sent(lambda: hand_back_step(step.pk, token))
    step.refresh_from_db()
    assert (step.state, step.attempts, step.token) == (StepState.QUEUED, 0, "")
    hand_back_step(step.pk, token)  # again: nothing


def test_lost_messages_are_sent_again_but_not_at_once(run: Run, sent: Sent) -> None:
    step = first(run)
    assert list(due_steps()) == []
    age(step, services.RESEND_AFTER.total_seconds() + 1, "sent_at")
    assert sent(services.send_due_steps) == [("run_cpu_step", step.pk)]
    assert sent(services.send_due_steps) == []


def test_a_newer_run_replaces_the_one_still_going(case: Case, run: Run) -> None:
    token = claim_step(first(run).pk, "one") or ""
    newer = start_run(case, "new images")
    older = Run.objects.get(pk=run.pk)
    assert newer.number == 2
    assert older.state == RunState.CANCELLED and older.finished_at is not None
    assert not heartbeat(first(run).pk, token, 0.5, "")


def test_a_finished_run_stays_finished_when_a_newer_one_starts(
    case: Case, run: Run, do_step: DoStep
) -> None:
    for name in STEPS:
        do_step(run, name)
    newer = start_run(case, "new images")
    assert Run.objects.get(pk=run.pk).state == RunState.DONE
    assert latest_run(case) == newer and latest_done_run(case) == run


def test_a_person_retries_a_failed_run_where_it_stopped(
    case: Case, run: Run, do_step: DoStep, sent: Sent
) -> None:
    user = UserFactory(sites=[case.site])
    do_step(run, "assemble")
    step = run.steps.get(name="register")
    for _ in range(3):
        Step.objects.filter(pk=step.pk).update(due_at=timezone.now())
        fail_step(step.pk, claim_step(step.pk, "w") or "", "oom", "No memory.", retriable=True)
    Case.objects.filter(pk=case.pk).update(state=CaseState.READY, problem="No memory.")
    messages = sent(lambda: retry_run(run, user, address="10.0.0.1"))
    assert ("run_cpu_step", step.pk) in messages
    step.refresh_from_db()
    case.refresh_from_db()
    assert (step.state, step.attempts, step.error) == (StepState.QUEUED, 0, "")
    assert (case.state, case.problem) == (CaseState.ANALYSING, "")
    assert Run.objects.get(pk=run.pk).finished_at is None
    assert run.layers.filter(kind="series").count() == 2, "done work is kept"
    audit = AuditRecord.objects.get(action="retry")
    assert (audit.user, audit.case_id, audit.remote_address) == (user, case.pk, "10.0.0.1")
    do_step(run, "register")


def test_only_a_failed_newest_run_can_be_retried(case: Case, run: Run) -> None:
    user = UserFactory()
    with pytest.raises(RetryRefused, match="did not fail"):
        retry_run(run, user)
    start_run(case, "new images")
    with pytest.raises(RetryRefused, match="newer"):
        retry_run(run, user)


def test_the_digest_follows_the_bytes(case: Case) -> None:
    before = inputs_digest(case)
    study = case.studies.get()
    added = InstanceFactory(series=study.series.first())
    after = inputs_digest(case)
    assert before != after
    added.delete()
    assert inputs_digest(case) == before
    study.completed_at = None
    study.save()
    assert inputs_digest(case) == ""


def test_the_summary_of_a_run(run: Run, do_step: DoStep) -> None:
    assert run_summary(None)["state"] == "none"
    do_step(run, "assemble")
    summary = run_summary(Run.objects.get(pk=run.pk))
    assert summary["state"] == "running" and summary["number"] == 1
    steps = summary["steps"]
    assert isinstance(steps, list)
    assert steps[0] == {
        "name": "assemble", "title": "Volumes", "state": "done", "progress": 1.0, "text": "",
        "error": "",
    }  # fmt: skip


def test_progress_of_many_runs_is_one_query(
    run: Run, do_step: DoStep, django_assert_num_queries: Any
) -> None:
    do_step(run, "assemble")
    with django_assert_num_queries(1):
        found = list(Run.objects.latest_of_each_case().with_progress())
    assert [(r.steps_total, r.steps_done, r.steps_failed, r.now_step) for r in found] == [
        (5, 1, 0, "register")
    ]
