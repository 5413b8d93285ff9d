"""Cases made from studies: by rule, by hand, and again when patients change.

Every change of membership goes through ``membership.py``, which keeps the reason.
A case that nobody reads follows the rules by itself; a case that is being read follows only a
change of *whose* images it holds, and its reader is told.
"""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.broker import nudge
from workstation.receiving.models import Patient, PatientLink, Study
from workstation.receiving.services import came_by_rule, linked_to, resolve
from workstation.worklist.assembly import Decision, belongs_together
from workstation.worklist.models import (
    AssemblyRule,
    Case,
    CaseState,
    Placement,
    PlacementKind,
)
from workstation.worklist.services.cases import OPEN_STATES
from workstation.worklist.services.membership import (
    CannotPlace,
    add_study,
    audit,
    compared_studies,
    is_unread,
    lock_open,
    remove_study,
    say,
    write_placement,
)
from workstation.worklist.services.rules import as_rule, facts_of, rules_of
from workstation.worklist.states import move

K = PlacementKind


@transaction.atomic
def join_study_to_case(study: Study) -> Case:
    """The case of a study at its own site: the one it has, an open one by rule, or a new one.

    Idempotent. A signed case is never reopened: later studies make a new case.
    """
    return home_of(study) or _place(study)


def home_of(study: Study) -> Case | None:
    """The case in which the study is read at its own site, if it has one."""
    cases = study.cases.filter(site=study.site_id).exclude(state=CaseState.CLOSED)
    # A case that only compares with the study is not where it is read.
    compared = Placement.objects.filter(study=study, kind=K.COMPARED).values("case")
    cases = cases.exclude(pk__in=compared)
    for case in cases.select_related("patient__merged_into").order_by("pk"):
        # A case signed under another patient is a document; the study is read anew.
        if case.state in OPEN_STATES or resolve(case.patient).pk == study.patient_id:
            return case
    return None


def studies_without_case() -> QuerySet[Study]:
    """Studies that no list shows yet; also one that still arrives, and is listed as such."""
    patient = OuterRef("patient")
    home = Case.objects.filter(
        Q(state__in=OPEN_STATES) | Q(patient=patient) | Q(patient__merged_into=patient),
        studies=OuterRef("pk"), site=OuterRef("site"),
    ).exclude(state=CaseState.CLOSED)  # fmt: skip
    return Study.objects.filter(~Exists(home), ~came_by_rule(), deleted_at=None).order_by("pk")


@transaction.atomic
def join_prior_to_case(study: Study) -> Case | None:
    """A study that a rule has fetched joins an open case if the rules say so; it opens none."""
    found = home_of(study)
    best = None if found else _best(study, rules_of(study.site))
    if best is None:
        return found
    reason = f"fetched; joined by {best[0].reason}"
    add_study(best[1], study, K.JOINED, reason, rule=best[0].rule.key)
    return best[1]


@transaction.atomic
def reassemble(study: Study) -> Case | None:
    """More is known of a study than when it joined: ask the rules again.

    A case that is being read, or that somebody arranged by hand, stays as it is.
    """
    case = home_of(study)
    if case is None:
        return _place(study)
    by_hand = case.placements.filter(kind__in=[K.PUT_IN, K.COMPARED])
    if not is_unread(case) or by_hand.exists():
        return case
    rules = rules_of(case.site)
    others = [s for s in studies_of(case) if s.pk != study.pk and s.site_id == case.site_id]
    here = _decide(rules, others, study)
    if here is not None and here.joins:
        _keep(case, study, here)
        return case
    better = _best(study, rules, leaving=case)
    if not others and better is None:
        return case
    remove_study(case, study, K.LEFT, here.reason if here else "alone in its case")
    if Study.objects.filter(came_by_rule(), pk=study.pk).exists():
        return join_prior_to_case(study)
    return _place(study)


@transaction.atomic
def follow(case_id: int) -> None:
    """Bring a case in line with who its patient is today: merges, moves, links, rules.

    Does nothing, cheaply, when nothing changed.
    """
    case = Case.objects.select_for_update().filter(pk=case_id).first()
    if case is None or case.state == CaseState.CLOSED:
        return
    if case.state in OPEN_STATES:
        _follow_compared(case)
    own = list(
        case.studies.filter(site=case.site_id)
        .exclude(pk__in=compared_studies(case))
        .select_related("patient")
    )
    if case.state not in OPEN_STATES:
        for study in own:
            join_study_to_case(study)
        return
    strangers = [study for study in own if study.patient_id != case.patient_id]
    if strangers:
        _follow_patient(case, own, strangers)
        case.refresh_from_db()
    if case.state in OPEN_STATES:
        _follow_links(case)
    if is_unread(case):
        gone = {stranger.pk for stranger in strangers}
        joined = set(case.placements.filter(rule__isnull=False).values_list("study", flat=True))
        # Who joined last leaves first: the case stays with the study that opened it.
        for study in sorted(own, key=lambda one: (one.pk not in joined, -one.pk)):
            if study.pk not in gone:
                reassemble(study)


