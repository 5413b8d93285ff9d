"""The pages of the rules and of one case's studies."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import PatientFactory, SeriesFactory, SiteFactory, StudyFactory, UserFactory
from workstation.accounts.models import AuditRecord, Role, Site
from workstation.receiving.services import link_patients
from workstation.worklist.models import AssemblyRule, Case
from workstation.worklist.services import follow, join_study_to_case, rules_of

pytestmark = pytest.mark.django_db
VALUES = {"name": "Spine", "pathway": "", "position": 1, "anchor": "mr, ct", "companions": "CT",
          "body": "spine", "within_days": 14, "active": "on"}  # fmt: skip


def client(*sites: Site, role: Role = Role.LEAD) -> Client:
    found = Client()
    found.force_login(UserFactory(role=role, sites=list(sites)))
    return found


def two_studies(site: Site) -> Case:
    patient = PatientFactory(site=site)
    for day in (1, 15):
        study = StudyFactory(patient=patient, study_date=date(2026, 3, day), description=f"d{day}")
        SeriesFactory(study=study, modality="MR")
        case = join_study_to_case(study)
    return case


def test_the_list_shows_the_rules_of_each_of_the_leads_sites() -> None:
    own, foreign = SiteFactory(), SiteFactory()
    rules_of(foreign)
    page = client(own).get(reverse("worklist:rules")).content.decode()
    assert "Lung PET/CT" in page and own.name in page and foreign.name not in page


def test_a_rule_is_added_with_clean_terms_and_audited() -> None:
    site = SiteFactory()
    browser = client(site)
    url = reverse("worklist:rule-new", args=[site.pk])
    assert browser.get(url).status_code == 200
    assert browser.post(url, VALUES).status_code == 302
    rule = AssemblyRule.objects.get(name="Spine")
    assert (rule.site, rule.anchor, rule.active) == (site, "MR CT", True)
    assert AuditRecord.objects.get(action="assemble").detail["action"] == "rule added"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"anchor": "PET<script>"}, "is no role or modality"),
        ({"within_days": "4000"}, "At most 3650 days"),
        ({"within_days": "-1"}, "greater than or equal to 0"),
        ({"name": "Lung PET/CT"}, "a rule of this name"),
        ({"name": ""}, "This field is required"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_to_write(change: dict[str, Any], text: str) -> None:
    site = SiteFactory()
    rules_of(site)
    url = reverse("worklist:rule-new", args=[site.pk])
    answer = client(site).post(url, {**VALUES, **change})
    assert answer.status_code == 422 and text in answer.content.decode()


def test_the_preview_saves_nothing_and_names_the_cases() -> None:
    site = SiteFactory()
    case = two_studies(site)
    rule = AssemblyRule.objects.get(site=site, name="Same patient")
    values = {"name": rule.name, "pathway": "", "position": rule.position, "anchor": "",
              "companions": "", "body": "", "within_days": 7, "active": "on"}  # fmt: skip
    url = reverse("worklist:rule", args=[rule.pk])
    browser = client(site)
    page = browser.post(url, {**values, "preview": "1"}).content.decode()
    assert "1 patient would be read otherwise" in page and f"(case {case.pk})" in page
    rule.refresh_from_db()
    assert rule.within_days == 60 and case.studies.count() == 2
    same = browser.post(url, {**values, "within_days": 60, "preview": "1"}).content.decode()
    assert "No case that waits would change" in same
    browser.post(url, values)
    follow(case.pk)
    assert case.studies.count() == 1


def test_readers_do_not_change_rules_and_leads_only_their_own() -> None:
    site = SiteFactory()
    rule = rules_of(site)[0]
    url = reverse("worklist:rule", args=[rule.pk])
    assert client(site, role=Role.RADIOLOGIST).get(url).status_code == 403
    assert client(SiteFactory()).get(url).status_code == 404
    assert client(SiteFactory()).get(
        reverse("worklist:rule-new", args=[site.pk])
    ).status_code == 404


def test_a_reader_takes_a_study_out_and_puts_it_back() -> None:
    site = SiteFactory()
    case = two_studies(site)
    browser = client(site, role=Role.RADIOLOGIST)
    url = reverse("worklist:assembly", args=[case.pk])
    page = browser.get(url).content.decode()
    assert "joined by rule “Same patient”: 14 days apart" in page
    study = case.studies.get(description="d15")
    out = {"study": study.pk, "reason": "another question"}
    page = browser.post(reverse("worklist:assembly-take", args=[case.pk]), out, follow=True)
    assert "taken out by hand: another question" in page.content.decode()
    assert case.studies.count() == 1
    back = {"study": study.pk, "reason": "the same after all"}
    page = browser.post(reverse("worklist:assembly-put", args=[case.pk]), back, follow=True)
    assert "put in by hand: the same after all" in page.content.decode()
    assert case.studies.count() == 2
    again = browser.post(reverse("worklist:assembly-put", args=[case.pk]), back)
    assert again.status_code == 404, "it is in the case already"
    empty = browser.post(
        reverse("worklist:assembly-take", args=[case.pk]), {"study": study.pk}, follow=True
    )
    assert b"Say why" in empty.content


def test_a_study_of_another_site_is_offered_only_to_its_people_and_marked() -> None:
    here, there = SiteFactory(), SiteFactory()
    one, other = PatientFactory(site=here), PatientFactory(site=there)
    case = join_study_to_case(StudyFactory(patient=one, study_date=date(2026, 1, 1)))
    far = StudyFactory(patient=other, study_date=date(2020, 1, 1), description="Far away")
    join_study_to_case(far)
    near = StudyFactory(patient=other, study_date=date(2026, 1, 2), description="Near")
    join_study_to_case(near)
    boss = UserFactory(role=Role.ADMINISTRATOR, sites=[here, there])
    link_patients(one, other, boss, "same person")
    follow(case.pk)
    url = reverse("worklist:assembly", args=[case.pk])
    page = client(here, role=Role.RADIOLOGIST).get(url).content.decode()
    assert f"from {there.name}" in page and "Near" in page and "Far away" not in page
    assert "Far away" in client(here, there, role=Role.RADIOLOGIST).get(url).content.decode()
    banner = client(here, role=Role.RADIOLOGIST).get(reverse("reading:case", args=[case.pk]))
    assert f"from {there.name}" in banner.content.decode()
    # The other site's study itself stays behind the row filter.
    study_page = reverse("receiving:study", args=[near.pk])
    assert client(here, role=Role.RADIOLOGIST).get(study_page).status_code == 404
