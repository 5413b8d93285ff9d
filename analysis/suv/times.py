"""When was the tracer injected, and to which moment are the PET pixels decay corrected?

The clock side of the SUV (``clinical.md`` 1.5, steps 3 and 4). Dates and times never
leave this module: evidence and notices carry durations only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from analysis.contracts import Notice
from analysis.errors import InputRefused

CLOCK_TOLERANCE_S = 1.0
"""Series and acquisition times that differ by less are the same moment written twice."""
PREVIOUS_DAY_AFTER_S = 3600.0
"""An undated injection later than the scan by more than this happened the day before."""
DYNAMIC_LEAD_S = 120.0
"""A scan may start this long before the injection (dynamic studies do)."""
LONG_UPTAKE_HALF_LIVES = 3.28
"""Six hours of F-18: longer uptake is unusual and worth a word."""
MAX_UPTAKE_HALF_LIVES = 12.0
"""Beyond this hardly any activity is left: the times contradict each other."""
TIME_DISAGREEMENT = 0.01
"""Relative SUV change above which two ways to the scan time are said to disagree."""


def number_or_none(value: Any) -> float | None:
    """A finite float, or None for anything else (empty, bytes of another type, text)."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").strip("\0 ")
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def elapsed_since_injection(
    instances: Sequence[Dataset], drug: Dataset, half_life: float
) -> tuple[float, str, list[Notice]]:
    """Seconds from injection to the decay reference of START, its source, and notices.

    Raises ``InputRefused``: ``pet_no_injection_time``, ``pet_no_scan_time``,
    ``pet_times_contradict``.
    """
    scan, used, notices = _scan_time(instances, half_life)
    injected, dated = _injection_time(drug, scan, instances[0])
    elapsed = (scan - injected).total_seconds()
    if not dated and elapsed < -PREVIOUS_DAY_AFTER_S:
        elapsed += 86400.0
        notices.append(
            Notice(
                "pet_injection_previous_day",
                "The injection time is later than the scan and has no date: taken as the "
                "day before.",
            )
        )
    if elapsed < -DYNAMIC_LEAD_S or elapsed > MAX_UPTAKE_HALF_LIVES * half_life:
        raise InputRefused(
            "pet_times_contradict",
            f"Injection and scan lie {elapsed / 3600:.1f} h apart, which cannot be. The times "
            "contradict each other (de-identified dates?), so no SUV is computed.",
        )
    if elapsed < 0:
        notices.append(
            Notice("pet_scan_before_injection", f"The scan starts {-elapsed:.0f} s before the "
                   "injection, as dynamic studies do.")
        )  # fmt: skip
    if elapsed > LONG_UPTAKE_HALF_LIVES * half_life:
        notices.append(
            Notice(
                "pet_long_uptake",
                f"{elapsed / 3600:.1f} h lie between injection and scan: check the times.",
            )
        )
    return elapsed, used, notices


