"""The archive's pages: search, study, patient, and what is done from them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import (
    CaseFactory,
    InstanceFactory,
    PatientFactory,
    SeriesFactory,
    SiteFactory,
    StudyFactory,
    UserFactory,
)
from workstation.accounts.models import AuditRecord, Role, Site
from workstation.receiving.archive_search import PAGE_SIZE
from workstation.receiving.models import IdentityChange, Patient, PatientLink, Study, StudyNotice
from workstation.receiving.names import name_key
from workstation.receiving.services import link_patients, merge_patients

pytestmark = pytest.mark.django_db


def person(site: Site, name: str, patient_id: str, **values: Any) -> Patient:
    made: Patient = PatientFactory(
        site=site, name=name, name_key=name_key(name), patient_id=patient_id, **values
    )
    return made


def study(patient: Patient, **values: Any) -> Study:
    made: Study = StudyFactory(patient=patient, **values)
    InstanceFactory(series=SeriesFactory(study=made, modality=values.pop("modality", "CT")))
    return made


def client(*sites: Site, role: Role = Role.RADIOLOGIST) -> Client:
    found = Client()
    found.force_login(UserFactory(role=role, sites=list(sites)))
    return found


def found(browser: Client, **query: Any) -> set[str]:
    page = browser.get(reverse("receiving:archive"), query)
    assert page.status_code == 200
    return {one.description for one in page.context["found"].studies}


@pytest.fixture
def house() -> Site:
    site = SiteFactory()
    mueller = person(site, "Müller^Anna-Maria", "4711")
    wang = person(site, "Wang^XiaoDong=王^小东", "W-1")
    study(mueller, description="Thorax", accession_number="ACC1", study_date=date(2026, 3, 1))
    mr = StudyFactory(patient=mueller, description="Head MR", study_date=date(2026, 4, 1))
    SeriesFactory(study=mr, modality="MR")
    study(wang, description="Abdomen", study_date=None)
    study(person(SiteFactory(), "Müller^Other", "4711"), description="Foreign")
    return site


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"Thorax", "Head MR", "Abdomen"}),
        ({"patient": "muller"}, {"Thorax", "Head MR"}),
        ({"patient": "MÜLLER, anna"}, {"Thorax", "Head MR"}),
        ({"patient": "anna mull"}, {"Thorax", "Head MR"}),
        ({"patient": "ller"}, set()),
        ({"patient": "471"}, {"Thorax", "Head MR"}),
        ({"patient": "小东"}, {"Abdomen"}),
        ({"patient": "xiaod"}, {"Abdomen"}),
        ({"accession": "ACC"}, {"Thorax"}),
        ({"description": "head"}, {"Head MR"}),
        ({"modality": "MR"}, {"Head MR"}),
        ({"date_from": "2026-03-02"}, {"Head MR"}),
        ({"date_to": "2026-03-31"}, {"Thorax"}),
        ({"date_from": "2026-03-01", "date_to": "2026-03-01", "modality": "CT"}, {"Thorax"}),
        ({"conflicts": "on"}, set()),
        ({"patient": "%"}, set()),
    ],
)
def test_search(house: Site, query: dict[str, str], expected: set[str]) -> None:
    assert found(client(house), **query) == expected


def test_an_unknown_value_is_said_and_not_ignored(house: Site) -> None:
    page = client(house).get(reverse("receiving:archive"), {"date_from": "yesterday"})
    assert b"Enter a valid date" in page.content and not page.context["found"].studies
    foreign = Site.objects.exclude(pk=house.pk).get()
    page = client(house).get(reverse("receiving:archive"), {"site": foreign.pk})
    assert not page.context["found"].studies


def test_newest_first_and_sorted_by_what_the_head_says(house: Site) -> None:
    browser = client(house)
    url = reverse("receiving:archive")

    def listed(order: str) -> list[Study]:
        studies: list[Study] = browser.get(url, {"order": order}).context["found"].studies
        return studies

    by_date = [one.description for one in listed("date")]
    back = [one.description for one in listed("-date")]
    assert set(by_date) == set(back) and by_date.index("Thorax") < by_date.index("Head MR")
    assert back.index("Head MR") < back.index("Thorax")
    assert listed("patient")[-1].patient.name.startswith("Wang")


def test_pages_without_gaps() -> None:
    site = SiteFactory()
    patient = person(site, "Many^A", "1")
    for number in range(PAGE_SIZE + 3):
        StudyFactory(patient=patient, description=f"s{number}")
    browser = client(site)
    first, second = found(browser), found(browser, page="2")
    assert len(first) == PAGE_SIZE and len(second) == 3 and not first & second
    assert found(browser, page="x") == first
    assert found(browser, page="3") == set()


def test_empty_states_say_what_to_do() -> None:
    browser = client(SiteFactory())
    assert b"The archive is empty" in browser.get(reverse("receiving:archive")).content
    page = browser.get(reverse("receiving:archive"), {"patient": "nobody"})
    assert b"No study matches" in page.content


def test_the_list_and_each_study_are_audited(house: Site) -> None:
    browser = client(house)
    found(browser)
    one = Study.objects.get(description="Thorax")
    browser.get(reverse("receiving:study", args=[one.pk]))
    assert set(AuditRecord.objects.get(action="list").detail["studies"]) == set(
        Study.objects.filter(site=house).values_list("pk", flat=True)
    )
    assert AuditRecord.objects.get(action="view").object_id == str(one.pk)


def test_a_study_shows_series_conflicts_origin_and_only_the_users_cases(house: Site) -> None:
    one = Study.objects.get(description="Thorax")
    series = one.series.get()
    series.role, series.role_reason = "CT_CONTRAST", "contrast agent named"
    series.save()
    StudyNotice.objects.create(study=one, code="dates_differ", level="warn", text="Dates differ.")
    own = CaseFactory(patient=one.patient, studies=[one])
    foreign = CaseFactory(studies=[one])
    page = client(house).get(reverse("receiving:study", args=[one.pk])).content.decode()
    assert "Dates differ." in page and "contrast agent named" in page
    assert f"Case {own.pk}" in page and f"Case {foreign.pk}" not in page
    assert "1 object" in page
    assert found(client(house), conflicts="on") == {"Thorax"}


def test_the_other_sites_patient_is_named_only_to_its_people() -> None:
    here, there = SiteFactory(), SiteFactory()
    one, other = person(here, "Own^A", "1"), person(there, "Secret^Name", "2")
    boss = UserFactory(role=Role.ADMINISTRATOR, sites=[here, there])
    link_patients(one, other, boss, "same person")
    url = reverse("receiving:patient", args=[one.pk])
    assert b"Secret" not in client(here).get(url).content
    assert b"Secret" in client(here, there).get(url).content


def test_merging_asks_shows_both_and_can_be_undone(house: Site) -> None:
    source = person(house, "Müller^Anna", "TEMP", birth_date=date(1961, 2, 3))
    target = Patient.objects.get(site=house, patient_id="4711")
    browser = client(house, role=Role.LEAD)
    url = reverse("receiving:merge", args=[source.pk])
    asked = browser.get(url, {"site": house.pk, "patient_id": "4711"})
    assert b"Differs" in asked.content and b"Are these the same person" in asked.content
    refused = browser.post(url, {"target": target.pk, "reason": " "})
    assert refused.status_code == 422 and b"Say why" in refused.content
    done = browser.post(url, {"target": target.pk, "reason": "two IDs"}, follow=True)
    assert b"Merged." in done.content and b"merged into this one" in done.content
    [change] = IdentityChange.objects.all()
    back = browser.post(reverse("receiving:identity-undo", args=[change.pk]), follow=True)
    assert b"Taken back" in back.content
    source.refresh_from_db()
    assert source.merged_into is None


def test_a_target_of_another_site_does_not_exist(house: Site) -> None:
    foreign = Patient.objects.exclude(site=house).get()
    source = Patient.objects.get(site=house, patient_id="4711")
    browser = client(house, role=Role.LEAD)
    answer = browser.post(
        reverse("receiving:merge", args=[source.pk]), {"target": foreign.pk, "reason": "x"}
    )
    assert answer.status_code == 404


def test_moving_from_the_study_page(house: Site) -> None:
    one = Study.objects.get(description="Thorax")
    target = Patient.objects.get(patient_id="W-1")
    browser = client(house, role=Role.ADMINISTRATOR)
    url = reverse("receiving:move", args=[one.pk])
    assert b"No other patient" in browser.get(url, {"site": house.pk, "patient_id": "?"}).content
    page = browser.post(url, {"target": target.pk, "reason": "arm band"}, follow=True)
    assert b"The images name another patient" in page.content and b"arm band" in page.content


def test_linking_needs_two_sites_and_both_are_told_apart(house: Site) -> None:
    own = Patient.objects.get(site=house, patient_id="4711")
    other = Patient.objects.exclude(site=house).get()
    one_site = client(house, role=Role.ADMINISTRATOR)
    url = reverse("receiving:link", args=[own.pk])
    assert b"You belong to one site only" in one_site.get(url).content
    boss = client(house, other.site, role=Role.ADMINISTRATOR)
    asked = boss.get(url, {"site": other.site_id, "patient_id": "4711"})
    assert asked.context["other"] == other
    boss.post(url, {"target": other.pk, "reason": "same person"})
    assert PatientLink.objects.count() == 2
    link = PatientLink.objects.get(patient=own)
    boss.post(reverse("receiving:unlink", args=[link.pk]))
    assert not PatientLink.objects.filter(undone_at=None).exists()


def test_readers_may_look_but_not_change_who_is_who(house: Site) -> None:
    own = Patient.objects.get(site=house, patient_id="4711")
    browser = client(house)
    assert browser.get(reverse("receiving:patient", args=[own.pk])).status_code == 200
    assert browser.get(reverse("receiving:merge", args=[own.pk])).status_code == 403
    assert client(house, role=Role.LEAD).get(
        reverse("receiving:link", args=[own.pk])
    ).status_code == 403


def test_a_merged_id_finds_and_points_to_the_patient(house: Site) -> None:
    old = person(house, "Temp^A", "TEMP-9")
    target = Patient.objects.get(site=house, patient_id="4711")
    boss = UserFactory(role=Role.LEAD, sites=[house])
    merge_patients(old, target, boss, "two IDs")
    assert found(client(house), patient="TEMP-9") == {"Thorax", "Head MR"}
    page = client(house).get(reverse("receiving:patient", args=[old.pk])).content.decode()
    assert "was merged into" in page


def test_possibly_the_same_is_suggested_to_those_who_may_decide(house: Site) -> None:
    own = Patient.objects.get(site=house, patient_id="4711")
    Patient.objects.filter(pk=own.pk).update(birth_date=date(1961, 2, 3))
    person(house, own.name, "TWIN", birth_date=date(1961, 2, 3), sex=own.sex)
    url = reverse("receiving:patient", args=[own.pk])
    text = b"Possibly the same person"
    assert text in client(house, role=Role.ADMINISTRATOR).get(url).content
    assert text not in client(house).get(url).content
