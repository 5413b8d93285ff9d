"""The pages for nodes, queries, retrievals and rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.test import Client
from django.utils import timezone
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from tests.factories import RemoteNodeFactory, SiteFactory, UserFactory
from tests.receiving.objects import ct, uid
from tests.receiving.pacs import Orthanc, orthanc, work
from workstation.accounts.models import AuditRecord, Role, Site, User
from workstation.receiving.models import (
    Instance,
    PriorRule,
    RemoteNode,
    Retrieval,
    UnknownCaller,
)
from workstation.receiving.services import nodes
from workstation.receiving.services.nodes import note_seen, note_unknown_caller

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site() -> Site:
    return SiteFactory(name="North")


def person(site: Site, role: Role) -> tuple[User, Client]:
    user = UserFactory(role=role, sites=[site])
    client = Client()
    client.force_login(user)
    return user, client


def page(answer: Any) -> BeautifulSoup:
    return BeautifulSoup(answer.content, "html.parser")


@pytest.fixture
def administrator(site: Site) -> Client:
    return person(site, Role.ADMINISTRATOR)[1]


NODE = {"name": "PACS", "ae_title": "PACS", "host": "pacs.example", "port": "104",
        "retrieve_by": "get", "active": "on", "may_send": "on"}  # fmt: skip


def test_add_a_node_and_switch_it_off(site: Site, administrator: Client) -> None:
    empty = administrator.get("/receiving/nodes/")
    assert b"No node yet" in empty.content and b"Nobody was refused" in empty.content
    answer = administrator.post("/receiving/nodes/new/", {**NODE, "site": site.pk})
    assert answer.status_code == 302
    node = RemoteNode.objects.get()
    assert (node.site, node.ae_title, node.port) == (site, "PACS", 104)
    administrator.post(f"/receiving/nodes/{node.pk}/switch/")
    node.refresh_from_db()
    assert not node.active
    assert AuditRecord.objects.filter(action="manage", object_id=str(node.pk)).count() == 2


def test_a_title_of_another_site_is_refused_without_naming_it(
    site: Site, administrator: Client
) -> None:
    RemoteNodeFactory(ae_title="PACS", site__name="Secret clinic")
    answer = administrator.post("/receiving/nodes/new/", {**NODE, "site": site.pk})
    assert answer.status_code == 422
    text = page(answer).get_text()
    assert "sends under this AE title" in text and "Secret" not in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"may_be_queried": "on", "host": ""}, "host and port are needed"),
        ({"ae_title": "a\\b"}, "no backslash"),
        ({"port": "70000"}, "65535"),
        ({"only_from_host": "on", "host": ""}, "Enter the address"),
    ],
)
def test_a_node_that_cannot_work_is_not_saved(
    site: Site, administrator: Client, change: dict[str, str], said: str
) -> None:
    answer = administrator.post("/receiving/nodes/new/", {**NODE, "site": site.pk, **change})
    assert answer.status_code == 422 and said in page(answer).get_text()
    assert not RemoteNode.objects.exists()


def test_the_echo_button_says_what_happened(site: Site, administrator: Client) -> None:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    node = RemoteNodeFactory(
        site=site, ae_title="PACS", host="127.0.0.1", port=server.server_address[1]
    )
    url = f"/receiving/nodes/{node.pk}/echo/"
    answer = administrator.post(url, follow=True)
    assert "answers." in page(answer).get_text()
    server.shutdown()
    administrator.post(url)
    node.refresh_from_db()
    assert node.last_echo_error == "The node cannot be reached; check host, port and firewall."
    assert node.last_echo_at is not None
    RemoteNode.objects.update(host="no such host")
    administrator.post(url)
    node.refresh_from_db()
    assert node.last_echo_error == "The host name of the node is not known to this server."


def test_a_refused_caller_becomes_a_node_by_one_click(site: Site, administrator: Client) -> None:
    for _ in range(2):
        note_unknown_caller("NEWSCAN", "10.0.0.7", "unknown AE title")
    caller = UnknownCaller.objects.get()
    assert caller.count == 2
    assert "NEWSCAN" in page(administrator.get("/receiving/nodes/")).get_text()
    answer = administrator.post("/receiving/nodes/caller/", {"caller": caller.pk, "site": site.pk})
    node = RemoteNode.objects.get()
    assert answer["Location"] == f"/receiving/nodes/{node.pk}/"
    assert (node.site, node.ae_title, node.host, node.may_send) == (
        site, "NEWSCAN", "10.0.0.7", True,
    )  # fmt: skip
    assert not UnknownCaller.objects.exists()
    other = SiteFactory()
    note_unknown_caller("THIRD", "10.0.0.8", "unknown AE title")
    key = UnknownCaller.objects.get().pk
    foreign = administrator.post("/receiving/nodes/caller/", {"caller": key, "site": other.pk})
    assert foreign.status_code == 404
    administrator.post("/receiving/nodes/caller/", {"caller": key, "forget": "1"})
    assert not UnknownCaller.objects.exists()


def test_who_tries_every_title_does_not_fill_the_table(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "MOST_CALLERS", 3)
    for number in range(5):
        note_unknown_caller(f"GUESS{number}", "10.0.0.9", "AE title not known")
    titles = UnknownCaller.objects.values_list("ae_title", flat=True)
    assert sorted(titles) == ["GUESS2", "GUESS3", "GUESS4"]


def test_when_a_node_was_seen_is_not_written_for_every_association(site: Site) -> None:
    node = RemoteNodeFactory(site=site)
    now = timezone.now()
    note_seen(node.pk, now)
    note_seen(node.pk, now + timedelta(seconds=5))
    node.refresh_from_db()
    assert node.last_seen_at == now


def test_a_reader_sees_nodes_but_no_callers(site: Site) -> None:
    RemoteNodeFactory(site=site, name="Our scanner")
    RemoteNodeFactory(name="Theirs")
    note_unknown_caller("NEWSCAN", "10.0.0.7", "unknown AE title")
    text = page(person(site, Role.RADIOLOGIST)[1].get("/receiving/nodes/")).get_text()
    assert "Our scanner" in text
    assert "Theirs" not in text and "NEWSCAN" not in text


# --- search and fetch ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        running.put(*(ct(number) for number in (1, 2, 3)))
        yield running


@pytest.fixture
def node(site: Site, archive: Orthanc) -> RemoteNode:
    return RemoteNodeFactory(
        site=site, name="PACS", ae_title="ORTHANC", host="127.0.0.1", port=archive.dicom,
        may_be_queried=True,
    )  # fmt: skip


@pytest.mark.peer
def test_search_mark_fetch_and_see_it_here(site: Site, node: RemoteNode) -> None:
    user, client = person(site, Role.RADIOLOGIST)
    answer = client.post("/receiving/query/", {"node": node.pk, "patient_name": "synthetic"})
    found = page(answer)
    assert "SYNTHETIC^Phantomine" in found.get_text()
    [box] = found.select("input[name=pick]")
    record = AuditRecord.objects.get(action="query")
    assert (record.user, record.detail) == (user, {"keys": ["patient_name"], "found": 1})
    answer = client.post("/receiving/query/fetch/", {"pick": box["value"]}, follow=True)
    assert "1 study is being fetched" in page(answer).get_text()
    work()
    row = Retrieval.objects.get()
    assert (row.asked_by, row.state, row.study_instance_uid) == (user, "done", uid("study"))
    assert Instance.objects.count() == 3
    listed = page(client.get("/receiving/retrievals/"))
    assert "3 of 3" in listed.get_text()
    again = page(client.post("/receiving/query/", {"node": node.pk, "patient_id": "PHANTOMINE-7"}))
    assert "3 images" in again.get_text()
    assert AuditRecord.objects.filter(action="retrieve", object_id=str(row.pk)).count() == 1


@pytest.mark.peer
def test_nothing_found_and_nothing_asked_say_what_to_do(site: Site, node: RemoteNode) -> None:
    client = person(site, Role.LEAD)[1]
    nothing = page(client.post("/receiving/query/", {"node": node.pk, "patient_id": "NOBODY"}))
    assert "has no study for this" in nothing.get_text()
    unasked = client.post("/receiving/query/", {"node": node.pk})
    assert unasked.status_code == 422
    assert "in one field at least" in page(unasked).get_text()
    RemoteNode.objects.update(port=1)
    down = page(client.post("/receiving/query/", {"node": node.pk, "patient_id": "X"}))
    assert "cannot be reached" in down.get_text()


def test_picks_of_others_and_forged_ones_fetch_nothing(site: Site) -> None:
    client = person(site, Role.RADIOLOGIST)[1]
    for pick in ("forged", ""):
        client.post("/receiving/query/fetch/", {"pick": pick} if pick else {})
    assert not Retrieval.objects.exists()
    assert "No archive to ask" in page(client.get("/receiving/query/")).get_text()


def test_a_node_of_another_site_cannot_be_asked(site: Site) -> None:
    foreign = RemoteNodeFactory(may_be_queried=True, host="127.0.0.1", port=1)
    client = person(site, Role.RADIOLOGIST)[1]
    answer = client.post("/receiving/query/", {"node": foreign.pk, "patient_id": "X"})
    assert answer.status_code == 422


def test_cancel_and_retry_buttons(site: Site) -> None:
    row = Retrieval.objects.create(
        site=site, node=RemoteNodeFactory(site=site, active=False), study_instance_uid="1.2",
        description="Old CT",
    )  # fmt: skip
    client = person(site, Role.ADMINISTRATOR)[1]
    client.post(f"/receiving/retrievals/{row.pk}/cancel/")
    row.refresh_from_db()
    assert row.state == "cancelled"
    client.post(f"/receiving/retrievals/{row.pk}/retry/")
    row.refresh_from_db()
    assert row.state == "waiting"
    assert "is under way" in page(
        client.post(f"/receiving/retrievals/{row.pk}/retry/", follow=True)
    ).get_text()
    listed = client.get("/receiving/retrievals/?state=waiting", headers={"HX-Request": "true"})
    assert "Old CT" in page(listed).get_text()


def test_rules_are_made_by_leads(site: Site) -> None:
    node = RemoteNodeFactory(site=site, may_be_queried=True)
    client = person(site, Role.LEAD)[1]
    assert "No rule yet" in page(client.get("/receiving/prior-rules/")).get_text()
    told = {"site": site.pk, "name": "chest", "node": node.pk, "when_modalities": "CT",
            "fetch_modalities": "CT PT", "years": "3", "at_most": "2", "active": "on"}  # fmt: skip
    assert client.post("/receiving/prior-rules/new/", told).status_code == 302
    rule = PriorRule.objects.get()
    assert (rule.years, rule.at_most, rule.same_body_part) == (3, 2, False)
    again = client.post("/receiving/prior-rules/new/", told)
    assert again.status_code == 422 and "has this name" in page(again).get_text()
    foreign = RemoteNodeFactory(may_be_queried=True)
    assert client.post(
        "/receiving/prior-rules/new/", {**told, "name": "b", "node": foreign.pk}
    ).status_code == 422  # fmt: skip
