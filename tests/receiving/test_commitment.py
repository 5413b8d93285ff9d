"""Storage commitment: pynetdicom and Orthanc ask; we answer over their association or our own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage
from pynetdicom.sop_class import StorageCommitmentPushModel as PUSH_MODEL
from pynetdicom.sop_class import StorageCommitmentPushModelInstance as WELL_KNOWN

from tests.exporting.test_peers import free_port
from tests.factories import RemoteNodeFactory
from tests.receiving.objects import ct, uid
from tests.receiving.pacs import orthanc, wait_until, work
from workstation.receiving.listener import Listener, start_listener
from workstation.receiving.models import Commitment, Instance, RemoteNode
from workstation.receiving.services import store_instance
from workstation.receiving.services.committing import send_due_commitments
from workstation.receiving.storage import path_of

pytestmark = pytest.mark.django_db(transaction=True)
KNOWN = (CTImageStorage, uid("instance", 1))


@pytest.fixture
def node() -> RemoteNode:
    return RemoteNodeFactory(site__code="north", ae_title="SCANNER", host="127.0.0.1")


@pytest.fixture
def listener(node: RemoteNode) -> Iterator[Listener]:
    store_instance(node.site, [ct(1)], source="test")
    running = start_listener("127.0.0.1", 0, "RADFUSE")
    yield running
    running.stop()


@dataclass
class Scanner:
    """Asks for commitment, and hears the answer on its own port or on the asking association."""

    status: int = 0x0000
    heard: list[tuple[int, Dataset]] = field(default_factory=list)
    over: list[str] = field(default_factory=list)

    def hear(self, event: Any) -> tuple[int, None]:
        self.heard.append((event.event_type, event.event_information))
        self.over.append("theirs" if event.assoc.is_acceptor else "ours")
        return self.status, None

    def ask(
        self, port: int, *pairs: tuple[str, str], keep_open: float = 0.0, transaction: str = "t",
        action: int = 1,
    ) -> int:  # fmt: skip
        ae = AE(ae_title="SCANNER")
        ae.add_requested_context(PUSH_MODEL)
        link = ae.associate("127.0.0.1", port, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.hear)])
        wanted = Dataset()
        wanted.TransactionUID = uid(transaction)
        wanted.ReferencedSOPSequence = [reference(*pair) for pair in pairs]
        status, _ = link.send_n_action(wanted, action, PUSH_MODEL, WELL_KNOWN)
        deadline = time.monotonic() + keep_open
        while time.monotonic() < deadline and not self.heard:
            time.sleep(0.05)
        link.release()
        return int(status.Status)

    def listen(self) -> Any:
        ae = AE(ae_title="SCANNER")
        ae.add_supported_context(PUSH_MODEL, scu_role=False, scp_role=True)
        return ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.hear)]
        )


def reference(sop_class: str, instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    return item


def pairs_of(sequence: Any) -> list[tuple[str, str]]:
    return [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in sequence]


def test_the_answer_comes_over_the_open_association(listener: Listener) -> None:
    scanner = Scanner()
    assert scanner.ask(listener.port, KNOWN, keep_open=10) == 0x0000
    [(kind, answer)] = scanner.heard
    assert (kind, scanner.over) == (1, ["ours"])
    assert answer.TransactionUID == uid("t")
    assert pairs_of(answer.ReferencedSOPSequence) == [KNOWN]
    assert "FailedSOPSequence" not in answer
    wait_until(lambda: Commitment.objects.get().state == "sent")
    assert Commitment.objects.get().committed == 1


def test_the_answer_comes_over_an_association_of_our_own(
    listener: Listener, node: RemoteNode
) -> None:
    scanner = Scanner()
    server = scanner.listen()
    RemoteNode.objects.update(port=server.server_address[1])
    try:
        assert scanner.ask(listener.port, KNOWN) == 0x0000
        wait_until(lambda: Commitment.objects.get().attempts == 0 and _put_back())
        work()
        wait_until(lambda: Commitment.objects.get().state == "sent")
    finally:
        server.shutdown()
    assert [kind for kind, _ in scanner.heard] == [1]
    assert scanner.over == ["theirs"]


def _put_back() -> bool:
    """The thread of the closed association has left the answer to a worker."""
    time.sleep(1.5)
    return not [one for one in threading.enumerate() if one.name.startswith("commitment-")]


def test_only_rows_with_their_whole_bytes_are_committed(listener: Listener) -> None:
    store_instance(RemoteNode.objects.get().site, [ct(2)], source="test")
    store_instance(RemoteNode.objects.get().site, [ct(3)], source="test")
    second, third = Instance.objects.order_by("instance_number")[1:]
    path_of(second.sha256).unlink()
    path = path_of(third.sha256)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    pairs = [
        KNOWN, (CTImageStorage, uid("instance", 2)), (CTImageStorage, uid("instance", 3)),
        (CTImageStorage, uid("never sent")), ("1.2.840.10008.5.1.4.1.1.4", KNOWN[1]),
    ]  # fmt: skip
    scanner = Scanner()
    assert scanner.ask(listener.port, *pairs, keep_open=10) == 0x0000
    [(kind, answer)] = scanner.heard
    assert kind == 2
    assert pairs_of(answer.ReferencedSOPSequence) == [KNOWN]
    reasons = [item.FailureReason for item in answer.FailedSOPSequence]
    assert pairs_of(answer.FailedSOPSequence) == pairs[1:]
    assert reasons == [0x0110, 0x0110, 0x0112, 0x0119]


def test_a_sender_that_is_away_is_called_again_and_then_given_up(
    listener: Listener, node: RemoteNode
) -> None:
    scanner = Scanner()
    RemoteNode.objects.update(port=free_port())
    scanner.ask(listener.port, KNOWN)
    wait_until(_put_back)
    for attempt in range(1, 9):
        Commitment.objects.update(next_attempt_at=None)
        send_due_commitments(timezone.now())
        work()
        row = Commitment.objects.get()
        assert (row.attempts, row.error[:28]) == (attempt, "The node cannot be reached; ")
        if row.state == "waiting":
            assert row.next_attempt_at > timezone.now() + timedelta(seconds=5)
    assert row.state == "failed"
    # It asks once more under the same transaction.
    server = scanner.listen()
    RemoteNode.objects.update(port=server.server_address[1])
    try:
        scanner.ask(listener.port, KNOWN)
        wait_until(_put_back)
        work()
        wait_until(lambda: Commitment.objects.get().state == "sent")
    finally:
        server.shutdown()
    assert len(scanner.heard) == 1


@pytest.mark.parametrize(
    ("pairs", "transaction", "action", "status"),
    [
        ([], "t", 1, 0x0115),
        ([("not a uid", KNOWN[1])], "t", 1, 0x0115),
        ([KNOWN], "t", 2, 0x0123),
    ],
)
def test_nonsense_is_refused(
    listener: Listener, pairs: list[Any], transaction: str, action: int, status: int
) -> None:
    answered = Scanner().ask(listener.port, *pairs, transaction=transaction, action=action)
    assert answered == status
    assert not Commitment.objects.exists()


@pytest.mark.peer
def test_orthanc_asks_and_hears(tmp_path: Path) -> None:
    """Orthanc stores to us and asks for commitment, as a scanner's gateway does."""
    with orthanc(tmp_path / "orthanc") as gateway:
        node = RemoteNodeFactory(
            site__code="north", ae_title="ORTHANC", host="127.0.0.1", port=gateway.dicom
        )
        listener = start_listener("127.0.0.1", 0, "RADFUSE")
        try:
            gateway.know("radfuse", "RADFUSE", listener.port, AllowStorageCommitment=True)
            gateway.put(ct(1), ct(2))
            ids = gateway.call("/instances")
            body = f'{{"Resources": ["{ids[0]}", "{ids[1]}"], "StorageCommitment": true}}'
            asked = gateway.call("/modalities/radfuse/store", body.encode())
            report = f"/storage-commitment/{asked['StorageCommitmentTransactionUID']}"
            wait_until(_put_back)
            work()
            wait_until(lambda: gateway.call(report)["Status"] == "Success")
        finally:
            listener.stop()
    assert Instance.objects.filter(site=node.site).count() == 2
    assert (Commitment.objects.get().state, Commitment.objects.get().committed) == ("sent", 2)


