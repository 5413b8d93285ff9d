"""Who may open an association: the AE title, the address and the certificate must agree."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from typing import Any, cast

from django.db import connection
from django.utils import timezone
from pynetdicom.events import Event

from workstation.receiving.models import RemoteNode
from workstation.receiving.network.callers import Caller, caller_of, caller_on
from workstation.receiving.network.tls import common_name
from workstation.receiving.services.nodes import note_seen, note_unknown_caller

log = logging.getLogger(__name__)

UNKNOWN_TITLE = "AE title not known"
OTHER_ADDRESS = "calls from another address"
OTHER_CERTIFICATE = "certificate names somebody else"
NO_TLS = "must use the TLS port"
NOTE_SECONDS = 10.0
"""The same refused caller is written at most this often: it may try a hundred times a second."""
SEEN_SECONDS = 60.0
MOST_REMEMBERED = 1000


class Refused(Exception):
    """The association is refused; the text is one of the reasons above."""


class Often:
    """Says for each key whether it is due again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last: dict[object, float] = {}
        self._lock = threading.Lock()

    def due(self, key: object) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(key, -self.seconds) < self.seconds:
                return False
            if len(self._last) >= MOST_REMEMBERED:
                self._last.clear()
            self._last[key] = now
            return True


_noted = Often(NOTE_SECONDS)
_seen = Often(SEEN_SECONDS)


def admit(event: Event) -> Caller:
    """The caller of an association that is requested. Raises :class:`Refused`.

    Who was refused is shown to administrators; when a node called last is kept.
    """
    address = str(event.assoc.requestor.address)
    try:
        caller = _checked(event, address)
    except Refused as reason:
        title = str(event.assoc.requestor.primitive.calling_ae_title).strip()
        if _noted.due((title, address, str(reason))):
            note_unknown_caller(title, address, str(reason))
        raise
    event.assoc.caller, event.assoc.caller_checked_at = caller, time.monotonic()
    if caller.node is not None and _seen.due(caller.node.pk):
        note_seen(caller.node.pk, timezone.now())
    return caller


def _checked(event: Event, address: str) -> Caller:
    caller = caller_of(event)
    if caller is None:
        raise Refused(UNKNOWN_TITLE)
    if caller.node is not None:
        _check_address(caller.node, address)
        _check_certificate(caller.node, event.assoc.dul.socket.socket)
    return caller


def _check_address(node: RemoteNode, address: str) -> None:
    if not node.only_from_host:
        return
    try:
        found = socket.getaddrinfo(node.host, None, proto=socket.IPPROTO_TCP) if node.host else []
    except OSError:
        log.warning("the host of node %d is not found", node.pk)
        found = []
    if _plain(address) not in {_plain(str(entry[4][0])) for entry in found}:
        raise Refused(OTHER_ADDRESS)


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


def _check_certificate(node: RemoteNode, connection: socket.socket | None) -> None:
    """The CA has signed the certificate: the handshake made sure of that."""
    if not node.certificate_subject:
        return
    if not isinstance(connection, ssl.SSLSocket):
        raise Refused(NO_TLS)
    if common_name(connection.getpeercert()) != node.certificate_subject:  # type: ignore[arg-type]
        raise Refused(OTHER_CERTIFICATE)


def still_admitted(link: Any) -> Caller | None:
    """The caller of a running association (``links.Link``), asked of the database again now and
    then: a node that was switched off stops sending. Raises a database error."""
    if time.monotonic() - link.caller_checked_at > NOTE_SECONDS:
        try:
            link.caller = caller_on(link)
        finally:
            connection.close()
        link.caller_checked_at = time.monotonic()
    return cast("Caller | None", link.caller)
