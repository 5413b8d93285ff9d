"""What a person may keep about how they like to work, and the check of each value.

The keys are closed: what is not in ``KEYS`` is refused. A value that a newer release no longer
accepts is left out when it is read, as if it had never been kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext

from workstation.accounts.models import Preference, User

LARGEST = 65_536
"""Bytes of JSON that one value may take."""
DEEPEST = 12
LONGEST_NAME = 60
LONGEST_QUERY = 500
MOST_FILTERS = 50
MOST_COLUMNS = 30


class PreferenceRefused(ValueError):
    """The value is not one that this key may have; the text says why."""


def _too_deep(value: Any) -> bool:
    """Level by level: a recursion would end with the interpreter's patience, not with an answer."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


def _check_storable(value: Any) -> None:
    if _too_deep(value):
        raise PreferenceRefused(gettext("This setting is too large to be kept."))
    text = json.dumps(value, ensure_ascii=False)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair, which PostgreSQL does not keep; nor NUL
        size = LARGEST + 1
    if size > LARGEST or "\\u0000" in text:
        raise PreferenceRefused(gettext("This setting is too large to be kept."))


def _object(value: Any) -> None:
    """Settings of the viewer: their inside is checked by the viewer, which alone reads them."""
    if not isinstance(value, dict):
        raise PreferenceRefused(gettext("This setting must be an object."))


def _columns(value: Any) -> None:
    """The columns on screen, in their order, by name."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_COLUMNS:
        raise PreferenceRefused(gettext("Columns are a list of names."))
    if not all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in value):
        raise PreferenceRefused(gettext("Columns are a list of names."))
    if len(set(value)) != len(value):
        raise PreferenceRefused(gettext("A column is shown once."))


def _filters(value: Any) -> None:
    """Saved filters of the list: ``{"name", "query", "default"}``, at most one the default."""
    if not isinstance(value, list) or len(value) > MOST_FILTERS:
        raise PreferenceRefused(
            gettext("At most {most_filters} filters can be kept.").format(most_filters=MOST_FILTERS)
        )
    for one in value:
        if not isinstance(one, dict) or set(one) != {"name", "query", "default"}:
            raise PreferenceRefused(
                gettext("A filter has a name, a query and whether it is the default.")
            )
        name, query, default = one["name"], one["query"], one["default"]
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= LONGEST_NAME:
            raise PreferenceRefused(
                gettext("A filter's name has 1 to {longest_name} characters.").format(
                    longest_name=LONGEST_NAME
                )
            )
        if not isinstance(query, str) or len(query) > LONGEST_QUERY:
            raise PreferenceRefused(
                gettext("A filter's query has at most {longest_query} characters.").format(
                    longest_query=LONGEST_QUERY
                )
            )
        if not isinstance(default, bool):
            raise PreferenceRefused(gettext("A filter is the default or not."))
    if len({one["name"] for one in value}) != len(value):
        raise PreferenceRefused(gettext("A filter of this name is kept already."))
    if sum(one["default"] for one in value) > 1:
        raise PreferenceRefused(gettext("Only one filter can be the default."))


def _language(value: Any) -> None:
    if not isinstance(value, str) or value not in dict(settings.LANGUAGES):
        raise PreferenceRefused(gettext("This language is not one of the interface."))


KEYS: dict[str, Callable[[Any], None]] = {
    "viewer.layouts": _object,
    "viewer.keys": _object,
    "viewer.mouse": _object,
    "viewer.display": _object,
    "worklist.columns": _columns,
    "worklist.filters": _filters,
    "language": _language,
}
"""Key -> the check of its value, which raises :class:`PreferenceRefused`."""


def check(key: str, value: Any) -> None:
    """Raises KeyError for an unknown key, :class:`PreferenceRefused` for an unfit value."""
    test = KEYS[key]
    _check_storable(value)
    test(value)


def preferences_of(user: User, prefix: str = "") -> dict[str, Any]:
    """Key -> value of what this person keeps, of the keys that begin with ``prefix``."""
    rows = Preference.objects.filter(user=user, key__startswith=prefix)
    return {row.key: row.value for row in rows if _fits(row.key, row.value)}


def _fits(key: str, value: Any) -> bool:
    try:
        check(key, value)
    except (KeyError, PreferenceRefused):
        return False
    return True


@transaction.atomic
def keep_preference(user: User, key: str, value: Any) -> None:
    """Keep a value, or take it back with None. Raises as :func:`check` does."""
    if key not in KEYS:
        raise KeyError(key)
    if value is None:
        Preference.objects.filter(user=user, key=key).delete()
        return
    check(key, value)
    Preference.objects.update_or_create(user=user, key=key, defaults={"value": value})