def _scan_time(
    instances: Sequence[Dataset], half_life: float
) -> tuple[datetime, str, list[Notice]]:
    """The moment to which START corrected the pixels (clinical.md 1.5, step 3)."""
    series = _moment(instances[0], "SeriesDate", "SeriesTime")
    acquired = [_acquired(ds) for ds in instances]
    known = [moment for moment in acquired if moment]
    if not known:
        if series is None:
            raise InputRefused(
                "pet_no_scan_time", "The PET has no scan time, so no SUV can be computed."
            )
        notice = Notice(
            "pet_scan_time_series", "The PET slices have no acquisition time; the series time "
            "was taken as the start of the scan."
        )  # fmt: skip
        return series, "SeriesTime", [notice]
    earliest = min(known)
    if series and series <= earliest + timedelta(seconds=CLOCK_TOLERANCE_S):
        return series, "SeriesTime", _disagreement(instances, acquired, series, half_life)
    private = _ge_scan_time(instances[0])
    if private and timedelta(0) <= earliest - private + timedelta(
        seconds=CLOCK_TOLERANCE_S
    ) < timedelta(days=1):
        return private, "GE scan time (0009,xx0D)", []
    computed = [
        moment
        for ds, at in zip(instances, acquired, strict=True)
        if at and (moment := _back_computed(ds, at, half_life))
    ]
    if computed:
        start = min(computed)
        middle = sorted(computed)[len(computed) // 2]
        notices = [
            Notice("pet_scan_time_computed", "The PET series was reprocessed: its decay "
                   "reference was computed from the times of its frames.")
        ]  # fmt: skip
        spread = (max(computed) - start).total_seconds()
        if math.expm1(spread * math.log(2) / half_life) > TIME_DISAGREEMENT:
            notices.append(
                Notice("pet_scan_times_disagree", "The PET frames disagree about the decay "
                       f"reference by {spread:.0f} s; SUV may be off by "
                       f"{100 * math.expm1(spread * math.log(2) / half_life):.0f} %.")
            )  # fmt: skip
        return middle, "acquisition time and decay factor of the frames", notices
    return earliest, "earliest AcquisitionTime", [
        Notice("pet_scan_time_earliest", "The PET series was reprocessed and has no frame times: "
               "the earliest acquisition was taken as the start of the scan.")
    ]  # fmt: skip


def _disagreement(
    instances: Sequence[Dataset],
    acquired: Sequence[datetime | None],
    series: datetime,
    half_life: float,
) -> list[Notice]:
    """A word if frame times point to another decay reference than the series time does.

    Not asked where the acquisition time is a copy of the series time (old GE scanners)."""
    offsets = [
        (moment - series).total_seconds()
        for ds, at in zip(instances, acquired, strict=True)
        if at
        and abs((at - series).total_seconds()) > CLOCK_TOLERANCE_S
        and (moment := _back_computed(ds, at, half_life))
    ]
    if not offsets:
        return []
    change = abs(math.expm1(median(offsets) * math.log(2) / half_life))
    if change <= TIME_DISAGREEMENT:
        return []
    return [
        Notice("pet_scan_times_disagree", "Series time and frame times point to different decay "
               f"references; SUV would differ by {100 * change:.0f} %. The series time was used.")
    ]  # fmt: skip


def _back_computed(ds: Dataset, acquired: datetime, half_life: float) -> datetime | None:
    """The decay reference from one frame: its start + mean-activity time - time since reference.

    The time since the reference follows from DecayFactor, whose definition is the same for all
    makers, else from FrameReferenceTime (GE writes a frame's start there, others its mean-activity
    time). A missing frame duration counts as zero. None where neither is present.
    """
    factor = number_or_none(ds.get("DecayFactor"))
    reference = number_or_none(ds.get("FrameReferenceTime"))
    if factor and factor > 1:
        since = half_life * math.log2(factor)
    elif reference and reference > 0:
        since = reference / 1000.0
    else:
        return None
    duration = (number_or_none(ds.get("ActualFrameDuration")) or 0.0) / 1000.0
    middle = mean_activity_time(duration, half_life) if duration > 0 else 0.0
    return acquired + timedelta(seconds=middle - since)


def mean_activity_time(duration_s: float, half_life_s: float) -> float:
    """Seconds after a frame's start at which activity equals the frame's mean (clinical.md 1.5)."""
    rate = math.log(2) / half_life_s
    return math.log(rate * duration_s / -math.expm1(-rate * duration_s)) / rate


def _injection_time(drug: Dataset, scan: datetime, ds: Dataset) -> tuple[datetime, bool]:
    """The injection, and whether its date is recorded (else the scan's date is put)."""
    dated = _from_dt(drug.get("RadiopharmaceuticalStartDateTime"), ds)
    if dated:
        return dated, True
    clock = _clock(drug.get("RadiopharmaceuticalStartTime"))
    if clock is None:
        raise InputRefused(
            "pet_no_injection_time",
            "The PET has no injection time, so no SUV can be computed. Send the series with "
            "its radiopharmaceutical start time.",
        )
    return datetime(scan.year, scan.month, scan.day) + clock, False


def _acquired(ds: Dataset) -> datetime | None:
    return _moment(ds, "AcquisitionDate", "AcquisitionTime") or _from_dt(
        ds.get("AcquisitionDateTime"), ds
    )


def _ge_scan_time(ds: Dataset) -> datetime | None:
    try:
        return _from_dt(ds.private_block(0x0009, "GEMS_PETD_01")[0x0D].value, ds)
    except KeyError:
        return None


def _moment(ds: Dataset, date: str, time: str) -> datetime | None:
    text = str(ds.get(date) or "").replace(".", "").replace("-", "").strip()
    clock = _clock(ds.get(time))
    if len(text) != 8 or clock is None:
        return None
    try:
        return datetime.strptime(text, "%Y%m%d") + clock
    except ValueError:
        return None


def _clock(value: Any) -> timedelta | None:
    """A DICOM TM (HH, HHMM, HHMMSS, HHMMSS.ffffff) as time since midnight."""
    whole, _, fraction = str(value or "").replace(":", "").strip().partition(".")
    if len(whole) not in (2, 4, 6) or not whole.isdigit() or not (fraction or "0").isdigit():
        return None
    hours, minutes, seconds = int(whole[:2]), int(whole[2:4] or 0), int(whole[4:6] or 0)
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return timedelta(hours=hours, minutes=minutes, seconds=seconds + float(f"0.{fraction or 0}"))


def _from_dt(value: Any, ds: Dataset) -> datetime | None:
    """A DICOM DT with at least minutes, as local time of the dataset (naive).

    A value with its own offset is brought to TimezoneOffsetFromUTC where the dataset has one.
    """
    text = str(value or "").strip()
    if len(text) < 12:
        return None
    try:
        moment = DT(text)
        local = DT("20000101000000" + str(ds.get("TimezoneOffsetFromUTC") or ""))
    except ValueError:
        return None
    if moment is None:
        return None
    if moment.tzinfo and local is not None and local.tzinfo:
        moment = moment.astimezone(local.tzinfo)
    return datetime(
        moment.year, moment.month, moment.day,
        moment.hour, moment.minute, moment.second, moment.microsecond,
    )  # fmt: skip
