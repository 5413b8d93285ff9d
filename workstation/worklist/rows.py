"""What the list says of each case, worked out once before its template asks many times."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from workstation.worklist.models import Case, CaseState, Priority
from workstation.worklist.targets import spell, target_of

PATHWAYS = {"lung": gettext_lazy("Lung pathway"), "glioma": gettext_lazy("Glioma pathway")}
"""Of cases that a pathway was found for; the general one says nothing."""
ADDRESSES = {
    "case_url": "reading:case",
    "claim_url": "worklist:claim",
    "release_url": "worklist:release",
    "priority_url": "worklist:priority",
}
"""What of a case -> the view, whose address is worked out once for all rows."""
PERCENT = re.compile(r"(?P<step>.+) (?P<percent>\d{1,3})\s?%")
IMAGES = re.compile(r"(?P<here>\d+) of (?P<all>\d+) images received")


def prepare(cases: Iterable[Any], user: Any) -> None:
    """Sets on each case what the template says: texts, times and addresses, none of them lazy.
    A property or a filter in the template would be paid for on every row of every refresh."""
    now = timezone.now()
    options = {priority.value: _options(priority) for priority in Priority}
    priorities = {priority.value: str(priority.label) for priority in Priority}
    names = {priority.value: priority.name.lower() for priority in Priority}
    states = {state.value: str(state.label) for state in CaseState}
    pathways = {name: str(text) for name, text in PATHWAYS.items()}
    addresses = {
        name: reverse(view, args=[0]).rpartition("/0/") for name, view in ADDRESSES.items()
    }
    for case in cases:
        claim = getattr(case, "claim", None)
        for name, (before, _id, after) in addresses.items():
            setattr(case, name, f"{before}/{case.pk}/{after}")
        case.reader = claim.user.display_name if claim else ""
        case.since = timezone.localtime(claim.claimed_at) if claim else None
        case.since_time = f"{case.since:%H:%M}" if claim else ""
        case.mine = claim is not None and claim.user_id == user.pk
        case.percent = _percent(case)
        case.why = "" if case.mine else _why(case, now)
        case.target = target_of(case, now)
        case.due = _written(case.target.due_at) if case.target else ""
        case.warn = _written(case.target.warn_at) if case.target else ""
        case.pathway_name = pathways.get(case.pathway, "")
        case.state_name = states[case.state]
        case.priority_is = names[case.priority]
        case.priority_title = priorities[case.priority]
        case.person = case.patient.display_name
        case.born = case.patient.birth_date.isoformat() if case.patient.birth_date else ""
        case.came = _written(case.received_at)
        case.age = spell(now - case.received_at)
        case.priority_options = options[case.priority]


def _written(time: datetime) -> str:
    return timezone.localtime(time).isoformat(timespec="seconds")


def _options(chosen: Priority) -> SafeString:
    return format_html_join(
        "", '<option value="{}"{}>{}</option>',
        (
            (one.value, mark_safe(" selected") if one == chosen else "", one.label)
            for one in Priority
        ),
    )  # fmt: skip


def _percent(case: Case) -> int | None:
    """How far the step is that the analysis is at, if it is at one."""
    found = PERCENT.fullmatch(case.activity)
    return int(found["percent"]) if found else None


def _why(case: Any, now: datetime) -> str:
    """Why nobody but its reader, or nobody at all, can read this case now; empty if one can."""
    if case.reader:
        since = case.since
        at = f"{since:%H:%M}" if since.date() == now.date() else f"{since:%Y-%m-%d %H:%M}"
        return _("Held by {reader} since {time}").format(reader=case.reader, time=at)
    if case.state == CaseState.RECEIVING:
        return _worded(case.activity) or _("Receiving: images are still arriving")
    if case.state == CaseState.ANALYSING:
        return _worded(case.activity) or _("Analysing: the next step is waiting to begin")
    return _worded(case.activity)


def _worded(activity: str) -> str:
    """The activity, which the workers keep in English, in the reader's language."""
    if found := PERCENT.fullmatch(activity):
        return f"{_(found['step'])} {found['percent']} %"
    if found := IMAGES.fullmatch(activity):
        return _("{here} of {all} images received").format(**found.groupdict())
    return _(activity) if activity else ""
