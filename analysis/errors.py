"""Why an analysis stops, in words a reader understands.

AnalysisError
├── InputRefused        the input cannot be trusted: never retried, shown as it stands
├── StepFailed          the computation did not succeed
│   └── ResourceExhausted   memory or time ran out: worth another try
└── ModelError          a bundle is missing, altered or does not fit its contract

Every error has a stable ``code`` (for tables, tests, translations), a ``message`` that names
what is wrong and what to do next, and ``retriable``. Messages never carry patient data.
"""

from __future__ import annotations


class AnalysisError(Exception):
    """Base of every expected failure. ``code`` is snake_case and stable."""

    retriable = False

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class InputRefused(AnalysisError):
    """The input cannot be trusted; the reason is for the reader's eyes."""


class StepFailed(AnalysisError):
    """A computation ended without a usable result."""


class ResourceExhausted(StepFailed):
    """Memory, disk or time ran out; the same input may succeed later."""

    retriable = True


class ModelError(AnalysisError):
    """A model bundle is missing, altered, or does not meet its input contract."""
