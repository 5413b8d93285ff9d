"""Asking archives and fetching from them: Orthanc and DCMTK as real peers."""

from __future__ import annotations

import io
import subprocess
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.utils import timezone
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    RLELossless,
)

from tests.conftest import need
from tests.factories import RemoteNodeFactory, UserFactory
from tests.receiving.objects import ct, dataset, encode, structure_set, uid
from tests.receiving.pacs import Orthanc, dcmqrscp, orthanc, wait_until, work
from workstation.accounts.models import Site
from workstation.broker import broker
from workstation.receiving.listener import Listener, start_listener
from workstation.receiving.models import (
    DeidentificationProfile,
    Instance,
    RemoteNode,
    Retrieval,
)
from workstation.receiving.network import retrieving as module
from workstation.receiving.network.actors import retrieve_actor
from workstation.receiving.network.asking import Question, find_series, find_studies
from workstation.receiving.network.calling import NotReached
from workstation.receiving.network.echo import echo
from workstation.receiving.services import store_instance
from workstation.receiving.services.retrieving import (
    Wanted,
    cancel_retrieval,
    request_retrieval,
    retry_retrieval,
    send_due_retrievals,
)
from workstation.receiving.storage import opened

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.peer]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc with one study of three slices and a structure set, and one of 30."""
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        running.put(*(ct(number) for number in (1, 2, 3)), encode(structure_set()))
        for number in range(30):
            running.put(
                ct(
                    number, SOPInstanceUID=uid("big", number), StudyInstanceUID=uid("big"),
                    SeriesInstanceUID=uid("big series"), StudyDate="20250601",
                    PatientName="Müller^Anna", StudyDescription="Kopf", AccessionNumber="A-30",
                )
            )  # fmt: skip
        yield running


@pytest.fixture
def site() -> Site:
    return RemoteNodeFactory(site__code="north", ae_title="SCANNER").site


@pytest.fixture
def node(site: Site, archive: Orthanc) -> RemoteNode:
    return RemoteNodeFactory(
        site=site, name="PACS", ae_title="ORTHANC", host="127.0.0.1", port=archive.dicom,
        may_be_queried=True,
    )  # fmt: skip


@pytest.fixture
def listener(node: RemoteNode) -> Iterator[Listener]:
    running = start_listener("127.0.0.1", 0, "RADFUSE")
    yield running
    running.stop()


def study(name: str = "study", **more: Any) -> Wanted:
    return Wanted(uid(name), **more)


def test_echo_says_what_is_wrong(node: RemoteNode, settings: Any) -> None:
    echo(node)
    node.port = 1
    with pytest.raises(NotReached, match="cannot be reached"):
        echo(node)
    node.port = None
    with pytest.raises(NotReached, match="no address"):
        echo(node)


def test_a_query_finds_by_every_key_and_decodes_names(node: RemoteNode) -> None:
    everything = find_studies(node, Question(patient_id="PHANTOMINE-7"))
    assert [found.study_date for found in everything.studies] == [
        date(2026, 1, 5), date(2025, 6, 1),
    ]  # fmt: skip
    first = everything.studies[0]
    assert (first.study_instance_uid, first.instances) == (uid("study"), 4)
    assert set(first.modalities) == {"CT", "RTSTRUCT"}
    assert first.birth_date == date(1961, 2, 3)
    for question in (
        Question(patient_name="MÜLLER*"), Question(accession_number="A-30"),
        Question(since=date(2025, 5, 1), until=date(2025, 12, 31)),
    ):  # fmt: skip
        [found] = find_studies(node, question).studies
        assert (found.patient_name, found.description) == ("Müller^Anna", "Kopf")
    assert find_studies(node, Question(patient_id="NOBODY")).studies == []
    assert {one.modality for one in find_series(node, uid("study"))} == {"CT", "RTSTRUCT"}


def test_a_query_is_cancelled_at_its_limit(node: RemoteNode) -> None:
    answer = find_studies(node, Question(patient_id="PHANTOMINE-7"), limit=1)
    assert (len(answer.studies), answer.more) == (1, True)


def test_c_get_stores_every_object_once(node: RemoteNode) -> None:
    row = request_retrieval(node, study(instances=4))
    assert request_retrieval(node, study()).pk == row.pk, "one that is under way is not doubled"
    work()
    row.refresh_from_db()
    assert (row.state, row.expected, row.completed, row.failed) == ("done", 4, 4, 0)
    assert set(Instance.objects.values_list("source", flat=True)) == {f"retrieve:{row.pk}"}
    kinds = Instance.objects.values_list("series__modality", flat=True)
    assert sorted(kinds) == ["CT", "CT", "CT", "RTSTRUCT"]
    retrieve_actor(row.pk)  # a message that comes twice
    assert Instance.objects.count() == 4


def test_c_get_of_one_series_and_then_the_rest(node: RemoteNode) -> None:
    request_retrieval(node, study(series_instance_uids=(uid("series"),)))
    work()
    assert Instance.objects.count() == 3
    row = request_retrieval(node, study())
    work()
    row.refresh_from_db()
    assert (row.state, row.completed) == ("done", 4)
    assert Instance.objects.filter(source=f"retrieve:{row.pk}").count() == 1


def test_c_move_to_our_listener(
    node: RemoteNode, listener: Listener, archive: Orthanc
) -> None:
    archive.know("radfuse", "RADFUSE", listener.port)
    node.retrieve_by = "move"
    node.save()
    row = request_retrieval(node, study("big"))
    work()
    row.refresh_from_db()
    assert (row.state, row.error, row.completed) == ("done", "", 30)
    assert set(Instance.objects.values_list("source", flat=True)) == {"dimse:ORTHANC"}


def test_c_move_to_a_destination_that_the_archive_does_not_know(
    site: Site, tmp_path: Path, settings: Any
) -> None:
    with dcmqrscp(tmp_path / "qr", 1) as port:
        send_to(port, tmp_path, ct(1))
        node = queried(site, port, retrieve_by="move")
        row = request_retrieval(node, study())
        settings.DICOM_AE_TITLE = "STRANGE"
        work()
        row.refresh_from_db()
    assert row.state == "failed"
    assert "does not know STRANGE as a destination" in row.error


def queried(site: Site, port: int, **more: Any) -> RemoteNode:
    return RemoteNodeFactory(
        site=site, ae_title="QRSCP", host="127.0.0.1", port=port, may_be_queried=True, **more
    )


def send_to(port: int, folder: Path, *files: bytes) -> None:
    """DCMTK's storescu, in the transfer syntax of each file."""
    for number, data in enumerate(files):
        path = folder / f"{number}.dcm"
        path.write_bytes(data)
        syntax = pydicom.dcmread(path).file_meta.TransferSyntaxUID
        how = {RLELossless: "-xr", JPEG2000Lossless: "-xv", ExplicitVRBigEndian: "-xb"}
        subprocess.run(
            [need("storescu"), how.get(syntax, "-xe"), "-aec", "QRSCP", "127.0.0.1", str(port),
             str(path)], check=True, timeout=30,
        )  # fmt: skip


