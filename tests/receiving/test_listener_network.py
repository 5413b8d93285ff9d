"""The listener's network side: syntaxes, TLS, who may call, what hangs, and several processes."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pydicom
import pytest
from django.db import DataError
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dsutils import encode as encode_dataset
from pynetdicom.sop_class import CTImageStorage, Verification

from tests.conftest import need
from tests.factories import RemoteNodeFactory
from tests.receiving.conftest import files_below
from tests.receiving.objects import ct, uid
from tests.receiving.servers import ListenerProcess
from tests.receiving.test_listener import readable
from workstation.receiving.listener import CannotListen, Listener, start_listener
from workstation.receiving.models import Instance, Quarantined, RemoteNode, UnknownCaller
from workstation.receiving.network import admitting, grouping, links
from workstation.receiving.storage import path_of

pytestmark = pytest.mark.django_db(transaction=True)
EXPLICIT = "1.2.840.10008.1.2.1"
SYNTAXES = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108",
)  # fmt: skip


@pytest.fixture
def node() -> RemoteNode:
    return RemoteNodeFactory(site__code="north", ae_title="SCANNER")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admitting, "_noted", admitting.Often(10))
    monkeypatch.setattr(admitting, "_seen", admitting.Often(60))


@pytest.fixture
def listener(node: RemoteNode) -> Iterator[Listener]:
    running = start_listener("127.0.0.1", 0, "RADFUSE")
    yield running
    running.stop()


def associate(
    port: int, *contexts: tuple[str, str], title: str = "SCANNER", **more: Any
) -> Association:
    ae = AE(ae_title=title)
    for sop_class, syntax in contexts or [(CTImageStorage, EXPLICIT), (Verification, EXPLICIT)]:
        ae.add_requested_context(sop_class, syntax)
    return ae.associate("127.0.0.1", port, **more)


def without_meta(path: Path) -> str:
    """SHA-256 of everything behind the file meta group."""
    data = path.read_bytes()
    meta = read_file_meta_info(path)
    length = 132 + 12 + meta.FileMetaInformationGroupLength
    return hashlib.sha256(data[length:]).hexdigest()


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


# --- every class and syntax, byte for byte --------------------------------------------------------


def test_every_transfer_syntax_is_accepted_and_kept_as_proposed(listener: Listener) -> None:
    for syntax in SYNTAXES:
        association = associate(listener.port, (CTImageStorage, syntax))
        [context] = association.accepted_contexts
        assert context.transfer_syntax == [syntax]
        association.release()


def test_private_and_newer_storage_classes_are_stored_and_queries_not_accepted(
    listener: Listener,
) -> None:
    private, newer = "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.999999"
    find = "1.2.840.10008.5.1.4.1.2.2.1"
    association = associate(
        listener.port, (private, EXPLICIT), (newer, EXPLICIT), (find, EXPLICIT)
    )
    assert {str(cx.abstract_syntax) for cx in association.accepted_contexts} == {private, newer}
    for number, sop_class in enumerate((private, newer)):
        data = readable(ct(number, SOPClassUID=sop_class))
        assert association.send_c_store(data).Status == 0x0000
    association.release()
    assert set(Instance.objects.values_list("sop_class_uid", flat=True)) == {private, newer}


@pytest.mark.peer
def test_dcmtk_sends_real_files_of_many_syntaxes_byte_for_byte(
    listener: Listener, real_data: Path
) -> None:
    proposals = {
        "1.2.840.10008.1.2": "-xi", "1.2.840.10008.1.2.1": "-xe", "1.2.840.10008.1.2.2": "-xb",
        "1.2.840.10008.1.2.5": "-xr", "1.2.840.10008.1.2.4.70": "-xs",
        "1.2.840.10008.1.2.4.80": "-xt", "1.2.840.10008.1.2.4.90": "-xv",
    }  # fmt: skip
    folder = real_data / "dicom-variety" / "transfer_syntaxes_identical_pixels"
    files = sorted(folder.glob("*.dcm"))
    for file in files:
        syntax = str(read_file_meta_info(file).TransferSyntaxUID)
        command = [need("storescu"), "-aet", "SCANNER", proposals[syntax], "127.0.0.1"]
        subprocess.run([*command, str(listener.port), str(file)], timeout=60, check=True)
    assert Instance.objects.count() == len(files) >= 9
    for row in Instance.objects.all():
        meta = read_file_meta_info(path_of(row.sha256))
        assert meta.TransferSyntaxUID == row.transfer_syntax_uid
    # DCMTK writes data sets of these files anew while it sends them; their pixels are untouched.
    for file in files:
        sent = pydicom.dcmread(file)
        row = Instance.objects.get(sop_instance_uid=sent.SOPInstanceUID)
        assert row.transfer_syntax_uid == sent.file_meta.TransferSyntaxUID
        assert pydicom.dcmread(path_of(row.sha256)).PixelData == sent.PixelData


def test_the_bytes_on_the_wire_are_the_bytes_in_the_archive(
    listener: Listener, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pynetdicom sends a file in pieces as it is; nothing is decoded on either side."""
    folder = real_data / "dicom-variety" / "transfer_syntaxes_identical_pixels"
    monkeypatch.setattr("pynetdicom._config.STORE_SEND_CHUNKED_DATASET", True)
    for file in sorted(folder.glob("*.dcm")):
        meta = read_file_meta_info(file)
        association = associate(
            listener.port, (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
        )
        assert association.send_c_store(file).Status == 0x0000
        association.release()
        row = Instance.objects.get(sop_instance_uid=meta.MediaStorageSOPInstanceUID)
        assert without_meta(path_of(row.sha256)) == without_meta(file)


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, our certificate, a scanner's, and one that another CA signed."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run([need("openssl"), *arguments], cwd=folder, check=True, capture_output=True)

    for ca in ("ca", "other-ca"):
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={ca}",
            "-keyout", f"{ca}.key", "-out", f"{ca}.pem",
        )  # fmt: skip
    for name, ca in (("radfuse", "ca"), ("scanner", "ca"), ("stranger", "other-ca")):
        openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        openssl(
            "x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", f"{ca}.pem",
            "-CAkey", f"{ca}.key", "-CAcreateserial", "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


@pytest.fixture
def tls(node: RemoteNode, certificates: Path, settings: Any) -> Iterator[Listener]:
    settings.DICOM_TLS_CERTIFICATE = str(certificates / "radfuse.pem")
    settings.DICOM_TLS_KEY = str(certificates / "radfuse.key")
    settings.DICOM_TLS_CA = str(certificates / "ca.pem")
    running = start_listener("127.0.0.1", 0, "RADFUSE", tls_port=0)
    yield running
    running.stop()


def client(certificates: Path, name: str) -> tuple[ssl.SSLContext, str]:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.check_hostname = False
    if name:
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return context, "radfuse"


def test_tls_stores_and_wants_a_certificate_of_our_ca(tls: Listener, certificates: Path) -> None:
    association = associate(tls.tls_port, tls_args=client(certificates, "scanner"))
    assert association.send_c_store(readable(ct(1))).Status == 0x0000
    association.release()
    for name in ("", "stranger"):
        refused = associate(tls.tls_port, tls_args=client(certificates, name))
        assert not refused.is_established
    assert not associate(tls.tls_port).is_established  # without TLS
    plain = associate(tls.port)
    assert plain.send_c_store(readable(ct(2))).Status == 0x0000
    plain.release()
    assert Instance.objects.count() == 2


def test_the_certificate_must_name_the_node(
    tls: Listener, certificates: Path, node: RemoteNode
) -> None:
    node.certificate_subject = "somebody"
    node.save()
    assert associate(tls.tls_port, tls_args=client(certificates, "scanner")).is_rejected
    assert associate(tls.port).is_rejected
    node.certificate_subject = "scanner"
    node.save()
    association = associate(tls.tls_port, tls_args=client(certificates, "scanner"))
    assert association.is_established
    association.release()
    assert set(UnknownCaller.objects.values_list("reason", flat=True)) == {
        "certificate names somebody else", "must use the TLS port",
    }  # fmt: skip


@pytest.mark.peer
def test_dcmtk_over_tls(tls: Listener, certificates: Path) -> None:
    def echo(name: str) -> int:
        command = [
            need("echoscu"), "-aet", "SCANNER", "+tls", f"{name}.key", f"{name}.pem",
            "+cf", "ca.pem", "127.0.0.1", str(tls.tls_port),
        ]  # fmt: skip
        return subprocess.run(command, cwd=certificates, timeout=60, check=False).returncode

    assert echo("scanner") == 0
    assert echo("stranger") != 0


def test_a_tls_port_without_certificates_is_one_clear_sentence(node: RemoteNode) -> None:
    with pytest.raises(CannotListen, match="RADFUSE_DICOM_TLS_CERTIFICATE"):
        start_listener("127.0.0.1", 0, "RADFUSE", tls_port=0)


# --- who may call ---------------------------------------------------------------------------------


def test_refused_callers_are_listed_and_nodes_that_called_have_a_time(
    listener: Listener, node: RemoteNode
) -> None:
    for _ in range(3):
        assert associate(listener.port, title="STRANGER").is_rejected
    row = UnknownCaller.objects.get()
    assert (row.ae_title, row.address, row.count) == ("STRANGER", "127.0.0.1", 1)
    assert row.reason == "AE title not known"
    for _ in range(2):
        associate(listener.port).release()
    node.refresh_from_db()
    assert node.last_seen_at is not None


def test_a_node_may_be_held_to_its_address(listener: Listener, node: RemoteNode) -> None:
    node.only_from_host, node.host = True, "192.0.2.7"
    node.save()
    assert associate(listener.port).is_rejected
    assert UnknownCaller.objects.get().reason == "calls from another address"
    node.host = "localhost"
    node.save()
    association = associate(listener.port)
    assert association.is_established
    association.release()


def test_a_node_that_is_switched_off_stops_sending(
    listener: Listener, node: RemoteNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admitting, "NOTE_SECONDS", 0.0)
    association = associate(listener.port)
    assert association.send_c_store(readable(ct(1))).Status == 0x0000
    RemoteNode.objects.update(active=False)
    assert association.send_c_store(readable(ct(2))).Status == 0x0110
    association.release()
    assert Instance.objects.count() == 1


# --- what hangs, floods or is too much ------------------------------------------------------------


@pytest.fixture
def impatient(node: RemoteNode, settings: Any) -> Iterator[Listener]:
    settings.DICOM_ACSE_SECONDS = settings.DICOM_DIMSE_SECONDS = 0.6
    settings.DICOM_IDLE_SECONDS = 1.0
    running = start_listener("127.0.0.1", 0, "RADFUSE")
    yield running
    running.stop()


def links_of(listener: Listener) -> int:
    return sum(len(server.active_associations) for server in listener.servers)


@pytest.mark.parametrize("begin", [b"", b"\x01", b"\x01\x00\x00\x00\x01\x00" + b"\x00" * 20])
def test_who_never_finishes_asking_is_let_go(impatient: Listener, begin: bytes) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port)) as slow:
        slow.sendall(begin)
        wait_until(lambda: links_of(impatient) == 1)
        wait_until(lambda: links_of(impatient) == 0)


