"""``manage.py verify_archive``: proves that each row has its bytes and each byte its row."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from workstation.accounts.models import Site
from workstation.receiving.services.orphans import hold_orphan
from workstation.receiving.services.quarantining import finish_forgetting
from workstation.receiving.verifying import Fault, Tally, verify


class Command(BaseCommand):
    help = "Compare every row with its bytes and every file with its row; exit 1 on a difference."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--quick", action="store_true", help="names and sizes only; no file is read"
        )
        parser.add_argument(
            "--grace", type=float, default=60.0, metavar="SECONDS",
            help="a younger file without a row may be on its way in (default: 60)",
        )  # fmt: skip
        parser.add_argument(
            "--quarantine-orphans", metavar="SITE",
            help="move files without a row to this site's quarantine, to be tried again there",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        site = self._site(options["quarantine_orphans"])
        if finished := finish_forgetting(options["grace"]):
            self.stdout.write(f"{finished} discards from the quarantine finished.")
        tally, faults = Tally(), Counter[Fault]()
        for finding in verify(tally, read_all=not options["quick"], grace=options["grace"]):
            faults[finding.fault] += 1
            rows = f" (rows {', '.join(map(str, finding.rows))})" if finding.rows else ""
            self.stderr.write(f"{finding.store}: {finding.fault}: {finding.name}{rows}")
            if site and finding.store == "archive" and finding.fault is Fault.ORPHAN:
                hold_orphan(site, finding.name.rpartition("/")[2])
        checked = "by name and size" if options["quick"] else f"{tally.bytes_read} bytes read"
        self.stdout.write(f"{tally.rows} rows, {tally.files} files, {checked}")
        if faults:
            told = ", ".join(f"{count} {fault}" for fault, count in sorted(faults.items()))
            raise CommandError(f"Rows and bytes disagree: {told}.")
        self.stdout.write("Each row has its bytes and each byte its row.")

    def _site(self, code: str | None) -> Site | None:
        if code is None:
            return None
        try:
            return Site.objects.get(code=code)
        except Site.DoesNotExist:
            raise CommandError(f"There is no site {code!r}.") from None
