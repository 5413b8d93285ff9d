"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called with the share done (0..1) and plain words for what is being done. An exception from it,
for instance because the run was cancelled, stops the work."""


def silent(_share: float, _text: str) -> None:
    """For those who do not want to know."""
