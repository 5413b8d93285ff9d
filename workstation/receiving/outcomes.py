"""What can become of a received object."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    STORED = "stored"
    REPEATED = "repeated"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"


@dataclass(frozen=True)
class Outcome:
    """What became of one received object."""

    result: Result
    code: str = ""
    reason: str = ""
    instance_id: int | None = None
    study_id: int | None = None
    quarantined_id: int | None = None
