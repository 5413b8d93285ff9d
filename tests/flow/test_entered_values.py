"""A value entered for SUV is an input: the analysis runs again with it, and the decisions on
alignments stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from analysis.contracts import STEPS
from tests.factories import (
    CaseFactory,
    InstanceFactory,
    PatientFactory,
    SeriesFactory,
    StudyFactory,
    UserFactory,
)
from workstation.accounts.models import User
from workstation.analyzing.models import Registration, Run, Step
from workstation.analyzing.pet_inputs import enter_value, pet_values, withdraw_value
from workstation.analyzing.services import latest_run
from workstation.flow import advance, waiting_cases
from workstation.reading.aligning import decide_registration
from workstation.receiving.models import Series
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import claim_case, compare_with, stop_comparing

DoStep = Callable[[Run, str], Step]
pytestmark = pytest.mark.django_db


@pytest.fixture
def case(do_step: DoStep) -> Case:
    """Analysed once: a CT and a PET."""
    patient = PatientFactory()
    study = StudyFactory(patient=patient)
    for modality in ("CT", "PT"):
        InstanceFactory(series=SeriesFactory(study=study, modality=modality))
    case = CaseFactory(patient=patient, studies=[study], state=CaseState.ANALYSING)
    finish(case, do_step)
    return Case.objects.get(pk=case.pk)


def finish(case: Case, do_step: DoStep) -> Run:
    """Let the flow start what is due, and do its steps."""
    advance(case.pk)
    run = latest_run(case)
    assert run is not None
    for name in STEPS:
        do_step(run, name)
    advance(case.pk)
    return run


def test_the_analysis_runs_again_with_the_value_and_without_it(
    case: Case, do_step: DoStep
) -> None:
    reader = UserFactory(sites=[case.site])
    claim_case(case, reader)
    pet = Series.objects.get(study__cases=case, modality="PT")
    advance(case.pk)
    assert case.runs.count() == 1
    registration = case.runs.get().registrations.exclude(state="reference").get()
    decide_registration(registration, reader, decision="accepted")
    entry = enter_value(
        case, pet, reader, quantity="weight_kg", value="70", reason="patient's file"
    )
    assert waiting_cases() == [case.pk]  # also if the message is lost
    second = finish(case, do_step)
    assert (second.number, second.reason) == (2, "a value entered for SUV")
    assert list(second.fixed_registrations) == [registration.series.series_instance_uid]
    fresh = Case.objects.get(pk=case.pk)
    assert (fresh.state, fresh.new_images) == (CaseState.READING, False)
    assert waiting_cases() == []
    advance(case.pk)
    assert case.runs.count() == 2
    withdraw_value(entry, reader)
    third = finish(case, do_step)
    assert third.number == 3
    assert third.inputs_digest == case.runs.get(number=1).inputs_digest


def test_a_value_taken_back_before_the_run_began_is_no_change(
    case: Case, do_step: DoStep
) -> None:
    reader = UserFactory(sites=[case.site])
    claim_case(case, reader)
    pet = Series.objects.get(study__cases=case, modality="PT")
    run = case.runs.get()
    given = {"quantity": "weight_kg", "value": "70", "reason": "patient's file"}
    entry = enter_value(case, pet, reader, **given)
    assert pet_values(case, run)[0].pending
    withdraw_value(entry, reader)
    assert not pet_values(case, run)[0].pending
    advance(case.pk)
    assert case.runs.count() == 1


def decided(case: Case, reader: User, **decision: object) -> Registration:
    registration = case.runs.latest("number").registrations.exclude(state="reference").get()
    decide_registration(registration, reader, decision="accepted", **decision)
    return registration


@pytest.mark.parametrize(
    ("changed", "why"), [("series", "images"), ("reference", "reference_images"), (None, "")]
)
def test_new_images_ask_again_for_what_they_change_and_for_nothing_else(
    case: Case, do_step: DoStep, changed: str | None, why: str
) -> None:
    """``changed``: which series of the registration gets another image; None: a series is new."""
    reader = UserFactory(sites=[case.site])
    claim_case(case, reader)
    registration = decided(case, reader)
    uid = registration.series.series_instance_uid
    study = case.studies.get()
    new = SeriesFactory(study=study, modality="MR") if changed is None else None
    InstanceFactory(series=new or getattr(registration, str(changed)))
    advance(case.pk)
    run = latest_run(case)
    assert run is not None and (run.number, run.reason) == (2, "new images")
    assert list(run.fixed_registrations) == ([] if why else [uid])
    assert [(row["series"], row["why"]) for row in run.not_carried] == ([(uid, why)] if why else [])
    assert fresh(case).new_images
    if not why:
        return
    # What nobody decided again is told by the run after the next too.
    for name in STEPS:
        do_step(run, name)
    advance(case.pk)
    InstanceFactory(series=SeriesFactory(study=study, modality="MR"))
    advance(case.pk)
    third = latest_run(case)
    assert third is not None and third.number == 3
    assert third.not_carried == run.not_carried


def test_a_run_from_before_its_inputs_were_kept_gives_nothing_on(
    case: Case, do_step: DoStep
) -> None:
    reader = UserFactory(sites=[case.site])
    claim_case(case, reader)
    decided(case, reader)
    case.runs.update(inputs={})
    InstanceFactory(series=SeriesFactory(study=case.studies.get(), modality="MR"))
    advance(case.pk)
    run = latest_run(case)
    assert run is not None and run.fixed_registrations == {}
    assert [row["why"] for row in run.not_carried] == ["unknown"]


def test_a_study_that_leaves_takes_no_decision_on_the_others_along(
    case: Case, do_step: DoStep
) -> None:
    # Its UID is the last: the stand-in for the science takes the first series as the reference.
    prior = StudyFactory(
        patient=case.patient, study_date=case.studies.get().study_date, completed_at=timezone.now()
    )
    InstanceFactory(series=SeriesFactory(study=prior, modality="MR", series_instance_uid="2.9"))
    reader = UserFactory(sites=[case.site])
    claim_case(case, reader)
    compare_with(case, prior, reader)
    run = finish(case, do_step)
    rows = run.registrations.exclude(state="reference").exclude(series__study=prior)
    registration = rows.get()
    decide_registration(registration, reader, decision="accepted")
    stop_comparing(case, prior, reader)
    advance(case.pk)
    last = latest_run(case)
    assert last is not None and last.number == 3
    assert list(last.fixed_registrations) == [registration.series.series_instance_uid]
    assert last.not_carried == []


def fresh(case: Case) -> Case:
    return Case.objects.get(pk=case.pk)
