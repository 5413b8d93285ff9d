"""How much may be on its way to one client: bytes sent and not yet acknowledged."""

from __future__ import annotations

MOST_WINDOW = 8 * 1024 * 1024
"""A client that grants more would only fill buffers."""


class Window:
    """Back-pressure in bytes, so that a slow line is never filled further than its reader's eye."""

    def __init__(self, size: int) -> None:
        self.sent = 0
        self.received = 0
        self.resize(size)

    def resize(self, size: int) -> None:
        if not 0 < size <= MOST_WINDOW:
            raise ValueError(f"a window is 1 to {MOST_WINDOW} bytes")
        self.size = size

    def acknowledge(self, received: int) -> None:
        """The client is done with ``received`` bytes in all."""
        if not self.received <= received <= self.sent:
            raise ValueError("received is what was sent, and never less than before")
        self.received = received

    @property
    def under_way(self) -> int:
        return self.sent - self.received

    def has_room(self, frame: int) -> bool:
        """Whether the next frame may go. One larger than the window may, once little is on its way:
        it could never go otherwise."""
        return self.under_way + frame <= self.size or self.under_way < self.size // 4 + 1
