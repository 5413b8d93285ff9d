"""``manage.py clock``: runs the flow's sweep every few seconds, until it is told to stop."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError, connection

from workstation.flow import sweep, tidy

log = logging.getLogger(__name__)
TIDY_SECONDS = 60.0


class Command(BaseCommand):
    """One clock is enough; a second one does no harm."""

    help = "Complete quiet studies, return orphaned steps, resend lost messages, advance cases."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="sweep once and stop")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        tidied = -math.inf
        while not stop.is_set():
            started = time.monotonic()
            try:
                sweep()
                if started - tidied >= TIDY_SECONDS:
                    tidied = started
                    tidy()
            except OperationalError as error:
                # The database is away or locked; the next turn sees the same rows.
                log.warning("sweep put off: %s", type(error).__name__)
                connection.close()
            if options["once"]:
                return
            stop.wait(max(0.5, settings.SWEEP_SECONDS - (time.monotonic() - started)))
