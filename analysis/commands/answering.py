"""One JSON object on standard output, an exit code, and nothing else."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

from analysis.boundary import as_analysis_error, protected_stdout
from analysis.errors import AnalysisError, InputRefused, ResourceExhausted

EXIT_DONE, EXIT_REFUSED, EXIT_FAILED, EXIT_EXHAUSTED, EXIT_INTERRUPTED = 0, 2, 3, 4, 130
EXIT_CODES = (
    f"Exit codes: {EXIT_DONE} done (read the verdict in the JSON), {EXIT_REFUSED} the input or the "
    f"arguments cannot be used, {EXIT_FAILED} failed, {EXIT_EXHAUSTED} out of memory or disk, "
    f"{EXIT_INTERRUPTED} interrupted."
)


def answer(command: str, job: Callable[[], dict[str, Any]]) -> int:
    """Do the job and print what it gives; a refusal or failure is printed as ``error``.

    Whatever libraries print meanwhile goes to standard error. A defect of ours comes through as
    a traceback: that is what helps.
    """
    with protected_stdout() as out, warnings.catch_warnings():
        # What pydicom doubts about a header is said where it matters, as a notice.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")
        try:
            document, code = {"command": command, **job()}, EXIT_DONE
        except KeyboardInterrupt:
            document, code = _error(command, "interrupted", "Interrupted."), EXIT_INTERRUPTED
        except (AnalysisError, MemoryError, OSError, RuntimeError) as error:
            known = _known(error)
            if known is None:
                raise
            document, code = _error(command, known.code, known.message), _exit_code(known)
        json.dump(plain(document), out, indent=2, allow_nan=False)
        out.write("\n")
    return code


def _known(error: BaseException) -> AnalysisError | None:
    """As the worker sees it; a file that cannot be opened or written is the caller's matter."""
    known = as_analysis_error(error)
    if known is None and isinstance(error, OSError) and error.filename is not None:
        return InputRefused("file", f"{error.filename}: {error.strerror or 'cannot be used'}.")
    return known


def _exit_code(known: AnalysisError) -> int:
    if isinstance(known, InputRefused):
        return EXIT_REFUSED
    return EXIT_EXHAUSTED if isinstance(known, ResourceExhausted) else EXIT_FAILED


def _error(command: str, code: str, message: str) -> dict[str, Any]:
    sys.stderr.write(f"error: {message}\n")
    return {"command": command, "error": {"code": code, "message": message}}


def plain(value: Any) -> Any:
    """The same as JSON can say it: a number that is not finite becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


class Progress:
    """Lines on standard error: a new one when the text changes or five percent have passed."""

    def __init__(self) -> None:
        self._text, self._share = "", -1.0

    def __call__(self, share: float, text: str) -> None:
        if text == self._text and share - self._share < 0.05:
            return
        self._text, self._share = text, share
        sys.stderr.write(f"{100 * share:5.1f} %  {text}\n")
        sys.stderr.flush()
