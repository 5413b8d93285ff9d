"""Threads that keep their database connection while there is work, for requests that come in rows.

Under ASGI each request of Django gets a thread of its own and opens a connection in it, which takes
as long as storing several images. The threads here serve many requests; one that has had nothing
to do for a while closes its connection and ends.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from django.db import connection

IDLE_SECONDS = 60.0


def keep_connection() -> None:
    """Open this thread's connection if there is none, and let the end of a request not close it.

    One that went bad meanwhile (the database was started again) is found by a question before its
    next use. On SQLite a commit must reach the disk before a sender is told: elsewhere in the
    product a power cut may cost the last seconds.
    """
    if connection.connection is not None:
        return
    connection.ensure_connection()
    connection.close_at = None
    connection.health_check_enabled = True
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=FULL")


class KeptThreads(Executor):
    """At most so many threads; a call waits for the next free one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._calls = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._calls.put((future, lambda: function(*args, **kwargs)))
        if not self._idle.acquire(blocking=False):
            with self._lock:
                if len(self._threads) < self.most:
                    thread = threading.Thread(target=self._run, name="request", daemon=True)
                    self._threads.add(thread)
                    thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when what waits is done; new calls begin new ones."""
        with self._lock:
            threads = list(self._threads)
        for _ in threads:
            self._calls.put(None)
        for thread in threads if wait else ():
            thread.join()

    def _run(self) -> None:
        try:
            while (call := self._next()) is not None:
                future, function = call
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(function())
                    except BaseException as error:
                        future.set_exception(error)
                        if not isinstance(error, Exception):
                            raise
                del call, future, function
        finally:
            connection.close()
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        try:
            return self._calls.get_nowait()
        except queue.Empty:
            self._idle.release()
        try:
            call = self._calls.get(timeout=IDLE_SECONDS)
            if call is None:
                self._idle.acquire(blocking=False)
            return call
        except queue.Empty:
            if self._idle.acquire(blocking=False):
                return None
            # A call was promised to an idle thread in this very moment.
            return self._calls.get()
