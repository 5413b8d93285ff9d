"""The warm child process that does a worker's steps, and how it is watched.

A thread in native code cannot be stopped, so steps run in a child of its own process group:
``python -m analysis serve`` (the protocol stands in ``analysis/serve.py``). It stays warm between
steps (imports cost seconds) and is killed, with all it started, on deadline, cancel, too much
memory, a broken protocol, or the end of this worker. This module knows no database.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import psutil

from analysis.contracts import RefineRequest, StepRequest, to_json

TICK_S = 0.25
STOP_GRACE_S = 2.0
MAX_LINE = 1_000_000
MIB = 1024 * 1024
_HIDDEN = ("RADFUSE_", "DJANGO_")
"""The child gets no secrets: it needs neither database nor broker."""

Beat = Callable[[float, str], bool]
"""``beat(fraction, text)`` renews the lease; False means it is lost."""


class ChildFailure(Exception):
    """The step did not succeed. ``message`` is for the reader's eyes."""

    def __init__(self, code: str, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retriable = retriable


class LeaseLost(Exception):
    """The step belongs to somebody else now; the child was killed and its result is dropped."""


@dataclass(frozen=True)
class Limits:
    """What one step may use. ``memory_mb`` 0 means no limit of ours."""

    deadline_s: float
    beat_s: float
    memory_mb: int = 0


@dataclass(frozen=True)
class Outcome:
    """``result`` is relative to the run's folder; ``peak_memory_mb`` is sampled, of the child
    and all its descendants."""

    result: str
    peak_memory_mb: int


_EOF = object()


class Child:
    """One warm child. Not shared between threads; ``stop`` may be called from anywhere."""

    def __init__(
        self, command: Sequence[str], *, cwd: str, env: Mapping[str, str] | None = None
    ) -> None:
        self._command = list(command)
        self._cwd = cwd
        self._extra_env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[object] = queue.SimpleQueue()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def run(
        self, request: StepRequest | RefineRequest, limits: Limits, beat: Beat
    ) -> Outcome:
        """Do one step or refinement. Raises :class:`ChildFailure` or :class:`LeaseLost`.

        Whatever else is raised here (a shutdown of the worker, a defect) also ends the child:
        nobody would listen to it any more.
        """
        healthy = False
        try:
            self._start()
            self._send(request)
            outcome = self._listen(limits, beat)
            healthy = True
            return outcome
        except ChildFailure as failure:
            healthy = failure.code not in _DEADLY
            raise
        finally:
            if not healthy:
                self.stop()

    def stop(self) -> None:
        """Kill the child and everything in its process group; harmless if it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):  # the whole group may be gone already
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_GRACE_S)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # unsent bytes to a dead child
                    stream.close()

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        env = {k: v for k, v in os.environ.items() if not k.startswith(_HIDDEN)}
        try:
            process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env={**env, **self._extra_env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ChildFailure(
                "child_not_started",
                f"The analysis process could not be started ({error.strerror}).",
                retriable=True,
            ) from error
        lines: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._process, self._lines = process, lines
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()

    def _send(self, request: StepRequest | RefineRequest) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(to_json(request) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def _listen(self, limits: Limits, beat: Beat) -> Outcome:
        assert self._process is not None
        started = last_beat = time.monotonic()
        fraction, text, peak = 0.0, "", 0
        while True:
            line = self._next_line()
            now = time.monotonic()
            if line is _EOF:
                raise self._death()
            if isinstance(line, bytes):
                event = _parse(line)
                if event["event"] == "done":
                    return Outcome(event["result"], max(peak, _memory_mb(self._process.pid)))
                if event["event"] == "error":
                    raise ChildFailure(
                        event["code"], event["message"], retriable=event["retriable"]
                    )
                fraction, text = event["fraction"], event["text"]
            if now - started > limits.deadline_s:
                raise ChildFailure(
                    "deadline",
                    f"The step did not finish within {_duration(limits.deadline_s)} "
                    "and was stopped.",
                    retriable=True,
                )
            peak = max(peak, used := _memory_mb(self._process.pid))
            if limits.memory_mb and used > limits.memory_mb:
                raise ChildFailure(
                    "memory_limit",
                    f"The step used more than {limits.memory_mb} MiB of memory and was stopped.",
                    retriable=True,
                )
            if now - last_beat >= limits.beat_s:
                last_beat = now
                if not beat(fraction, text):
                    raise LeaseLost

    def _next_line(self) -> object:
        try:
            return self._lines.get(timeout=TICK_S)
        except queue.Empty:
            return None

    def _death(self) -> ChildFailure:
        """Why the child is gone, in words."""
        assert self._process is not None
        try:
            code = self._process.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            return ChildFailure(
                "child_silent", "The analysis process closed its output.", retriable=True
            )
        if code == -signal.SIGKILL:
            return ChildFailure(
                "child_killed",
                "The analysis process was killed by the system, most likely because "
                "memory ran out.",
                retriable=True,
            )
        if code < 0:
            return ChildFailure(
                "child_crashed",
                f"The analysis process crashed ({signal.Signals(-code).name}).",
                retriable=True,
            )
        return ChildFailure(
            "child_ended",
            f"The analysis process ended without an answer (exit code {code}).",
            retriable=True,
        )


_DEADLY = frozenset(
    {
        "deadline",
        "memory_limit",
        "child_killed",
        "child_crashed",
        "child_ended",
        "child_silent",
        "child_garbled",
        "child_not_started",
        # After a shortage, start from a fresh process: native code may hold on to memory.
        "out_of_memory",
    }
)
"""Failures after which the child is not used again."""


def _read(stream: IO[bytes], lines: queue.SimpleQueue[object]) -> None:
    """Carry lines to the watcher until the stream ends; runs in a thread of its own."""
    with suppress(ValueError):  # the stream was closed by stop()
        while line := stream.readline(MAX_LINE):
            lines.put(line)
    lines.put(_EOF)


_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "progress": {"fraction": (int, float), "text": str},
    "done": {"result": str},
    "error": {"code": str, "message": str, "retriable": bool},
}


def _parse(line: bytes) -> dict[str, Any]:
    with suppress(ValueError, KeyError, TypeError):  # said below, once
        event: dict[str, Any] = json.loads(line)
        fields = _FIELDS[event["event"]]
        if all(isinstance(event[name], kind) for name, kind in fields.items()):
            return event
    raise ChildFailure(
        "child_garbled",
        "The analysis process answered in a way that was not understood.",
        retriable=True,
    )


def _memory_mb(pid: int) -> int:
    """Resident memory of the process and its descendants, MiB; 0 once it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family) // MIB
    except psutil.Error:
        return 0


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
