"""The columns of the list: which there are, and which a person sees in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from workstation.accounts.models import User
from workstation.accounts.preferences import preferences_of

KEY = "worklist.columns"


@dataclass(frozen=True)
class Column:
    """``order``: the name by which the list can be sorted by it (``filters.ORDERS``), if it can."""

    name: str
    title: str | Promise
    order: str = ""
    shown: bool = True


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("priority", _("Priority"), "urgency"),
        Column("due", _("Due")),
        Column("patient", _("Patient"), "patient"),
        Column("study", _("Study"), "study"),
        Column("modalities", _("Modalities")),
        Column("state", _("State"), "state"),
        Column("waiting", _("Waiting"), "received"),
        Column("reader", _("Reader")),
        Column("site", _("Site")),
        Column("accession", _("Accession"), shown=False),
        Column("study_date", _("Study date"), shown=False),
        Column("pathway", _("Pathway"), shown=False),
    )
}
"""In the order in which somebody who chose nothing sees them."""
ALWAYS = ("patient",)
"""A list without these could be read for the wrong person."""
OF_STUDIES = frozenset({"accession", "study_date"})
"""Columns that need the studies of each case."""


def columns_of(user: User) -> list[Column]:
    """What this person chose; names that no longer exist are left out."""
    chosen: list[Any] = preferences_of(user, KEY).get(KEY) or []
    found = [COLUMNS[name] for name in chosen if name in COLUMNS]
    if not found:
        return [column for column in COLUMNS.values() if column.shown]
    missing = [COLUMNS[name] for name in ALWAYS if name not in chosen]
    return [*missing, *found]