def test_who_drips_one_packet_or_falls_silent_is_let_go(impatient: Listener) -> None:
    dripping = associate(impatient.port)
    wire = dripping.dul.socket.socket
    wire.sendall(b"\x04\x00\x00\x01\x00\x00")
    silent = associate(impatient.port)
    wait_until(lambda: links_of(impatient) == 2)
    wait_until(lambda: links_of(impatient) == 0)
    for association in (dripping, silent):
        association.kill()


def test_a_packet_of_four_gigabytes_is_not_believed(listener: Listener) -> None:
    before = psutil.Process().memory_info().rss
    association = associate(listener.port)
    association.dul.socket.socket.sendall(b"\x04\x00\xff\xff\xff\xff" + b"\x00" * 1000)
    wait_until(lambda: links_of(listener) == 0)
    association.kill()
    assert psutil.Process().memory_info().rss - before < 64 * 2**20


def test_too_many_associations_are_refused_politely(node: RemoteNode, settings: Any) -> None:
    settings.DICOM_MAX_ASSOCIATIONS = 2
    listener = start_listener("127.0.0.1", 0, "RADFUSE")
    try:
        first, second = associate(listener.port), associate(listener.port)
        third = associate(listener.port)
        assert third.is_rejected
        primitive = third.acceptor.primitive
        assert (primitive.result, primitive.result_source, primitive.diagnostic) == (2, 3, 2)
        second.release()
        wait_until(lambda: links_of(listener) == 1)
        again = associate(listener.port)
        assert again.send_c_echo().Status == 0x0000
        again.release()
        first.release()
    finally:
        listener.stop()


