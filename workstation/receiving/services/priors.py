"""Earlier and missing studies by rule: asked for when a study is complete, fetched if they fit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from django.db import transaction
from django.utils import timezone

from workstation.receiving.models import (
    Inquiry,
    InquiryPurpose,
    NoticeLevel,
    PriorRule,
    Retrieval,
    Series,
    Study,
    StudyNotice,
)
from workstation.receiving.prior_choice import Choice, Current, Wish
from workstation.receiving.regions import regions_of
from workstation.receiving.services.inquiring import ask, finish_inquiry
from workstation.receiving.services.retrieving import (
    OPEN,
    Wanted,
    came_by_rule,
    request_retrieval,
)

DAYS_A_YEAR = 365.25


def request_priors(study: Study) -> list[Inquiry]:
    """Ask the nodes of every rule that fits, once for each study and rule. Idempotent.

    A study that a rule has fetched starts nothing, so a chain of fetching has one link.
    """
    if study.deidentified or Study.objects.filter(came_by_rule(), pk=study.pk).exists():
        return []
    rules = PriorRule.objects.filter(
        site_id=study.site_id, active=True, node__active=True, node__may_be_queried=True
    ).select_related("node")
    modalities = set(study.series.values_list("modality", flat=True))
    return [
        ask(study, rule.node, InquiryPurpose.PRIORS, rule)
        for rule in rules
        if not rule.when_modalities or modalities & set(words_of(rule.when_modalities))
    ]


def words_of(modalities: str) -> list[str]:
    """``PT, CT`` → ``["PT", "CT"]``."""
    return modalities.upper().replace(",", " ").replace("\\", " ").split()


def current_of(study: Study, found: Iterable[str]) -> Current:
    """What the choice has to know of the study that arrived, and which of the found study UIDs
    are here already."""
    # The node knows the patient by what its headers say, also after a merge here.
    patient = study.received_as or study.patient
    series = list(study.series.all())
    uids = list(found)
    known = Study.objects.filter(site_id=study.site_id).exclude(pk=study.pk)
    coming = Retrieval.objects.filter(site_id=study.site_id).exclude(because_of=study)
    return Current(
        study_instance_uid=study.study_instance_uid,
        study_date=study.study_date or timezone.localdate(),
        patient_id=patient.patient_id,
        issuer=patient.issuer,
        name=patient.name,
        birth_date=patient.birth_date,
        regions=regions_of(
            [one.body_part for one in series],
            [study.description, *(one.description for one in series)],
        ),
        series_here=frozenset(
            Series.objects.filter(study=study).values_list("series_instance_uid", flat=True)
        ),
        studies_here=frozenset(
            [
                *known.filter(study_instance_uid__in=uids).values_list(
                    "study_instance_uid", flat=True
                ),
                *coming.filter(study_instance_uid__in=uids, state__in=OPEN).values_list(
                    "study_instance_uid", flat=True
                ),
            ]
        ),
    )


def wish_of(rule: PriorRule, study_date: date) -> Wish:
    """The rule for a study of this date."""
    return Wish(
        modalities=frozenset(words_of(rule.fetch_modalities)),
        same_body_part=rule.same_body_part,
        since=study_date - timedelta(days=round(rule.years * DAYS_A_YEAR)),
        at_most=rule.at_most,
    )


@transaction.atomic
def fetch_priors(inquiry: Inquiry, choice: Choice) -> list[Retrieval]:
    """Ask for what was chosen, tell the reader of contradictions, and close the question."""
    rows = [
        request_retrieval(
            inquiry.node,
            Wanted(
                study_instance_uid=pick.study.study_instance_uid,
                series_instance_uids=pick.series,
                description=pick.study.description,
                study_date=pick.study.study_date,
                modalities=" ".join(pick.study.modalities),
                instances=None if pick.series else pick.study.instances,
            ),
            rule=inquiry.rule,
            because_of=inquiry.study,
        )
        for pick in choice.picks
    ]
    for text in dict.fromkeys(choice.contradictions):
        StudyNotice.objects.get_or_create(
            study=inquiry.study, code="prior_of_another", text=text[:400],
            defaults={"level": NoticeLevel.WARN},
        )  # fmt: skip
    told = [f"{len(rows)} to fetch."]
    if choice.contradictions:
        told.append(f"{len(choice.contradictions)} left out: another name or birth date.")
    finish_inquiry(inquiry, " ".join([*told, *dict.fromkeys(choice.unknown)]))
    return rows