def cases_to_follow() -> QuerySet[Case]:
    """Cases whose studies are somebody else's by now, or that a link concerns."""
    own = Study.objects.filter(cases=OuterRef("pk"), site=OuterRef("site"))
    is_open = Q(state__in=OPEN_STATES)
    moved = Exists(own.exclude(patient=OuterRef("patient")))
    link = Exists(PatientLink.objects.filter(patient=OuterRef("patient"), undone_at=None))
    foreign = Exists(Study.objects.filter(cases=OuterRef("pk")).exclude(site=OuterRef("site")))
    return Case.objects.filter(is_open & (moved | link | foreign)).order_by("pk")


@transaction.atomic
def put_in(case: Case, study: Study, user: User, reason: str, *, address: str = "") -> None:
    """Read the study with this case, whatever the rules say. Raises :class:`CannotPlace`."""
    locked = lock_open(case)
    reason = _reason(reason)
    if locked.studies.filter(pk=study.pk).exists():
        raise CannotPlace(gettext("The study is in this case already."))
    people = {locked.patient_id, *(other.pk for other in linked_to(locked.patient))}
    if study.patient_id not in people:
        raise CannotPlace(
            gettext("The study is of another patient. Only one person is read in a case.")
        )
    home = home_of(study) if study.site_id == locked.site_id else None
    if home is not None:
        if not is_unread(home):
            raise CannotPlace(
                gettext("The study is in case {pk}, which was read or is being read.").format(
                    pk=home.pk
                )
            )
        remove_study(home, study, K.LEFT, "put into another case by hand")
    add_study(locked, study, K.PUT_IN, f"put in by hand: {reason}", by=user)
    audit(locked, study, user, "put in", address)


@transaction.atomic
def take_out(case: Case, study: Study, user: User, reason: str, *, address: str = "") -> None:
    """Read the study apart from this case; it gets its own. Raises :class:`CannotPlace`."""
    locked = lock_open(case)
    reason = _reason(reason)
    own = locked.studies.filter(site=locked.site_id).exclude(pk__in=compared_studies(locked))
    if not own.exclude(pk=study.pk).exists():
        raise CannotPlace(gettext("This is the only study of the case."))
    was_compared = compared_studies(locked).filter(study=study).exists()
    remove_study(locked, study, K.TAKEN_OUT, f"taken out by hand: {reason}", by=user)
    audit(locked, study, user, "taken out", address)
    if study.site_id == locked.site_id and not was_compared:
        _place(study)


def placements_of(case: Case) -> dict[int, Placement]:
    """Study -> why it is in the case or out of it."""
    return {row.study_id: row for row in case.placements.select_related("by", "rule")}


def candidates_for(case: Case) -> QuerySet[Study]:
    """Studies that could be put into the case by hand: of this person, not in it yet."""
    people = [case.patient_id, *(other.pk for other in linked_to(case.patient))]
    return (
        Study.objects.filter(patient__in=people, deleted_at=None)
        .exclude(cases=case)
        .select_related("site", "patient")
        .order_by("-study_date", "-pk")
    )


def _place(study: Study) -> Case:
    """Into the open case that fits best, else into a case of its own."""
    best = _best(study, rules_of(study.site))
    if best is None:
        case = _reopened(study) or Case.objects.create(
            site=study.site, patient=study.patient, received_at=study.received_at
        )
        add_study(case, study, K.JOINED, "the first study of its case")
    else:
        case = best[1]
        add_study(case, study, K.JOINED, f"joined by {best[0].reason}", rule=best[0].rule.key)
    _tell_linked(study.patient)
    return case


def _best(
    study: Study, rules: list[AssemblyRule], leaving: Case | None = None
) -> tuple[Decision, Case] | None:
    """The open case of the patient that the rules prefer, the newest of equals."""
    cases = Case.objects.select_for_update().filter(
        site=study.site_id, patient=study.patient_id, state__in=OPEN_STATES
    )
    refused = Placement.objects.filter(study=study, kind=K.TAKEN_OUT).values("case")
    cases = cases.exclude(pk__in=refused)
    if leaving is not None:
        # What was taken out of a case by hand must not draw the rest of that case after it.
        apart = Placement.objects.filter(case=leaving, kind=K.TAKEN_OUT).values("study")
        cases = cases.exclude(pk=leaving.pk).exclude(studies__in=apart)
    best: tuple[Decision, Case] | None = None
    for case in cases.order_by("-pk"):
        own = [s for s in studies_of(case) if s.site_id == case.site_id and s.pk != study.pk]
        decision = _decide(rules, own, study)
        if decision is None or not decision.joins:
            continue
        if best is None or decision.rank < best[0].rank:
            best = decision, case
    return best


