"""Several listener processes on the same ports: a parent binds, forks, and starts again whoever
dies. Associations are shared out by whichever process accepts first."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from django.db import connections

log = logging.getLogger(__name__)

STOP_SECONDS = 15.0
PAUSE_SECONDS = 0.2
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0
"""A child that lived this long is started again without a longer pause."""
PR_SET_PDEATHSIG = 1


class Supervisor:
    """Keeps ``count`` children running ``work`` until SIGTERM or SIGINT.

    ``work`` gets a function that blocks until the child is told to stop.
    """

    def __init__(self, count: int, work: Callable[[Callable[[], None]], None]) -> None:
        self.count = count
        self.work = work
        self.children: dict[int, float] = {}
        self.stopping = False
        self.pause = PAUSE_SECONDS

    def run(self) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._told_to_stop)
        for _ in range(self.count):
            self._start()
        while self.children:
            try:
                pid, status = os.waitpid(-1, 0)
            except InterruptedError:
                continue
            except ChildProcessError:
                break
            self._ended(pid, status)

    def _told_to_stop(self, number: int, frame: object) -> None:
        self.stopping = True
        for pid in list(self.children):
            _signal(pid, signal.SIGTERM)
        # Whoever hangs is ended the hard way.
        signal.signal(signal.SIGALRM, self._patience_ends)
        signal.setitimer(signal.ITIMER_REAL, STOP_SECONDS)

    def _patience_ends(self, number: int, frame: object) -> None:
        for pid in list(self.children):
            _signal(pid, signal.SIGKILL)

    def _start(self) -> None:
        # A child makes its own connections.
        connections.close_all()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _die_with(parent)
                self._be_child()
                status = 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        self.children[pid] = time.monotonic()

    def _be_child(self) -> None:
        read_end, write_end = os.pipe()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda number, frame: os.write(write_end, b"."))
        self.work(lambda: _wait(read_end))

    def _ended(self, pid: int, status: int) -> None:
        started = self.children.pop(pid, None)
        if started is None or self.stopping:
            return
        log.error("a listener process ended (status %d); another one is started", status)
        if time.monotonic() - started > STEADY_SECONDS:
            self.pause = PAUSE_SECONDS
        time.sleep(self.pause)
        self.pause = min(2 * self.pause, LONGEST_PAUSE)
        if not self.stopping:
            self._start()


def _wait(read_end: int) -> None:
    os.read(read_end, 1)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _die_with(parent: int) -> None:
    """A child without a parent would keep the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
