"""A worker's turn at one step or refinement: claim, run in the child, record. The rows decide
everything."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
from collections.abc import Callable
from functools import partial

from django.conf import settings
from django.db import OperationalError, connection
from dramatiq.middleware.threading import Interrupt

from workstation.analyzing.models import Layer, Refinement, Step
from workstation.analyzing.recording import ResultInvalid, load_refinement, load_result
from workstation.analyzing.refinements import (
    beat_refinement,
    claim_refinement,
    fail_refinement,
    finish_refinement,
    hand_back_refinement,
)
from workstation.analyzing.requests import refine_request, step_request
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
        token = claim_step(step_id, _worker())
        if token is None:
            return  # done, cancelled, not due, or another worker has it

        def do() -> None:
            step = Step.objects.select_related("run__case").get(pk=step_id)
            outcome = _child().run(
                step_request(step), _limits(), _beat(heartbeat, step_id, token)
            )
            result = load_result(step, outcome.result)
            finish_step(step_id, token, result, peak_memory_mb=outcome.peak_memory_mb)

        _settle(
            f"step {step_id}", do, partial(fail_step, step_id, token),
            partial(hand_back_step, step_id, token),
        )  # fmt: skip


def perform_refinement(refinement_id: int) -> None:
    """Do the refinement if it is still to be done; the outcome stands in its row."""
    with _turn:
        token = claim_refinement(refinement_id, _worker())
        if token is None:
            return

        def do() -> None:
            row = Refinement.objects.select_related(
                "registration__run", "registration__series", "registration__reference"
            ).get(pk=refinement_id)
            try:
                request = refine_request(row)
            except Layer.DoesNotExist:
                raise ResultInvalid("The images of this registration are gone.") from None
            outcome = _child().run(
                request, _limits(), _beat(beat_refinement, refinement_id, token)
            )
            result = load_refinement(row, outcome.result)
            finish_refinement(refinement_id, token, result, peak_memory_mb=outcome.peak_memory_mb)

        _settle(
            f"refinement {refinement_id}", do, partial(fail_refinement, refinement_id, token),
            partial(hand_back_refinement, refinement_id, token),
        )  # fmt: skip


def _worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _limits() -> Limits:
    return Limits(
        deadline_s=settings.STEP_DEADLINE_SECONDS,
        beat_s=settings.HEARTBEAT_SECONDS,
        memory_mb=settings.STEP_MEMORY_LIMIT_MB,
    )


def _settle(
    what: str, do: Callable[[], None], fail: Callable[..., None], hand_back: Callable[[], None]
) -> None:
    """Do it; whatever happens, the row says so when this returns or raises."""
    settled = False
    try:
        _attempt(what, do, fail)
        settled = True
    except (LeaseLost, LostLease):
        settled = True
        log.warning("%s: lease lost, result dropped", what)
    except (Interrupt, KeyboardInterrupt, SystemExit):
        settled = True
        hand_back()
        raise
    finally:
        if not settled:  # a defect of ours; its traceback goes on to the worker's log
            fail(
                "internal_error",
                "The analysis failed unexpectedly. The worker's log holds the details.",
                retriable=True,
            )


def _attempt(what: str, do: Callable[[], None], fail: Callable[..., None]) -> None:
    try:
        do()
    except ChildFailure as failure:
        log.warning("%s: %s", what, failure.code)
        fail(failure.code, failure.message, retriable=failure.retriable)
    except ResultInvalid as problem:
        log.error("%s: result not usable", what)
        fail("result_invalid", str(problem), retriable=False)


def _beat(
    renew: Callable[[int, str, float, str], bool], key: int, token: str
) -> Callable[[float, str], bool]:
    def beat(fraction: float, text: str) -> bool:
        try:
            return renew(key, token, fraction, text)
        except OperationalError as error:
            # The database is away for a moment. Go on: the commit is fenced by the token anyway.
            log.warning("heartbeat of %s not written (%s)", key, type(error).__name__)
            connection.close()
            return True

    return beat