def test_compressed_objects_come_as_they_are_stored(
    site: Site, tmp_path: Path, real_data: Path
) -> None:
    """Pixel data byte for byte: the archive has no reason to change the transfer syntax."""
    jpeg2000 = next((real_data / "neck-ct-lossy" / "dicom").iterdir())
    rle = pydicom.dcmread(io.BytesIO(ct(2)))
    rle.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    rle.save_as(buffer)
    with orthanc(tmp_path / "orthanc") as archive:
        archive.put(jpeg2000.read_bytes(), buffer.getvalue(), ct(1))
        node = RemoteNodeFactory(
            site=site, ae_title="ORTHANC", host="127.0.0.1", port=archive.dicom,
            may_be_queried=True,
        )  # fmt: skip
        lossy = pydicom.dcmread(jpeg2000)
        request_retrieval(node, study())
        request_retrieval(node, Wanted(str(lossy.StudyInstanceUID)))
        work()
    stored = {
        one.transfer_syntax_uid: pydicom.dcmread(opened(one.sha256))
        for one in Instance.objects.all()
    }
    assert stored["1.2.840.10008.1.2.5"].PixelData == rle.PixelData
    assert stored[str(lossy.file_meta.TransferSyntaxUID)].PixelData == lossy.PixelData
    assert len(stored) == 3


def test_an_archive_that_is_down_is_tried_again_and_then_waits_for_a_person(
    node: RemoteNode,
) -> None:
    user = UserFactory(sites=[node.site])
    port, node.port = node.port, 1
    node.save()
    row = request_retrieval(node, study(), user=user)
    for attempt in range(1, 6):
        Retrieval.objects.update(next_attempt_at=None)
        retrieve_actor(row.pk)
        row.refresh_from_db()
        assert row.attempts == attempt
        assert row.error == "The node cannot be reached; check host, port and firewall."
    assert row.state == "failed"
    node.port = port
    node.save()
    retry_retrieval(row, user)
    work()
    row.refresh_from_db()
    assert (row.state, row.completed) == ("done", 4)


def test_a_lost_message_and_a_dead_worker_are_found_by_the_sweep(node: RemoteNode) -> None:
    row = request_retrieval(node, study())
    broker.flush_all()
    send_due_retrievals(timezone.now() + timedelta(seconds=61))
    work()
    row.refresh_from_db()
    assert row.state == "done"
    long_ago = timezone.now() - timedelta(minutes=5)
    Retrieval.objects.update(state="running", heartbeat_at=long_ago, attempts=1)
    send_due_retrievals(timezone.now())
    row.refresh_from_db()
    assert (row.state, row.error) == ("waiting", "The worker stopped in the middle.")
    send_due_retrievals(timezone.now() + timedelta(minutes=1))
    work()
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("done", 2)


