"""What readers and the flow do to cases, in their words."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.broker import nudge
from workstation.live import publish
from workstation.worklist.models import Case, CaseState, Claim, PlacementKind, Priority
from workstation.worklist.states import move

NOT_IMAGES = frozenset({"RTSTRUCT", "RTPLAN", "RTDOSE", "SEG", "SR", "PR", "KO", "REG", "DOC"})
OPEN_STATES = (
    CaseState.RECEIVING,
    CaseState.ANALYSING,
    CaseState.READY,
    CaseState.READING,
    CaseState.DRAFT,
)


class ClaimRefused(Exception):
    """Somebody else holds the case, or its state allows no reading."""


@transaction.atomic
def describe_case(case: Case) -> None:
    """Refresh the columns the list shows: modalities and title, from the studies received.
    What it only compares with is not what is read."""
    compared = case.placements.filter(kind=PlacementKind.COMPARED).values("study")
    rows = case.studies.exclude(pk__in=compared).order_by("study_date", "pk")
    studies = list(rows.prefetch_related("series"))
    series = [s for study in studies for s in study.series.all()]
    # Contours, reports and the like are no images; a case of nothing else names what it has.
    images = {s.modality for s in series if s.modality not in NOT_IMAGES}
    found = images or {s.modality for s in series}
    case.modalities = " ".join(sorted(found))[:80]
    titles = [study.description for study in studies if study.description]
    case.title = " + ".join(dict.fromkeys(titles))[:200] or case.modalities or "Study"
    case.save(update_fields=["modalities", "title"])


@transaction.atomic
def study_completed(case: Case, *, announce: bool = True) -> Case:
    """A study of the case is complete: analysis may begin (or begin again).

    ``announce``: images arrived, which a reader at work must be told; False when only a person
    named a series otherwise.
    """
    describe_case(case)
    moved = move(case.pk, "study_completed")
    if announce and moved.state in (CaseState.READING, CaseState.DRAFT):
        moved.new_images = True
        moved.save(update_fields=["new_images"])
    transaction.on_commit(lambda: nudge(case.pk))
    return moved


@transaction.atomic
def note_activity(case_id: int, text: str) -> None:
    """What the analysis is doing now, shown in the list beside the state."""
    case = Case.objects.select_for_update().get(pk=case_id)
    if case.activity != text[:120]:
        case.activity = text[:120]
        case.save(update_fields=["activity"])
        publish(case.site_id, "case", case.pk)


@transaction.atomic
def finish_analysis(case_id: int, *, pathway: str, problem: str = "") -> Case | None:
    """The run ended. ``problem`` tells the reader why it did not succeed, if so.

    Returns None (and changes nothing but ``problem``) when the case is already past analysing.
    """
    case = Case.objects.select_for_update().get(pk=case_id)
    case.problem = problem
    case.activity = ""
    if pathway:
        case.pathway = pathway
    if case.ready_at is None:
        case.ready_at = timezone.now()
    case.save(update_fields=["problem", "activity", "pathway", "ready_at"])
    publish(case.site_id, "case", case.pk)
    if case.state != CaseState.ANALYSING:
        return None
    return move(case_id, "analysis_failed" if problem else "analysis_done", reason=problem)


@transaction.atomic
def analysis_retried(case_id: int, by: User) -> None:
    """A person asked for the failed analysis to go on; a case being read stays with its reader."""
    case = Case.objects.select_for_update().get(pk=case_id)
    case.problem = ""
    case.save(update_fields=["problem"])
    publish(case.site_id, "case", case.pk)
    if case.state == CaseState.READY:
        move(case_id, "analysis_retried", by=by)


@transaction.atomic
def note_late_images(case_id: int) -> None:
    """Images arrived after the report was signed: the reader is told, the report stands."""
    case = Case.objects.select_for_update().get(pk=case_id)
    if not case.new_images:
        case.new_images = True
        case.save(update_fields=["new_images"])
        publish(case.site_id, "case", case.pk)


@transaction.atomic
def claim_case(case: Case, user: User, *, address: str = "") -> Claim:
    """Take the case for reading. A second reader is refused by the database's unique row.

    Claiming a case one already holds is a no-op. Raises :class:`ClaimRefused`.
    """
    locked = Case.objects.select_for_update().get(pk=case.pk)
    held = Claim.objects.filter(case=locked).select_related("user").first()
    if held is not None:
        if held.user_id == user.pk:
            return held
        raise ClaimRefused(
            gettext("{reader} is reading this case.").format(reader=held.user.display_name)
        )
    if locked.state not in (CaseState.READY, CaseState.DRAFT):
        raise ClaimRefused(
            gettext("The case is {state}, not ready to read.").format(
                state=locked.get_state_display().lower()
            )
        )
    try:
        with transaction.atomic():
            claim = Claim.objects.create(case=locked, user=user)
    except IntegrityError:
        raise ClaimRefused(gettext("Another reader took this case a moment ago.")) from None
    move(locked.pk, "claimed", by=user)
    record("claim", user=user, site=locked.site, obj=locked, case_id=locked.pk,
           remote_address=address)
    return claim


@transaction.atomic
def release_case(case: Case, user: User, *, forced: bool = False, address: str = "") -> None:
    """Give the case back to the list; a draft stays. ``forced``: a lead frees another's case."""
    locked = Case.objects.select_for_update().get(pk=case.pk)
    held = Claim.objects.filter(case=locked).first()
    if held is None:
        return
    if held.user_id != user.pk and not forced:
        raise ClaimRefused(
            gettext("Only its reader or a department lead can release this case.")
        )
    held.delete()
    if locked.state in (CaseState.READING, CaseState.DRAFT):
        move(locked.pk, "released", by=user)
    record("release", user=user, site=locked.site, obj=locked, case_id=locked.pk,
           remote_address=address, detail={"forced": forced})


@transaction.atomic
def set_priority(case: Case, priority: Priority, user: User, *, address: str = "") -> None:
    """Change how urgent the case is."""
    locked = Case.objects.select_for_update().get(pk=case.pk)
    record("prioritise", user=user, site=locked.site, obj=locked, case_id=locked.pk,
           remote_address=address, detail={"from": locked.priority, "to": int(priority)})
    locked.priority = priority
    locked.save(update_fields=["priority"])
    publish(locked.site_id, "case", locked.pk)


@transaction.atomic
def note_draft_saved(case_id: int, user: User) -> None:
    """The report draft of a case under reading was saved for the first time."""
    case = Case.objects.select_for_update().get(pk=case_id)
    if case.state == CaseState.READING:
        move(case_id, "draft_saved", by=user)


@transaction.atomic
def note_signed(case_id: int, user: User) -> None:
    """The report was signed: the case is done and free."""
    case = move(case_id, "signed", by=user)
    case.signed_at = timezone.now()
    case.new_images = False
    case.alert = ""
    case.save(update_fields=["signed_at", "new_images", "alert"])
    Claim.objects.filter(case=case).delete()
    transaction.on_commit(lambda: nudge(case_id))


@transaction.atomic
def note_addended(case_id: int, user: User) -> None:
    """An addendum was signed."""
    move(case_id, "addended", by=user)
    transaction.on_commit(lambda: nudge(case_id))


def holds(case: Case, user: User) -> bool:
    """Whether the user holds the claim of the case now."""
    return Claim.objects.filter(case=case, user=user).exists()
