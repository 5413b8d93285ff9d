"""Saving the rules by which images are deleted."""

from __future__ import annotations

from django.db import transaction

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.receiving.models import RetentionRule


@transaction.atomic
def save_rule(rule: RetentionRule, user: User, *, address: str = "") -> RetentionRule:
    """Write a new or changed rule, and who did it."""
    rule.save()
    record(
        "manage", user=user, site=rule.site, obj=rule, remote_address=address,
        detail={"days": rule.days, "active": rule.active},
    )  # fmt: skip
    return rule
