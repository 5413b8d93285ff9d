"""The audit browser: whose rows, which filters, and that looking is a row too."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.factories import CaseFactory, UserFactory
from workstation.accounts.models import AuditRecord, Role, User
from workstation.accounts.services import record
from workstation.worklist.models import Case

pytestmark = pytest.mark.django_db


@pytest.fixture
def case() -> Case:
    return CaseFactory()


@pytest.fixture
def lead(case: Case) -> User:
    return UserFactory(role=Role.LEAD, sites=[case.site])


@pytest.fixture
def browser(lead: User) -> Client:
    client = Client()
    client.force_login(lead)
    return client


def page(browser: Client, query: str = "") -> str:
    answer = browser.get(f"/audit/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_rows_of_own_sites_and_sign_ins_of_colleagues(case: Case, browser: Client) -> None:
    colleague = UserFactory(username="colleague", sites=[case.site])
    stranger = UserFactory(username="stranger", sites=[CaseFactory().site])
    record("sign_in", user=colleague)
    record("sign_in", user=stranger)
    record("view", user=stranger, site=stranger.sites.get())
    record("claim", user=colleague, site=case.site, obj=case, case_id=case.pk)
    text = page(browser)
    assert "colleague" in text and "claim" in text
    assert "stranger" not in text


def test_filters_are_the_query_string(case: Case, lead: User, browser: Client) -> None:
    record("claim", user=lead, site=case.site, case_id=case.pk, remote_address="10.1.1.1")
    record("sign", user=lead, site=case.site, case_id=case.pk + 1, remote_address="10.2.2.2")
    assert "10.2.2.2" not in page(browser, f"?case_id={case.pk}")
    assert "10.1.1.1" not in page(browser, "?action=sign")
    assert "10.1.1.1" in page(browser, f"?username={lead.username}&action=claim")
    assert "Nothing matches" in page(browser, "?day=1999-01-01")


def test_a_filter_that_makes_no_sense_is_told(browser: Client) -> None:
    assert "notice--warn" in page(browser, "?day=someday")


def test_looking_is_recorded(browser: Client, lead: User) -> None:
    page(browser)
    row = AuditRecord.objects.get(user=lead)
    assert (row.action, row.detail) == ("view", {"what": "audit"})


def test_readers_may_not_look(case: Case) -> None:
    client = Client()
    client.force_login(UserFactory(sites=[case.site]))
    assert client.get("/audit/").status_code == 403
