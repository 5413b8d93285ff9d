"""The DICOM listener: C-ECHO and C-STORE (Verification and Storage SCP, PS3.4 annexes A and B).

Datasets are written as they came over the wire, behind a file meta group of our own; nothing is
decoded. A dropped association keeps what came before: every object is stored by itself.
"""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass

import pynetdicom
from django.conf import settings
from django.db import DatabaseError, connection
from pydicom.dataset import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from workstation.accounts.models import Site
from workstation.receiving.models import RemoteNode
from workstation.receiving.network import commitment, performed_steps
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services import store_instance
from workstation.receiving.storage import StorageFull

log = logging.getLogger(__name__)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
PROCESSING_FAILURE = 0x0110
CANNOT_UNDERSTAND = 0xC000
"""C-STORE answers (PS3.4 table B.2-1). Bytes answered with 0xC000 are kept in quarantine."""
MAXIMUM_PDU = 131_072
MAXIMUM_ASSOCIATIONS = 64
COMMENT_LENGTH = 64
STOP_SECONDS = 5.0
REJECT_PERMANENT, BY_USER, CALLING_AE_UNKNOWN = 0x01, 0x01, 0x03


class CannotListen(Exception):
    """The listener cannot start; the text says why and what to do."""


@dataclass(frozen=True)
class Listener:
    """A running listener. ``port`` is the real one, also when 0 was asked for."""

    server: ThreadedAssociationServer
    port: int

    def stop(self) -> None:
        """Refuse new associations and end the open ones; an object being stored is finished."""
        # Others are waiting for their peer to begin or, rejected, to hang up: nothing to lose.
        busy = [peer for peer in self.server.active_associations if peer.is_established]
        self.server.shutdown()
        for association in busy:
            association.abort()
        for association in busy:
            association.join(STOP_SECONDS)


def start_listener(host: str, port: int, ae_title: str) -> Listener:
    """Listen in threads of this process. Raises :class:`CannotListen`."""
    _keep_identifiers_out_of_logs()
    ae = AE(ae_title=ae_title)
    ae.maximum_pdu_size = MAXIMUM_PDU
    ae.maximum_associations = MAXIMUM_ASSOCIATIONS
    ae.add_supported_context(Verification, list(ALL_TRANSFER_SYNTAXES[:4]))
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, list(ALL_TRANSFER_SYNTAXES))
    for context in [*commitment.CONTEXTS, *performed_steps.CONTEXTS]:
        ae.add_supported_context(context.abstract_syntax, context.transfer_syntax)
    handlers = [
        *commitment.HANDLERS,
        *performed_steps.HANDLERS,
        (evt.EVT_REQUESTED, refuse_unknown_caller),
        (evt.EVT_C_STORE, store),
        (evt.EVT_RELEASED, close_database),
        (evt.EVT_ABORTED, close_database),
    ]
    try:
        server = ae.start_server((host, port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise CannotListen(_why(error, host, port)) from error
    return Listener(server, server.server_address[1])


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is used by another program. Stop it, or choose another port "
            "with RADFUSE_DICOM_PORT."
        )
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}. Choose one above 1023."
    return f"Cannot listen on {host} port {port}: {error.strerror}."


def _keep_identifiers_out_of_logs() -> None:
    """pynetdicom prints whole requests, with patient data, unless told not to."""
    pynetdicom._config.LOG_REQUEST_IDENTIFIERS = False
    pynetdicom._config.LOG_RESPONSE_IDENTIFIERS = False
    pynetdicom._config.LOG_HANDLER_LEVEL = "none"


def site_of(calling_ae_title: str) -> Site | None:
    """The site of the node with this AE title; else the default site, if one is set."""
    node = (
        RemoteNode.objects.filter(ae_title=calling_ae_title, may_send=True, active=True)
        .select_related("site")
        .first()
    )
    if node is not None:
        return node.site
    if settings.DICOM_DEFAULT_SITE:
        return Site.objects.filter(code=settings.DICOM_DEFAULT_SITE).first()
    return None


def _caller(event: Event) -> str:
    return str(event.assoc.requestor.primitive.calling_ae_title).strip()


def refuse_unknown_caller(event: Event) -> None:
    """Reject the association unless its calling AE title belongs to a site."""
    try:
        known = site_of(_caller(event)) is not None
    except DatabaseError as error:
        log.error("association refused: database error %s", type(error).__name__)
        known = False
    if not known:
        log.warning("association refused: unknown calling AE title")
        event.assoc.acse.send_reject(REJECT_PERMANENT, BY_USER, CALLING_AE_UNKNOWN)
        event.assoc.kill()
        connection.close()


def store(event: Event) -> int | Dataset:
    """C-STORE: keep the bytes, write the rows, then answer; never answer success before that."""
    caller = _caller(event)
    try:
        site = site_of(caller)
        if site is None:
            return _answer(PROCESSING_FAILURE, "calling AE title no longer known")
        outcome = store_instance(site, [event.encoded_dataset()], source=f"dimse:{caller}")
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
        return _answer(PROCESSING_FAILURE, "archive disk error, send again")
    return _status_of(outcome)


def _status_of(outcome: Outcome) -> int | Dataset:
    if outcome.result in (Result.STORED, Result.REPEATED, Result.IGNORED):
        return SUCCESS
    return _answer(CANNOT_UNDERSTAND, f"kept in quarantine: {outcome.code}")


def _answer(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:COMMENT_LENGTH]
    return answer


def close_database(event: Event) -> None:
    """Each association has a thread, and each thread its own database connection."""
    connection.close()
