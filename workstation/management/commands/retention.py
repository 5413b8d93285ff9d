"""``manage.py retention [--apply]``: what the retention rules delete."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from workstation.auditing.retention import apply_rule, plan
from workstation.receiving.models import RetentionRule

EVERYTHING = 1_000_000


class Command(BaseCommand):
    """Without ``--apply`` this is a dry run of every rule, active or not."""

    help = "Show what the retention rules would delete; with --apply let the active ones do it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="delete, by active rules only")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        for rule in RetentionRule.objects.select_related("site").order_by("site__code", "name"):
            state = "active" if rule.active else "not active"
            found = plan(rule, now)
            self.stdout.write(
                f"{rule.site.code}: {rule.name} ({state}, {rule.days} days): "
                f"{found.count} studies, {found.instances} images, {found.size} bytes"
            )
            if options["apply"] and rule.active:
                done = apply_rule(rule, now, limit=EVERYTHING)
                self.stdout.write(f"  deleted the images of {len(done)} studies")
