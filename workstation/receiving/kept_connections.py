"""Threads that keep their database connection while there is work, for requests that come in rows.

Under ASGI each request of Django gets a thread of its own and opens a connection in it, which takes
as long as storing several images. The threads here serve many requests; one that has had nothing
to do for a while closes its connection and ends.
"""

from __future__ import annotations

import threading
from collections import deque
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
        self._change = threading.Condition()
        """Held for whatever is counted here: a call that is given to a thread that ends in this
        moment would wait for ever."""
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._idle = 0
        self._threads: set[threading.Thread] = set()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._change:
            self._calls.append((future, lambda: function(*args, **kwargs)))
            if self._idle >= len(self._calls):
                self._change.notify()
            elif len(self._threads) < self.most:
                thread = threading.Thread(target=self._run, name="request", daemon=True)
                self._threads.add(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when what waits is done; new calls begin new ones."""
        with self._change:
            threads, self._threads = self._threads, set()
            self._change.notify_all()
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
            with self._change:
                self._threads.discard(threading.current_thread())
            connection.close()

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """None: this thread has been idle for long, or is not wanted any more."""
        mine = threading.current_thread()
        with self._change:
            self._idle += 1
            self._change.wait_for(
                lambda: self._calls or mine not in self._threads, timeout=IDLE_SECONDS
            )
            self._idle -= 1
            if self._calls:
                return self._calls.popleft()
            self._threads.discard(mine)
            return None
