"""What the flow, the workers and people do to runs and steps, in their words.

The step table is the truth; a message only says "look at step n". Every verb may be called twice,
late, or by somebody who lost the race: it then changes nothing.
"""

from __future__ import annotations

import secrets
import shutil
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext

from analysis.contracts import STEPS, StepResult
from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.analyzing.fixing import carry_fields
from workstation.analyzing.models import ENDED, Run, RunFact, RunState, Step, StepState
from workstation.analyzing.recording import record_result
from workstation.analyzing.requests import inputs_digest
from workstation.analyzing.run_inputs import inputs_of
from workstation.analyzing.states import OPEN, InvalidMove, LostLease, move
from workstation.broker import CPU_QUEUE, GPU_QUEUE, nudge, send
from workstation.live import publish
from workstation.worklist.models import Case
from workstation.worklist.services import analysis_retried, note_activity

RUN_STEP_ACTORS = {CPU_QUEUE: "run_cpu_step", GPU_QUEUE: "run_gpu_step"}
RESEND_AFTER = timedelta(seconds=30)
"""A queued step whose message is older than this gets another; a doubled message is harmless."""
BACKOFF_SECONDS = 2
"""Pause before the second attempt; doubled for each further one."""


class RetryRefused(Exception):
    """The run is not in a state that can be retried; the message is for the reader."""


# --- runs -----------------------------------------------------------------------------------------


def latest_run(case: Case) -> Run | None:
    """The newest run of the case, with its steps, or None."""
    return case.runs.order_by("-number").prefetch_related("steps").first()


def latest_done_run(case: Case) -> Run | None:
    """The newest run that finished: what a reader sees while a newer one is in the making."""
    unfinished = Step.objects.exclude(state=StepState.DONE).values("run")
    return case.runs.exclude(pk__in=unfinished).order_by("-number").first()


def remove_volumes(case: Case) -> None:
    """Delete the files that analyses of the case made, on commit; findings and registrations stay.

    For cases whose images were deleted: what is left on screen says so.
    """
    folder = Path(settings.RUNS_DIR) / str(case.pk)
    transaction.on_commit(partial(shutil.rmtree, folder, ignore_errors=True))


@transaction.atomic
def start_run(
    case: Case,
    reason: str,
    by: User | None = None,
    fixed_registrations: dict[str, Any] | None = None,
    not_carried: list[dict[str, Any]] | None = None,
) -> Run:
    """A new run over the case's complete studies; an older run still going is cancelled.

    Call it with the case locked. Its first step is queued and sent on commit.
    ``fixed_registrations``: see :mod:`workstation.analyzing.fixing`; ``not_carried``: decisions of
    an earlier run that this one could not keep, for the reader.
    """
    for older in case.runs.prefetch_related("steps"):
        if older.state not in ENDED:
            cancel_run(older, reason="replaced by a newer run", by=by)
    number = (case.runs.aggregate(Max("number"))["number__max"] or 0) + 1
    run = Run.objects.create(
        case=case, number=number, reason=reason[:200], inputs_digest=inputs_digest(case),
        inputs=inputs_of(case), fixed_registrations=fixed_registrations or {},
        not_carried=not_carried or [],
    )  # fmt: skip
    carry_fields(run)
    steps = Step.objects.bulk_create(
        Step(
            run=run,
            name=name,
            position=position,
            queue=GPU_QUEUE if name == "infer" else CPU_QUEUE,
        )
        for position, name in enumerate(STEPS)
    )
    _queue(steps[0].pk, "queue", reason=reason, by=by)
    return run


@transaction.atomic
def cancel_run(run: Run, *, reason: str, by: User | None = None) -> None:
    """End every step that is not done. A worker in the middle loses its lease and stops."""
    for step in run.steps.select_for_update().filter(state__in=OPEN):
        move(step.pk, "cancel", reason=reason, by=by, finished_at=timezone.now())
    _note_end(run.pk)


