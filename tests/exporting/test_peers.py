"""Delivery to real receivers: DCMTK's storescp and Orthanc, through the real broker code."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dramatiq import Worker
from pynetdicom import AE, evt

from tests.conftest import need
from tests.exporting.house import House, build
from tests.exporting.test_registration_delivery import refined
from workstation import flow
from workstation.broker import EXPORT_QUEUE, FLOW_QUEUE, broker
from workstation.exporting import actors
from workstation.exporting.models import Delivery, Destination, Export, ExportObject
from workstation.exporting.services import resend
from workstation.receiving.models import DeidentificationProfile

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.peer]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the receiver ended at once"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the receiver does not listen")


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """DCMTK's receiver: its port, and the folder it stores into."""
    folder, port = tmp_path / "storescp", free_port()
    folder.mkdir()
    command = [need("storescp"), "-od", str(folder), "-aet", "PACS", str(port)]
    with subprocess.Popen(command) as process:
        try:
            wait_for_port(port, process)
            yield port, folder
        finally:
            process.terminate()


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Orthanc: its DICOM and its HTTP port."""
    dicom, http = free_port(), free_port()
    settings_file = tmp_path / "orthanc.json"
    settings_file.write_text(
        json.dumps(
            {
                "StorageDirectory": str(tmp_path / "orthanc"),
                "IndexDirectory": str(tmp_path / "orthanc"),
                "Plugins": [],
                "DicomAet": "ORTHANC",
                "DicomPort": dicom,
                "HttpPort": http,
                "DicomCheckCalledAet": True,
                "AuthenticationEnabled": False,
            }
        )
    )
    with subprocess.Popen([need("Orthanc"), str(settings_file)]) as process:
        try:
            wait_for_port(dicom, process)
            wait_for_port(http, process)
            yield dicom, http
        finally:
            process.terminate()


def destination(house: House, name: str, port: int, ae_title: str = "PACS") -> Destination:
    return Destination.objects.create(
        site=house.site, name=name, ae_title=ae_title, host="127.0.0.1", port=port
    )


def work() -> None:
    """A real Dramatiq worker until its queues are empty."""
    assert (flow.advance_case.broker, actors.send_actor.broker) == (broker, broker)
    worker = Worker(broker, worker_threads=2, worker_timeout=50)
    worker.start()
    try:
        for queue in (FLOW_QUEUE, EXPORT_QUEUE):
            broker.join(queue, timeout=120_000)
        worker.join()
    finally:
        worker.stop()


@pytest.fixture
def signed(tmp_path: Path) -> House:
    images = tmp_path / "images"
    images.mkdir()
    return build(images)


def test_storescp_gets_every_object_once_and_a_dead_destination_holds_nothing_up(
    signed: House, storescp: tuple[int, Path]
) -> None:
    port, folder = storescp
    dead = destination(signed, "dead", free_port())
    alive = destination(signed, "alive", port)
    signed.export()
    work()
    assert Export.objects.get().state == "written"
    written = set(ExportObject.objects.values_list("sop_instance_uid", flat=True))
    assert len(written) == 4
    assert set(alive.deliveries.values_list("state", flat=True)) == {"sent"}
    for row in dead.deliveries.all():
        assert (row.state, row.attempts) == ("waiting", 1)
        assert row.error == "The destination cannot be reached."
        assert row.next_attempt_at is not None
    received = [pydicom.dcmread(path) for path in folder.iterdir()]
    assert {ds.SOPInstanceUID for ds in received} == written
    for row in ExportObject.objects.all():
        [copy] = [ds for ds in received if ds.SOPInstanceUID == row.sop_instance_uid]
        ours = pydicom.dcmread(folder.parent / "home" / "exports" / row.path)
        assert copy == ours, row.kind


def test_a_destination_with_a_profile_gets_no_names(
    signed: House, storescp: tuple[int, Path]
) -> None:
    port, folder = storescp
    row = destination(signed, "Registry", port)
    row.deidentification = DeidentificationProfile.objects.create(site=signed.site, name="R")
    row.save()
    signed.export()
    work()
    received = [pydicom.dcmread(path) for path in folder.iterdir()]
    assert sorted(ds.Modality for ds in received) == ["REG", "SEG", "SR"]
    assert {str(ds.PatientID) for ds in received}.isdisjoint({"EX-1"})
    assert not any(b"SYNTHETIC" in path.read_bytes() for path in folder.iterdir())
    states = {row.object.kind: row.state for row in Delivery.objects.select_related("object")}
    assert states == {"sr": "sent", "seg": "sent", "reg": "sent", "pdf": "failed"}


def test_a_destination_that_comes_back_gets_it_on_request(
    signed: House, storescp: tuple[int, Path]
) -> None:
    port, folder = storescp
    down = destination(signed, "down", free_port())
    signed.export()
    work()
    Delivery.objects.update(state="failed", attempts=6)
    down.port = port
    down.save()
    for row in Delivery.objects.all():
        resend(row, signed.reader)
    work()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sent"}
    assert len(list(folder.iterdir())) == Delivery.objects.count() == 4


def test_orthanc_stores_files_and_refuses_a_wrong_title(
    signed: House, orthanc: tuple[int, int]
) -> None:
    port, http = orthanc
    good = destination(signed, "Orthanc", port, ae_title="ORTHANC")
    wrong = destination(signed, "wrong title", port, ae_title="NOBODY")
    signed.export()
    work()
    assert set(good.deliveries.values_list("state", flat=True)) == {"sent"}
    for row in wrong.deliveries.all():
        assert row.state == "waiting"
        assert "refused the association; check the AE titles" in row.error
    stored = [find(http, f"/instances/{pk}/simplified-tags") for pk in find(http, "/instances")]
    kinds = {tags["Modality"] for tags in stored}
    assert kinds == {"SEG", "SR", "REG", "DOC"}
    studies = find(http, "/studies")
    assert len(studies) == 1, "results join the study of the images"
    tags = find(http, f"/studies/{studies[0]}")["PatientMainDicomTags"]
    assert tags["PatientID"] == "EX-1"


def test_a_deformable_registration_reaches_both_peers(
    signed: House, storescp: tuple[int, Path], orthanc: tuple[int, int]
) -> None:
    refined(signed, "deformable")
    port, folder = storescp
    dicom, http = orthanc
    destination(signed, "alive", port)
    destination(signed, "Orthanc", dicom, ae_title="ORTHANC")
    signed.export()
    work()
    sent = Delivery.objects.filter(object__kind="reg")
    assert [row.state for row in sent] == ["sent", "sent"]
    kind = "1.2.840.10008.5.1.4.1.1.66.3"
    [copy] = [ds for ds in map(pydicom.dcmread, folder.iterdir()) if ds.SOPClassUID == kind]
    ours = pydicom.dcmread(folder.parent / "home" / "exports" / sent[0].object.path)
    assert copy == ours
    stored = [find(http, f"/instances/{pk}/simplified-tags") for pk in find(http, "/instances")]
    [there] = [tags for tags in stored if tags["Modality"] == "REG"]
    assert there["SOPInstanceUID"] == ours.SOPInstanceUID
    told = subprocess.run(
        [need("dcmdump"), "+P", "VectorGridData", next(folder.glob(f"*{ours.SOPInstanceUID}"))],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert told.startswith("(0064,0009) OF 0\\0\\3\\0\\0\\3")


def find(http: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{http}{path}", timeout=10) as answer:
        return json.load(answer)


def test_a_receiver_that_is_busy_is_tried_later(signed: House) -> None:
    """A status of failure (out of resources) is no delivery."""
    peer = AE(ae_title="BUSY")
    peer.add_supported_context("1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.1.2.1")
    server = peer.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: 0xA700)]
    )
    try:
        destination(signed, "busy", server.server_address[1], ae_title="BUSY")
        signed.export()
        work()
    finally:
        server.shutdown()
    errors = {row.object.kind: row.error for row in Delivery.objects.select_related("object")}
    assert errors["sr"] == "The destination answered with status 0xA700."
    assert errors["seg"] == "The destination does not accept this kind of object."
    assert set(Delivery.objects.values_list("state", flat=True)) == {"waiting"}
