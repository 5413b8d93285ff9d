"""C-STORE in one thread: whoever reads an object from the line also keeps and answers it.

pynetdicom decodes each packet into objects, hands them from one thread to a second and the answer
back again: more work than hashing and writing the image. So the packets of a plain C-STORE request
(PS3.7 9.3.1), which nearly all are, are taken here as they come. Whatever is not plain - another
message, an unusual element, a command in several fragments - is left to pynetdicom, untouched.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workstation.receiving.network.incoming import Arriving

if TYPE_CHECKING:
    from workstation.receiving.network.links import Link

P_DATA_TF = 0x04
COMMAND, LAST = 1, 2
"""Bits of the message control header (PS3.8 E.2)."""
C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
NO_DATA_SET = 0x0101
LENGTH, SOP_CLASS, FIELD, MESSAGE_ID, ANSWERED_ID = 0x0000, 0x0002, 0x0100, 0x0110, 0x0120
PRIORITY, DATA_SET_TYPE, STATUS, COMMENT = 0x0700, 0x0800, 0x0900, 0x0902
SOP_INSTANCE, ORIGINATOR, ORIGINATOR_ID = 0x1000, 0x1030, 0x1031
NUMBERS = (FIELD, MESSAGE_ID, PRIORITY, DATA_SET_TYPE)
KNOWN = frozenset((LENGTH, SOP_CLASS, SOP_INSTANCE, ORIGINATOR, ORIGINATOR_ID, *NUMBERS))
"""Elements of a C-STORE request (PS3.7 table 9.3-1), all of group 0."""
UID = re.compile(rb"[0-9.]{1,64}")
LONGEST_COMMAND = 1024
SHORTEST_PDU = 1024
"""A peer that takes only smaller ones is left to pynetdicom, which cuts answers to size."""


class NotFollowed(Exception):
    """The packet breaks off, or does not go on with the object that is being received."""


@dataclass(frozen=True)
class Answer:
    """A C-STORE status (PS3.4 table B.2-1), and for people why."""

    status: int
    comment: str = ""


@dataclass(frozen=True)
class Request:
    """A plain C-STORE request."""

    message_id: int
    sop_class: bytes
    sop_instance: bytes


Keep = Callable[["Link", Arriving], Answer]
"""Keeps a whole object and says what is to be answered."""


class DirectStore:
    """The plain C-STORE requests of one association."""

    def __init__(self, link: Link, keep: Keep) -> None:
        self.link = link
        self.keep = keep
        self.request: Request | None = None
        self.context_id = 0
        self.arriving: Arriving | None = None
        self.storing = False
        """The line is not read while an object is kept: that is no silence of the sender."""

    def take(self, packet: memoryview) -> memoryview:
        """Take the items of a P-DATA-TF packet (behind its first 6 bytes) as far as they belong to
        plain C-STORE requests; the rest is given back.

        Raises :class:`NotFollowed` when the association is to be aborted.
        """
        if self.request is None and not self._may_begin():
            return packet
        while packet:
            if len(packet) < 6:
                return self._unless_receiving(packet)
            length, context_id, control = struct.unpack_from(">IBB", packet)
            if length < 2 or length + 4 > len(packet):
                return self._unless_receiving(packet)
            item = packet[6 : length + 4]
            if self.request is None:
                if not self._begin(context_id, control, item):
                    return packet
            elif control & COMMAND or context_id != self.context_id:
                raise NotFollowed
            else:
                self._go_on(item, bool(control & LAST))
            packet = packet[length + 4 :]
        return packet

    def _unless_receiving(self, packet: memoryview) -> memoryview:
        if self.request is not None:
            raise NotFollowed
        return packet

    def _may_begin(self) -> bool:
        """Nothing else is going on, and pynetdicom has finished the negotiation."""
        link = self.link
        largest = link.requestor.maximum_length
        return (
            link.is_established
            and link.dimse.message is None
            and link.dimse.msg_queue.empty()
            and (not largest or largest >= SHORTEST_PDU)
        )

    def _begin(self, context_id: int, control: int, item: memoryview) -> bool:
        context = self.link._accepted_cx.get(context_id)
        if control & 3 != COMMAND | LAST or context is None or len(item) > LONGEST_COMMAND:
            return False
        request = plain_request(bytes(item))
        if request is None:
            return False
        self.request, self.context_id = request, context_id
        self.arriving = Arriving(
            request.sop_class.decode(), request.sop_instance.decode(),
            str(context.transfer_syntax[0]),
        )  # fmt: skip
        return True

    def _go_on(self, item: memoryview, last: bool) -> None:
        assert self.arriving is not None and self.request is not None
        self.arriving.write(item)
        if not last:
            return
        self.storing = True
        try:
            answer = self.keep(self.link, self.arriving)
            if self.link.is_established and self.link.dul.socket is not None:
                self.link.dul.socket.send(response(self.request, answer, self.context_id))
        finally:
            self.request = self.arriving = None
            self.link.dul._idle_timer.restart()
            self.storing = False

    def close(self) -> None:
        """Forget what was not received to its end."""
        arriving, self.request, self.arriving = self.arriving, None, None
        if arriving is not None:
            arriving.discard()


def plain_request(command: bytes) -> Request | None:
    """A C-STORE request with its data set to follow, if the command set is nothing else and has
    nothing unusual in it."""
    found: dict[int, bytes] = {}
    at, end = 0, len(command)
    while at < end:
        if at + 8 > end:
            return None
        group, element, length = struct.unpack_from("<HHI", command, at)
        at += 8
        if group or element not in KNOWN or element in found or at + length > end:
            return None
        found[element] = command[at : at + length]
        at += length
    if any(len(found.get(element, b"")) != 2 for element in NUMBERS):
        return None
    field, message_id, _, data_set = (struct.unpack("<H", found[one])[0] for one in NUMBERS)
    sop_class = found.get(SOP_CLASS, b"").rstrip(b"\0 ")
    sop_instance = found.get(SOP_INSTANCE, b"").rstrip(b"\0 ")
    if field != C_STORE_RQ or data_set == NO_DATA_SET:
        return None
    if not UID.fullmatch(sop_class) or not UID.fullmatch(sop_instance):
        return None
    return Request(message_id, sop_class, sop_instance)


def response(request: Request, answer: Answer, context_id: int) -> bytes:
    """The P-DATA-TF packet of a C-STORE response (PS3.7 table 9.3-2)."""
    comment = answer.comment.encode("ascii", "replace")
    elements = b"".join(
        (
            _element(SOP_CLASS, _even(request.sop_class, b"\0")),
            _element(FIELD, struct.pack("<H", C_STORE_RSP)),
            _element(ANSWERED_ID, struct.pack("<H", request.message_id)),
            _element(DATA_SET_TYPE, struct.pack("<H", NO_DATA_SET)),
            _element(STATUS, struct.pack("<H", answer.status)),
            _element(COMMENT, _even(comment, b" ")) if comment else b"",
            _element(SOP_INSTANCE, _even(request.sop_instance, b"\0")),
        )
    )
    command = _element(LENGTH, struct.pack("<I", len(elements))) + elements
    item = struct.pack(">IBB", len(command) + 2, context_id, COMMAND | LAST) + command
    return struct.pack(">BBI", P_DATA_TF, 0, len(item)) + item


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value
