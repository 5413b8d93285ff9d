"""The edge of a process: its standard output kept clean, its failures put into words.

Light on purpose: a command that needs no networks does not load them.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from analysis.errors import AnalysisError, ResourceExhausted

_SHORTAGE_WORDS = ("can't allocate memory", "out of memory", "bad_alloc", "failed to allocate")


@contextmanager
def protected_stdout() -> Iterator[IO[str]]:
    """The real standard output, while everybody else's prints go to standard error."""
    sys.stdout.flush()
    real = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    python_stdout = sys.stdout
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield real
    finally:
        real.flush()
        os.dup2(real.fileno(), 1)
        sys.stdout = python_stdout
        real.close()


def as_analysis_error(error: BaseException) -> AnalysisError | None:
    """The expected failure that ``error`` stands for, or None when it is a defect of ours."""
    if isinstance(error, AnalysisError):
        return error
    shortage = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error).lower() for words in _SHORTAGE_WORDS)
    )
    if shortage:
        return ResourceExhausted(
            "out_of_memory", "The computer ran out of memory in this step. Try again later."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(
            "disk_full", "The disk is full. Free some space, then try the step again."
        )
    return None
