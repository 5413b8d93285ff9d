"""The accepting side of an association, on top of pynetdicom: bounded, and quick with images.

pynetdicom reads 4 KiB at a time, looks for work every millisecond, keeps a whole data set in memory
and believes any PDU length. Here a PDU is read at once and has a largest size and a time to arrive
in, threads wait until there is something to do, and data sets go to the disk.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import socket
import ssl
import sys
import threading
import time
from typing import Any, cast

from django.db import connections
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dul import DULServiceProvider
from pynetdicom.events import EVT_CONN_OPEN, trigger
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import (
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from workstation.receiving.network.callers import Caller
from workstation.receiving.network.direct import P_DATA_TF, DirectStore, Keep, NotFollowed
from workstation.receiving.network.incoming import Incoming

log = logging.getLogger(__name__)

MAXIMUM_PDU = 131_072
LARGEST_PDU = 1024**2
"""Association requests list every service of a sender; they have no limit in the standard."""
LOOK_MS = 100
"""A waiting thread looks at its timers this often."""
GOODBYE, GOODBYE_MS = "Sta13", 2000
DATA_TRANSFER = "Sta6"
CLOSED, INVALID = "Evt17", "Evt19"
"""States and events of the upper layer (PS3.8 table 9-10)."""
HEAD = 6
"""Bytes of a packet before its content: type, reserved, length."""
IDLE_SECONDS = 0.05
FULL_SECONDS = 1.0
STEP_SECONDS, MOST_STEPS = 0.002, 10
MOST_WAITING = 4
"""Messages that a sender may send ahead of our answers; honest ones wait for each."""


class TooMany(Exception):
    """A sender does not wait for answers; its association is aborted."""


class Wire(AssociationSocket):
    """The connection: whole PDUs, within bounds of size and time; waits instead of polling."""

    def __init__(self, association: Association, client: socket.socket, pdu_seconds: float) -> None:
        super().__init__(association, client_socket=client)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.settimeout(pdu_seconds)
        self.pdu_seconds = pdu_seconds
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.bell_lock = threading.Lock()
        self.poll = select.poll()
        self.poll.register(client, select.POLLIN)
        self.poll.register(self.bell, select.POLLIN)
        self.unread_bytes = bytearray()
        self.buffer = bytearray()

    def ring(self) -> None:
        """Wake the thread that waits for data: there is something to send."""
        with self.bell_lock:
            if self.bell >= 0:
                os.eventfd_write(self.bell, 1)

    def let_go(self) -> None:
        """Give the descriptors back once both threads have ended."""
        with self.bell_lock:
            self.bell, bell = -1, self.bell
        os.close(bell)

    @property
    def ready(self) -> bool:
        connection = self.socket
        if connection is None or not self._is_connected:
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        wait = LOOK_MS if self.event_queue.empty() else 0
        if self.assoc.dul.state_machine.current_state == GOODBYE:
            # Who hangs up first may take our last word with it.
            wait = GOODBYE_MS
        found = self.poll.poll(wait)
        for descriptor, _ in found:
            if descriptor == self.bell:
                os.eventfd_read(self.bell)
        return any(descriptor != self.bell for descriptor, _ in found)

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, or fewer if the peer hangs up. Raises :class:`OSError` if they are too
        many or do not come in time."""
        if nr_bytes > LARGEST_PDU:
            raise OSError("PDU too large")
        data = self.unread_bytes[:nr_bytes]
        del self.unread_bytes[:nr_bytes]
        if len(data) < nr_bytes:
            begun = len(data)
            data.extend(bytes(nr_bytes - begun))
            with memoryview(data) as view, view[begun:] as rest:
                got = begun + self._fill(rest)
            del data[got:]
        return data

    def packet(self, nr_bytes: int) -> memoryview:
        """As :meth:`recv`, without making room anew: good until the next call."""
        if nr_bytes > LARGEST_PDU:
            raise OSError("PDU too large")
        if nr_bytes > len(self.buffer):
            self.buffer = bytearray(nr_bytes)
        view = memoryview(self.buffer)[:nr_bytes]
        return view[: self._fill(view)]

    def _fill(self, view: memoryview) -> int:
        connection = cast(socket.socket, self.socket)
        got = 0
        deadline = time.monotonic() + self.pdu_seconds
        while got < len(view):
            count = connection.recv_into(view[got:])
            if not count:
                break
            got += count
            if got < len(view) and time.monotonic() > deadline:
                raise TimeoutError("PDU not complete in time")
        return got

    def unread(self, data: bytes | bytearray) -> None:
        """Give bytes back: the next :meth:`recv` begins with them."""
        self.unread_bytes[:0] = data


class Dul(DULServiceProvider):
    """Upper layer: wakes up when there is something to send."""

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self._run_loop_delay = 0  # Wire.ready waits

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        if isinstance(self.socket, Wire):
            self.socket.ring()

    def stop_dul(self) -> bool:
        if self.state_machine.current_state != "Sta1":
            return False
        self._kill_thread = True
        if isinstance(self.socket, Wire):
            self.socket.ring()
        self.join()
        return True

    def idle_timer_expired(self) -> bool:
        direct = self._direct()
        return not (direct is not None and direct.storing) and super().idle_timer_expired()

    def _direct(self) -> DirectStore | None:
        return cast(Link, self.assoc).direct

    def _read_pdu_data(self) -> None:
        """Packets of images are taken here; pynetdicom reads what is left, and all others."""
        direct, wire = self._direct(), self.socket
        if (
            direct is not None
            and isinstance(wire, Wire)
            and self.state_machine.current_state == DATA_TRANSFER
        ):
            try:
                if self._take_packet(direct, wire):
                    return
            except OSError:
                self.event_queue.put(CLOSED)
                return
            except NotFollowed:
                self.event_queue.put(INVALID)
                return
        super()._read_pdu_data()

    def _take_packet(self, direct: DirectStore, wire: Wire) -> bool:
        """Whether nothing is left for pynetdicom of the packet that comes next."""
        head = wire.recv(HEAD)
        if len(head) < HEAD or head[0] != P_DATA_TF:
            wire.unread(head)
            return False
        length = int.from_bytes(head[2:], "big")
        packet = wire.packet(length)
        if len(packet) < length:
            raise ConnectionError("hung up inside a packet")
        left = direct.take(packet)
        if length and not left:
            return True
        wire.unread(head[:2] + len(left).to_bytes(4, "big") + left)
        return False


