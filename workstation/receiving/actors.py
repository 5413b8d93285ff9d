"""Messages of the receive queue; the rows decide, these only translate."""

from __future__ import annotations

import dramatiq

from workstation.broker import RECEIVE_QUEUE
from workstation.receiving.arriving import open_archive
from workstation.receiving.services.opening import OPEN_ACTOR

TIME_LIMIT_MS = 6 * 3600 * 1000


@dramatiq.actor(
    actor_name=OPEN_ACTOR, queue_name=RECEIVE_QUEUE, max_retries=0, time_limit=TIME_LIMIT_MS
)
def open_archive_actor(file_id: int) -> None:
    """Take in the files of a large ZIP."""
    open_archive(file_id)