@transaction.atomic
def retry_run(run: Run, by: User, *, address: str = "") -> None:
    """A person asks for a failed run to go on where it stopped, with its attempts counted anew.

    Raises :class:`RetryRefused` unless the run failed and is the newest of its case.
    """
    case = Case.objects.select_for_update().get(pk=run.case_id)
    newest = latest_run(case)
    if newest is None or newest.pk != run.pk:
        raise RetryRefused(gettext("A newer analysis of this case exists; look at that one."))
    failed = run.steps.select_for_update().filter(state=StepState.FAILED).first()
    if failed is None:
        raise RetryRefused(gettext("This analysis did not fail; there is nothing to try again."))
    Run.objects.filter(pk=run.pk).update(finished_at=None)
    _queue(failed.pk, "retry", by=by, attempts=0, error="", error_code="", finished_at=None)
    analysis_retried(case.pk, by)
    record("retry", user=by, site=case.site, obj=run, case_id=case.pk, remote_address=address)


def _note_end(run_id: int) -> None:
    """Stamp the run when its last step ended, and ask the flow to look at the case."""
    run = Run.objects.prefetch_related("steps").get(pk=run_id)
    if run.state in ENDED and run.finished_at is None:
        Run.objects.filter(pk=run_id).update(finished_at=timezone.now())
    transaction.on_commit(partial(nudge, run.case_id))


# --- the queue ------------------------------------------------------------------------------------


def _queue(
    step_id: int,
    event: str,
    *,
    token: str | None = None,
    reason: str = "",
    by: User | None = None,
    delay_seconds: float = 0.0,
    **columns: object,
) -> None:
    now = timezone.now()
    step = move(
        step_id,
        event,
        token=token,
        reason=reason,
        by=by,
        queued_at=now,
        due_at=now + timedelta(seconds=delay_seconds),
        sent_at=None,
        heartbeat_at=None,
        worker="",
        **columns,
    )
    if delay_seconds == 0:
        send_step(step)


def send_step(step: Step) -> None:
    """Tell the workers of the step's queue, on commit."""
    Step.objects.filter(pk=step.pk).update(sent_at=timezone.now())
    transaction.on_commit(partial(send, RUN_STEP_ACTORS[step.queue], step.queue, step.pk))


def due_steps() -> QuerySet[Step]:
    """Queued steps that may begin and whose message, if any, is so old that it may be lost."""
    now = timezone.now()
    unsent = Q(sent_at=None) | Q(sent_at__lte=now - RESEND_AFTER)
    return Step.objects.filter(unsent, state=StepState.QUEUED, due_at__lte=now).order_by("due_at")


def send_due_steps() -> int:
    """Send every due step again; how many."""
    steps = list(due_steps())
    for step in steps:
        send_step(step)
    return len(steps)


def return_orphans() -> int:
    """Give steps whose worker fell silent back to the queue (or to quarantine); how many."""
    silent_since = timezone.now() - timedelta(seconds=settings.ORPHAN_SECONDS)
    silent = Step.objects.filter(state=StepState.RUNNING, heartbeat_at__lte=silent_since)
    return sum(_return_orphan(pk) for pk in silent.values_list("pk", flat=True))


@transaction.atomic
def _return_orphan(step_id: int) -> bool:
    silent_since = timezone.now() - timedelta(seconds=settings.ORPHAN_SECONDS)
    step = Step.objects.select_for_update().get(pk=step_id)
    still = step.state == StepState.RUNNING and step.heartbeat_at is not None
    if not still or step.heartbeat_at > silent_since:
        return False  # it spoke, ended, or another sweep was faster
    why = "the worker stopped answering"
    if step.attempts >= settings.STEP_MAX_ATTEMPTS:
        _quarantine(step, why)
    else:
        _queue(step_id, "orphaned", reason=why)
    return True


def _quarantine(step: Step, why: str) -> None:
    move(
        step.pk,
        "quarantine",
        reason=why,
        error_code="quarantined",
        error=f"Stopped after {step.attempts} attempts, because {why}. "
        "It is not tried again by itself; retry it, and tell your administrator if it stops again.",
        finished_at=timezone.now(),
        heartbeat_at=None,
    )
    _note_end(step.run_id)


# --- what a worker does ---------------------------------------------------------------------------


