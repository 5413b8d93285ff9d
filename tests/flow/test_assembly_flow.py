"""The flow with assembly rules: late series re-open assembly, links start a new analysis."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.utils import timezone

from tests.factories import (
    InstanceFactory,
    LayerFactory,
    PatientFactory,
    SeriesFactory,
    SiteFactory,
    StudyFactory,
    UserFactory,
)
from workstation import flow
from workstation.accounts.models import Role
from workstation.analyzing.models import Run, Step, StepState
from workstation.reading.services import current_run
from workstation.receiving.models import Patient, Series, Study
from workstation.receiving.services import link_patients, merge_patients, move_study
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import claim_case

pytestmark = pytest.mark.django_db
DAY = date(2026, 9, 1)


@pytest.fixture(autouse=True)
def _no_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of these tests have no bytes to look at."""
    monkeypatch.setattr(flow, "quiet_untagged_studies", lambda now: [])


def study(patient: Patient, days: int, modality: str, text: str, role: str = "") -> Study:
    made = StudyFactory(
        patient=patient, study_date=DAY + timedelta(days=days), description=text,
        completed_at=None, last_received_at=timezone.now() - timedelta(days=1),
    )  # fmt: skip
    InstanceFactory(series=SeriesFactory(study=made, modality=modality, role=role))
    return made


def test_a_late_series_reopens_assembly_and_the_reader_is_told() -> None:
    patient = PatientFactory()
    pet = study(patient, 0, "PT", "PET whole body")
    flow.sweep()
    case = Case.objects.get()
    assert list(case.studies.all()) == [pet] and Run.objects.count() == 1
    Case.objects.filter(pk=case.pk).update(state=CaseState.READY)
    case.refresh_from_db()
    claim_case(case, UserFactory(sites=[patient.site]))
    chest = study(patient, 12, "CT", "Chest CT")
    flow.sweep()
    case.refresh_from_db()
    assert set(case.studies.all()) == {pet, chest}
    assert case.state == CaseState.READING and case.new_images
    assert Run.objects.filter(case=case).count() == 2


def test_roles_that_come_late_decide_anew_while_nobody_reads() -> None:
    patient = PatientFactory()
    first = study(patient, 0, "CT", "Head CT", "CT_NATIVE")
    flow.sweep()
    second = study(patient, 20, "CT", "Head CT", "CT_VENOUS")
    flow.sweep()
    assert Case.objects.get().studies.count() == 2
    second.series.update(role="CTA")
    flow.advance(Case.objects.get().pk)
    assert Case.objects.count() == 2
    assert first.cases.get() != second.cases.get()


def test_a_link_brings_the_other_sites_study_into_a_new_analysis() -> None:
    here, there = SiteFactory(), SiteFactory()
    one, other = PatientFactory(site=here), PatientFactory(site=there)
    study(one, 0, "PT", "PET whole body")
    study(other, 3, "CT", "Chest CT")
    flow.sweep()
    assert [run.case.site for run in Run.objects.order_by("case__site")] == [here, there]
    boss = UserFactory(role=Role.ADMINISTRATOR, sites=[here, there])
    link_patients(one, other, boss, "same person")
    flow.sweep()
    flow.sweep()
    for case in Case.objects.all():
        assert case.studies.count() == 2
        assert case.runs.count() == 2, "both sites see both studies"


def test_images_that_left_the_case_are_no_longer_shown_even_if_the_new_analysis_fails() -> None:
    patient = PatientFactory()
    study(patient, 0, "PT", "PET whole body")
    chest = study(patient, 3, "CT", "Chest CT")
    flow.sweep()
    case = Case.objects.get()
    old = Run.objects.get()
    for series in Series.objects.all():
        LayerFactory(run=old, series=series, key=series.series_instance_uid)
    Step.objects.update(state=StepState.DONE)
    assert current_run(case) == old
    other = PatientFactory(site=patient.site)
    move_study(chest, other, UserFactory(role=Role.LEAD, sites=[patient.site]), "wrong person")
    flow.follow(case.pk)
    assert current_run(case) is None
    flow.sweep()
    new = Run.objects.get(case=case, number=2)
    assert current_run(case) == new
    new.steps.update(state=StepState.FAILED)
    assert current_run(case) == new


def test_a_merge_alone_repeats_no_analysis() -> None:
    site = SiteFactory()
    source, target = PatientFactory(site=site), PatientFactory(site=site)
    study(source, 0, "CT", "Chest CT")
    flow.sweep()
    merge_patients(source, target, UserFactory(role=Role.LEAD, sites=[site]), "two IDs")
    flow.sweep()
    assert Case.objects.get().patient == target
    assert Run.objects.count() == 1
