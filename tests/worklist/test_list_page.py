"""The worklist as its users see it."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from django.test import Client
from django.urls import reverse

from tests.factories import CaseFactory, PatientFactory, SiteFactory, UserFactory
from workstation.accounts.models import AuditRecord, Role, Site
from workstation.worklist.models import Case, CaseState, Priority
from workstation.worklist.services import claim_case

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return SiteFactory()


def make(site: Site, name: str, **fields: object) -> Case:
    fields.setdefault("state", CaseState.READY)
    return CaseFactory(patient=PatientFactory(site=site, name=name), **fields)


def names(page: str) -> list[str]:
    rows = BeautifulSoup(page, "html.parser").select("tr[data-case] .strong")
    return [row.get_text(strip=True) for row in rows]


def open_list(client: Client, **query: str) -> str:
    answer = client.get(reverse("worklist:list"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_only_own_sites_and_most_urgent_first(client: Client, site: Site) -> None:
    make(site, "Routine^A", priority=Priority.ROUTINE)
    make(site, "Stat^B", priority=Priority.STAT)
    make(SiteFactory(), "Foreign^C", priority=Priority.STAT)
    client.force_login(UserFactory(sites=[site]))
    assert names(open_list(client)) == ["Stat, B", "Routine, A"]


def test_every_word_of_a_search_must_match(client: Client, site: Site) -> None:
    make(site, "Meier^Anna", title="PET/CT chest")
    make(site, "Meier^Bert", title="MR head")
    client.force_login(UserFactory(sites=[site]))
    assert names(open_list(client, q="meier chest")) == ["Meier, Anna"]
    assert names(open_list(client, q="nobody")) == []
    assert "Show all cases" in open_list(client, q="nobody")


def test_tabs_sorting_and_filters(client: Client, site: Site) -> None:
    make(site, "Ct^One", modalities="CT PT")
    make(site, "Mr^Two", modalities="MR", priority=Priority.URGENT)
    make(site, "Done^Three", state=CaseState.SIGNED)
    client.force_login(UserFactory(sites=[site]))
    assert names(open_list(client, modality="PT")) == ["Ct, One"]
    assert names(open_list(client, tab="signed")) == ["Done, Three"]
    assert names(open_list(client, tab="all", order="-patient")) == [
        "Mr, Two",
        "Done, Three",
        "Ct, One",
    ]
    assert names(open_list(client, priority=str(int(Priority.URGENT)))) == ["Mr, Two"]


def test_pages_of_fifty(client: Client, site: Site) -> None:
    for number in range(55):
        make(site, f"Many^{number:02d}")
    client.force_login(UserFactory(sites=[site]))
    first, second = open_list(client), open_list(client, page="2")
    assert len(names(first)) == 50
    assert len(names(second)) == 5
    assert "Page 2 of 2" in second


def test_list_costs_a_fixed_number_of_queries(
    client: Client, site: Site, django_assert_max_num_queries: object
) -> None:
    for number in range(20):
        make(site, f"Many^{number}")
    client.force_login(UserFactory(sites=[site]))
    with django_assert_max_num_queries(14):  # type: ignore[operator]
        open_list(client)


def test_holder_is_named_and_the_second_claim_is_refused(client: Client, site: Site) -> None:
    case = make(site, "Held^Case")
    holder = UserFactory(sites=[site])
    claim_case(case, holder)
    client.force_login(UserFactory(sites=[site]))
    page = open_list(client, tab="reading")
    assert holder.display_name in page
    answer = client.post(reverse("worklist:claim", args=[case.pk]), follow=True)
    assert f"{holder.display_name} is reading this case" in answer.content.decode()


def test_foreign_case_cannot_be_claimed_released_or_prioritised(client: Client, site: Site) -> None:
    case = make(SiteFactory(), "Foreign^Case")
    client.force_login(UserFactory(sites=[site]))
    for name in ("claim", "release", "priority"):
        assert client.post(reverse(f"worklist:{name}", args=[case.pk])).status_code == 404


def test_administrators_see_the_list_but_cannot_claim(client: Client, site: Site) -> None:
    case = make(site, "Some^Case")
    client.force_login(UserFactory(sites=[site], role=Role.ADMINISTRATOR))
    assert names(open_list(client)) == ["Some, Case"]
    assert client.post(reverse("worklist:claim", args=[case.pk])).status_code == 403


def test_listing_is_audited_once_per_case_and_session(client: Client, site: Site) -> None:
    case = make(site, "Seen^Case")
    client.force_login(UserFactory(sites=[site]))
    open_list(client)
    open_list(client)
    rows = AuditRecord.objects.filter(action="list")
    assert [row.detail for row in rows] == [{"cases": [case.pk]}]


def test_empty_archive_says_what_to_do(client: Client, site: Site) -> None:
    client.force_login(UserFactory(sites=[site]))
    assert "No case has arrived yet" in open_list(client)


def test_priority_change_is_stored_and_audited(client: Client, site: Site) -> None:
    case = make(site, "Some^Case")
    client.force_login(UserFactory(sites=[site]))
    client.post(reverse("worklist:priority", args=[case.pk]), {"priority": "1"})
    case.refresh_from_db()
    assert case.priority == Priority.STAT
    assert AuditRecord.objects.get(action="prioritise").detail == {"from": 3, "to": 1}
    bad = client.post(reverse("worklist:priority", args=[case.pk]), {"priority": "9"})
    assert bad.status_code == 422