@transaction.atomic
def claim_step(step_id: int, worker: str) -> str | None:
    """Take a queued, due step: the new lease's token, or None if it is not to be had.

    The attempt is counted here, before any work: a step that kills its workers ends in quarantine.
    """
    step = Step.objects.select_for_update().filter(pk=step_id).first()
    now = timezone.now()
    if step is None or step.state != StepState.QUEUED or (step.due_at and step.due_at > now):
        return None
    if step.attempts >= settings.STEP_MAX_ATTEMPTS:
        _quarantine(step, "every attempt ended without a result")
        return None
    token = secrets.token_hex(16)
    move(
        step_id,
        "claim",
        token=token,
        worker=worker[:100],
        attempts=step.attempts + 1,
        started_at=now,
        heartbeat_at=now,
        finished_at=None,
        progress=0.0,
        progress_text="",
        error_code="",
        error="",
    )
    return token


def heartbeat(step_id: int, token: str, progress: float, text: str) -> bool:
    """Renew the lease and show progress; False when the lease is lost and work must stop."""
    held = Step.objects.filter(pk=step_id, state=StepState.RUNNING, token=token)
    renewed = held.update(
        heartbeat_at=timezone.now(),
        progress=min(1.0, max(0.0, progress)),
        progress_text=text[:200],
    )
    if renewed:
        step = Step.objects.select_related("run__case").get(pk=step_id)
        publish(step.run.case.site_id, "run", step.run.case_id)
        # A transaction of its own: everybody else locks the case before its steps.
        note_activity(step.run.case_id, f"{step.get_name_display()} {progress:.0%}")
    return bool(renewed)


@transaction.atomic
def finish_step(
    step_id: int, token: str, result: StepResult, *, peak_memory_mb: int | None = None
) -> None:
    """Record the result's rows, end the step and queue the next, in one transaction.

    Raises :class:`LostLease` (and records nothing) if the worker no longer holds the step.
    """
    step = move(
        step_id,
        "finish",
        token=token,
        progress=1.0,
        progress_text="",
        finished_at=timezone.now(),
        peak_memory_mb=peak_memory_mb,
        worker="",
    )
    record_result(step, result)
    following = Step.objects.filter(run=step.run_id, position__gt=step.position).first()
    if following is not None and following.state == StepState.WAITING:
        _queue(following.pk, "queue", reason=f"{step.name} is done")
    _note_end(step.run_id)


@transaction.atomic
def fail_step(step_id: int, token: str, code: str, message: str, *, retriable: bool) -> None:
    """The step ended without a result: try again later, or fail with the reason.

    Raises :class:`LostLease` if the worker no longer holds the step.
    """
    step = Step.objects.select_for_update().get(pk=step_id)
    error = {"error_code": code[:60], "error": message}
    if retriable and step.attempts < settings.STEP_MAX_ATTEMPTS:
        delay = BACKOFF_SECONDS * 2 ** (step.attempts - 1)
        _queue(step_id, "try_again", token=token, reason=message, delay_seconds=delay, **error)
        return
    if retriable:
        error["error"] = f"{message} (Tried {step.attempts} times.)"
    move(step_id, "fail", token=token, reason=message, finished_at=timezone.now(), **error)
    _note_end(step.run_id)


@transaction.atomic
def hand_back_step(step_id: int, token: str) -> None:
    """The worker is shutting down: the step goes back to the queue and the attempt is not counted.

    A lease already lost is no matter.
    """
    step = Step.objects.select_for_update().get(pk=step_id)
    try:
        _queue(
            step_id,
            "interrupted",
            token=token,
            reason="the worker was stopped",
            attempts=max(0, step.attempts - 1),
        )
    except (LostLease, InvalidMove):
        return


# --- what pages ask -------------------------------------------------------------------------------


def facts_of(run: Run) -> dict[str, object]:
    """Every fact of the run by name (``pathway``, ``case_probability``, models used, ...)."""
    return dict(RunFact.objects.filter(run=run).values_list("name", "value"))


_SHOWN = {RunState.WAITING: "running", RunState.CANCELLED: "failed"}


def run_summary(run: Run | None) -> dict[str, object]:
    """The ``run`` part of the view JSON: state ``running``, ``done``, ``failed`` or ``none``."""
    if run is None:
        return {"id": None, "number": 0, "state": "none", "steps": []}
    state = run.state
    return {
        "id": run.pk,
        "number": run.number,
        "state": str(_SHOWN.get(state, state)),
        "steps": [
            {
                "name": step.name,
                "title": step.get_name_display(),
                "state": step.state,
                "progress": step.progress,
                "text": step.progress_text,
                "error": step.error,
            }
            for step in run.steps.all()
        ],
    }
