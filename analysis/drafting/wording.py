"""Numbers and findings as words.

Rounding: sizes 1 mm, volumes 0.1 ml, SUV 0.1, probability 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.contracts import FindingRecord


def millimetres(*values: float) -> str:
    """``18 × 15 mm``."""
    return " × ".join(f"{max(1, round(v))}" for v in values) + " mm"


def millilitres(value: float) -> str:
    """``3.9 ml``; what would round to nothing is said as ``less than 0.1 ml``."""
    return "less than 0.1 ml" if value < 0.05 else f"{value:.1f} ml"


def suv(value: float) -> str:
    return f"{value:.1f}"


def probability(value: float) -> str:
    """Two decimals, never a certainty."""
    return "above 0.99" if value > 0.99 else "below 0.01" if value < 0.01 else f"{value:.2f}"


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def sentence(text: str) -> str:
    """First letter upper case, one full stop."""
    text = text.strip().rstrip(".")
    return text[:1].upper() + text[1:] + "."


def place(finding: FindingRecord) -> str:
    """``, right upper lung zone`` or nothing."""
    return f", {finding.location}" if finding.location else ""


def uptake(finding: FindingRecord) -> str:
    """``SUVmax 7.4, SUVpeak 6.1, SUVmean 4.4`` with what was measured; empty without PET."""
    figures = (
        ("SUVmax", finding.suv_max),
        ("SUVpeak", finding.suv_peak),
        ("SUVmean", finding.suv_mean),
    )
    return ", ".join(f"{name} {suv(value)}" for name, value in figures if value is not None)


def size(finding: FindingRecord) -> str:
    """``18 × 15 mm, volume 2.1 ml``."""
    axes = millimetres(finding.long_axis_mm, finding.short_axis_mm)
    return f"{axes}, volume {millilitres(finding.volume_ml)}"
