"""A stand-in for a hospital's PACS: keeps what it is sent as files, so that the demo's exports
can be looked at."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from workstation.management.commands.demo import DESTINATION


def keep(event: evt.Event, folder: Path) -> int:
    """Write the instance as ``<SOP class>_<SOP instance UID>.dcm``."""
    request = event.request
    kind = UID(str(request.AffectedSOPClassUID)).name.replace(" ", "").removesuffix("Storage")
    path = folder / f"{kind}_{request.AffectedSOPInstanceUID}.dcm"
    path.write_bytes(event.encoded_dataset())
    return 0x0000


class Command(BaseCommand):
    """Listens on 127.0.0.1 until it is stopped; files go to ``<data>/demo-destination``."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        folder = settings.RADFUSE_HOME / "demo-destination"
        folder.mkdir(parents=True, exist_ok=True)
        archive = AE(ae_title=DESTINATION)
        archive.supported_contexts = AllStoragePresentationContexts
        archive.add_supported_context(Verification)
        server = archive.start_server(
            ("127.0.0.1", settings.DEMO_DESTINATION_PORT),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, keep, [folder])],
        )
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()
        server.shutdown()
