"""Run pages: what is shown, to whom, and the retry."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory
from workstation.accounts.models import Role
from workstation.analyzing.models import Run
from workstation.analyzing.services import claim_step, fail_step, start_run
from workstation.worklist.models import Case

pytestmark = pytest.mark.django_db


@pytest.fixture
def failed(run: Run) -> Run:
    step = run.steps.get(name="assemble")
    token = claim_step(step.pk, "test") or ""
    fail_step(step.pk, token, "no_usable_series", "No series can be used.", retriable=False)
    return run


def signed_in(case: Case, role: str = Role.ADMINISTRATOR) -> Client:
    client = Client()
    client.force_login(UserFactory(role=role, sites=[case.site]))
    return client


def test_the_page_shows_steps_reason_history_and_retry(failed: Run) -> None:
    page = signed_in(failed.case).get(reverse("analyzing:run", args=[failed.pk]))
    text = page.content.decode()
    assert page.status_code == 200
    for words in ("Volumes", "Draft report", "No series can be used.", "Try again", "History"):
        assert words in text
    assert failed.case.patient.display_name not in text
    assert failed.case.patient.patient_id not in text


def test_the_list_shows_every_case_once_and_filters_failures(failed: Run, case: Case) -> None:
    client = signed_in(case)
    text = client.get(reverse("analyzing:runs")).content.decode()
    assert text.count(f"Case {case.pk}") == 1 and "No series can be used." in text
    start_run(case, "new images")
    assert "No analysis has failed" in client.get(
        reverse("analyzing:runs"), {"failed": "1"}
    ).content.decode()


def test_htmx_gets_the_part_only(failed: Run) -> None:
    client = signed_in(failed.case)
    for name, key in (("analyzing:run", failed.pk), ("analyzing:case", failed.case_id)):
        text = client.get(reverse(name, args=[key]), headers={"HX-Request": "true"}).content
        assert b"<html" not in text and b"No series can be used." in text


def test_a_case_without_a_run_says_so(case: Case) -> None:
    text = signed_in(case).get(reverse("analyzing:case", args=[case.pk])).content
    assert b"Not analysed yet" in text


def test_retry_goes_on_and_a_second_one_is_refused_kindly(failed: Run) -> None:
    client = signed_in(failed.case, Role.RADIOLOGIST)
    url = reverse("analyzing:retry", args=[failed.pk])
    answer = client.post(url, follow=True)
    assert b"goes on where it stopped" in answer.content
    assert failed.steps.get(name="assemble").state == "queued"
    assert b"nothing to try again" in client.post(url, follow=True).content
    assert client.get(url).status_code == 405


def test_an_older_run_names_the_newer_one_and_offers_no_retry(failed: Run, case: Case) -> None:
    start_run(case, "new images")
    text = signed_in(case).get(reverse("analyzing:run", args=[failed.pk])).content
    assert b"A newer analysis exists" in text and b"Try again" not in text


def test_other_sites_see_nothing(failed: Run) -> None:
    client = Client()
    client.force_login(UserFactory(role=Role.ADMINISTRATOR))
    assert client.get(reverse("analyzing:run", args=[failed.pk])).status_code == 404
    assert client.get(reverse("analyzing:case", args=[failed.case_id])).status_code == 404
    assert client.post(reverse("analyzing:retry", args=[failed.pk])).status_code == 404
    assert failed.steps.get(name="assemble").state == "failed"
    assert f"Case {failed.case_id}" not in client.get(reverse("analyzing:runs")).content.decode()


def test_nobody_sees_runs_without_signing_in(failed: Run) -> None:
    answer = Client().get(reverse("analyzing:run", args=[failed.pk]))
    assert answer.status_code == 302 and "sign-in" in answer["Location"]
