"""``manage.py listen``: the DICOM listener as its own process."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from workstation.receiving.listener import CannotListen, start_listener
from workstation.receiving.storage import remove_leftovers

LEFTOVER_SECONDS = 24 * 3600


class Command(BaseCommand):
    help = "Receive DICOM objects (C-ECHO, C-STORE) until stopped by SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.DICOM_HOST)
        parser.add_argument("--port", type=int, default=settings.DICOM_PORT, help="0: any free")
        parser.add_argument("--ae-title", default=settings.DICOM_AE_TITLE)

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda number, frame: stop.set())
        remove_leftovers(older_than=LEFTOVER_SECONDS)
        try:
            listener = start_listener(options["host"], options["port"], options["ae_title"])
        except CannotListen as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"DICOM listener {options['ae_title']} ready on {options['host']}:{listener.port}"
        )
        self.stdout.flush()
        stop.wait()
        listener.stop()
        self.stdout.write("DICOM listener stopped")
