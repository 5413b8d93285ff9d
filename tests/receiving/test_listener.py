"""The DICOM listener against real senders: pynetdicom and DCMTK."""

from __future__ import annotations

import io
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage, RTStructureSetStorage, Verification

from tests.conftest import ROOT, need
from tests.factories import RemoteNodeFactory
from tests.receiving.conftest import files_below
from tests.receiving.objects import NAME, ct, dataset, encode, structure_set
from workstation.accounts.models import Site
from workstation.receiving import storage
from workstation.receiving.listener import Listener, _answer_to, start_listener
from workstation.receiving.models import Instance, Patient, Quarantined
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.storage import StorageFull, path_of

pytestmark = pytest.mark.django_db(transaction=True)
PATIENT_WORDS = ("PHANTOMINE", NAME.split("^")[1], "19610203")


@pytest.fixture
def site() -> Site:
    return RemoteNodeFactory(site__code="north", ae_title="SCANNER").site


@pytest.fixture
def listener(site: Site) -> Iterator[Listener]:
    running = start_listener("127.0.0.1", 0, "RADFUSE")
    yield running
    running.stop()


def test_success_is_answered_for_what_is_kept_only() -> None:
    """A disc's table of contents is passed over; its class gets no context, but may be claimed."""
    for result in (Result.STORED, Result.REPEATED):
        assert _answer_to(Outcome(result)).status == 0x0000
    for result in (Result.IGNORED, Result.QUARANTINED):
        answer = _answer_to(Outcome(result, "dicomdir", "A DICOMDIR holds no images."))
        assert answer.status != 0x0000


def associate(port: int, title: str = "SCANNER") -> Association:
    ae = AE(ae_title=title)
    for sop_class in (Verification, CTImageStorage, RTStructureSetStorage):
        ae.add_requested_context(sop_class, "1.2.840.10008.1.2.1")
    return ae.associate("127.0.0.1", port)


def readable(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data), force=True)


def test_echo_and_store_byte_for_byte(listener: Listener) -> None:
    association = associate(listener.port)
    assert association.send_c_echo().Status == 0x0000
    for _ in range(2):
        assert association.send_c_store(readable(ct(1))).Status == 0x0000
    assert association.send_c_store(readable(encode(structure_set()))).Status == 0x0000
    association.release()
    instance = Instance.objects.get(is_image=True)
    assert instance.source == "dimse:SCANNER"
    stored = path_of(instance.sha256).read_bytes()
    # Behind the file meta group, which the receiver writes, every byte is the sender's.
    sent = ct(1)[ct(1).index(b"\x08\x00\x05\x00CS") :]
    assert stored.endswith(sent)
    assert Instance.objects.count() == 2


def test_an_unknown_caller_is_refused(listener: Listener) -> None:
    association = associate(listener.port, "STRANGER")
    assert association.is_rejected
    assert association.acceptor.primitive.diagnostic == 0x03


def test_a_default_site_takes_unknown_callers(listener: Listener, settings: Any) -> None:
    settings.DICOM_DEFAULT_SITE = "north"
    association = associate(listener.port, "STRANGER")
    assert association.send_c_store(readable(ct(1))).Status == 0x0000
    association.release()


def test_a_title_belongs_to_one_site_only(site: Site) -> None:
    with pytest.raises(IntegrityError):
        RemoteNodeFactory(ae_title="SCANNER")


def test_refused_objects_are_kept_and_the_sender_told(listener: Listener) -> None:
    association = associate(listener.port)
    bad = readable(ct(1, PatientID=""))
    status = association.send_c_store(bad)
    assert (status.Status, status.ErrorComment) == (0xC000, "kept in quarantine: no_patient_id")
    assert association.send_c_store(readable(ct(2))).Status == 0x0000
    association.release()
    assert Quarantined.objects.get().source == "dimse:SCANNER"
    assert Instance.objects.count() == 1


def test_a_full_disk_is_answered_as_out_of_resources(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFull

    association = associate(listener.port)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "archive", full)
        assert association.send_c_store(readable(ct(1))).Status == 0xA700
    assert association.send_c_store(readable(ct(1))).Status == 0x0000
    association.release()


def test_an_aborted_association_keeps_what_came(listener: Listener) -> None:
    association = associate(listener.port)
    for number in (1, 2, 3):
        association.send_c_store(readable(ct(number)))
    association.abort()
    again = associate(listener.port)
    assert again.send_c_store(readable(ct(4))).Status == 0x0000
    again.release()
    assert Instance.objects.count() == 4


def test_a_connection_cut_inside_an_object_harms_nothing(listener: Listener) -> None:
    association = associate(listener.port)
    association.send_c_store(readable(ct(1)))
    association.dul.socket.socket.sendall(b"\x04\x00\x00\x01\x00\x00half of a fragment")
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    association.kill()
    again = associate(listener.port)
    assert again.send_c_store(readable(ct(2))).Status == 0x0000
    again.release()
    assert Instance.objects.count() == 2
    assert files_below(settings.RADFUSE_HOME / "incoming") == []


def test_noise_on_the_port_harms_nothing(listener: Listener) -> None:
    with socket.create_connection(("127.0.0.1", listener.port)) as noise:
        noise.sendall(b"GET / HTTP/1.1\r\n\r\n")
    association = associate(listener.port)
    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_four_associations_with_the_same_images(listener: Listener) -> None:
    statuses: list[int] = []

    def send() -> None:
        association = associate(listener.port)
        for number in range(1, 7):
            statuses.append(association.send_c_store(readable(ct(number))).Status)
        association.release()

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert statuses == [0x0000] * 24
    assert Instance.objects.count() == len(files_below(settings.ARCHIVE_DIR)) == 6
    assert Patient.objects.count() == 1


