"""Writing the audit trail; making sites and users."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import HttpRequest

from workstation.accounts.models import AuditRecord, Role, Site, User

ACTIONS: dict[str, str] = {
    "sign_in": "signed in",
    "sign_in_failed": "a sign-in was refused",
    "sign_out": "signed out",
    "list": "saw a list with patient data",
    "view": "opened patient data",
    "claim": "claimed a case",
    "release": "released a case",
    "prioritise": "changed a case's priority",
    "review": "judged a finding",
    "decide_registration": "decided on a registration",
    "landmark": "placed or removed a landmark pair",
    "refine": "asked for a refined registration, or stopped, retried or discarded one",
    "measure": "made, changed, deleted or restored a measurement or key image",
    "pair": "paired a measurement with one of an earlier study, or took that back or again",
    "enter_suv_input": "entered a value that a PET header lacks, or took it back",
    "edit": "saved a report draft",
    "sign": "signed a report",
    "addend": "signed an addendum",
    "download": "downloaded a document or image",
    "export": "sent objects to a destination",
    "upload": "sent files in",
    "identify": "merged, moved or linked patients, or took it back",
    "assemble": "put a study into a case or took it out, or changed the rules for it",
    "set_role": "said by hand what a series is, or took it back",
    "query": "asked another node for studies of patients",
    "retrieve": "fetched a study from another node, or stopped that",
    "delete": "deleted a study's images",
    "quarantine": "released or discarded quarantined bytes",
    "retry": "asked for an analysis or delivery to be tried again",
    "manage": "changed settings of a site",
    "open_vault": "saw who pseudonyms stand for",
}
"""Every action an audit row may name."""


def record(
    action: str,
    *,
    user: Any = None,
    site: Site | None = None,
    obj: Any = None,
    case_id: int | None = None,
    remote_address: str = "",
    detail: dict[str, Any] | None = None,
    username: str = "",
) -> AuditRecord:
    """Append one audit row. ``detail`` holds ids and states, never names or free text."""
    if action not in ACTIONS:
        raise ValueError(f"unknown audit action {action!r}")
    known = user if user is not None and user.is_authenticated else None
    return AuditRecord.objects.create(
        action=action,
        user=known,
        username=known.username if known else username[:150],
        site=site,
        object_type=obj._meta.model_name if obj is not None else "",
        object_id=str(obj.pk) if obj is not None else "",
        case_id=case_id,
        remote_address=remote_address,
        detail=detail or {},
    )


def address_of(request: HttpRequest) -> str:
    """The peer's address as the web server reports it (behind a proxy: uvicorn's proxy headers)."""
    return str(request.META.get("REMOTE_ADDR", ""))


@transaction.atomic
def create_user(
    username: str,
    password: str,
    *,
    role: Role,
    sites: list[Site],
    first_name: str = "",
    last_name: str = "",
    title: str = "",
) -> User:
    """A new person with a role at some sites."""
    user = User(
        username=username, role=role, first_name=first_name, last_name=last_name, title=title
    )
    user.set_password(password)
    user.save()
    user.sites.set(sites)
    return user
