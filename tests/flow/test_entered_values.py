"""A value entered for SUV is an input: the analysis runs again with it, and the decisions on
alignments stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from analysis.contracts import STEPS
from tests.factories import (
    CaseFactory,
    InstanceFactory,
    PatientFactory,
    SeriesFactory,
    StudyFactory,
    UserFactory,
)
from workstation.analyzing.models import Run, Step
from workstation.analyzing.pet_inputs import enter_value, withdraw_value
from workstation.analyzing.services import latest_run
from workstation.flow import advance, waiting_cases
from workstation.reading.aligning import decide_registration
from workstation.receiving.models import Series
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import claim_case

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
