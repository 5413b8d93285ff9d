"""Runs the demo's stand-in for a hospital PACS (``demo_pacs.py``) until it is stopped."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from workstation.management.commands.demo import DESTINATION
from workstation.management.demo_pacs import start_pacs


class Command(BaseCommand):
    """On 127.0.0.1; its files lie in ``<data>/demo-destination``."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        folder = settings.RADFUSE_HOME / "demo-destination"
        folder.mkdir(parents=True, exist_ok=True)
        server = start_pacs(folder, DESTINATION, settings.DEMO_DESTINATION_PORT)
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()
        server.shutdown()