class Dimse(DIMSEServiceProvider):
    """Messages: waits for the next one, and sends data sets of images to the disk."""

    closed = False

    def get_msg(self, block: bool = False) -> Any:
        if block:
            return super().get_msg(block=True)
        try:
            return self.msg_queue.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        if self.closed:
            return
        if self.msg_queue.qsize() > MOST_WAITING:
            raise TooMany
        if self.message is None:
            self.message = DIMSEMessage()
            self.message.data_set = Incoming(self.message, self.assoc)
        super().receive_primitive(primitive)

    def close(self) -> None:
        """Forget what was not received to its end, and what nobody will answer any more."""
        self.closed = True
        left = [self.message.data_set] if self.message is not None else []
        while not self.msg_queue.empty():
            _, message = self.msg_queue.get_nowait()
            left.append(getattr(message, "DataSet", None))
        for data_set in left:
            if isinstance(data_set, Incoming):
                data_set.discard()


class Link(Association):
    """An association that we accept."""

    def __init__(self, ae: ApplicationEntity) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.dul = Dul(self)
        self.dimse = Dimse(self)
        self.caller: Caller | None = None
        self.caller_checked_at = 0.0
        self.direct: DirectStore | None = None
        # These also belong to the service providers.
        self.acse_timeout = ae.acse_timeout
        self.network_timeout = ae.network_timeout

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            wire = cast(Wire, self.dul.socket)
            wire._shutdown_socket()
            self.dul.kill_dul()
            wire.ring()
            self.dul.join()
            wire.let_go()
            cast(Dimse, self.dimse).close()
            if self.direct is not None:
                self.direct.close()
            # Each association has a thread, and each thread its own database connection.
            connections.close_all()


class Handler(RequestHandler):
    """Turns a connection into an association; the TLS handshake is done here, in its own thread."""

    def handle(self) -> None:
        server = cast(Any, self.server)
        connection = self.request
        connection.settimeout(server.ae.acse_timeout)
        if server.tls is not None:
            try:
                connection = server.tls.wrap_socket(connection, server_side=True)
            except (OSError, ValueError) as error:
                log.warning("TLS connection refused: %s", _reason(error))
                self.request.close()
                return
        try:
            link = self._link(connection)
        except OSError:
            connection.close()  # hung up already
            return
        trigger(link, EVT_CONN_OPEN, {"address": self.client_address})
        link.start()

    def _link(self, connection: socket.socket) -> Link:
        server = cast(Any, self.server)
        link = Link(self.ae)
        link._server = server
        link.direct = DirectStore(link, server.keep)
        # pynetdicom finds its associations by this name.
        link.name = f"AcceptorThread@{connection.fileno()}"
        link.set_socket(Wire(link, connection, server.pdu_seconds))
        link.acceptor.maximum_length = self.ae.maximum_pdu_size
        link.acceptor.ae_title = server.ae_title
        link.acceptor.address_info = self.local
        link.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        link.acceptor.implementation_version_name = self.ae.implementation_version_name
        link.acceptor.supported_contexts = list(server.contexts)
        link.requestor.address_info = self.remote
        for event, handlers in server._handlers.items():
            if event.is_intervention and handlers:
                link.bind(event, *handlers)
            elif not event.is_intervention:
                for handler, arguments in handlers:
                    link.bind(event, handler, arguments)
        return link


class Server(ThreadedAssociationServer):
    """Accepts connections on a listening socket that other processes may share."""

    daemon_threads = True

    def __init__(
        self,
        ae: ApplicationEntity,
        listening: socket.socket,
        contexts: list[PresentationContext],
        handlers: list[Any],
        *,
        keep: Keep,
        pdu_seconds: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.listening = listening
        self.keep = keep
        self.tls = tls
        self.pdu_seconds = pdu_seconds
        super().__init__(
            ae, listening.getsockname(), ae.ae_title, contexts, evt_handlers=handlers,
            request_handler=Handler,
        )  # fmt: skip

    def server_bind(self) -> None:
        self.socket.close()
        self.socket = self.listening
        # Another process may take the connection that woke this one.
        self.listening.setblocking(False)
        self.server_address = self.listening.getsockname()

    def server_activate(self) -> None:
        """It listens already."""

    def get_request(self) -> Any:
        open_links = len(self.active_associations)
        if open_links >= 2 * self.ae.maximum_associations:
            # Beyond what is refused politely (local limit exceeded): let the others wait.
            time.sleep(FULL_SECONDS)
        else:
            # The process with the fewest associations is the first to take the next one.
            time.sleep(min(open_links, MOST_STEPS) * STEP_SECONDS)
        return self.listening.accept()

    def server_close(self) -> None:
        """Without shutdown(), which would also end the listening of other processes."""
        self.listening.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.error("connection failed: %s", type(sys.exc_info()[1]).__name__)


def _reason(error: Exception) -> str:
    """What OpenSSL says, without the names in the certificate."""
    return str(getattr(error, "reason", "") or type(error).__name__)
