"""What a series is for fusion: CT, PET, or which MR contrast. A small table, not a guess engine.

Order of trust: what the scanner measured (contrast agent, inversion, repetition and echo time)
corrects what the description says only where the description is silent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset

from analysis.contracts import Role

LABELS: dict[str, str] = {
    "CT": "CT",
    "PET": "PET (SUVbw)",
    "T1": "T1",
    "T1c": "T1 + contrast",
    "T2": "T2",
    "FLAIR": "FLAIR",
    "MR": "MR",
    "OTHER": "Other",
}

_NOT_STRUCTURAL = re.compile(
    r"\b(dwi|dti|diff\w*|adc|trace|swi|swan|phase|perf\w*|dsc|dce|asl|bold|fmri|mra|tof|angio\w*|"
    r"scout|loc\w*|survey|map|mip|ep2d|b\d{3,4}|fieldmap|spectro\w*|apparent)\b"
)
"""MR series that are none of the four structural contrasts, by words of their description."""

_CONTRAST = re.compile(
    r"\b(post|gd|gado\w*|contrast|ce|t1c|t1ce|t1gd|\+c|c\+|km|enhanced|dotarem|gadovist)\b|\+ ?c\b"
)
_NO_CONTRAST = re.compile(r"\b(pre|nativ\w*|without|w/o|non|unenhanced|plain|no)\b")
_FLAIR = re.compile(r"flair|dark ?fluid|\btirm\b(?=.*dark)")
_T1 = re.compile(r"\bt1|\bmprage\b|\bmp2rage\b|\bspgr\b|\bbravo\b|\bvibe\b|\btfl3d\b|\btfe\b")
_T2 = re.compile(r"\bt2(?!\*|star)|\bpd\b|\bciss\b|\bfiesta\b")


@dataclass(frozen=True)
class TimingRule:
    """An MR contrast by its timing in ms (inclusive bounds; None is no bound)."""

    role: Role
    tr: tuple[float, float] | None
    te: tuple[float, float] | None
    ti: tuple[float, float] | None


TIMING: tuple[TimingRule, ...] = (
    TimingRule("FLAIR", tr=(4000, 20000), te=(60, 500), ti=(1500, 3500)),
    TimingRule("T1", tr=(1500, 3500), te=(0, 10), ti=(500, 1400)),  # MPRAGE
    TimingRule("T1", tr=(200, 900), te=(0, 30), ti=None),  # spin echo
    TimingRule("T1", tr=(0, 50), te=(0, 6), ti=None),  # spoiled gradient echo, 3-D
    TimingRule("T2", tr=(1800, 20000), te=(65, 500), ti=None),
)
"""Usual clinical ranges at 1.5 and 3 T, from memory; only asked if the description is silent."""


def role_of(ds: Dataset) -> Role:
    """The role of a series from one of its headers."""
    modality = str(ds.get("Modality") or "")
    if modality == "CT":
        return "CT"
    if modality == "PT":
        return "PET"
    if modality != "MR":
        return "OTHER"
    text = _words(ds)
    if _NOT_STRUCTURAL.search(text):
        return "MR"
    role = _by_words(text) or _by_timing(ds)
    if role == "T1" and _has_contrast(ds, text):
        return "T1c"
    return role or "MR"


def _words(ds: Dataset) -> str:
    parts = [str(ds.get(k) or "") for k in ("SeriesDescription", "ProtocolName")]
    text = parts[0] if parts[0].strip() else parts[1]
    return re.sub(r"[_\-.,;:()\[\]^]+", " ", text.lower()).strip()


def _by_words(text: str) -> Role | None:
    if _FLAIR.search(text):
        return None if re.search(r"\bt1\b", text) else "FLAIR"
    if _T1.search(text):
        return "T1"
    if _T2.search(text):
        return None if re.search(r"\bpd\b", text) and not re.search(r"\bt2", text) else "T2"
    return None


def _by_timing(ds: Dataset) -> Role | None:
    tr, te, ti = (_milliseconds(ds, k) for k in ("RepetitionTime", "EchoTime", "InversionTime"))
    if tr is None or te is None:
        return None
    for rule in TIMING:
        if all(
            bounds is None or (value is not None and bounds[0] <= value <= bounds[1])
            for bounds, value in ((rule.tr, tr), (rule.te, te), (rule.ti, ti))
        ):
            return rule.role
    return None


def _has_contrast(ds: Dataset, text: str) -> bool:
    """A contrast agent in the header, unless it says none; else the description's words."""
    agent = str(ds.get("ContrastBolusAgent") or "").strip().lower()
    if _CONTRAST.search(text):
        return not re.search(r"\b(without|w/o|no|non)\b", text)
    if _NO_CONTRAST.search(text):
        return False
    return bool(agent) and agent not in ("no", "none", "n", "unenhanced", "no contrast")


def _milliseconds(ds: Dataset, keyword: str) -> float | None:
    try:
        value = float(ds.get(keyword))
    except (TypeError, ValueError):
        return None
    return value if value > 0 else None
