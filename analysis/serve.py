"""The child process of one worker: takes requests from standard input until it closes.

Protocol, one JSON document per line. In: a ``StepRequest`` or ``RefineRequest``
(``contracts.to_json``). Out::

    {"event": "progress", "fraction": 0.4, "text": "registering MR"}
    {"event": "done", "result": "register/result.json"}          relative to run_dir
    {"event": "error", "code": "pet_no_dose", "message": "...", "retriable": false}

Exactly one ``done`` or ``error`` answers each request. Nothing else is ever written to standard
output: file descriptor 1 is pointed at standard error, so that a library's print cannot break a
line. The process ends when standard input closes; on Linux the kernel also kills it when the
thread that started it ends (``PR_SET_PDEATHSIG``), even in the middle of native code.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from typing import IO, Any

from pydantic import TypeAdapter, ValidationError

from analysis.boundary import as_analysis_error, protected_stdout
from analysis.contracts import RefineRequest, StepRequest
from analysis.errors import AnalysisError, InputRefused
from analysis.pipeline import result_path, run_step
from analysis.refining import RESULT, refine

PROGRESS_INTERVAL_S = 0.2
_PR_SET_PDEATHSIG = 1
_REQUEST: TypeAdapter[StepRequest | RefineRequest] = TypeAdapter(StepRequest | RefineRequest)


def die_with_parent() -> None:
    """Ask the Linux kernel to kill this process when its parent ends; elsewhere do nothing."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended between the two calls
        os.kill(os.getpid(), signal.SIGKILL)


class _Speaker:
    """Writes events; progress is thinned to what a screen can show."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._last_time = 0.0
        self._last_text = ""

    def say(self, **event: Any) -> None:
        self._out.write(json.dumps(event) + "\n")
        self._out.flush()

    def progress(self, fraction: float, text: str) -> None:
        now = time.monotonic()
        if text == self._last_text and now - self._last_time < PROGRESS_INTERVAL_S:
            return
        self._last_time, self._last_text = now, text
        self.say(event="progress", fraction=round(min(1.0, max(0.0, fraction)), 4), text=text)


def answer(line: str, speaker: _Speaker) -> None:
    """Do the one thing that ``line`` asks for and report how it ended."""
    try:
        try:
            request = _REQUEST.validate_json(line)
        except ValidationError:
            raise InputRefused(
                "bad_request", "The request is not a valid StepRequest document."
            ) from None
        if isinstance(request, RefineRequest):
            refine(request, speaker.progress)
            speaker.say(event="done", result=f"{request.folder}/{RESULT}")
        else:
            run_step(request, speaker.progress)
            speaker.say(event="done", result=result_path(request.step))
    # The one top-level boundary: whatever happens, the parent gets an answer and the next
    # request is served. The traceback goes to standard error, never into the message.
    except Exception as error:  # noqa: BLE001
        known = as_analysis_error(error)
        if known is None:
            # Its place and kind, not its message: libraries quote header values in theirs.
            sys.stderr.write(f"Traceback of {type(error).__qualname__}:\n")
            traceback.print_tb(error.__traceback__)
            known = AnalysisError(
                "internal_error",
                f"The analysis failed unexpectedly ({type(error).__name__}). "
                "The worker's log holds the details.",
            )
        speaker.say(
            event="error", code=known.code, message=known.message, retriable=known.retriable
        )


def serve() -> int:
    """Answer requests until standard input closes."""
    die_with_parent()
    # What this process prints goes to a log, and pydicom prints the values it doubts.
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")
    with protected_stdout() as out:
        speaker = _Speaker(out)
        for line in sys.stdin:
            if line.strip():
                answer(line, speaker)
    return 0
