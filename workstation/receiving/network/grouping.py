"""Objects of all associations share transactions: whoever arrives while one is written waits for
the next, with all others that came meanwhile.

One thread of each process writes, over one database connection. A transaction and its waiting for
the disk cost as much for eight objects as for one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import Future

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from workstation.receiving.kept_connections import keep_connection
from workstation.receiving.network.incoming import under_way
from workstation.receiving.outcomes import Outcome
from workstation.receiving.services import Arrival, store_many
from workstation.receiving.storage import StorageFull

log = logging.getLogger(__name__)

MOST_TOGETHER = 64
WAIT_SECONDS = 0.01
"""An object waits this long for others that are being received. A single sender never waits."""


class GroupedStore:
    """Stores what many threads hand in. One for each process, made after forking."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Arrival, Future[Outcome]] | None]
        self._waiting = queue.SimpleQueue()
        self._last_size = 0
        self._thread = threading.Thread(target=self._run, name="grouped-store", daemon=True)
        self._thread.start()

    def store(self, arrival: Arrival) -> Outcome:
        """As :func:`store_many` with one arrival, when its group is committed."""
        future: Future[Outcome] = Future()
        self._waiting.put((arrival, future))
        return future.result()

    def stop(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                group = self._next()
                if group:
                    self._write(group)
                else:
                    return
        finally:
            connection.close()

    def _next(self) -> list[tuple[Arrival, Future[Outcome]]]:
        """What waits now, at least one; empty at the end."""
        first = self._waiting.get()
        if first is None:
            return []
        group = [first]
        deadline = time.monotonic() + WAIT_SECONDS
        while len(group) < MOST_TOGETHER:
            # Those of the last group are on their way again, most likely.
            expected = max(under_way.count, self._last_size)
            left = deadline - time.monotonic() if expected > len(group) else 0.0
            try:
                item = self._waiting.get(timeout=max(left, 0.0))
            except queue.Empty:
                break
            if item is None:
                self._waiting.put(None)
                break
            group.append(item)
        self._last_size = len(group)
        return group

    def _write(self, group: list[tuple[Arrival, Future[Outcome]]]) -> None:
        try:
            keep_connection()
            outcomes = store_many([arrival for arrival, _ in group])
        except (OperationalError, InterfaceError) as error:
            # The database is away or went away; senders keep their copies and send again.
            connection.close()
            _fail(group, error)
        except (DatabaseError, StorageFull, OSError) as error:
            self._one_by_one(group, error)
        except Exception as error:
            log.exception("objects not stored")
            self._one_by_one(group, error)
        else:
            for (_, future), outcome in zip(group, outcomes, strict=True):
                future.set_result(outcome)

    def _one_by_one(
        self, group: list[tuple[Arrival, Future[Outcome]]], error: Exception
    ) -> None:
        """One of them must not take the others with it."""
        connection.close()
        if len(group) == 1:
            _fail(group, error)
            return
        log.warning("a group of %d is stored one by one: %s", len(group), type(error).__name__)
        for item in group:
            self._write([item])


def _fail(group: list[tuple[Arrival, Future[Outcome]]], error: BaseException) -> None:
    for _, future in group:
        future.set_exception(error)
