"""The other DICOM applications of a site: who may send, whom we ask, who was turned away."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext

from workstation.accounts.models import Site, User
from workstation.accounts.services import record
from workstation.live import publish
from workstation.receiving.models import PriorRule, RemoteNode, UnknownCaller

SEEN_EVERY = timedelta(seconds=30)
"""``last_seen_at`` is written at most this often: a scanner opens associations by the hundred."""

MOST_CALLERS = 1000


class CannotSave(Exception):
    """The node or rule contradicts another one; the text says which and what to do."""


@transaction.atomic
def save_node(node: RemoteNode, user: User, *, address: str = "") -> RemoteNode:
    """Add or change a node. Raises :class:`CannotSave`."""
    try:
        with transaction.atomic():
            node.save()
    except IntegrityError:
        raise CannotSave(_why_not(node)) from None
    record(
        "manage", user=user, site=node.site, obj=node, remote_address=address,
        detail={"active": node.active, "may_send": node.may_send},
    )  # fmt: skip
    return node


def _why_not(node: RemoteNode) -> str:
    others = RemoteNode.objects.exclude(pk=node.pk)
    if others.filter(site=node.site, name=node.name).exists():
        return "Another node of this site has this name."
    # It may be of a site that this administrator cannot see: say no more than the title.
    return (
        "Another active node, here or at another site, sends under this AE title. "
        "A sender must have a title of its own."
    )


@transaction.atomic
def switch_node(node: RemoteNode, user: User, *, active: bool, address: str = "") -> RemoteNode:
    """Switch a node off, or on again. Raises :class:`CannotSave`."""
    locked = RemoteNode.objects.select_for_update().get(pk=node.pk)
    locked.active = active
    return save_node(locked, user, address=address)


@transaction.atomic
def note_echo(node: RemoteNode, error: str, user: User, *, address: str = "") -> None:
    """Keep how a C-ECHO ended; ``error`` is empty when the node answered."""
    RemoteNode.objects.filter(pk=node.pk).update(
        last_echo_at=timezone.now(), last_echo_error=error[:300]
    )
    record(
        "manage", user=user, site=node.site, obj=node, remote_address=address,
        detail={"echo": not error},
    )  # fmt: skip


def note_seen(node_id: int, now: datetime) -> None:
    """The node has opened an association."""
    rows = RemoteNode.objects.filter(pk=node_id)
    rows.exclude(last_seen_at__gt=now - SEEN_EVERY).update(last_seen_at=now)


@transaction.atomic
def note_unknown_caller(ae_title: str, address: str, reason: str) -> None:
    """Somebody was refused at the door; administrators see who, from where and why."""
    key = {"ae_title": ae_title[:16], "address": address[:64], "reason": reason[:100]}
    row, is_new = UnknownCaller.objects.get_or_create(**key, defaults={"last_at": timezone.now()})
    if not is_new:
        UnknownCaller.objects.filter(pk=row.pk).update(count=F("count") + 1, last_at=timezone.now())
    else:
        # Whoever tries every title must not fill the table.
        newest = UnknownCaller.objects.order_by("-last_at", "-pk").values_list("pk", flat=True)
        UnknownCaller.objects.filter(pk__in=list(newest[MOST_CALLERS:])).delete()


@transaction.atomic
def allow_caller(caller: UnknownCaller, site: Site, user: User, *, address: str = "") -> RemoteNode:
    """Make a refused caller a node of a site. Raises :class:`CannotSave`."""
    node = save_node(
        RemoteNode(
            site=site, name=_free_name(site, caller.ae_title), ae_title=caller.ae_title,
            host=caller.address,
        ),
        user, address=address,
    )  # fmt: skip
    UnknownCaller.objects.filter(ae_title=caller.ae_title).delete()
    return node


def _free_name(site: Site, wanted: str) -> str:
    names = set(RemoteNode.objects.filter(site=site).values_list("name", flat=True))
    numbered = (f"{wanted} {number}" for number in range(2, len(names) + 3))
    return wanted if wanted not in names else next(n for n in numbered if n not in names)


@transaction.atomic
def forget_caller(caller: UnknownCaller, user: User, *, address: str = "") -> None:
    """Take a refused caller off the list; it comes back if it calls again."""
    record("manage", user=user, remote_address=address, detail={"forgot_caller": caller.pk})
    caller.delete()


@transaction.atomic
def save_rule(rule: PriorRule, user: User, *, address: str = "") -> PriorRule:
    """Add or change a rule for priors. Raises :class:`CannotSave`."""
    if rule.node.site_id != rule.site_id:
        raise CannotSave(gettext("The node belongs to another site."))
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError:
        raise CannotSave(gettext("Another rule of this site has this name.")) from None
    record(
        "manage", user=user, site=rule.site, obj=rule, remote_address=address,
        detail={"active": rule.active},
    )  # fmt: skip
    publish(rule.site_id, "retrieval")
    return rule
