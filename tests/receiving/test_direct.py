"""C-STORE in one thread: what it takes itself, what it leaves to pynetdicom, what it answers."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import CTImageStorage

from tests.factories import RemoteNodeFactory
from tests.receiving.listening import EXPLICIT, associate, links_of, wait_until
from tests.receiving.objects import ct, uid
from workstation.receiving import listener as listener_module
from workstation.receiving.headers import Header
from workstation.receiving.listener import Listener, start_listener
from workstation.receiving.models import Instance
from workstation.receiving.network import direct

UIDS = st.from_regex(r"[1-9][0-9]{0,8}(\.[1-9][0-9]{0,8}){1,5}", fullmatch=True)


def command(message_id: int, sop_class: str, sop_instance: str, **more: object) -> bytes:
    """A C-STORE-RQ command set as pynetdicom encodes it."""
    request = C_STORE()
    request.MessageID, request.Priority = message_id, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, sop_instance
    request.DataSet = io.BytesIO(b"\0\0")
    for name, value in more.items():
        setattr(request, name, value)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    [first, *_] = message.encode_msg(1, 0)
    return bytes(first.presentation_data_value_list[0][1][1:])


@given(st.integers(0, 65535), UIDS, UIDS, st.sampled_from([None, "MOVER"]))
def test_requests_are_read_as_pynetdicom_writes_them(
    message_id: int, sop_class: str, sop_instance: str, mover: str | None
) -> None:
    more = {} if mover is None else {"MoveOriginatorApplicationEntityTitle": mover,
                                     "MoveOriginatorMessageID": 7}  # fmt: skip
    found = direct.plain_request(command(message_id, sop_class, sop_instance, **more))
    assert found == direct.Request(message_id, sop_class.encode(), sop_instance.encode())


@given(st.integers(0, 65535), UIDS, UIDS, st.sampled_from([0, 0xA700, 0xC000]), st.text())
def test_answers_are_read_by_pynetdicom(
    message_id: int, sop_class: str, sop_instance: str, status: int, comment: str
) -> None:
    request = direct.Request(message_id, sop_class.encode(), sop_instance.encode())
    packet = direct.response(request, direct.Answer(status, comment[:64]), 5)
    pdu = P_DATA_TF()
    pdu.decode(packet)
    message = DIMSEMessage()
    assert message.decode_msg(pdu.to_primitive())
    answer = message.message_to_primitive()
    assert message.context_id == 5
    assert (answer.MessageIDBeingRespondedTo, answer.Status) == (message_id, status)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (sop_class, sop_instance)


@given(st.binary(max_size=300), st.integers(0, 120), st.integers(0, 255))
def test_what_is_not_plain_is_left_alone(noise: bytes, at: int, byte: int) -> None:
    plain = command(1, str(CTImageStorage), "1.2.3")
    for damaged in (noise, plain + noise, plain[:at], plain[:at] + bytes([byte]) + plain[at + 1 :]):
        found = direct.plain_request(damaged)
        assert found is None or isinstance(found, direct.Request)
    assert direct.plain_request(plain + struct.pack("<HHI", 0, 0x9999, 0)) is None
    assert direct.plain_request(command(1, "1.2", "1.2.3", Priority=0)) is not None


@pytest.fixture
def listener(transactional_db: None) -> Iterator[Listener]:
    RemoteNodeFactory(site__code="north", ae_title="SCANNER")
    running = start_listener("127.0.0.1", 0, "RADFUSE")
    yield running
    running.stop()


def packet(*items: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack(">IBB", len(d) + 2, 1, control) + d for control, d in items)
    return struct.pack(">BBI", 4, 0, len(body)) + body


def object_of(number: int) -> tuple[bytes, bytes]:
    """Command set and data set of an image."""
    data = pydicom.dcmread(io.BytesIO(ct(number)), force=True)
    encoded = io.BytesIO()
    pydicom.dcmwrite(encoded, data, implicit_vr=False, little_endian=True,
                     enforce_file_format=False)  # fmt: skip
    whole = encoded.getvalue()
    start = 132 + 12 + struct.unpack_from("<I", whole, 140)[0] if whole[128:132] == b"DICM" else 0
    return command(number, str(CTImageStorage), uid("instance", number)), whole[start:]


def test_packets_of_every_cut_are_stored(listener: Listener) -> None:
    """One fragment a packet, all in one packet, a command in two fragments (left to pynetdicom),
    and the end of one object in a packet with the beginning of the next."""
    link = associate(listener.port, (str(CTImageStorage), EXPLICIT))
    wire = link.dul.socket.socket
    (c1, d1), (c2, d2), (c3, d3), (c4, d4) = (object_of(number) for number in (1, 2, 3, 4))
    wire.sendall(packet((3, c1)) + packet((0, d1[:100])) + packet((0, b"")) + packet((2, d1[100:])))
    wait_until(lambda: Instance.objects.count() == 1)
    wire.sendall(packet((3, c2), (0, d2[:7]), (2, d2[7:])))
    wait_until(lambda: Instance.objects.count() == 2)
    wire.sendall(packet((1, c3[:20])) + packet((3, c3[20:])) + packet((2, d3)))
    wait_until(lambda: Instance.objects.count() == 3)
    wire.sendall(packet((3, c4), (0, d4)) + packet((2, b""), (3, c1), (0, d1[:10])))
    wait_until(lambda: Instance.objects.count() == 4)
    link.abort()
    wait_until(lambda: links_of(listener) == 0)
    assert Instance.objects.count() == 4


@pytest.mark.parametrize("wrong", ["another context", "a command inside", "a length too long"])
def test_an_object_that_is_not_continued_ends_the_association(
    listener: Listener, wrong: str
) -> None:
    link = associate(listener.port, (str(CTImageStorage), EXPLICIT))
    first, data = object_of(1)
    next_packet = {
        "another context": struct.pack(">BBIIBB", 4, 0, 8, 4, 3, 2) + b"ab",
        "a command inside": packet((3, first)),
        "a length too long": struct.pack(">BBIIBB", 4, 0, 8, 400, 1, 2) + b"ab",
    }[wrong]
    link.dul.socket.socket.sendall(packet((3, first)) + packet((0, data[:50])) + next_packet)
    wait_until(lambda: links_of(listener) == 0)
    assert Instance.objects.count() == 0
    again = associate(listener.port)
    assert again.send_c_store(pydicom.dcmread(io.BytesIO(ct(2)), force=True)).Status == 0
    again.release()


def test_what_nobody_foresaw_fails_one_object_and_not_the_association(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = listener_module.read_header

    def read_header(path: Path) -> Header:
        if uid("instance", 2).encode() in path.read_bytes():
            raise ZeroDivisionError
        return real(path)

    monkeypatch.setattr(listener_module, "read_header", read_header)
    association = associate(listener.port)
    statuses = [
        association.send_c_store(pydicom.dcmread(io.BytesIO(ct(number)), force=True)).Status
        for number in (1, 2, 3)
    ]
    association.release()
    assert statuses == [0x0000, 0x0110, 0x0000]
