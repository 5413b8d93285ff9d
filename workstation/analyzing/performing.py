"""A worker's turn at one step: claim, run in the child, record. The rows decide everything."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
from collections.abc import Callable

from django.conf import settings
from django.db import OperationalError, connection
from dramatiq.middleware.threading import Interrupt

from workstation.analyzing.models import Step
from workstation.analyzing.recording import ResultInvalid, load_result
from workstation.analyzing.requests import step_request
from workstation.analyzing.runner import Child, ChildFailure, LeaseLost, Limits
from workstation.analyzing.services import (
    claim_step,
    fail_step,
    finish_step,
    hand_back_step,
    heartbeat,
)
from workstation.analyzing.states import LostLease

log = logging.getLogger(__name__)

_turn = threading.Lock()
"""One step at a time in a worker process: the child, and its GPU, are not shared."""
_children: list[Child] = []


def _child() -> Child:
    """This process's warm child, made on first use (after the worker has forked)."""
    if not _children:
        threads = str(settings.ANALYSIS_THREADS)
        _children.append(
            Child(
                settings.STEP_COMMAND,
                cwd=str(settings.BASE_DIR),
                # Passive: threads that spin while they wait for a busy core made the networks four
                # times slower (measured: 6.6 s against 1.5 s beside other work on two cores).
                env={
                    "OMP_NUM_THREADS": threads,
                    "MKL_NUM_THREADS": threads,
                    "OMP_WAIT_POLICY": "passive",
                },
            )
        )
        atexit.register(stop_child)
    return _children[0]


def stop_child() -> None:
    """End the warm child, if there is one."""
    while _children:
        _children.pop().stop()


def perform_step(step_id: int) -> None:
    """Do the step if it is still to be done; the outcome, good or bad, stands in its rows."""
    with _turn:
        token = claim_step(step_id, f"{socket.gethostname()}:{os.getpid()}")
        if token is None:
            return  # done, cancelled, not due, or another worker has it
        settled = False
        try:
            _perform(Step.objects.select_related("run__case").get(pk=step_id), token)
            settled = True
        except (LeaseLost, LostLease):
            settled = True
            log.warning("step %s: lease lost, result dropped", step_id)
        except (Interrupt, KeyboardInterrupt, SystemExit):
            settled = True
            hand_back_step(step_id, token)
            raise
        finally:
            if not settled:  # a defect of ours; its traceback goes on to the worker's log
                fail_step(
                    step_id,
                    token,
                    "internal_error",
                    "The analysis failed unexpectedly. The worker's log holds the details.",
                    retriable=True,
                )


def _perform(step: Step, token: str) -> None:
    limits = Limits(
        deadline_s=settings.STEP_DEADLINE_SECONDS,
        beat_s=settings.HEARTBEAT_SECONDS,
        memory_mb=settings.STEP_MEMORY_LIMIT_MB,
    )
    try:
        outcome = _child().run(step_request(step), limits, _beat(step.pk, token))
        result = load_result(step, outcome.result)
        finish_step(step.pk, token, result, peak_memory_mb=outcome.peak_memory_mb)
    except ChildFailure as failure:
        log.warning("step %s (%s): %s", step.pk, step.name, failure.code)
        fail_step(step.pk, token, failure.code, failure.message, retriable=failure.retriable)
    except ResultInvalid as problem:
        log.error("step %s (%s): result not usable", step.pk, step.name)
        fail_step(step.pk, token, "result_invalid", str(problem), retriable=False)


def _beat(step_id: int, token: str) -> Callable[[float, str], bool]:
    def beat(fraction: float, text: str) -> bool:
        try:
            return heartbeat(step_id, token, fraction, text)
        except OperationalError as error:
            # The database is away for a moment. Go on: the commit is fenced by the token anyway.
            log.warning("step %s: heartbeat not written (%s)", step_id, type(error).__name__)
            connection.close()
            return True

    return beat
