"""``manage.py listen``: the DICOM listener as its own process, or several."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from workstation.receiving.listener import CannotListen, Door, open_doors, serve
from workstation.receiving.network.serving import Supervisor
from workstation.receiving.storage import remove_leftovers

LEFTOVER_SECONDS = 24 * 3600


class Command(BaseCommand):
    help = "Receive DICOM objects (C-ECHO, C-STORE) until stopped by SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.DICOM_HOST)
        parser.add_argument("--port", type=int, default=settings.DICOM_PORT, help="0: any free")
        parser.add_argument(
            "--tls-port", type=int, default=settings.DICOM_TLS_PORT or None,
            help="a second port with TLS and client certificates; 0: any free",
        )  # fmt: skip
        parser.add_argument("--ae-title", default=settings.DICOM_AE_TITLE)
        parser.add_argument("--processes", type=int, default=settings.LISTENER_PROCESSES)

    def handle(self, *args: Any, **options: Any) -> None:
        remove_leftovers(older_than=LEFTOVER_SECONDS)
        try:
            doors = open_doors(options["host"], options["port"], options["tls_port"])
            self._run(doors, options)
        except CannotListen as error:
            raise CommandError(str(error)) from None
        self.stdout.write("DICOM listener stopped")

    def _run(self, doors: list[Door], options: dict[str, Any]) -> None:
        title, processes = options["ae_title"], options["processes"]
        places = ", ".join(
            f"{options['host']}:{door.port}{' (TLS)' if door.tls else ''}" for door in doors
        )

        def work(wait: Callable[[], None]) -> None:
            listener = serve(doors, title)
            self._say(f"DICOM listener {title} ready on {places}")
            wait()
            listener.stop()

        if processes > 1:
            Supervisor(processes, work).run()
        else:
            work(_until_told)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _until_told() -> None:
    """Until SIGTERM or Ctrl-C."""
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, frame: stop.set())
    stop.wait()