def test_cancel_takes_effect_within_seconds(
    node: RemoteNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow retrieval, stopped in its middle; what came is kept, and retry fetches the rest."""
    user = UserFactory(sites=[node.site])
    store = module.store_instance

    def slowly(*args: Any, **named: Any) -> Any:
        threading.Event().wait(0.3)
        return store(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(module, "store_instance", slowly)
        row = request_retrieval(node, study("big"), user=user)
        worker = threading.Thread(target=work)
        worker.start()
        wait_until(lambda: Instance.objects.exists())
        row.refresh_from_db()
        cancel_retrieval(row, user)
        wait_until(lambda: Retrieval.objects.get().state == "cancelled", 12)
        worker.join()
    assert 0 < Instance.objects.count() < 30
    retry_retrieval(row, user)
    work()
    row.refresh_from_db()
    assert (row.state, row.completed, Instance.objects.count()) == ("done", 30, 30)


def test_a_refused_object_is_in_quarantine_and_said_so(site: Site, tmp_path: Path) -> None:
    """Another object under a UID that is here already."""
    with orthanc(tmp_path / "orthanc") as archive:
        archive.put(ct(1), ct(2))
        node = RemoteNodeFactory(
            site=site, ae_title="ORTHANC", host="127.0.0.1", port=archive.dicom,
            may_be_queried=True,
        )  # fmt: skip
        other = dataset(1, StudyInstanceUID=uid("other"), SeriesInstanceUID=uid("other series"))
        store_instance(site, [encode(other)], source="test")
        row = request_retrieval(node, study())
        work()
        row.refresh_from_db()
    assert (row.state, row.refused) == ("failed", 1)
    assert row.error == "1 of 2 objects were not accepted; they are in quarantine."


def test_dcmqrscp_get_and_move(site: Site, tmp_path: Path) -> None:
    RemoteNodeFactory(site=site, ae_title="DCMQRSCP")
    listener = start_listener("127.0.0.1", 0, "RADFUSE")
    try:
        with dcmqrscp(tmp_path / "qr", listener.port) as port:
            second = ct(3, StudyInstanceUID=uid("second"), SeriesInstanceUID=uid("its series"))
            send_to(port, tmp_path, ct(1), ct(2), second)
            node = queried(site, port)
            found = find_studies(node, Question(patient_id="PHANTOMINE-7")).studies
            assert {one.study_instance_uid for one in found} == {uid("study"), uid("second")}
            by_get = request_retrieval(node, study())
            work()
            node.retrieve_by = "move"
            node.save()
            by_move = request_retrieval(node, study("second"))
            work()
    finally:
        listener.stop()
    for row in (by_get, by_move):
        row.refresh_from_db()
        assert (row.state, row.error) == ("done", "")
    assert Instance.objects.count() == 3
    assert set(Instance.objects.values_list("sop_class_uid", flat=True)) == {CTImageStorage}


def test_findscu_and_we_get_the_same_answer(node: RemoteNode, tmp_path: Path) -> None:
    command = [
        need("findscu"), "-S", "-X", "-od", str(tmp_path), "-aec", "ORTHANC", "127.0.0.1",
        str(node.port), "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=PHANTOMINE-7",
        "-k", "StudyInstanceUID", "-k", "NumberOfStudyRelatedInstances",
    ]  # fmt: skip
    subprocess.run(command, timeout=30, check=True, capture_output=True)
    theirs = {
        (str(one.StudyInstanceUID), int(one.NumberOfStudyRelatedInstances))
        for one in map(pydicom.dcmread, tmp_path.glob("rsp*"))
    }
    ours = find_studies(node, Question(patient_id="PHANTOMINE-7")).studies
    assert {(one.study_instance_uid, one.instances) for one in ours} == theirs
    assert len(theirs) == 2


def test_movescu_has_an_archive_send_to_us(
    listener: Listener, archive: Orthanc, node: RemoteNode
) -> None:
    """Somebody else asks the archive; it knows us as a destination, and we know it as a sender."""
    archive.know("radfuse", "RADFUSE", listener.port)
    command = [
        need("movescu"), "-S", "-aem", "RADFUSE", "-aec", "ORTHANC", "127.0.0.1",
        str(node.port), "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid('study')}",
    ]  # fmt: skip
    subprocess.run(command, timeout=60, check=True, capture_output=True)
    assert Instance.objects.count() == 4


def test_what_a_node_with_a_profile_has_is_fetched_once(node: RemoteNode) -> None:
    """De-identified objects have other UIDs here, and are recognised all the same."""
    profile = DeidentificationProfile.objects.create(site=node.site, name="Outside")
    node.deidentification = profile
    node.save()
    request_retrieval(node, study(series_instance_uids=(uid("series"),)))
    work()
    row = request_retrieval(node, study())
    work()
    row.refresh_from_db()
    assert (row.state, row.error, row.completed) == ("done", "", 4)
    assert Instance.objects.filter(source=f"retrieve:{row.pk}").count() == 1
    assert not Instance.objects.filter(sop_instance_uid=uid("instance", 1)).exists()
