"""Objects on their way: states, retries, and what a person can do about it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as live_settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.factories import CaseFactory, RunFactory, UserFactory, uid
from workstation.accounts.models import AuditRecord, Role, User
from workstation.broker import EXPORT_QUEUE, broker
from workstation.exporting import actors
from workstation.exporting.models import (
    Delivery,
    DeliveryState,
    Destination,
    Export,
    ExportState,
)
from workstation.exporting.sending import NotDelivered
from workstation.exporting.services import (
    MAX_ATTEMPTS,
    ORPHANED_AFTER,
    WrittenObject,
    fail_delivery,
    fail_export,
    finish_delivery,
    finish_export,
    pause_before,
    request_exports,
    resend,
    rewrite,
    send_due,
    start_delivery,
    start_export,
)
from workstation.exporting.sources import CannotWrite
from workstation.exporting.states import (
    DELIVERY_MOVES,
    EXPORT_MOVES,
    InvalidMove,
    move_delivery,
    move_export,
)
from workstation.reporting.models import Report, Version

pytestmark = pytest.mark.django_db


def destination(site: Any, name: str = "PACS", **more: Any) -> Destination:
    values = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104, **more}
    return Destination.objects.create(site=site, name=name, **values)


@pytest.fixture
def reader() -> User:
    return UserFactory()


@pytest.fixture
def export(reader: User) -> Export:
    """An export waiting to be written."""
    case = CaseFactory(state="signed")
    reader.sites.add(case.site)
    report = Report.objects.create(case=case, run=RunFactory(case=case))
    Version.objects.create(
        report=report, number=1, kind="final", content="{}", sha256="ab" * 32, signed_by=reader,
        signer_name="A", meaning="m", signed_at=timezone.now(),
    )  # fmt: skip
    request_exports(case)
    return Export.objects.get()


def objects(*kinds: str) -> list[WrittenObject]:
    return [
        WrittenObject(kind, "1.2.840.10008.5.1.4.1.1.88.34", uid(kind), f"1/1/{kind}.dcm", "0" * 64)
        for kind in kinds
    ]


@pytest.fixture
def delivery(export: Export) -> Delivery:
    destination(export.version.report.case.site)
    start_export(export.pk)
    finish_export(export.pk, objects("sr"))
    return Delivery.objects.get()


@pytest.fixture
def sent(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> Callable[[Callable[[], Any]], int]:
    """Do something and count the messages it put into the export queue."""

    def call(act: Callable[[], Any]) -> int:
        broker.flush_all()
        with django_capture_on_commit_callbacks(execute=True):
            act()
        return int(broker.queues[EXPORT_QUEUE].qsize())

    return call


# --- states -------------------------------------------------------------------------------------


def test_the_door_opens_exactly_for_the_table(delivery: Delivery) -> None:
    tables: tuple[Any, ...] = (
        (EXPORT_MOVES, ExportState, move_export, delivery.object.export),
        (DELIVERY_MOVES, DeliveryState, move_delivery, delivery),
    )
    for moves, states, move, row in tables:
        events = {event for _, event in moves}
        for state, event in itertools.product(states, events):
            type(row).objects.filter(pk=row.pk).update(state=state)
            if (state, event) in moves:
                assert move(row.pk, event).state == moves[state, event]
            else:
                with pytest.raises(InvalidMove, match=event):
                    move(row.pk, event)
                row.refresh_from_db()
                assert row.state == state


@given(events=st.lists(st.sampled_from(sorted({event for _, event in DELIVERY_MOVES}))))
def test_only_a_person_takes_a_delivery_out_of_its_end(events: list[str]) -> None:
    state = DeliveryState.WAITING
    for event in events:
        target = DELIVERY_MOVES.get((state, event))
        if target is None:
            continue
        if state in (DeliveryState.SENT, DeliveryState.FAILED):
            assert (event, target) == ("retry", DeliveryState.WAITING)
        if target == DeliveryState.SENT:
            assert (state, event) == (DeliveryState.SENDING, "finish")
        state = target


def test_every_state_can_be_reached_and_left() -> None:
    for moves, states in ((EXPORT_MOVES, ExportState), (DELIVERY_MOVES, DeliveryState)):
        reached = {"waiting"} | set(moves.values())
        assert reached == set(states)
        ends = set(states) - {state for state, _ in moves}
        assert ends <= {"written"}


# --- from signature to delivery -----------------------------------------------------------------


def test_each_version_is_requested_once(export: Export) -> None:
    request_exports(export.version.report.case)
    assert Export.objects.count() == 1


def test_written_objects_go_to_every_active_destination_of_the_site(
    export: Export, sent: Callable[[Callable[[], Any]], int]
) -> None:
    site = export.version.report.case.site
    destination(site, "one")
    destination(site, "two")
    destination(site, "off", active=False)
    destination(CaseFactory().site, "elsewhere")
    start_export(export.pk)
    assert sent(lambda: finish_export(export.pk, objects("sr", "seg"))) == 4
    names = Delivery.objects.values_list("object__kind", "destination__name")
    assert set(names) == set(itertools.product(("sr", "seg"), ("one", "two")))


def test_a_message_that_comes_twice_finds_nothing_to_do(delivery: Delivery) -> None:
    assert start_delivery(delivery.pk) is not None
    assert start_delivery(delivery.pk) is None
    assert start_export(delivery.object.export_id) is None


def test_a_failed_attempt_waits_longer_each_time_and_then_for_a_person(
    delivery: Delivery, reader: User, sent: Callable[[Callable[[], Any]], int]
) -> None:
    waits = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        before = timezone.now()
        assert start_delivery(delivery.pk) is not None
        fail_delivery(delivery.pk, "The destination cannot be reached.")
        delivery.refresh_from_db()
        assert delivery.attempts == attempt
        if delivery.state == DeliveryState.WAITING:
            waits.append(delivery.next_attempt_at - before)
    assert delivery.state == DeliveryState.FAILED
    assert delivery.error == "The destination cannot be reached."
    assert len(waits) == MAX_ATTEMPTS - 1
    assert all(later > earlier for earlier, later in itertools.pairwise(waits))
    assert sent(lambda: send_due(timezone.now() + timedelta(days=1))) == 0
    assert sent(lambda: resend(delivery, reader)) == 1
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.error) == ("waiting", 0, "")
    assert AuditRecord.objects.filter(action="retry", user=reader).exists()


@given(st.integers(1, 50))
def test_pauses_grow_up_to_an_hour(attempt: int) -> None:
    assert timedelta(seconds=10) <= pause_before(attempt) <= pause_before(attempt + 1)
    assert pause_before(attempt) <= timedelta(hours=1)


def test_an_export_that_cannot_be_written_says_why_and_can_be_tried_again(
    export: Export, reader: User, sent: Callable[[Callable[[], Any]], int]
) -> None:
    start_export(export.pk)
    fail_export(export.pk, "2 source images are no longer in the archive.", retriable=False)
    export.refresh_from_db()
    assert (export.state, export.attempts) == ("failed", 1)
    assert sent(lambda: rewrite(export, reader)) == 1
    export.refresh_from_db()
    assert (export.state, export.error) == ("waiting", "")


def test_sent_is_audited_with_its_destination(delivery: Delivery) -> None:
    start_delivery(delivery.pk)
    finish_delivery(delivery.pk)
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.SENT and delivery.sent_at is not None
    row = AuditRecord.objects.get(action="export")
    assert row.case_id == delivery.object.export.version.report.case_id
    assert row.detail == {"destination": delivery.destination_id, "kind": "sr"}


# --- the sweep ----------------------------------------------------------------------------------


def test_the_sweep_sends_lost_messages_again_but_not_every_time(
    delivery: Delivery, sent: Callable[[Callable[[], Any]], int]
) -> None:
    now = timezone.now()
    assert sent(lambda: send_due(now)) == 0, "its message was sent a moment ago"
    later = now + timedelta(minutes=2)
    assert sent(lambda: send_due(later)) == 1
    assert sent(lambda: send_due(later)) == 0


def test_rows_of_a_killed_worker_come_back_and_are_given_up_if_it_dies_each_time(
    delivery: Delivery,
) -> None:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert start_delivery(delivery.pk) is not None
        send_due(timezone.now() + ORPHANED_AFTER + timedelta(seconds=1))
        delivery.refresh_from_db()
        assert delivery.attempts == attempt
        assert delivery.error == "The worker stopped in the middle."
    assert delivery.state == DeliveryState.FAILED


def test_a_destination_that_is_switched_off_keeps_its_objects_waiting(
    delivery: Delivery, sent: Callable[[Callable[[], Any]], int]
) -> None:
    Destination.objects.update(active=False)
    assert start_delivery(delivery.pk) is None
    assert sent(lambda: send_due(timezone.now() + timedelta(minutes=2))) == 0
    Destination.objects.update(active=True)
    assert sent(lambda: send_due(timezone.now() + timedelta(minutes=2))) == 1


# --- the actors ---------------------------------------------------------------------------------


def test_the_writer_tells_reasons_from_faults(
    export: Export, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(row: Export) -> list[WrittenObject]:
        raise CannotWrite("The report has no analysis behind it.")

    def break_(row: Export) -> list[WrittenObject]:
        raise KeyError("SYNTHETIC^Name")

    monkeypatch.setattr(actors, "write_objects", break_)
    actors.write_actor.fn(export.pk)
    export.refresh_from_db()
    assert (export.state, export.error) == ("waiting", "Internal error (KeyError).")
    monkeypatch.setattr(actors, "write_objects", refuse)
    actors.write_actor.fn(export.pk)
    export.refresh_from_db()
    assert (export.state, export.error) == ("failed", "The report has no analysis behind it.")
    actors.write_actor.fn(export.pk)  # a late message does nothing
    export.refresh_from_db()
    assert export.attempts == 2


def test_the_sender_tells_refusals_from_faults(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(row: Delivery) -> None:
        raise NotDelivered("The destination answered with status 0xA700.")

    monkeypatch.setattr(actors, "send_by_c_store", refuse)
    actors.send_actor.fn(delivery.pk)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.error[-7:]) == ("waiting", "0xA700.")

    def break_(row: Delivery) -> None:
        raise OSError

    monkeypatch.setattr(actors, "send_by_c_store", break_)
    actors.send_actor.fn(delivery.pk)
    delivery.refresh_from_db()
    assert delivery.error == "Internal error (OSError)."


def test_a_worker_that_was_given_up_meanwhile_changes_nothing(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(row: Delivery) -> None:
        send_due(timezone.now() + ORPHANED_AFTER + timedelta(seconds=1))

    monkeypatch.setattr(actors, "send_by_c_store", slow)
    actors.send_actor.fn(delivery.pk)
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.WAITING


def test_attempts_end_before_the_sweep_takes_them_back() -> None:
    limit = timedelta(milliseconds=actors.TIME_LIMIT_MS)
    assert limit < ORPHANED_AFTER
    for actor in (actors.write_actor, actors.send_actor):
        assert actor.options["time_limit"] == actors.TIME_LIMIT_MS
        assert actor.options["max_retries"] == 0


# --- pages --------------------------------------------------------------------------------------


def test_the_page_shows_what_failed_and_sends_it_again(
    delivery: Delivery, reader: User, client: Any
) -> None:
    Delivery.objects.update(state="failed", attempts=6, error="The destination cannot be reached.")
    client.force_login(reader)
    page = client.get("/exports/").content.decode()
    assert "The destination cannot be reached." in page and "Send again" in page
    assert "Not for diagnostic use" in page
    answer = client.post(f"/exports/deliveries/{delivery.pk}/resend/", follow=True)
    assert answer.status_code == 200
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.WAITING
    again = client.post(f"/exports/deliveries/{delivery.pk}/resend/", follow=True)
    assert "already on its way" in again.content.decode()


def test_an_object_is_downloaded_under_a_name_without_patient_data(
    delivery: Delivery, reader: User, client: Any
) -> None:
    client.force_login(reader)
    url = f"/exports/objects/{delivery.object_id}.dcm"
    assert client.get(url).status_code == 404, "its file is not there"
    path = live_settings.EXPORTS_DIR / delivery.object.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"bytes")
    answer = client.get(url)
    assert b"".join(answer.streaming_content) == b"bytes"
    case = delivery.object.export.version.report.case_id
    assert answer["Content-Disposition"] == f'attachment; filename="case-{case}-sr.dcm"'
    assert AuditRecord.objects.filter(action="download", case_id=case).exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"port": 0}, "greater than or equal to 1"),
        ({"port": 70000}, "less than or equal to 65535"),
        ({"ae_title": "x" * 17}, "1 to 16"),
        ({"ae_title": "back\\slash"}, "1 to 16"),
        ({"ae_title": "   "}, "required"),
        ({"name": "PACS"}, "already exists"),
    ],
)
def test_a_destination_must_make_sense(
    delivery: Delivery, client: Any, change: dict[str, Any], told: str
) -> None:
    site = delivery.destination.site
    client.force_login(UserFactory(role=Role.ADMINISTRATOR, sites=[site]))
    form = {"site": site.pk, "name": "New", "ae_title": "PACS", "host": "h", "port": 104, **change}
    answer = client.post("/exports/destinations/new/", form)
    assert answer.status_code == 422
    assert told in answer.content.decode()


def test_a_destination_is_added_by_the_administrator_and_never_moves_to_another_site(
    delivery: Delivery, client: Any
) -> None:
    site, other = delivery.destination.site, CaseFactory().site
    client.force_login(UserFactory(role=Role.ADMINISTRATOR, sites=[site, other]))
    form = {"site": site.pk, "name": "New", "ae_title": "PACS", "host": "h", "port": 104}
    assert client.post("/exports/destinations/new/", form).status_code == 302
    assert Destination.objects.filter(name="New", site=site, active=False).exists()
    url = f"/exports/destinations/{delivery.destination_id}/"
    assert client.post(url, {**form, "name": "Moved", "site": other.pk}).status_code == 302
    delivery.destination.refresh_from_db()
    assert (delivery.destination.name, delivery.destination.site) == ("Moved", site)
    assert AuditRecord.objects.filter(action="manage").count() == 2