def _decide(rules: list[AssemblyRule], others: list[Study], study: Study) -> Decision | None:
    facts = facts_of([*others, study])
    return belongs_together(
        [as_rule(row) for row in rules], [facts[other.pk] for other in others], facts[study.pk]
    )


def studies_of(case: Case) -> list[Study]:
    """Those that the case is about; what it only compares with draws no other study after it."""
    rows = case.studies.exclude(pk__in=compared_studies(case))
    return list(rows.order_by("pk").prefetch_related("series"))


def _follow_compared(case: Case) -> None:
    """A study for comparison that turned out to be another patient's leaves at once."""
    people = {case.patient_id, *(other.pk for other in linked_to(case.patient))}
    for study in case.studies.filter(pk__in=compared_studies(case)).exclude(patient__in=people):
        # After a merge case and study change hands together; the rest of this sweep sees to it.
        if resolve(study.patient).pk in people or study.patient_id == resolve(case.patient).pk:
            continue
        remove_study(case, study, K.LEFT, "moved to another patient")
        say(case, "An earlier study turned out to be another patient's and was taken out.")


def _follow_patient(case: Case, own: list[Study], strangers: list[Study]) -> None:
    """Some or all images of an open case are another patient's now."""
    people = {study.patient_id for study in own}
    if len(strangers) == len(own) and len(people) == 1:
        case.patient = strangers[0].patient
        case.save(update_fields=["patient"])
        say(case, "The patient of this case was corrected. Read the banner again.")
        for study in strangers:
            reassemble(study)
        return
    for study in strangers:
        remove_study(case, study, K.LEFT, "moved to another patient")
        when = f" of {study.study_date:%Y-%m-%d}" if study.study_date else ""
        say(case, f"The study{when} turned out to be another patient's and was taken out.")
        _place(study)


def _follow_links(case: Case) -> None:
    """Studies of linked patients within a rule's days are read along; each stays at its site."""
    linked = linked_to(case.patient)
    there = list(case.studies.exclude(site=case.site_id))
    if not linked and not there:
        return
    rules = rules_of(case.site)
    own = [study for study in studies_of(case) if study.site_id == case.site_id]
    people = {other.pk for other in linked}
    placed = placements_of(case)
    for study in there:
        if study.patient_id not in people:
            remove_study(case, study, K.LEFT, "its patient is no longer linked to this one")
            say(case, "A study of another site was taken out: its patient is not this person.")
            continue
        decision = _decide(rules, own, study)
        by_hand = study.pk in placed and placed[study.pk].kind in (K.PUT_IN, K.COMPARED)
        if not by_hand and is_unread(case) and not (decision and decision.joins):
            remove_study(case, study, K.LEFT, decision.reason if decision else "no rule is for it")
    known = set(case.studies.values_list("study_instance_uid", flat=True))
    more = Study.objects.filter(patient__in=people, deleted_at=None).exclude(site=case.site_id)
    for study in more.exclude(pk__in=[s.pk for s in there]).prefetch_related("series"):
        out = study.pk in placed and placed[study.pk].kind == K.TAKEN_OUT
        # The same study at both sites is read once.
        if out or study.study_instance_uid in known:
            continue
        decision = _decide(rules, own, study)
        if decision is not None and decision.joins:
            text = f"joined by {decision.reason}; of a linked patient at another site"
            add_study(case, study, K.JOINED, text, rule=decision.rule.key)
            known.add(study.study_instance_uid)


def _reopened(study: Study) -> Case | None:
    """A case that this study left empty, e.g. when a merge is taken back."""
    case = (
        Case.objects.select_for_update()
        .filter(
            site=study.site_id, state=CaseState.CLOSED, placements__study=study,
            placements__kind=K.LEFT,
        ).order_by("-pk").first()
    )  # fmt: skip
    if case is None:
        return None
    move(case.pk, "reopened")
    case.refresh_from_db()
    case.patient = study.patient
    case.save(update_fields=["patient"])
    return case


def _keep(case: Case, study: Study, decision: Decision) -> None:
    """The study stays; the reason may have become another one. A first study keeps its own."""
    row = case.placements.filter(study=study, kind=K.JOINED, rule__isnull=False).first()
    reason = f"joined by {decision.reason}"
    if row is not None and row.reason != reason:
        write_placement(case, study, K.JOINED, reason, decision.rule.key, None)


def _reason(reason: str) -> str:
    if not reason.strip():
        raise CannotPlace(gettext("Say why; the reason stays with the case."))
    return reason.strip()[:200]


def _tell_linked(patient: Patient) -> None:
    """Cases of the same person at other sites may read this study along."""
    for other in linked_to(patient):
        cases = Case.objects.filter(patient=other, state__in=OPEN_STATES)
        for case_id in cases.values_list("pk", flat=True):
            transaction.on_commit(partial(nudge, case_id))
