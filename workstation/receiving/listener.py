"""The DICOM listener: Verification and Storage SCP (PS3.4 annexes A and B), and what
``network/commitment.py`` and ``network/performed_steps.py`` add.

Data sets are stored as they came over the wire, behind a file meta group of our own; nothing is
decoded. A dropped association keeps what came before: every object is answered by itself.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import pynetdicom
from django.conf import settings
from django.db import DatabaseError, connection
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from workstation.receiving.headers import NotAccepted, read_header
from workstation.receiving.network import commitment, performed_steps
from workstation.receiving.network.admitting import Refused, admit, still_admitted
from workstation.receiving.network.direct import Answer
from workstation.receiving.network.grouping import GroupedStore
from workstation.receiving.network.incoming import Arriving, Incoming
from workstation.receiving.network.links import MAXIMUM_PDU, Link, Server
from workstation.receiving.network.tls import CannotSecure, server_context
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services import Arrival
from workstation.receiving.storage import StorageFull

log = logging.getLogger(__name__)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
PROCESSING_FAILURE = 0x0110
CANNOT_UNDERSTAND, NOT_SUPPORTED = 0xC000, 0x0122
"""C-STORE answers (PS3.4 table B.2-1). Bytes answered with 0xC000 are kept in quarantine."""
COMMENT_LENGTH = 64
STOP_SECONDS = 5.0
BACKLOG = 128
REJECT_PERMANENT, BY_USER, CALLING_AE_UNKNOWN = 0x01, 0x01, 0x03
REJECT_TRANSIENT, BY_PROVIDER, CONGESTED = 0x02, 0x03, 0x01
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


class CannotListen(Exception):
    """The listener cannot start; the text says why and what to do."""


@dataclass(frozen=True)
class Door:
    """A listening socket; ``tls``: who comes in must prove who they are."""

    socket: socket.socket
    tls: bool = False

    @property
    def port(self) -> int:
        """The real one, also when 0 was asked for."""
        return int(self.socket.getsockname()[1])


@dataclass
class Listener:
    """A running listener. ``port`` and ``tls_port`` are the real ones."""

    doors: list[Door]
    store: GroupedStore
    servers: list[Server] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.doors[0].port

    @property
    def tls_port(self) -> int:
        return next(door.port for door in self.doors if door.tls)

    def stop(self) -> None:
        """Refuse new associations and end the open ones; an object being stored is finished."""
        # Others are waiting for their peer to begin or, rejected, to hang up: nothing to lose.
        busy = [
            peer
            for server in self.servers
            for peer in server.active_associations
            if peer.is_established
        ]
        for server in self.servers:
            server.shutdown()
        for association in busy:
            association.abort()
        for association in busy:
            association.join(STOP_SECONDS)
        self.store.stop()


def open_doors(host: str, port: int, tls_port: int | None = None) -> list[Door]:
    """Bind the plain port and, if there is one, the TLS port. Raises :class:`CannotListen`."""
    doors = [Door(_bound(host, port))]
    if tls_port is not None:
        doors.append(Door(_bound(host, tls_port), tls=True))
    return doors


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(_why(error, host, port)) from error


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is used by another program. Stop it, or choose another port "
            "with RADFUSE_DICOM_PORT or RADFUSE_DICOM_TLS_PORT."
        )
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}. Choose one above 1023."
    return f"Cannot listen on {host} port {port}: {error.strerror}."


def start_listener(
    host: str, port: int, ae_title: str, tls_port: int | None = None
) -> Listener:
    """Listen in threads of this process. Raises :class:`CannotListen`."""
    return serve(open_doors(host, port, tls_port), ae_title)


def serve(doors: list[Door], ae_title: str) -> Listener:
    """Accept associations at these doors in threads of this process.

    Raises :class:`CannotListen`.
    """
    _configure_pynetdicom()
    ae = AE(ae_title=ae_title)
    ae.maximum_pdu_size = MAXIMUM_PDU
    ae.maximum_associations = settings.DICOM_MAX_ASSOCIATIONS
    ae.acse_timeout = settings.DICOM_ACSE_SECONDS
    ae.dimse_timeout = settings.DICOM_DIMSE_SECONDS
    ae.network_timeout = settings.DICOM_IDLE_SECONDS
    try:
        tls = server_context() if any(door.tls for door in doors) else None
    except CannotSecure as error:
        raise CannotListen(str(error)) from error
    listener = Listener(doors, GroupedStore())
    contexts = [build_context(Verification), *commitment.CONTEXTS, *performed_steps.CONTEXTS]
    handlers = [
        (evt.EVT_REQUESTED, admit_or_refuse),
        (evt.EVT_C_STORE, partial(store, group=listener.store)),
        *commitment.HANDLERS,
        *performed_steps.HANDLERS,
    ]
    for door in doors:
        server = Server(
            ae, door.socket, contexts, handlers,
            keep=partial(keep, group=listener.store), pdu_seconds=settings.DICOM_DIMSE_SECONDS,
            tls=tls if door.tls else None,
        )  # fmt: skip
        ae._servers.append(server)
        listener.servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return listener


def _configure_pynetdicom() -> None:
    """It prints whole requests, with patient data, unless told not to; and it knows the storage
    classes of its release only, while senders have private ones and new ones."""
    pynetdicom._config.LOG_REQUEST_IDENTIFIERS = False
    pynetdicom._config.LOG_RESPONSE_IDENTIFIERS = False
    pynetdicom._config.LOG_HANDLER_LEVEL = "none"
    pynetdicom._config.UNRESTRICTED_STORAGE_SERVICE = True
    # Its error messages quote what it could not decode.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


def admit_or_refuse(event: Event) -> None:
    """Reject the association unless its caller is known."""
    answer = None
    try:
        admit(event)
    except Refused as reason:
        log.warning("association refused: %s", reason)
        answer = REJECT_PERMANENT, BY_USER, CALLING_AE_UNKNOWN
    except DatabaseError as error:
        log.error("association refused: database error %s", type(error).__name__)
        answer = REJECT_TRANSIENT, BY_PROVIDER, CONGESTED
    finally:
        # An association may be silent for minutes; it holds no connection meanwhile.
        connection.close()
    if answer is not None:
        event.assoc.acse.send_reject(*answer)
        event.assoc.kill()


def store(event: Event, group: GroupedStore) -> Dataset:
    """C-STORE as pynetdicom hands it on: what ``network/direct.py`` has left to it."""
    data_set = event.request.DataSet
    assert isinstance(data_set, Incoming)
    answer = keep(cast(Link, event.assoc), data_set.taken(), group)
    status = Dataset()
    status.Status = answer.status
    if answer.comment:
        status.ErrorComment = answer.comment
    return status


def keep(link: Link, arriving: Arriving, group: GroupedStore) -> Answer:
    """Keep the bytes, write the rows, then answer; never answer success before that."""
    try:
        return _answer_to(_store(link, arriving, group))
    except NotAdmitted:
        return _answer(PROCESSING_FAILURE, "calling AE title no longer known")
    except StorageFull:
        log.error("archive disk full: an object was refused")
        return _answer(OUT_OF_RESOURCES, "archive disk full")
    except DatabaseError as error:
        # The sender keeps its copy and sends again.
        log.error("object not stored: database error %s", type(error).__name__)
        connection.close()
        return _answer(PROCESSING_FAILURE, "database not available, send again")
    except OSError as error:
        log.error("object not stored: %s (errno %s)", type(error).__name__, error.errno)
        if error.errno in NOT_WRITABLE:
            return _answer(OUT_OF_RESOURCES, "archive disk cannot be written")
        return _answer(PROCESSING_FAILURE, "archive disk error, send again")
    except Exception:
        # One object fails; the association and the objects behind it go on.
        log.exception("object not stored")
        return _answer(PROCESSING_FAILURE, "not stored, see the listener's log")
    finally:
        arriving.discard()


class NotAdmitted(Exception):
    """The node was switched off while its association was open."""


def _store(link: Link, arriving: Arriving, group: GroupedStore) -> Outcome:
    caller = still_admitted(link)
    if caller is None:
        raise NotAdmitted
    staged = arriving.finish()
    try:
        header = read_header(staged.path)
    except NotAccepted:
        header = None  # refused, with its reason, where it is stored
    source = f"dimse:{caller.ae_title}"
    return group.store(Arrival(caller.site, staged, source, header=header))


def _answer_to(outcome: Outcome) -> Answer:
    if outcome.result in (Result.STORED, Result.REPEATED):
        return Answer(SUCCESS)
    if outcome.result is Result.IGNORED:
        # A disc's table of contents: nothing of it is kept, so nothing is promised.
        return _answer(NOT_SUPPORTED, "SOP class is not stored")
    return _answer(CANNOT_UNDERSTAND, f"kept in quarantine: {outcome.code}")


def _answer(status: int, comment: str) -> Answer:
    return Answer(status, comment[:COMMENT_LENGTH])
