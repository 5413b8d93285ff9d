"""The Dramatiq broker, its queues, and the one message that moves cases: ``nudge(case_id)``.

Rows are the truth and messages only nudge: a message that is lost, late or doubled changes
nothing, because ``flow.advance`` reads the database and the sweep calls it anyway.
"""

from __future__ import annotations

import logging

import dramatiq
import redis.exceptions
from django.conf import settings
from django.db import close_old_connections
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import (
    AgeLimit,
    Callbacks,
    CurrentMessage,
    Middleware,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)

log = logging.getLogger(__name__)

FLOW_QUEUE = "flow"
CPU_QUEUE = "cpu"
GPU_QUEUE = "gpu"
EXPORT_QUEUE = "export"
RECEIVE_QUEUE = "receive"
RETRIEVE_QUEUE = "retrieve"
QUEUES: dict[str, str] = {
    FLOW_QUEUE: "short messages that move cases along",
    CPU_QUEUE: "assembly, registration, measuring, drafting",
    GPU_QUEUE: "fusion inference; one worker process per device",
    EXPORT_QUEUE: "writing DICOM results and sending them",
    RETRIEVE_QUEUE: "asking other nodes, fetching from them, answering commitments",
    RECEIVE_QUEUE: "large ZIP archives, and other long work of taking images in",
}
ADVANCE_ACTOR = "advance_case"


class FreshConnections(Middleware):
    """What a request does for a web thread: no message inherits a broken database connection."""

    def before_process_message(self, broker: dramatiq.Broker, message: object) -> None:
        close_old_connections()

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: object,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        close_old_connections()


def _middleware() -> list[Middleware]:
    return [
        FreshConnections(),
        AgeLimit(),
        TimeLimit(),
        ShutdownNotifications(notify_shutdown=True),
        Callbacks(),
        Retries(max_retries=0),
        CurrentMessage(),
    ]


def make_broker(url: str) -> dramatiq.Broker:
    """The broker for ``url`` (``redis://``, ``unix://``; ``stub`` in unit tests)."""
    if url == "stub":
        return StubBroker(middleware=_middleware())
    # Every command may do maintenance: the default chance (0.1 %) leaves the messages of a killed
    # worker lying for minutes; at 100 % they return after heartbeat_timeout (measured).
    return RedisBroker(
        url=url,
        middleware=_middleware(),
        heartbeat_timeout=60_000,
        maintenance_chance=1_000_000,
    )


broker = make_broker(settings.BROKER_URL)
dramatiq.set_broker(broker)
for _queue in QUEUES:
    broker.declare_queue(_queue)


def send(actor: str, queue: str, *args: int) -> None:
    """Enqueue ``actor(*args)``; ids only. A broker that is down delays, it never fails a request:
    the sweep finds the row."""
    message: dramatiq.Message[None] = dramatiq.Message(
        queue_name=queue, actor_name=actor, args=args, kwargs={}, options={}
    )
    try:
        broker.enqueue(message)
    except (redis.exceptions.RedisError, dramatiq.errors.ConnectionError) as error:
        log.warning("broker unreachable, %s waits for the sweep: %s", actor, type(error).__name__)


def nudge(case_id: int) -> None:
    """Ask a flow worker to look at the case. Call it on commit."""
    send(ADVANCE_ACTOR, FLOW_QUEUE, case_id)