def test_a_used_port_is_one_clear_sentence(listener: Listener) -> None:
    with pytest.raises(CommandError, match=f"Port {listener.port} .* is used by another program"):
        call_command("listen", host="127.0.0.1", port=listener.port)


# --- DCMTK --------------------------------------------------------------------------------------


@pytest.mark.peer
def test_dcmtk_echo(listener: Listener) -> None:
    command = [need("echoscu"), "-aet", "SCANNER", "127.0.0.1", str(listener.port)]
    assert subprocess.run(command, timeout=30, check=False).returncode == 0
    command[2] = "STRANGER"
    refused = subprocess.run(command, timeout=30, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "Calling AE Title Not Recognized" in refused.stderr


@pytest.mark.peer
def test_dcmtk_sends_a_real_study_and_some_of_it_again(listener: Listener, real_data: Path) -> None:
    folder = real_data / "sarcoma-ct-mr-pet" / "STS_005"
    sent = len(list(folder.rglob("*.dcm")))
    command = [need("storescu"), "-aet", "SCANNER", "+sd", "+r", "127.0.0.1"]
    for part in (folder, folder / "PET"):
        subprocess.run([*command, str(listener.port), str(part)], timeout=200, check=True)
    assert Instance.objects.count() == sent > 100
    assert Patient.objects.count() == 1
    modalities = Instance.objects.values_list("series__modality", flat=True)
    assert set(modalities) == {"CT", "MR", "PT", "RTSTRUCT"}
    assert not Quarantined.objects.exists()


@pytest.mark.peer
def test_dcmtk_sends_compressed_images_unchanged(listener: Listener, real_data: Path) -> None:
    file = next((real_data / "neck-ct-lossy" / "dicom").iterdir())
    command = [need("storescu"), "-aet", "SCANNER", "-xw", "127.0.0.1", str(listener.port)]
    subprocess.run([*command, str(file)], timeout=30, check=True)
    instance = Instance.objects.get()
    assert instance.transfer_syntax_uid == "1.2.840.10008.1.2.4.91"
    stored = pydicom.dcmread(path_of(instance.sha256))
    assert stored.PixelData == pydicom.dcmread(file).PixelData


# --- its own process ------------------------------------------------------------------------------


class Process:
    """``manage.py listen`` with an archive and a database of its own, and no broker."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RADFUSE_")},
            "DJANGO_SETTINGS_MODULE": "workstation.settings.embedded",
            "RADFUSE_HOME": str(home),
            "RADFUSE_BROKER_URL": f"unix://{home / 'no-broker.sock'}",
            "RADFUSE_DEFAULT_SITE": "north",
        }
        self.said = ""

        subprocess.run(
            [sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=self.environment,
            check=True, timeout=120,
        )  # fmt: skip
        columns = "id, code, name, time_zone"
        self.ask(f"INSERT INTO accounts_site ({columns}) VALUES (1, 'north', 'North', 'UTC')")

    def ask(self, sql: str) -> list[tuple[int]]:
        with closing(sqlite3.connect(self.home / "radfuse.sqlite3")) as database, database:
            return database.execute(sql).fetchall()

    def start(self) -> int:
        self.running = subprocess.Popen(
            [sys.executable, "manage.py", "listen", "--port", "0"], cwd=ROOT,
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert self.running.stdout is not None
        for line in self.running.stdout:
            self.said += line
            if "ready on" in line:
                return int(line.rsplit(":", 1)[1])
        pytest.fail(f"the listener did not start: {self.said}")

    def end(self, number: signal.Signals) -> int:
        self.running.send_signal(number)
        self.said += self.running.communicate(timeout=30)[0]
        return self.running.returncode

    def kill(self) -> None:
        if self.running.poll() is None:
            self.running.kill()
            self.running.communicate(timeout=30)

    def count(self) -> int:
        return self.ask("SELECT count(*) FROM receiving_instance")[0][0]


@pytest.mark.slow
def test_kill_9_then_resend_and_a_clean_stop_without_patient_data_in_its_logs(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    process = Process(tmp_path / "process")
    request.addfinalizer(process.kill)
    association = associate(process.start())
    for number in (1, 2):
        assert association.send_c_store(readable(ct(number))).Status == 0x0000
    process.end(signal.SIGKILL)
    association.kill()
    assert process.count() == 2

    association = associate(process.start())
    for number in range(1, 5):
        assert association.send_c_store(readable(ct(number))).Status == 0x0000
    assert association.send_c_store(readable(ct(5, PixelData=bytes(3)))).Status == 0xC000
    assert association.send_c_store(readable(ct(1, StudyID="other"))).Status == 0xC000
    assert association.send_c_store(readable(ct(6, PatientName="SYNTHETIC^Bad"))).Status == 0
    association.abort()
    began = time.monotonic()
    assert process.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 20
    assert process.count() == 5
    assert len(files_below(tmp_path / "process" / "archive")) == 5
    assert "DICOM listener stopped" in process.said
    for word in PATIENT_WORDS:
        assert word not in process.said


def test_no_patient_data_in_logs_at_any_level(
    listener: Listener, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    association = associate(listener.port)
    with caplog.at_level("INFO"):
        for data in (ct(1), ct(1, StudyID="x"), ct(2, PatientID=""), ct(3, PixelData=b"\0\0")):
            association.send_c_store(readable(data))
    association.release()
    assert dataset().PatientID == "PHANTOMINE-7"
    told = capfd.readouterr()
    for word in PATIENT_WORDS:
        for text in (caplog.text, told.out, told.err):
            assert word not in text
