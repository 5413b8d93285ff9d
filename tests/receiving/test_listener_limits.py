"""What hangs, floods or is too much; what happens when disk or database fail; processes."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import DataError
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode as encode_dataset
from pynetdicom.sop_class import CTImageStorage

from tests.receiving.conftest import files_below
from tests.receiving.listening import associate, links_of, wait_until
from tests.receiving.objects import ct, uid
from tests.receiving.servers import ListenerProcess
from tests.receiving.test_listener import readable
from workstation.receiving.listener import Listener, start_listener
from workstation.receiving.models import Instance, Quarantined, RemoteNode
from workstation.receiving.network import grouping, links
from workstation.receiving.network.incoming import Arriving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def impatient(node: RemoteNode, settings: Any) -> Iterator[Listener]:
    settings.DICOM_ACSE_SECONDS = settings.DICOM_DIMSE_SECONDS = 0.6
    settings.DICOM_IDLE_SECONDS = 1.0
    running = start_listener("127.0.0.1", 0, "RADFUSE")
    yield running
    running.stop()


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
    write = Arriving.write

    def watched(self: Arriving, data: bytes | memoryview) -> None:
        received.append(len(data))
        write(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Arriving, "write", watched)
        association = associate(listener.port)
        assert association.send_c_store(big).Status == 0x0000
        association.release()
    assert max(received) <= links.MAXIMUM_PDU
    assert sum(received) > size
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
        patch.setattr(Path, "open", read_only)  # the staged file
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
