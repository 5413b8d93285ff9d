"""When a study is complete: quiet time, what scanners and archives announce, what a node counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import InstanceAvailabilityNotification as NOTIFICATION
from pynetdicom.sop_class import ModalityPerformedProcedureStep as STEP

from tests.exporting.test_peers import free_port
from tests.factories import RemoteNodeFactory
from tests.receiving.objects import ct, uid
from tests.receiving.pacs import orthanc, work
from tests.receiving.sweeping import complete_quiet_studies
from workstation import flow
from workstation.accounts.models import Site
from workstation.receiving.listener import Listener, start_listener
from workstation.receiving.models import Inquiry, PerformedStep, Study, StudyNotice
from workstation.receiving.services import store_instance
from workstation.receiving.services.inquiring import send_due_inquiries
from workstation.worklist.models import Case

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _times(settings: Any) -> None:
    settings.QUIET_SECONDS, settings.COUNTED_QUIET_SECONDS = 60, 5
    settings.EXPECTED_WAIT_SECONDS = 600


@pytest.fixture
def site() -> Site:
    return RemoteNodeFactory(site__code="north", ae_title="SCANNER").site


@pytest.fixture
def listener(site: Site) -> Iterator[Listener]:
    running = start_listener("127.0.0.1", 0, "RADFUSE")
    yield running
    running.stop()


def scanner(listener: Listener) -> Association:
    ae = AE(ae_title="SCANNER")
    ae.add_requested_context(STEP)
    ae.add_requested_context(NOTIFICATION)
    return ae.associate("127.0.0.1", listener.port)


def step(status: str, *numbers: int, begin: bool = False) -> Dataset:
    """A performed step's attributes, as a scanner sends them."""
    data = Dataset()
    data.PerformedProcedureStepStatus = status
    if begin:
        scheduled = Dataset()
        scheduled.StudyInstanceUID = uid("study")
        data.ScheduledStepAttributesSequence = [scheduled]
    if numbers:
        series = Dataset()
        series.SeriesInstanceUID = uid("series")
        series.ReferencedImageSequence = [item(number) for number in numbers]
        data.PerformedSeriesSequence = [series]
    return data


def item(number: int, availability: str = "") -> Dataset:
    one = Dataset()
    one.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    one.ReferencedSOPInstanceUID = uid("instance", number)
    if availability:
        one.InstanceAvailability = availability
    return one


def arrive(site: Site, *numbers: int) -> Study:
    # Images of one burst share the time of its first; here each call is a burst of its own.
    Study.objects.update(last_received_at=F("last_received_at") - timedelta(seconds=30))
    for number in numbers:
        store_instance(site, [ct(number)], source="test")
    return Study.objects.get()


def later(seconds: int) -> datetime:
    return timezone.now() + timedelta(seconds=seconds)


def test_a_performed_step_announces_what_comes(listener: Listener, site: Site) -> None:
    link = scanner(listener)
    status, answer = link.send_n_create(step("IN PROGRESS", begin=True), STEP, uid("step"))
    assert status.Status == 0x0000 and answer.AffectedSOPInstanceUID == uid("step")
    study = arrive(site, 1, 2)
    assert complete_quiet_studies(later(61)) == [], "the examination goes on"
    status, _ = link.send_n_set(step("COMPLETED", 1, 2, 3), STEP, uid("step"))
    assert status.Status == 0x0000
    study.refresh_from_db()
    assert (study.expected_instances, study.expected_from) == (3, "the scanner (MPPS)")
    assert complete_quiet_studies(later(599)) == []
    arrive(site, 3)
    assert complete_quiet_studies(later(4)) == []
    assert complete_quiet_studies(later(6)) == [study], "all is here: no need to wait longer"
    assert not StudyNotice.objects.exists()
    link.release()


def test_what_never_comes_is_told_to_the_reader(listener: Listener, site: Site) -> None:
    link = scanner(listener)
    link.send_n_create(step("IN PROGRESS", begin=True), STEP, uid("step"))
    link.send_n_set(step("COMPLETED", *range(1, 6)), STEP, uid("step"))
    study = arrive(site, 1, 2)
    assert complete_quiet_studies(later(61)) == []
    assert complete_quiet_studies(later(601)) == [study]
    notice = StudyNotice.objects.get()
    assert notice.level == "warn" and notice.text.startswith("2 of 5 images arrived.")
    arrive(site, 3, 4, 5)
    assert complete_quiet_studies(later(6)) == [study]
    assert not StudyNotice.objects.exists(), "late images take the notice back"
    link.release()


def test_a_step_that_never_ends_holds_nothing_up_for_ever(
    listener: Listener, site: Site
) -> None:
    link = scanner(listener)
    link.send_n_create(step("IN PROGRESS", begin=True), STEP, uid("step"))
    study = arrive(site, 1)
    assert complete_quiet_studies(later(599)) == []
    assert complete_quiet_studies(later(601)) == [study]
    link.release()


