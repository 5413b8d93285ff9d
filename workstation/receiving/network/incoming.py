"""The data set of a C-STORE on its way to the disk: hashed and written as its fragments come in.

Memory holds one PDU, however large the object is. Nothing is decoded: behind a file meta group of
our own, every byte is the sender's.
"""

from __future__ import annotations

import struct
import threading
from io import BytesIO
from typing import TYPE_CHECKING

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage

from workstation.receiving.storage import Staged, Staging, StorageFull

if TYPE_CHECKING:
    from pynetdicom.association import Association

LARGEST_IN_MEMORY = 16 * 1024**2
"""Of the data sets of other messages (commitments, performed steps)."""


class UnderWay:
    """How many objects of this process are being received or wait for their answer."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, step: int) -> None:
        with self._lock:
            self.count += step


under_way = UnderWay()


class TooLarge(Exception):
    """A message that is no C-STORE is larger than any honest one."""


class Arriving:
    """A data set on its way to the disk. :meth:`discard` must follow in the end."""

    def __init__(self, sop_class: str, sop_instance: str, transfer_syntax: str) -> None:
        self.staging: Staging | None = None
        self.error: OSError | StorageFull | None = None
        """Why the object could not be written; its remaining bytes are passed over."""
        under_way.add(1)
        try:
            self.staging = Staging()
            self.staging.write(file_meta(sop_class, sop_instance, transfer_syntax))
        except (OSError, StorageFull) as error:
            self.error = error

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes; what goes wrong is raised by :meth:`finish`."""
        if self.error is not None or self.staging is None:
            return
        try:
            self.staging.write(data)
        except (OSError, StorageFull) as error:
            self.error = error

    def finish(self) -> Staged:
        """The whole object, safe on the disk. Raises what :meth:`write` kept to itself."""
        if self.error is not None:
            raise self.error
        assert self.staging is not None
        return self.staging.finish(synced=True)

    def discard(self) -> None:
        """Remove the temporary file; what is in the archive by now stays there."""
        under_way.add(-1)
        if self.staging is not None:
            self.staging.discard()


class Incoming(BytesIO):
    """What pynetdicom takes for the buffer of a message's data set."""

    def __init__(self, message: DIMSEMessage, association: Association) -> None:
        super().__init__()
        self.message: DIMSEMessage | None = message
        self.association = association
        self._arriving: Arriving | None = None

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.message is not None and isinstance(self.message, C_STORE_RQ):
            self._begun().write(data)
            return len(data)
        if self.tell() + len(data) > LARGEST_IN_MEMORY:
            raise TooLarge
        return super().write(data)

    def _begun(self) -> Arriving:
        if self._arriving is None:
            assert self.message is not None and self.message.context_id is not None
            command = self.message.command_set
            # Of a context that was not accepted nothing is stored: pynetdicom aborts.
            context = self.association._accepted_cx.get(self.message.context_id)
            self._arriving = Arriving(
                str(command.AffectedSOPClassUID), str(command.AffectedSOPInstanceUID),
                str(context.transfer_syntax[0]) if context else "",
            )  # fmt: skip
        return self._arriving

    def taken(self) -> Arriving:
        """The object, which its taker discards in the end."""
        arriving = self._begun()
        self._arriving = self.message = None
        return arriving

    def discard(self) -> None:
        """Nobody will take it."""
        arriving, self._arriving, self.message = self._arriving, None, None
        if arriving is not None:
            arriving.discard()


def file_meta(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """Preamble, prefix and file meta group of a stored object (PS3.10 section 7.1)."""
    elements = b"".join(
        (
            struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\0\1",
            _short(0x02, b"UI", sop_class),
            _short(0x03, b"UI", sop_instance),
            _short(0x10, b"UI", transfer_syntax),
            _short(0x12, b"UI", str(PYNETDICOM_IMPLEMENTATION_UID)),
            _short(0x13, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION),
        )
    )
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(elements))
    return b"\0" * 128 + b"DICM" + length + elements


def _short(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value
