"""Notices of the case view that rooms further right know: they add a source when they are loaded.

A room imports only rooms left of it; what the report says about the run on screen is reporting's.
"""

from __future__ import annotations

from collections.abc import Callable

from workstation.analyzing.models import Run
from workstation.worklist.models import Case

Source = Callable[[Case, Run], list[dict[str, str]]]
"""The case and the run on screen -> ``code``, ``message``, ``severity``, ``subject``."""
_sources: list[Source] = []


def add_source(source: Source) -> Source:
    """Ask this too from now on; usable as a decorator."""
    _sources.append(source)
    return source


def more_notices(case: Case, run: Run | None) -> list[dict[str, str]]:
    """What all sources say about the run on screen."""
    return [notice for source in _sources for notice in source(case, run)] if run else []
