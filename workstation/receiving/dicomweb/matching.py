"""Matching of search keys as database conditions (PS3.4 C.2.2.2)."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from typing import Any

from django.db.models import Q

from workstation.receiving.dicomweb.attributes import Key, Match
from workstation.receiving.names import name_key

SEPARATORS = re.compile(r"[,\\]")
TIME_SHAPES = {2: "%H", 4: "%H%M", 6: "%H%M%S"}
LARGEST = 2**31 - 1


class BadQuery(Exception):
    """A parameter is not what DICOM allows; the text is for people."""


def condition(key: Key, column: str, value: str, *, fuzzy: bool) -> Q:
    """Rows whose ``column`` matches ``value``. Raises :class:`BadQuery`."""
    if key.match is Match.DATE:
        return _range(key, column, value, _date)
    if key.match is Match.TIME:
        return _times(key, column, value)
    if key.match is Match.NUMBER:
        return Q(**{column: _number(key, value)})
    if key.match is Match.NAME:
        return _name(column, value, fuzzy=fuzzy)
    if key.match in (Match.UID, Match.LIST):
        values = several(value)
        if key.match is Match.LIST and any(is_wild(one) for one in values):
            return text(column, value)
        return Q(**{f"{column}__in": values})
    return text(column, value)


def several(value: str) -> list[str]:
    """Values separated by comma or backslash."""
    return [part.strip() for part in SEPARATORS.split(value) if part.strip()]


def is_wild(value: str) -> bool:
    return "*" in value or "?" in value


def text(column: str, value: str) -> Q:
    """Exact, or by wild cards: ``*`` is any letters, ``?`` one letter."""
    if not is_wild(value):
        return Q(**{column: value})
    inner = value.strip("*")
    if not inner:
        # Universal matching; only "*" itself, not "?", which asks for a letter.
        return Q()
    if not is_wild(inner):
        before, after = value.startswith("*"), value.endswith("*")
        lookup = "contains" if before and after else "endswith" if before else "startswith"
        return Q(**{f"{column}__{lookup}": inner})
    return Q(**{f"{column}__regex": f"^{pattern(value)}$"})


def pattern(value: str) -> str:
    """Wild cards as a regular expression that SQLite's and PostgreSQL's engines share."""
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in value)


def _name(column: str, value: str, *, fuzzy: bool) -> Q:
    """Names are compared without case; fuzzy: every word begins a component of the name.

    Words are folded as in the ``name_key`` column: without accents, in any order.
    """
    if fuzzy and column.endswith("patient__name"):
        words = name_key(re.sub(r"[*?]", " ", value)).split()
        found = Q()
        for word in words:
            found &= Q(**{f"{column}_key__contains": f" {word}"})
        return found
    if not value.strip("*"):
        return Q()
    # Any of the component groups, and with or without the empty components at its end.
    group = pattern(value.rstrip("^"))
    return Q(**{f"{column}__iregex": rf"(^|=){group}\^*(=|$)"})


def _number(key: Key, value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise BadQuery(f"{key.keyword} is a whole number.") from None
    if abs(number) > LARGEST:
        raise BadQuery(f"{key.keyword} is out of range.")
    return number


def _range(key: Key, column: str, value: str, parse: Any) -> Q:
    begin, dash, end = value.partition("-")
    if not dash:
        return Q(**{column: parse(key, value)})
    if not begin and not end:
        raise BadQuery(f"The range of {key.keyword} has neither begin nor end.")
    found = Q()
    if begin:
        found &= Q(**{f"{column}__gte": parse(key, begin)})
    if end:
        found &= Q(**{f"{column}__lte": parse(key, end)})
    return found


def _date(key: Key, value: str) -> date:
    try:
        if len(value) != 8:
            raise ValueError
        return datetime.strptime(value, "%Y%m%d").date()
    except ValueError:
        raise BadQuery(f"{key.keyword} is YYYYMMDD, or a range YYYYMMDD-YYYYMMDD.") from None


def _times(key: Key, column: str, value: str) -> Q:
    """A time without seconds stands for its whole minute, one without minutes for its hour."""
    begin, dash, end = value.partition("-")
    if not begin and not end:
        raise BadQuery(f"The range of {key.keyword} has neither begin nor end.")
    found = Q()
    if begin:
        found &= Q(**{f"{column}__gte": _time(key, begin, last=False)})
    last = end if dash else begin
    if last:
        found &= Q(**{f"{column}__lte": _time(key, last, last=True)})
    return found


def _time(key: Key, value: str, *, last: bool) -> time:
    whole, _, fraction = value.partition(".")
    try:
        found = datetime.strptime(whole, TIME_SHAPES[len(whole)]).time()
        if fraction and (len(whole) != 6 or not fraction.isdigit() or len(fraction) > 6):
            raise ValueError
    except (KeyError, ValueError):
        raise BadQuery(f"{key.keyword} is HHMMSS, or a range HHMMSS-HHMMSS.") from None
    if not last:
        return found
    return time(
        found.hour,
        found.minute if len(whole) >= 4 else 59,
        found.second if len(whole) == 6 else 59,
        999_999,
    )
