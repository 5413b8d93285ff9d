"""Helpers of the listener's tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage, Verification

from workstation.receiving.listener import Listener

EXPLICIT = "1.2.840.10008.1.2.1"


def associate(
    port: int, *contexts: tuple[str, str], title: str = "SCANNER", **more: Any
) -> Association:
    """An association for CT images, or for these SOP classes and transfer syntaxes."""
    ae = AE(ae_title=title)
    for sop_class, syntax in contexts or [(CTImageStorage, EXPLICIT), (Verification, EXPLICIT)]:
        ae.add_requested_context(sop_class, syntax)
    return ae.associate("127.0.0.1", port, **more)


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def links_of(listener: Listener) -> int:
    """How many associations it has, also unfinished ones."""
    return sum(len(server.active_associations) for server in listener.servers)
