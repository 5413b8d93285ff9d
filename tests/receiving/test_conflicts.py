"""Contradictions are shown with the study and taken away when they are no longer true."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import SiteFactory, UserFactory
from tests.receiving.objects import ct, uid
from tests.receiving.sweeping import complete_quiet_studies
from workstation.accounts.models import Role, Site
from workstation.receiving.models import Patient, Study
from workstation.receiving.outcomes import Result
from workstation.receiving.services import (
    merge_patients,
    notices_for,
    store_instance,
    undo_change,
    with_conflicts,
)

pytestmark = pytest.mark.django_db


def send(site: Site, number: int, study: str, **values: object) -> Result:
    values = {"SeriesInstanceUID": uid("series", study)} | values
    data = ct(number, StudyInstanceUID=uid(study), **values)
    return store_instance(site, [data], source="test").result


def complete() -> None:
    complete_quiet_studies(timezone.now() + timedelta(days=1))


def codes(study: str, site: Site) -> list[str]:
    found = Study.objects.get(study_instance_uid=uid(study), site=site)
    return [notice.code for notice in notices_for(found)]


def test_an_accession_number_of_two_patients_is_shown_with_both_until_it_is_one() -> None:
    site = SiteFactory()
    send(site, 1, "one", PatientID="A", AccessionNumber="ACC1")
    send(site, 2, "two", PatientID="B", AccessionNumber="ACC1")
    send(site, 3, "three", PatientID="B", AccessionNumber="ACC2")
    complete()
    assert codes("one", site) == codes("two", site) == ["accession_shared"]
    assert codes("three", site) == []
    assert with_conflicts(Study.objects.all()).count() == 2
    boss = UserFactory(role=Role.ADMINISTRATOR, sites=[site])
    source, target = Patient.objects.get(patient_id="A"), Patient.objects.get(patient_id="B")
    change = merge_patients(source, target, boss, "same person")
    assert codes("one", site) == codes("two", site) == []
    undo_change(change, boss)
    assert codes("one", site) == codes("two", site) == ["accession_shared"]


def test_accession_numbers_mean_something_only_at_their_own_site() -> None:
    for number, site in enumerate((SiteFactory(), SiteFactory())):
        send(site, number, f"s{number}", PatientID=f"P{number}", AccessionNumber="ACC1")
    complete()
    assert not with_conflicts(Study.objects.all()).exists()


def test_a_study_uid_of_another_person_at_another_site_is_shown_without_naming_them() -> None:
    here, there, third = SiteFactory(), SiteFactory(), SiteFactory()
    send(here, 1, "one", PatientID="A", PatientName="Alpha^A")
    send(there, 1, "one", PatientID="B", PatientName="Omega^B")
    send(third, 1, "one", PatientID="C", PatientName="Alpha^A")
    complete()
    assert codes("one", here) == codes("one", there) == codes("one", third) == ["uid_elsewhere"]
    study = Study.objects.get(site=here)
    assert "Omega" not in notices_for(study)[0].text


def test_a_copy_of_one_persons_study_at_two_sites_is_no_conflict() -> None:
    for site in (SiteFactory(), SiteFactory()):
        send(site, 1, "one", PatientID="A")
    complete()
    assert not with_conflicts(Study.objects.all()).exists()


@pytest.mark.parametrize(
    ("dates", "shown"),
    [
        ({"AcquisitionDate": "20260105"}, False),
        ({"AcquisitionDate": "20260106"}, False),
        ({"AcquisitionDate": "20260107"}, True),
        ({"AcquisitionDate": "20250105"}, True),
        ({"SeriesDate": "20250105"}, True),
        ({"AcquisitionDate": "20260105", "SeriesDate": "20250105"}, False),
        ({"AcquisitionDateTime": "20250105101112.5"}, True),
        ({}, False),
        ({"AcquisitionDate": "20250105", "StudyDate": None}, False),
    ],
)
def test_acquisition_dates_far_from_the_study_date_are_shown(
    dates: dict[str, str | None], shown: bool
) -> None:
    site = SiteFactory()
    send(site, 1, "one", **dates)
    send(site, 2, "one", **dates)
    assert codes("one", site) == (["dates_differ"] if shown else [])


def test_refused_objects_are_shown_with_the_study_whose_uid_they_use() -> None:
    site = SiteFactory()
    assert send(site, 1, "one", PatientID="A") is Result.STORED
    assert send(site, 2, "one", PatientID="B") is Result.QUARANTINED
    assert codes("one", site) == ["objects_refused"]
    assert send(site, 1, "one", PatientID="A", WindowCenter="40") is Result.QUARANTINED
    assert send(site, 3, "two", PatientID="A", SeriesInstanceUID=uid("series", "one")) is (
        Result.QUARANTINED
    )
    assert codes("one", site) == ["objects_refused"] * 3
    assert not Study.objects.filter(study_instance_uid=uid("two")).exists()
