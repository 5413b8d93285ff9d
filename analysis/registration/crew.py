"""Several descents side by side, with progress and a way to stop them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

Tick = Callable[[], bool]
"""Called once per optimiser iteration, in any thread; False means: stop now."""
T = TypeVar("T")
Job = Callable[[Tick], T]

LOOK_EVERY_S = 0.2


def run_jobs(
    jobs: Sequence[Job[T]],
    *,
    threads: int,
    ticks: int,
    progress: Callable[[float], None],
) -> list[T]:
    """Results of ``jobs`` in order, at most ``threads`` at a time (numpy and
    torch release the GIL).

    ``ticks`` is how many iterations all jobs take at most. ``progress`` gets the share done and is
    called in the caller's thread only; if it raises, for instance because the run was cancelled,
    the jobs are stopped and the exception goes on to the caller.
    """
    stop = Event()
    done = [0] * len(jobs)

    def ticking(number: int) -> Tick:
        def tick() -> bool:
            done[number] += 1
            return not stop.is_set()

        return tick

    with ThreadPoolExecutor(max(1, threads)) as pool:
        running = [pool.submit(job, ticking(number)) for number, job in enumerate(jobs)]
        try:
            pending = set(running)
            while pending:
                _, pending = wait(pending, timeout=LOOK_EVERY_S)
                progress(min(1.0, sum(done) / ticks))
            return [future.result() for future in running]
        finally:
            stop.set()
            for future in running:
                future.cancel()


def side_by_side(
    jobs: Sequence[Callable[[], T]], *, threads: int, progress: Callable[[float], None]
) -> list[T]:
    """:func:`run_jobs` for jobs of a fraction of a second, which need no stopping half way."""

    def counted(job: Callable[[], T]) -> Job[T]:
        def run(tick: Tick) -> T:
            result = job()
            tick()
            return result

        return run

    return run_jobs(
        [counted(job) for job in jobs], threads=threads, ticks=len(jobs), progress=progress
    )
