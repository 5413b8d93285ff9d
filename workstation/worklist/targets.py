"""By when a case should be signed: a target per priority, from the arrival of its first image."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.translation import gettext as _

from workstation.worklist.models import Case, CaseState

DONE = (CaseState.SIGNED, CaseState.ADDENDED, CaseState.CLOSED)
SOON = 0.25
"""The last quarter of the time is shown as running out."""


@dataclass(frozen=True)
class Target:
    """``warn_at``: from when the time is running out. ``state``: ``ok``, ``soon`` or ``over``."""

    due_at: datetime
    warn_at: datetime
    state: str
    text: str


def target_of(case: Case, now: datetime) -> Target | None:
    """None for a case that is done, and for a priority without a target."""
    minutes = settings.TARGET_MINUTES.get(case.priority, 0)
    if case.state in DONE or not minutes:
        return None
    whole = timedelta(minutes=minutes)
    due_at = case.received_at + whole
    warn_at = due_at - whole * SOON
    if now >= due_at:
        state, text = "over", _("{time} over").format(time=spell(now - due_at))
    else:
        state = "soon" if now >= warn_at else "ok"
        text = _("{time} left").format(time=spell(due_at - now))
    return Target(due_at, warn_at, state, text)


def spell(time: timedelta) -> str:
    """"42 min", "3 h 05", "2 d": as ``frontend/src/pages/widgets.ts`` keeps it up to date."""
    minutes = max(0, int(time.total_seconds() // 60))
    if minutes < 60:
        return _("{n} min").format(n=minutes)
    if minutes < 48 * 60:
        return _("{h} h {m}").format(h=minutes // 60, m=f"{minutes % 60:02d}")
    return _("{n} d").format(n=minutes // 1440)
