"""Storing once, quarantine, release and discard, completing studies."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from tests.factories import CaseFactory, SiteFactory, UserFactory
from tests.receiving.conftest import files_below
from tests.receiving.objects import ct, dataset, encode, structure_set, uid
from tests.receiving.sweeping import complete_quiet_studies
from workstation.accounts.models import AuditRecord, Role, Site
from workstation.receiving import services, storage
from workstation.receiving.models import (
    Instance,
    Patient,
    Quarantined,
    QuarantineState,
    Series,
    Study,
    StudyNotice,
)
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services import placing

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return SiteFactory()


def store(site: Site, data: bytes, source: str = "test") -> Outcome:
    return services.store_instance(site, [data], source=source)


def test_an_instance_is_stored_untouched_with_its_rows(site: Site) -> None:
    data = ct()
    outcome = store(site, data)
    assert outcome.result is Result.STORED
    instance = Instance.objects.get(pk=outcome.instance_id)
    assert storage.path_of(instance.sha256).read_bytes() == data
    assert instance.series.modality == "CT"
    study = instance.series.study
    assert study.pk == outcome.study_id
    assert (study.description, study.header["PatientID"]) == ("Thorax", "PHANTOMINE-7")
    assert study.patient.synthetic
    assert study.completed_at is None
    assert not files_below(settings.RADFUSE_HOME / "incoming")


def test_repeating_an_instance_changes_nothing(site: Site) -> None:
    first = store(site, ct())
    before = Study.objects.values().get()
    again = store(site, ct())
    assert (again.result, again.instance_id) == (Result.REPEATED, first.instance_id)
    assert Study.objects.values().get() == before
    assert len(files_below(settings.ARCHIVE_DIR)) == 1


def test_the_same_object_behind_another_meta_group_is_a_repetition(site: Site) -> None:
    store(site, ct())
    assert store(site, encode(dataset(), implementation="1.2.3")).result is Result.REPEATED
    assert not Quarantined.objects.exists()


@pytest.mark.parametrize(
    "values", [{"PixelData": b"\x01" + bytes(47)}, {"SeriesDescription": "other"}]
)
def test_the_same_uid_with_other_content_is_quarantined(
    site: Site, values: dict[str, object]
) -> None:
    store(site, ct())
    outcome = store(site, ct(**values))
    assert (outcome.result, outcome.code) == (Result.QUARANTINED, "conflicting")
    instance = Instance.objects.get()
    assert storage.path_of(instance.sha256).read_bytes() == ct()
    assert len(files_below(settings.ARCHIVE_DIR)) == 1


def test_sites_do_not_share_rows(site: Site) -> None:
    store(site, ct())
    assert store(SiteFactory(), ct()).result is Result.STORED
    assert Patient.objects.count() == Study.objects.count() == 2
    assert len(files_below(settings.ARCHIVE_DIR)) == 1


def test_a_study_does_not_change_its_patient(site: Site) -> None:
    store(site, ct(1))
    outcome = store(site, ct(2, PatientID="SOMEBODY"))
    assert outcome.code == "other_patient"
    assert Patient.objects.count() == 1


def test_a_series_does_not_change_its_study(site: Site) -> None:
    store(site, ct(1))
    assert store(site, ct(2, StudyInstanceUID=uid("another"))).code == "other_study"
    assert Study.objects.count() == 1


def test_another_name_under_the_same_id_is_told_and_not_merged(site: Site) -> None:
    store(site, ct(1))
    outcome = store(site, ct(2, PatientName="SYNTHETIC^Impostor", PatientBirthDate="19700101"))
    assert outcome.result is Result.STORED
    assert Patient.objects.get().name == "SYNTHETIC^Phantomine"
    study = Study.objects.get()
    notices = services.notices_for(study)
    assert [(notice.code, notice.level) for notice in notices] == [("patient_differs", "warn")] * 2
    assert "another patient name (SYNTHETIC^Impostor)" in notices[0].text


def test_case_and_trailing_carets_are_no_other_name(site: Site) -> None:
    store(site, ct(1))
    store(site, ct(2, PatientName="Synthetic^PHANTOMINE^^"))
    assert not StudyNotice.objects.exists()


def test_blanks_of_the_patient_are_filled(site: Site) -> None:
    store(site, ct(1, PatientName="", PatientSex=""))
    store(site, ct(2))
    assert Patient.objects.values_list("name", "sex").get() == ("SYNTHETIC^Phantomine", "F")
    assert not StudyNotice.objects.exists()


def test_a_non_image_object_is_kept_and_announced_once(site: Site) -> None:
    for number in (900, 901):
        assert store(site, encode(structure_set(number))).result is Result.STORED
    notice = StudyNotice.objects.get()
    assert (notice.code, notice.level) == ("not_an_image", "info")
    assert "RT Structure Set: this object holds no images" in notice.text
    assert not Instance.objects.filter(is_image=True).exists()


def test_refused_bytes_are_kept_with_their_reason_once(site: Site) -> None:
    cut = ct()[:-10]
    for _ in range(3):
        outcome = store(site, cut, source="dimse:SCANNER")
    held = Quarantined.objects.get()
    assert outcome.quarantined_id == held.pk
    assert (held.code, held.size, held.source) == ("truncated", len(cut), "dimse:SCANNER")
    assert storage.quarantine_opened(held.sha256).read() == cut
    assert not Instance.objects.exists()


def test_a_full_disk_keeps_neither_row_nor_bytes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise storage.StorageFull

    monkeypatch.setattr(storage, "archive", full)
    with pytest.raises(storage.StorageFull):
        store(site, ct())
    assert not Patient.objects.exists()
    assert not files_below(settings.RADFUSE_HOME / "incoming")


# --- release and discard ------------------------------------------------------------------------


def test_release_stores_what_is_accepted_now(
    site: Site, django_capture_on_commit_callbacks: Any
) -> None:
    user = UserFactory(role=Role.LEAD, sites=[site])
    store(site, ct(1))
    held_id = store(site, ct(2, StudyInstanceUID=uid("another"))).quarantined_id
    held = Quarantined.objects.get(pk=held_id)
    assert services.release(held, user).result is Result.QUARANTINED
    held.refresh_from_db()
    assert held.state == QuarantineState.HELD
    # The cause is put right: the first study was the wrong one and is gone.
    Instance.objects.all().delete()
    Series.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        assert services.release(held, user).result is Result.STORED
    held.refresh_from_db()
    assert (held.state, held.handled_by) == (QuarantineState.RELEASED, user)
    assert not storage.quarantine_store().exists(storage.name_of(held.sha256))
    details = AuditRecord.objects.filter(action="quarantine").values_list("detail", flat=True)
    assert {detail["result"] for detail in details} == {"quarantined", "stored"}


def test_discard_needs_a_reason_and_happens_once(
    site: Site, django_capture_on_commit_callbacks: Any
) -> None:
    user = UserFactory(role=Role.LEAD, sites=[site])
    held = Quarantined.objects.get(pk=store(site, b"no dicom").quarantined_id)
    with pytest.raises(services.CannotHandle, match="Say why"):
        services.discard(held, user, "  ")
    with django_capture_on_commit_callbacks(execute=True):
        services.discard(held, user, "a letter")
    held.refresh_from_db()
    assert (held.state, held.handled_reason) == (QuarantineState.DISCARDED, "a letter")
    assert not storage.quarantine_store().exists(storage.name_of(held.sha256))
    with pytest.raises(services.CannotHandle):
        services.discard(held, user, "again")
    assert AuditRecord.objects.filter(action="quarantine", user=user).count() == 1


def test_discard_keeps_bytes_that_another_entry_holds(
    site: Site, django_capture_on_commit_callbacks: Any
) -> None:
    user = UserFactory(role=Role.LEAD, sites=[site])
    held = Quarantined.objects.get(pk=store(site, b"no dicom").quarantined_id)
    store(SiteFactory(), b"no dicom")
    with django_capture_on_commit_callbacks(execute=True):
        services.discard(held, user, "a letter")
    assert storage.quarantine_store().exists(storage.name_of(held.sha256))


# --- completion ---------------------------------------------------------------------------------


def test_a_study_is_complete_after_its_quiet_time(site: Site) -> None:
    store(site, ct(1))
    now = timezone.now()
    quiet = timedelta(seconds=settings.QUIET_SECONDS)
    assert complete_quiet_studies(now) == []
    later = now + quiet
    assert complete_quiet_studies(later) == [Study.objects.get()]
    assert complete_quiet_studies(later) == []
    assert Study.objects.get().completed_at == later


def test_a_late_arrival_opens_the_study_again_and_nudges_its_case(
    site: Site, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nudged: list[int] = []
    monkeypatch.setattr(placing, "nudge", nudged.append)
    store(site, ct(1))
    study = Study.objects.get()
    case = CaseFactory(patient=study.patient, site=site, studies=[study])
    complete_quiet_studies(timezone.now() + timedelta(hours=1))
    with django_capture_on_commit_callbacks(execute=True):
        assert store(site, ct(1)).result is Result.REPEATED
    study.refresh_from_db()
    assert study.completed_at is not None
    with django_capture_on_commit_callbacks(execute=True):
        store(site, ct(2))
    study.refresh_from_db()
    assert study.completed_at is None
    assert nudged == [case.pk]


# --- many at once -------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_same_study_from_four_senders_at_once(site: Site) -> None:
    outcomes: list[Outcome] = []
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def send() -> None:
        try:
            start.wait()
            for number in range(1, 11):
                outcomes.append(store(site, ct(number)))
        except BaseException as error:  # noqa: BLE001  (shown by the assertion below)
            errors.append(error)
        finally:
            connection.close()

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert errors == []
    results = [outcome.result for outcome in outcomes]
    assert (results.count(Result.STORED), results.count(Result.REPEATED)) == (10, 30)
    assert Instance.objects.count() == len(files_below(settings.ARCHIVE_DIR)) == 10
    assert Patient.objects.count() == Study.objects.count() == Series.objects.count() == 1
    assert not Quarantined.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_contents_under_one_uid_at_once_keep_exactly_one(site: Site) -> None:
    outcomes: list[Outcome] = []
    start = threading.Barrier(2)

    def send(description: str) -> None:
        try:
            start.wait()
            outcomes.append(store(site, ct(SeriesDescription=description)))
        finally:
            connection.close()

    senders = [threading.Thread(target=send, args=[name]) for name in ("one", "two")]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert sorted(outcome.result for outcome in outcomes) == ["quarantined", "stored"]
    kept = Instance.objects.get()
    assert files_below(settings.ARCHIVE_DIR) == [storage.path_of(kept.sha256)]
    assert storage.quarantine_store().exists(storage.name_of(Quarantined.objects.get().sha256))


# --- many at once ---------------------------------------------------------------------------------


def test_many_objects_in_one_transaction_each_get_their_own_outcome(
    site: Site, django_assert_max_num_queries: Any
) -> None:
    services.store_instance(site, [ct(1)], source="test")
    files = [
        ct(1),  # there already
        *[ct(number) for number in range(2, 40)],
        ct(5),  # twice in one transaction
        ct(6, StudyID="other"),  # the same UID, other content
        ct(60, PatientID="SOMEBODY-ELSE"),  # the study belongs to another patient
        ct(61, PatientID=""),
        b"no DICOM at all",
        ct(62, StudyInstanceUID=uid("second"), SeriesInstanceUID=uid("second series")),
    ]
    with ExitStack() as stack:
        arrivals = [
            services.Arrival(site, stack.enter_context(storage.staged([data])), "test")
            for data in files
        ]
        outcomes = services.store_many(arrivals)
    found = [(outcome.result, outcome.code) for outcome in outcomes]
    assert found == [
        (Result.REPEATED, ""),
        *[(Result.STORED, "")] * 38,
        (Result.REPEATED, ""),
        (Result.QUARANTINED, "conflicting"),
        (Result.QUARANTINED, "other_patient"),
        (Result.QUARANTINED, "no_patient_id"),
        (Result.QUARANTINED, "not_dicom"),
        (Result.STORED, ""),
    ]
    assert Instance.objects.count() == len(files_below(settings.ARCHIVE_DIR)) == 40
    assert not Patient.objects.filter(patient_id="SOMEBODY-ELSE").exists()
    with ExitStack() as stack:
        arrivals = [
            services.Arrival(site, stack.enter_context(storage.staged([ct(number)])), "test")
            for number in range(100, 150)
        ]
        with django_assert_max_num_queries(10):
            services.store_many(arrivals)


def test_a_failure_in_the_middle_of_many_writes_no_row_and_another_try_stores_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_third(*staged: storage.Staged) -> None:
        archive(*staged[:2])
        raise storage.StorageFull

    archive = storage.archive
    with ExitStack() as stack:
        arrivals = [
            services.Arrival(site, stack.enter_context(storage.staged([ct(number)])), "test")
            for number in range(5)
        ]
        with monkeypatch.context() as patch:
            patch.setattr(storage, "archive", fails_third)
            with pytest.raises(storage.StorageFull):
                services.store_many(arrivals)
        assert not Instance.objects.exists()
        assert not Patient.objects.exists()
        outcomes = services.store_many(arrivals)
    assert {outcome.result for outcome in outcomes} == {Result.STORED}
    assert len(files_below(settings.ARCHIVE_DIR)) == 5
