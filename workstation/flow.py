"""The story of a case, in one screen.

``advance`` looks at what is true in the database and starts what is due. It may be called at any
time, by anybody, as often as one likes: a nudge that is lost, late or doubled changes nothing,
because ``sweep`` (``manage.py clock``) looks again every few seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

import dramatiq
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from workstation.analyzing.models import ENDED, PetEntry, Run, RunState
from workstation.analyzing.pet_inputs import entered_since
from workstation.analyzing.refinements import (
    remove_leftover_files,
    return_orphaned_refinements,
    send_due_refinements,
)
from workstation.analyzing.requests import inputs_digest
from workstation.analyzing.run_inputs import images_changed
from workstation.analyzing.services import (
    facts_of,
    latest_done_run,
    latest_run,
    return_orphans,
    send_due_steps,
    start_run,
)
from workstation.auditing.retention import apply_all
from workstation.broker import ADVANCE_ACTOR, FLOW_QUEUE
from workstation.exporting.services import cases_without_exports, request_exports, send_due
from workstation.reading.kept_decisions import decisions_for_next_run
from workstation.receiving.models import Study
from workstation.receiving.services import (
    arrivals,
    came_by_rule,
    complete_if_arrived,
    follow_merges,
    quiet_studies,
    request_priors,
    send_due_network_jobs,
)
from workstation.receiving.services.keeping import remove_unreferenced
from workstation.receiving.services.opening import return_stalled
from workstation.receiving.services.tagging import quiet_untagged_studies, tag_series
from workstation.receiving.services.uploading import expire_uploads
from workstation.reporting.services import prepare_report
from workstation.worklist.models import Case, CaseState, Placement
from workstation.worklist.services import (
    OPEN_STATES,
    cases_to_follow,
    finish_analysis,
    follow,
    join_prior_to_case,
    join_study_to_case,
    note_activity,
    note_late_images,
    studies_without_case,
    study_completed,
)

log = logging.getLogger(__name__)
DATABASE_AWAY = (OperationalError, InterfaceError)
"""Not the fault of any one study or case: the whole sweep waits."""


def advance(case_id: int) -> None:
    """Studies quiet → case joined → run started → analysis finished → (signed: results sent)."""
    follow(case_id)
    _advance(case_id)


@transaction.atomic
def _advance(case_id: int) -> None:
    case = Case.objects.select_for_update().filter(pk=case_id).first()
    if case is None or case.state == CaseState.CLOSED:
        return
    run = latest_run(case)
    images_are_new = _has_unseen_images(case, run)
    if case.state not in OPEN_STATES:
        request_exports(case)
        # Images that retention took away are no news.
        gone = case.studies.filter(deleted_at__isnull=False).exists()
        if images_are_new and _came_after(case, run) and not gone:
            note_late_images(case.pk)
        return
    if images_are_new:
        came = _came_after(case, run)
        study_completed(case, announce=came)
        # Also of a run that is not shown any more because a study left: other images stayed.
        kept, lost = decisions_for_next_run(case, latest_done_run(case) or run)
        start_run(case, _reason(run, came), fixed_registrations=kept, not_carried=lost)
        note_activity(case.pk, "Queued")
    elif run is not None and run.state in ENDED:
        _close_analysis(case, run)


def _has_unseen_images(case: Case, run: Run | None) -> bool:
    """Whether every study is complete and the newest run did not see exactly these bytes, under
    the roles that people gave them."""
    if case.studies.filter(completed_at__isnull=True).exists():
        return False  # more is arriving; one run over everything beats two
    digest = inputs_digest(case)
    return bool(digest) and (run is None or run.inputs_digest != digest)


def _came_after(case: Case, run: Run | None) -> bool:
    """Whether the case has other images than the run saw; else a person only gave one of its
    series another role, or entered a value for SUV."""
    return run is None or images_changed(case, run)


def _reason(run: Run | None, came: bool) -> str:
    """Why a run starts, for its page."""
    if run is None:
        return "first images"
    if came:
        return "new images"
    return "a value entered for SUV" if entered_since(run) else "another role of a series"


def _close_analysis(case: Case, run: Run) -> None:
    """Lay out the draft, empty after a failure; tell the case how its newest run ended, once."""
    if run.state in (RunState.DONE, RunState.FAILED):
        prepare_report(run)
    pathway, problem = str(facts_of(run).get("pathway", "")), run.problem
    told = case.problem == problem and pathway in ("", case.pathway)
    if case.state == CaseState.ANALYSING or case.activity or not told:
        finish_analysis(case.pk, pathway=pathway, problem=problem)


def sweep() -> None:
    """Everything that waits for time to pass, or whose message was lost.

    Each study, each case and each job of the sweep by itself: one that ends in an error is logged
    and tried again by the next sweep; it holds up no other.
    """
    now = timezone.now()
    _each("study", [study.pk for study in quiet_untagged_studies(now)], _tag)
    _each("study", quiet_studies(now), partial(_complete, now=now))
    # Also a study that still arrives: the list shows its case as "Receiving".
    _each("study", [study.pk for study in studies_without_case()], _join)
    _guarded(follow_merges)
    _each("case", cases_to_follow().values_list("pk", flat=True), follow)
    _guarded(return_stalled, now)
    _guarded(expire_uploads, now)
    _guarded(_tell_arrivals)
    _guarded(send_due_network_jobs, now)
    _guarded(return_orphans)
    _guarded(send_due_steps)
    _guarded(return_orphaned_refinements)
    _guarded(send_due_refinements)
    _guarded(send_due, now)
    _each("case", [*waiting_cases(), *cases_without_exports()], advance)


def _guarded(job: Callable[..., object], *arguments: object) -> None:
    try:
        job(*arguments)
    except DATABASE_AWAY:
        raise
    except Exception:
        log.exception("a job of the sweep is put off")


def _each(what: str, keys: Iterable[int], do: Callable[[int], object]) -> None:
    for key in list(keys):
        try:
            do(key)
        except DATABASE_AWAY:
            raise
        except Exception:
            log.exception("%s %d is put off", what, key)


def _tag(study_id: int) -> None:
    tag_series(Study.objects.get(pk=study_id))


@transaction.atomic
def _complete(study_id: int, now: datetime) -> None:
    """A study is complete and its case knows, or neither."""
    study = complete_if_arrived(study_id, now)
    if study is None:
        return
    request_priors(study)
    if Study.objects.filter(came_by_rule(), pk=study.pk).exists():
        join_prior_to_case(study)


def _join(study_id: int) -> None:
    join_study_to_case(Study.objects.get(pk=study_id))


def _tell_arrivals() -> None:
    for study, text in arrivals():
        for case in study.cases.filter(state=CaseState.RECEIVING):
            note_activity(case.pk, text)


def tidy() -> None:
    """What has no hurry: retention rules, and bytes that nothing names any more."""
    now = timezone.now()
    _guarded(apply_all, now)
    _guarded(remove_unreferenced, now)
    _guarded(remove_leftover_files)


def waiting_cases() -> list[int]:
    """Cases that may have something due: in analysis, or with images newer than their run."""
    newest_run = Run.objects.filter(case=OuterRef("pk")).order_by("-number")
    newer_study = Study.objects.filter(
        cases=OuterRef("pk"), completed_at__gt=OuterRef("newest_run_at")
    )
    # A study joined or left after the run began: its message may have been lost.
    newer_place = Placement.objects.filter(case=OuterRef("pk"), at__gt=OuterRef("newest_run_at"))
    newer_entry = PetEntry.objects.filter(case=OuterRef("pk"), at__gt=OuterRef("newest_run_at"))
    is_open = Q(state__in=OPEN_STATES)
    return list(
        Case.objects.annotate(newest_run_at=newest_run.values("created_at")[:1])
        .annotate(has_newer_study=Exists(newer_study))
        .filter(
            Q(state__in=[CaseState.RECEIVING, CaseState.ANALYSING])
            | (is_open & ~Q(activity=""))
            | (is_open & Q(has_newer_study=True))
            | (is_open & (Exists(newer_place) | Exists(newer_entry)))
            | (~is_open & Q(has_newer_study=True, new_images=False))
        )
        .order_by("pk")
        .values_list("pk", flat=True)
    )


@dramatiq.actor(actor_name=ADVANCE_ACTOR, queue_name=FLOW_QUEUE, max_retries=0, time_limit=60_000)
def advance_case(case_id: int) -> None:
    """Message: look at this case."""
    advance(case_id)
