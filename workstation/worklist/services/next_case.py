"""The next case of a reader: the top of the list as that reader has it."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import QueryDict

from workstation.accounts.models import User
from workstation.worklist.filters import CaseFilter, ordering
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services.cases import ClaimRefused, claim_case

TRIED = 10
"""Other readers may be quicker that often before it is said that nothing is waiting."""


def _waiting(user: User, query: str) -> QuerySet[Case]:
    asked = QueryDict(query)
    return (
        CaseFilter(asked, queryset=Case.objects.for_user(user))
        .qs.filter(state=CaseState.READY, claim=None)
        .order_by(*ordering(asked.get("order", "urgency")))
    )


def upcoming_case(user: User, query: str = "") -> Case | None:
    """The case that :func:`claim_next` would try first; nothing is claimed."""
    return _waiting(user, query).first()


def claim_next(user: User, query: str = "", *, address: str = "") -> Case | None:
    """Claim the first ready case under the filter and order of ``query``; None: none waits."""
    for case in _waiting(user, query)[:TRIED]:
        try:
            claim_case(case, user, address=address)
        except ClaimRefused:
            continue
        return case
    return None
