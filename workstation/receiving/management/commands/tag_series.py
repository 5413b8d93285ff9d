"""``manage.py tag_series [--all]``: give series their roles by the rules of ``analysis/roles``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from workstation.receiving.models import Study
from workstation.receiving.services.tagging import tag_series, untagged_studies


class Command(BaseCommand):
    help = (
        "Decide the role of series that have none yet; with --all of every series, after the "
        "rules were edited. Roles set by hand stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--all", action="store_true", help="also series that have a role by rule already"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        present = Study.objects.filter(deleted_at__isnull=True).order_by("pk")
        studies = present if options["all"] else untagged_studies()
        changed = looked_at = 0
        # One by one: the archive may hold more studies than fit into memory.
        for study in studies.iterator(chunk_size=100):
            looked_at += 1
            changed += tag_series(study)
        self.stdout.write(f"{looked_at} studies looked at, {changed} roles changed.")
