"""Open an association to a node: timeouts, TLS, and why it did not come about, in plain words."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pynetdicom
from django.conf import settings
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from workstation.receiving.models import RemoteNode
from workstation.receiving.network.tls import CannotSecure, client_context, common_name

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
MAXIMUM_PDU = 131_072
REASONS = {
    (1, 3): "The node does not know our AE title; add {title} there.",
    (1, 7): "The node does not have the AE title that is entered here.",
    (3, 1): "The node is busy; it takes no more associations now.",
    (3, 2): "The node is busy; it takes no more associations now.",
}
"""Source and diagnostic of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""


class NotReached(Exception):
    """The node did not answer as hoped; the text is for people and holds no patient data."""


class NotOffered(NotReached):
    """The node answers, but does not offer the service that was asked for."""


@contextmanager
def association(
    node: RemoteNode,
    contexts: list[PresentationContext],
    *,
    roles: list[SCP_SCU_RoleSelectionNegotiation] | None = None,
    handlers: list[Any] | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> Iterator[Association]:
    """An open association, released at the end or aborted when something went wrong.

    Raises :class:`NotReached`, and :class:`NotOffered` if no context was accepted.
    """
    link = _open(node, contexts, roles or [], handlers or [], answer_seconds)
    try:
        yield link
    except BaseException:
        link.abort()
        raise
    link.release()


def _open(
    node: RemoteNode,
    contexts: list[PresentationContext],
    roles: list[SCP_SCU_RoleSelectionNegotiation],
    handlers: list[Any],
    answer_seconds: float,
) -> Association:
    _keep_identifiers_out_of_logs()
    if not node.host or not node.port:
        raise NotReached("The node has no address; enter its host and port.")
    ae = AE(ae_title=settings.DICOM_AE_TITLE)
    ae.maximum_pdu_size = MAXIMUM_PDU
    ae.connection_timeout = CONNECT_SECONDS
    ae.acse_timeout = min(answer_seconds, ANSWER_SECONDS)
    ae.dimse_timeout = ae.network_timeout = answer_seconds
    try:
        secured = (client_context(), None) if node.tls else None
    except CannotSecure as error:
        raise NotReached(str(error)) from error
    try:
        link = ae.associate(
            node.host, node.port, contexts=contexts, ae_title=node.ae_title, ext_neg=roles,
            tls_args=secured, evt_handlers=handlers,
        )  # fmt: skip
    except (socket.gaierror, UnicodeError) as error:
        raise NotReached("The host name of the node is not known to this server.") from error
    if not link.is_established:
        raise _why_not(link, node)
    if secured and node.certificate_subject:
        shown = common_name(link.dul.socket.socket.getpeercert())
        if shown != node.certificate_subject:
            link.abort()
            raise NotReached("The certificate of the node carries another name than entered here.")
    return link


def _keep_identifiers_out_of_logs() -> None:
    """pynetdicom prints what it asks, what it is answered, and what it could not decode."""
    pynetdicom._config.LOG_REQUEST_IDENTIFIERS = False
    pynetdicom._config.LOG_RESPONSE_IDENTIFIERS = False
    pynetdicom._config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


def _why_not(link: Association, node: RemoteNode) -> NotReached:
    if link.is_rejected:
        answer = link.acceptor.primitive
        text = REASONS.get(
            (answer.result_source, answer.diagnostic),
            "The node refused the association; check the AE titles.",
        )
        return NotReached(text.format(title=settings.DICOM_AE_TITLE))
    if link.rejected_contexts:
        return NotOffered("The node does not offer this service.")
    if _listens(node):
        extra = " Does it speak TLS, and trust our certificate?" if node.tls else ""
        return NotReached(f"The node closed the connection without an answer.{extra}")
    return NotReached("The node cannot be reached; check host, port and firewall.")


def _listens(node: RemoteNode) -> bool:
    try:
        with socket.create_connection((node.host, node.port or 0), timeout=CONNECT_SECONDS):
            return True
    except (OSError, UnicodeError):
        return False