def test_memory_does_not_grow_with_the_size_of_an_object(listener: Listener) -> None:
    """100 MiB in one object: the sender's copy is in this process, the receiver's is not."""
    size = 100 * 2**20
    big = readable(ct(1, Rows=4096, Columns=12800, PixelData=bytes(size)))
    received: list[int] = []
    write = links.Incoming.write

    def watched(self: links.Incoming, data: bytes) -> int:
        received.append(len(self.getvalue()))
        return write(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(links.Incoming, "write", watched)
        association = associate(listener.port)
        assert association.send_c_store(big).Status == 0x0000
        association.release()
    assert max(received) == 0
    assert Instance.objects.get().size > size


def test_an_aborted_object_leaves_nothing_and_what_came_before_stays(
    listener: Listener, settings: Any
) -> None:
    association = associate(listener.port)
    assert association.send_c_store(readable(ct(1))).Status == 0x0000
    wire = association.dul.socket.socket
    [context] = [cx for cx in association.accepted_contexts if "CT" in cx.abstract_syntax.name]
    command = Dataset()
    command.AffectedSOPClassUID, command.CommandField = CTImageStorage, 0x0001
    command.MessageID, command.Priority, command.CommandDataSetType = 7, 0, 1
    command.AffectedSOPInstanceUID = uid("instance", 2)
    encoded = encode_dataset(command, True, True)
    assert encoded is not None
    group = b"\x00\x00\x00\x00\x04\x00\x00\x00" + len(encoded).to_bytes(4, "little")
    for control, data in ((3, group + encoded), (0, bytes(5000))):
        item = bytes([context.context_id, control]) + data
        item = len(item).to_bytes(4, "big") + item
        wire.sendall(b"\x04\x00" + len(item).to_bytes(4, "big") + item)
    incoming = settings.RADFUSE_HOME / "incoming"
    wait_until(lambda: len(files_below(incoming)) == 1)
    association.abort()
    wait_until(lambda: files_below(incoming) == [])
    assert Instance.objects.count() == 1
    assert not Quarantined.objects.exists()


# --- when the archive or the database fails -------------------------------------------------------


def test_a_read_only_archive_is_answered_as_out_of_resources(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    association = associate(listener.port)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", read_only)
        assert association.send_c_store(readable(ct(1))).Status == 0xA700
    with monkeypatch.context() as patch:
        patch.setattr("workstation.receiving.storage.tempfile.mkstemp", read_only)
        assert association.send_c_store(readable(ct(1))).Status == 0xA700
    assert association.send_c_store(readable(ct(1))).Status == 0x0000
    association.release()
    assert Instance.objects.count() == 1


def test_one_bad_object_does_not_take_its_group_with_it(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_many = grouping.store_many

    def picky(arrivals: Any) -> Any:
        if any(arrival.header.instance_number == 3 for arrival in arrivals):
            raise DataError
        return store_many(arrivals)

    monkeypatch.setattr(grouping, "store_many", picky)
    monkeypatch.setattr(grouping, "WAIT_SECONDS", 0.3)
    statuses: dict[int, int] = {}

    def send(number: int) -> None:
        association = associate(listener.port)
        statuses[number] = association.send_c_store(readable(ct(number))).Status
        association.release()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {1: 0, 2: 0, 3: 0x0110, 4: 0, 5: 0}


# --- several processes ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_the_others_go_on(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    process = ListenerProcess(tmp_path / "listener")
    process.prepare()
    request.addfinalizer(process.kill)
    port = process.start("--processes", "2")
    wait_until(lambda: len(process.children()) == 2)
    first = process.children()
    os.kill(first[0], signal.SIGKILL)
    for number in range(6):
        association = associate(port)
        assert association.send_c_store(readable(ct(number))).Status == 0x0000
        association.release()
    wait_until(lambda: len(process.children()) == 2 and process.children() != first)
    assert first[1] in process.children()
    assert process.ask("Instance.objects.count()") == "6"
    assert process.end(signal.SIGTERM) == 0
    assert "DICOM listener stopped" in process.said


@pytest.mark.slow
def test_the_processes_end_with_their_parent(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    process = ListenerProcess(tmp_path / "listener")
    process.prepare()
    request.addfinalizer(process.kill)
    process.start("--processes", "2")
    wait_until(lambda: len(process.children()) == 2)
    children = process.children()
    process.end(signal.SIGKILL)
    wait_until(lambda: not any(psutil.pid_exists(child) for child in children))
