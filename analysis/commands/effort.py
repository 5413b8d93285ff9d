"""What a piece of work cost: wall time, CPU time of all threads and children, peak memory."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any


class Effort:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def figures(self) -> dict[str, Any]:
        """``peak_memory_mb`` is that of the whole process, libraries included."""
        return {
            "seconds_wall": round(time.perf_counter() - self._wall, 3),
            "seconds_cpu": round(_cpu_seconds() - self._cpu, 3),
            "peak_memory_mb": round(_peak_mb(), 1),
        }


def _cpu_seconds() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _peak_mb() -> float:
    """The kernel counts kilobytes, on macOS bytes. A child adds to its parent."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_maxrss for usage in both) / unit
