"""The story of a case, in one screen.

``advance`` looks at what is true in the database and starts what is due. It may be called at any
time, by anybody, as often as one likes: a nudge that is lost, late or doubled changes nothing,
because ``sweep`` (``manage.py clock``) looks again every few seconds.
"""

from __future__ import annotations

import dramatiq
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from workstation.analyzing.models import ENDED, Run, RunState
from workstation.analyzing.requests import inputs_digest
from workstation.analyzing.services import (
    facts_of,
    latest_run,
    return_orphans,
    send_due_steps,
    start_run,
)
from workstation.auditing.retention import apply_all
from workstation.broker import ADVANCE_ACTOR, FLOW_QUEUE
from workstation.exporting.services import cases_without_exports, request_exports, send_due
from workstation.receiving.models import Series, Study
from workstation.receiving.services import (
    arrivals,
    came_by_rule,
    complete_quiet_studies,
    follow_merges,
    request_priors,
    send_due_network_jobs,
)
from workstation.receiving.services.keeping import remove_unreferenced
from workstation.receiving.services.opening import return_stalled
from workstation.receiving.services.tagging import tag_quiet_studies
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
        again = "new images" if came else "another role of a series"
        start_run(case, "first images" if run is None else again)
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
    series another role."""
    if run is None or case.studies.filter(completed_at__gt=run.created_at).exists():
        return True
    return not Series.objects.filter(
        study__cases=case, role_set_at__gt=run.created_at
    ).exists()


def _close_analysis(case: Case, run: Run) -> None:
    """Lay out the draft, empty after a failure; tell the case how its newest run ended, once."""
    if run.state in (RunState.DONE, RunState.FAILED):
        prepare_report(run)
    pathway, problem = str(facts_of(run).get("pathway", "")), run.problem
    told = case.problem == problem and pathway in ("", case.pathway)
    if case.state == CaseState.ANALYSING or case.activity or not told:
        finish_analysis(case.pk, pathway=pathway, problem=problem)


def sweep() -> None:
    """Everything that waits for time to pass, or whose message was lost."""
    tag_quiet_studies(timezone.now())
    with transaction.atomic():  # a study is complete and its case knows, or neither
        for study in complete_quiet_studies(timezone.now()):
            request_priors(study)
            if Study.objects.filter(came_by_rule(), pk=study.pk).exists():
                join_prior_to_case(study)
        # Also a study that still arrives: the list shows its case as "Receiving".
        for study in studies_without_case():
            join_study_to_case(study)
    follow_merges()
    for case_id in cases_to_follow().values_list("pk", flat=True):
        follow(case_id)
    return_stalled(timezone.now())
    expire_uploads(timezone.now())
    for study, text in arrivals():
        for case in study.cases.filter(state=CaseState.RECEIVING):
            note_activity(case.pk, text)
    send_due_network_jobs(timezone.now())
    return_orphans()
    send_due_steps()
    send_due(timezone.now())
    for case_id in [*waiting_cases(), *cases_without_exports()]:
        advance(case_id)


def tidy() -> None:
    """What has no hurry: retention rules, and bytes that nothing names any more."""
    now = timezone.now()
    apply_all(now)
    remove_unreferenced(now)


def waiting_cases() -> list[int]:
    """Cases that may have something due: in analysis, or with images newer than their run."""
    newest_run = Run.objects.filter(case=OuterRef("pk")).order_by("-number")
    newer_study = Study.objects.filter(
        cases=OuterRef("pk"), completed_at__gt=OuterRef("newest_run_at")
    )
    # A study joined or left after the run began: its message may have been lost.
    newer_place = Placement.objects.filter(case=OuterRef("pk"), at__gt=OuterRef("newest_run_at"))
    is_open = Q(state__in=OPEN_STATES)
    return list(
        Case.objects.annotate(newest_run_at=newest_run.values("created_at")[:1])
        .annotate(has_newer_study=Exists(newer_study))
        .filter(
            Q(state__in=[CaseState.RECEIVING, CaseState.ANALYSING])
            | (is_open & ~Q(activity=""))
            | (is_open & Q(has_newer_study=True))
            | (is_open & Exists(newer_place))
            | (~is_open & Q(has_newer_study=True, new_images=False))
        )
        .order_by("pk")
        .values_list("pk", flat=True)
    )


@dramatiq.actor(actor_name=ADVANCE_ACTOR, queue_name=FLOW_QUEUE, max_retries=0, time_limit=60_000)
def advance_case(case_id: int) -> None:
    """Message: look at this case."""
    advance(case_id)
