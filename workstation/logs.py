"""Log lines for people who may not see patients."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

Raised = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


class WithoutValues(logging.Formatter):
    """Where an error came from and of what kind, never its message.

    Libraries put the value they stumbled over into the message, and that can be a patient's name.
    """

    def formatException(self, ei: Raised) -> str:
        lines: list[str] = []
        error = ei[1]
        while error is not None:
            kind = type(error)
            lines += traceback.format_tb(error.__traceback__)
            lines.append(f"{kind.__module__}.{kind.__qualname__}\n")
            following = error.__cause__
            if following is None and not error.__suppress_context__:
                following = error.__context__
            if following is not None:
                lines.append("which came after:\n")
            error = following
        return "".join(lines).rstrip()