def test_two_steps_are_added_up_and_each_object_counts_once(
    listener: Listener, site: Site
) -> None:
    link = scanner(listener)
    for name, numbers in (("one", (1, 2)), ("two", (2, 3))):
        link.send_n_create(step("IN PROGRESS", begin=True), STEP, uid(name))
        link.send_n_set(step("COMPLETED", *numbers), STEP, uid(name))
    study = arrive(site, 1)
    complete_quiet_studies(later(6))
    study.refresh_from_db()
    assert study.expected_instances == 3
    link.release()


def test_moves_of_a_step_that_are_not_allowed(listener: Listener, site: Site) -> None:
    link = scanner(listener)
    statuses = [
        link.send_n_set(step("COMPLETED"), STEP, uid("step"))[0].Status,
        link.send_n_create(step("COMPLETED", begin=True), STEP, uid("step"))[0].Status,
        link.send_n_create(step("IN PROGRESS", begin=True), STEP, uid("step"))[0].Status,
        link.send_n_create(step("IN PROGRESS", begin=True), STEP, uid("step"))[0].Status,
        link.send_n_set(step("RESTING"), STEP, uid("step"))[0].Status,
        link.send_n_set(step("DISCONTINUED", 1), STEP, uid("step"))[0].Status,
        link.send_n_set(step("IN PROGRESS", 1, 2), STEP, uid("step"))[0].Status,
    ]
    assert statuses == [0x0112, 0x0106, 0x0000, 0x0111, 0x0106, 0x0000, 0x0110]
    row = PerformedStep.objects.get()
    assert (row.status, row.instances, row.sent_by) == ("DISCONTINUED", 1, "SCANNER")
    link.release()


def test_an_availability_notice_announces_too(listener: Listener, site: Site) -> None:
    study = arrive(site, 1)
    notice = Dataset()
    notice.StudyInstanceUID = uid("study")
    series = Dataset()
    series.SeriesInstanceUID = uid("series")
    series.ReferencedSOPSequence = [
        item(1, "ONLINE"), item(2, "NEARLINE"), item(3, "UNAVAILABLE"),
    ]  # fmt: skip
    notice.ReferencedSeriesSequence = [series]
    link = scanner(listener)
    assert link.send_n_create(notice, NOTIFICATION, uid("notice"))[0].Status == 0x0000
    link.release()
    study.refresh_from_db()
    assert study.expected_instances == 2
    assert study.expected_from == "the archive (instance availability)"
    arrive(site, 2)
    assert complete_quiet_studies(later(6)) == [study]


def test_without_announcement_the_quiet_time_decides(site: Site) -> None:
    study = arrive(site, 1)
    assert complete_quiet_studies(later(59)) == []
    assert complete_quiet_studies(later(61)) == [study]


@pytest.mark.peer
def test_a_node_is_asked_how_many_there_are(site: Site, tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc") as archive:
        archive.put(*(ct(number) for number in range(1, 5)))
        RemoteNodeFactory(
            site=site, name="PACS", ae_title="ORTHANC", host="127.0.0.1", port=archive.dicom,
            tells_counts=True,
        )  # fmt: skip
        study = arrive(site, 1, 2)
        assert complete_quiet_studies(later(61)) == [], "first the node is asked"
        work()
        assert Inquiry.objects.get().result == "4 images."
        study.refresh_from_db()
        assert (study.expected_instances, study.expected_from) == (4, "PACS")
        assert complete_quiet_studies(later(61)) == []
        Case.objects.all().delete()
        arrive(site, 3)
        flow.sweep()
        assert Case.objects.get().activity == "3 of 4 images received"
        arrive(site, 4)
        archive.put(ct(5))
        assert complete_quiet_studies(later(61)) == [], "asked again: more came since"
        work()
        assert complete_quiet_studies(later(61)) == []
        arrive(site, 5)
        assert complete_quiet_studies(later(61)) == []
        work()
        assert complete_quiet_studies(later(61)) == [study]


def test_a_node_that_does_not_answer_holds_nothing_up_for_ever(site: Site) -> None:
    RemoteNodeFactory(site=site, host="127.0.0.1", port=free_port(), tells_counts=True)
    study = arrive(site, 1)
    for _ in range(3):
        assert complete_quiet_studies(later(61)) == []
        Inquiry.objects.update(next_attempt_at=None)
        send_due_inquiries(timezone.now())
        work()
    assert Inquiry.objects.get().state == "failed"
    assert complete_quiet_studies(later(61)) == [study]


def test_a_lost_question_holds_nothing_up_for_ever(site: Site) -> None:
    RemoteNodeFactory(site=site, host="127.0.0.1", port=free_port(), tells_counts=True)
    study = arrive(site, 1)
    assert complete_quiet_studies(later(599)) == []
    assert complete_quiet_studies(later(601)) == [study]
