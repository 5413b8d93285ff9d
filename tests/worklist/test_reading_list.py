"""The list as a reader works with it: targets, holders, reasons, saved filters, the next case."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import PASSWORD, CaseFactory, PatientFactory, SiteFactory, UserFactory
from workstation.accounts.models import Site, User
from workstation.accounts.preferences import keep_preference
from workstation.reporting.models import Report
from workstation.worklist.models import Case, CaseState, Claim, Priority
from workstation.worklist.services import claim_case, claim_next, note_activity

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return SiteFactory()


@pytest.fixture
def me(client: Client, site: Site) -> User:
    user: User = UserFactory(sites=[site])
    client.force_login(user)
    return user


def make(site: Site, name: str, **fields: Any) -> Case:
    fields.setdefault("state", CaseState.READY)
    return CaseFactory(patient=PatientFactory(site=site, name=name), **fields)


def page(client: Client, **query: Any) -> BeautifulSoup:
    answer = client.get(reverse("worklist:list"), query)
    assert answer.status_code == 200
    return BeautifulSoup(answer.content, "html.parser")


def row(found: BeautifulSoup, case: Case) -> Tag:
    tag = found.select_one(f"#case-{case.pk}")
    assert tag is not None
    return tag


def counts(found: BeautifulSoup) -> dict[str, int]:
    return {
        str(tab["id"]).removeprefix("tab-"): int(tab.select_one(".count").get_text())
        for tab in found.select("nav.tabs a")
    }


def test_the_tabs_count_and_mine_are_those_i_hold(client: Client, site: Site, me: User) -> None:
    mine, theirs = make(site, "Mine^A"), make(site, "Theirs^B")
    claim_case(mine, me)
    claim_case(theirs, UserFactory(sites=[site]))
    make(site, "Coming^C", state=CaseState.RECEIVING)
    make(site, "Done^D", state=CaseState.SIGNED)
    found = page(client, tab="mine")
    assert counts(found) == {
        "not_ready": 1, "ready": 0, "mine": 1, "reading": 2, "signed": 1, "all": 4,
    }  # fmt: skip
    assert [tag["data-case"] for tag in found.select("tr[data-case]")] == [str(mine.pk)]


@pytest.mark.parametrize(
    ("priority", "minutes", "state", "text"),
    [
        (Priority.STAT, 10, "ok", "50 min left"),
        (Priority.STAT, 50, "soon", "10 min left"),
        (Priority.STAT, 185, "over", "2 h 05 over"),
        (Priority.URGENT, 10, "ok", "3 h 50 left"),
        (Priority.ROUTINE, 60 * 24 * 4, "over", "3 d over"),
    ],
)
def test_each_priority_has_its_target(
    client: Client, site: Site, me: User, settings: Any, priority: int, minutes: int, state: str,
    text: str,
) -> None:  # fmt: skip
    settings.TARGET_MINUTES = {1: 60, 2: 240, 3: 1440}
    # Half a minute of slack for the test itself.
    slack = timedelta(seconds=30 if state != "over" else 0)
    arrived = timezone.now() - timedelta(minutes=minutes) + slack
    case = make(site, "Some^One", priority=priority)
    Case.objects.filter(pk=case.pk).update(received_at=arrived)
    due = row(page(client), case).select_one("[data-due]")
    assert due is not None
    assert (due["data-state"], due.get_text()) == (state, text)


def test_what_is_signed_or_has_no_target_is_not_counted_down(
    client: Client, site: Site, me: User, settings: Any
) -> None:
    settings.TARGET_MINUTES = {1: 60, 2: 240, 3: 0}
    make(site, "Free^One")
    make(site, "Signed^One", state=CaseState.SIGNED, priority=Priority.STAT)
    assert not page(client, tab="all").select("[data-due]")


def test_the_reason_says_who_or_what_one_waits_for(client: Client, site: Site, me: User) -> None:
    held = make(site, "Held^A")
    reader = UserFactory(sites=[site])
    claim_case(held, reader)
    Claim.objects.filter(case=held).update(claimed_at=timezone.now().replace(hour=0, minute=1))
    coming = make(site, "Coming^B", state=CaseState.RECEIVING)
    note_activity(coming.pk, "12 of 340 images received")
    working = make(site, "Working^C", state=CaseState.ANALYSING)
    note_activity(working.pk, "Registration 42%")
    found = page(client, tab="all")
    assert f"Held by {reader.display_name} since 00:01" in row(found, held).get_text()
    assert "12 of 340 images received" in row(found, coming).get_text()
    assert "Registration 42 %" in row(found, working).get_text()
    bar = row(found, working).select_one("progress")
    assert bar is not None and bar["value"] == "42"
    action = row(found, held).select_one("[data-row-action]")
    assert action is not None and "Held by" in str(action["title"])
    assert action["aria-describedby"] == f"why-{held.pk}"
    chinese = client.get(
        reverse("worklist:list"), {"tab": "all"}, headers={"Accept-Language": "zh-CN"}
    )
    assert "已接收 12 / 340 幅图像" in chinese.content.decode()


def test_columns_come_as_chosen_and_the_patient_always(
    client: Client, site: Site, me: User
) -> None:
    case = make(site, "Some^One")
    study = case.studies.get()
    keep_preference(me, "worklist.columns", ["accession", "state", "gone"])
    found = page(client)
    heads = [head.get_text(strip=True) for head in found.select("thead th")]
    assert heads == ["Patient", "Accession", "State", "Actions"]
    assert study.accession_number in row(found, case).get_text()


def test_columns_of_studies_cost_one_query_more_however_long_the_list(
    client: Client, site: Site, me: User, django_assert_max_num_queries: Any
) -> None:
    keep_preference(me, "worklist.columns", ["patient", "accession", "study_date"])
    for number in range(20):
        make(site, f"Many^{number}")
    with django_assert_max_num_queries(18):
        page(client)


FILTER = {"name": "PET first", "query": "modality=PT&order=received&evil=1", "default": True}


def test_the_default_filter_opens_the_list_and_clearing_it_stays_cleared(
    client: Client, me: User
) -> None:
    keep_preference(me, "worklist.filters", [FILTER])
    answer = client.get(reverse("worklist:list"))
    assert answer.headers["Location"] == "/?modality=PT&order=received"
    assert client.get(reverse("worklist:list"), {"tab": "ready"}).status_code == 200
    live = client.get(reverse("worklist:list"), headers={"HX-Request": "true"})
    assert live.status_code == 200


def test_the_next_case_is_the_top_of_my_own_list(client: Client, site: Site, me: User) -> None:
    make(site, "Stat^MR", modalities="MR", priority=Priority.STAT)
    old = make(site, "Old^PET", modalities="CT PT")
    make(site, "Urgent^PET", modalities="CT PT", priority=Priority.URGENT)
    Case.objects.filter(pk=old.pk).update(received_at=timezone.now() - timedelta(days=2))
    page(client, modality="PT", order="received")
    answer = client.post(reverse("worklist:next"))
    assert answer.headers["Location"] == reverse("reading:case", args=[old.pk])
    assert Claim.objects.get(case=old).user == me


def test_when_the_filter_has_no_more_it_says_so_and_takes_nothing_else(
    client: Client, site: Site, me: User
) -> None:
    make(site, "Stat^MR", modalities="MR", priority=Priority.STAT)
    page(client, modality="PT")
    answer = client.post(reverse("worklist:next"), follow=True)
    assert "No case of your filter is waiting" in answer.content.decode()
    assert not Claim.objects.exists()


def test_a_case_that_another_reader_takes_first_is_passed_over(site: Site, me: User) -> None:
    first, second = make(site, "A^A", priority=Priority.STAT), make(site, "B^B")
    claim_case(first, UserFactory(sites=[site]))
    Case.objects.filter(pk=first.pk).update(state=CaseState.READY)
    assert claim_next(me) == second
    assert claim_next(me) is None


def test_signing_goes_on_to_the_next_case(client: Client, site: Site, me: User) -> None:
    now, following = make(site, "Now^A"), make(site, "Then^B")
    claim_case(now, me)
    Report.objects.create(case=now).sentences.create(
        section="impression", position=0, text="Normal.", origin="reader"
    )
    url = reverse("reporting:sign", args=[now.pk])
    dialog = BeautifulSoup(client.get(url).content, "html.parser")
    assert dialog.select_one("#confirm-sign-next") is not None
    given = {
        "seen": dialog.select_one("[name=seen]")["value"],
        "meaning": dialog.select_one("[name=meaning] option").get_text(),
        "password": PASSWORD,
        "then": "next",
    }
    refused = client.post(url, {**given, "password": "wrong"})
    assert refused.status_code == 422
    assert not Claim.objects.filter(case=following).exists()
    answer = client.post(url, given)
    assert answer.headers["HX-Redirect"] == reverse("reading:case", args=[following.pk])
    now.refresh_from_db()
    assert now.state == CaseState.SIGNED
    assert Claim.objects.get(user=me).case == following


def test_a_list_that_refreshes_itself_does_not_become_the_list_of_the_next_case(
    client: Client, site: Site, me: User
) -> None:
    """Another window of the same person may show another filter."""
    page(client, modality="PT")
    client.get(
        reverse("worklist:list"), {"modality": "CT"},
        headers={"HX-Request": "true", "HX-Trigger": "worklist-live"},
    )  # fmt: skip
    assert client.session["worklist"] == "modality=PT"
    client.get(reverse("worklist:list"), {"modality": "CT"}, headers={"HX-Request": "true"})
    assert client.session["worklist"] == "modality=CT"
