"""C-ECHO: does the node answer, under these titles (Verification, PS3.4 annex A)."""

from __future__ import annotations

from pynetdicom import build_context
from pynetdicom.sop_class import Verification

from workstation.receiving.models import RemoteNode
from workstation.receiving.network.calling import NotReached, association


def echo(node: RemoteNode) -> None:
    """Return if the node answers. Raises :class:`NotReached`, with the reason."""
    with association(node, [build_context(Verification)], answer_seconds=10) as link:
        status = link.send_c_echo()
    if "Status" not in status:
        raise NotReached("The node accepted the association, but did not answer the echo.")
    if status.Status != 0x0000:
        raise NotReached(f"The node answered the echo with status 0x{status.Status:04X}.")
