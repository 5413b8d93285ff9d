"""What every registration must answer for, whatever made it: with a figure, or with why not."""

from __future__ import annotations

from dataclasses import replace

from analysis.contracts import RegistrationRecord

ASPECTS: dict[str, tuple[str, ...]] = {
    "metric_gain": (
        "mutual_information_gain", "shared_information_gain", "better_match_gain", "smallest_gain",
    ),
    "inverse_consistency": ("inverse_consistency",),
    "start_spread": ("start_spread",),
    "overlap": ("overlap",),
    "jacobian": ("jacobian", "jacobian_min"),
    "estimated_error": ("estimated_error",),
}  # fmt: skip
"""The six aspects and the figures of which one answers for it."""

NOT_MEASURED = "not_measured"
"""Key in ``parameters``: aspect -> why no figure answers for it. Absent where all are answered."""


def answered(record: RegistrationRecord, why: str, **reasons: str) -> RegistrationRecord:
    """The record, with a reason for each aspect that no figure of it answers: ``reasons`` by
    aspect, ``why`` for the rest."""
    have = {figure.name for figure in record.quality}
    missing = {
        aspect: reasons.get(aspect, why)
        for aspect, names in ASPECTS.items()
        if have.isdisjoint(names)
    }
    kept = {key: value for key, value in record.parameters.items() if key != NOT_MEASURED}
    return replace(record, parameters=kept | ({NOT_MEASURED: missing} if missing else {}))
