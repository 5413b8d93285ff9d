"""From two sizes of a lesion to its change: rows, doubling time, a sentence; and sums of diameters.

``growth.py`` has the numbers, this module says them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from django.utils.translation import gettext, ngettext

from workstation.reading.growth import (
    GROWTH_PERCENT,
    LEAST_DAYS,
    NO_DATES,
    NO_GROWTH,
    NO_SIZE,
    TOO_SOON,
    NoDoubling,
    change,
    doubling_days,
    doubling_days_of_diameters,
    has_grown,
)
from workstation.reading.prior_items import Item
from workstation.reading.units import in_words

ORDER = (
    "long_axis", "short_axis", "volume", "area", "mtv", "suv_max", "suv_peak",
    "finding_suv_max", "finding_suv_peak",
)  # fmt: skip
MOST_TARGETS = 5
"""RECIST 1.1."""


def title_of(name: str) -> str:
    return {
        "long_axis": gettext("Long axis"),
        "short_axis": gettext("Short axis"),
        "volume": gettext("Volume"),
        "area": gettext("Area"),
        "mtv": "MTV",
        "suv_max": "SUVmax",
        "suv_peak": "SUVpeak",
        "finding_suv_max": "SUVmax",
        "finding_suv_peak": "SUVpeak",
    }[name]


def days_between(earlier: date | None, current: date | None) -> int | None:
    return (current - earlier).days if earlier and current else None


def compared(current: Item, earlier: Item, day: date | None) -> dict[str, Any]:
    """What became of a lesion. ``day``: of the earlier images."""
    days = days_between(day, current.day)
    rows, notes = [], []
    for name in ORDER:
        after, before = current.sizes.get(name), earlier.sizes.get(name)
        if after is None or before is None:
            continue
        if after.unit != before.unit:
            notes.append(
                gettext("{title} is not compared: {before} then, {after} now.").format(
                    title=title_of(name), before=before.unit, after=after.unit
                )
            )
            continue
        rows.append(_row(name, before.value, after.value, after.unit))
        if before.method != after.method and name in ("volume", "mtv"):
            notes.append(
                gettext("{title} was measured by different methods; a difference may be theirs.")
                .format(title=title_of(name))
            )  # fmt: skip
    if not rows and not notes:
        notes.append(gettext("These two have no size in common."))
    found = {
        "date": day.isoformat() if day else "",
        "days": days,
        "rows": rows,
        "doubling": _doubling(current, earlier, days),
        "notes": notes,
    }
    return {**found, "sentence": _sentence(current, found)}


def _row(name: str, before: float, after: float, unit: str) -> dict[str, Any]:
    found = change(before, after)
    return {
        "name": name,
        "title": title_of(name),
        "unit": unit,
        "before": before,
        "after": after,
        "before_text": in_words(before, unit),
        "after_text": in_words(after, unit),
        "change": found.absolute,
        "percent": found.percent,
        "change_text": _signed(found.absolute, unit),
        "percent_text": "" if found.percent is None else f"{found.percent:+.1f} %",
    }


def _signed(value: float, unit: str) -> str:
    words = in_words(abs(value), unit)
    return words if float(words.split(" ")[0]) == 0 else f"{'+' if value > 0 else '-'}{words}"


def _doubling(current: Item, earlier: Item, days: int | None) -> dict[str, Any] | None:
    """Of the volumes, else of the diameters; None where neither is there. Volumes of different
    ways of measuring give no doubling time."""
    volumes = [one.sizes.get("volume") for one in (earlier, current)]
    before, after = volumes
    if before and after and before.unit == after.unit and before.method == after.method:
        sizes, basis, of = (before.value, after.value), gettext("of the volumes"), doubling_days
    else:
        diameters = [_diameter(one, earlier, current) for one in (earlier, current)]
        if diameters[0] is None or diameters[1] is None:
            return None
        sizes = (diameters[0], diameters[1])
        basis, of = gettext("of the diameters, as of a sphere"), doubling_days_of_diameters
        before = after = None
    grown = has_grown(*sizes) if before and after else None
    try:
        found = of(*sizes, days)
    except NoDoubling as reason:
        return {"days": None, "basis": basis, "reason": _why(str(reason)), "text": "",
                "grown": grown, "growth_text": _growth_text(grown)}
    text = ngettext("{n} day", "{n} days", round(found)).format(n=round(found))
    return {"days": found, "basis": basis, "reason": "", "text": text, "grown": grown,
            "growth_text": _growth_text(grown)}


def _diameter(one: Item, *both: Item) -> float | None:
    """The mean of the axes where both sides have two, else the long one."""
    long, short = one.sizes.get("long_axis"), one.sizes.get("short_axis")
    if long is None:
        return None
    if short is not None and all("short_axis" in item.sizes for item in both):
        return (long.value + short.value) / 2
    return long.value


def _growth_text(grown: bool | None) -> str:
    if grown is None:
        return ""
    percent = f"{GROWTH_PERCENT:.0f}"
    if grown:
        return gettext("Growth: at least {percent} % more volume (BTS).").format(percent=percent)
    return gettext("No growth by volume: less than {percent} % more (BTS).").format(percent=percent)


def _why(code: str) -> str:
    return {
        NO_SIZE: gettext("One of the sizes is zero or not known."),
        NO_DATES: gettext("The date of one of the studies is not known."),
        TOO_SOON: gettext("Less than {n} days lie between the studies.").format(n=LEAST_DAYS),
        NO_GROWTH: gettext("No growth."),
    }[code]


def _sentence(current: Item, found: dict[str, Any]) -> str:
    """One line for the report, to be copied; numbers are those of the rows."""
    if not found["rows"]:
        return ""
    name = f"{current.name} {current.label}".strip()
    sizes = "; ".join(
        f"{row['title'].lower() if row['title'][1:2].islower() else row['title']} "
        f"{row['before_text']} → {row['after_text']}"
        + (f" ({row['percent_text']})" if row["percent_text"] else "")
        for row in found["rows"]
    )
    since = ""
    if found["days"] is not None:
        since = " " + gettext("since {date} ({days} days)").format(
            date=found["date"], days=found["days"]
        )
    doubling = found["doubling"]
    tail = ""
    if doubling and doubling["text"]:
        tail = "; " + gettext("volume doubling time {text} ({basis})").format(
            text=doubling["text"], basis=doubling["basis"]
        )
    return f"{name}: {sizes}{since}{tail}."


def sums_of(pairs: Sequence[tuple[int, date | None, bool, Item, Item]]) -> list[dict[str, Any]]:
    """Sums of diameters per earlier study, of (study, its day, lymph node, current, earlier): the
    long axis, of lymph nodes the short one (RECIST 1.1). Response itself needs baseline and nadir,
    which a pair does not know."""
    found = []
    for study in dict.fromkeys(one[0] for one in pairs):
        mine = [one for one in pairs if one[0] == study]
        sizes = [size for one in mine if (size := _target(*one[2:])) is not None]
        if not sizes:
            continue
        before, after = (sum(one[n] for one in sizes) for n in (0, 1))
        day = mine[0][1]
        found.append(
            {
                "study": study,
                "date": day.isoformat() if day else "",
                "count": len(sizes),
                **_row("long_axis", before, after, "mm"),
                "title": gettext("Sum of diameters"),
                "notes": list(_sum_notes(len(sizes), len(mine))),
            }
        )
    return found


def _target(is_node: bool, current: Item, earlier: Item) -> tuple[float, float] | None:
    name = "short_axis" if is_node else "long_axis"
    before, after = earlier.sizes.get(name), current.sizes.get(name)
    return (before.value, after.value) if before and after else None


def _sum_notes(count: int, pairs: int) -> Iterable[str]:
    yield gettext(
        "Change against this one study. Response by RECIST 1.1 is judged against the baseline (−30 "
        "%) and the smallest sum since (+20 % and at least 5 mm)."
    )
    if count < pairs:
        missing = ngettext(
            "{n} pair has no diameter and is left out.",
            "{n} pairs have no diameter and are left out.", pairs - count,
        )  # fmt: skip
        yield missing.format(n=pairs - count)
    if count > MOST_TARGETS:
        yield gettext("RECIST 1.1 sums at most five lesions, two of an organ.")
