"""Log lines for people who may not see patients."""

from __future__ import annotations

import logging
import re
import traceback
from types import TracebackType

Raised = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


DICOMWEB_PATH = re.compile(r"/dicomweb/.*")


class WithoutValues(logging.Formatter):
    """Where an error came from and of what kind, never its message.

    Libraries put the value they stumbled over into the message, and that can be a patient's name.
    Paths of DICOMweb requests are made of UIDs, and Django logs the path of a refused request.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return DICOMWEB_PATH.sub("/dicomweb/...", super().formatMessage(record))

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
