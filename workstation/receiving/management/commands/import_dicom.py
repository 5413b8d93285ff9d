"""``manage.py import_dicom PATH... --site CODE``: take in files, folders and ZIP archives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from workstation.accounts.models import Site
from workstation.receiving.files import Received, Receiver, walk_path
from workstation.receiving.models import Upload
from workstation.receiving.outcomes import Result
from workstation.receiving.services import count_outcomes, finish_upload, start_upload
from workstation.receiving.storage import StorageFull

BATCH = 200


class Command(BaseCommand):
    help = "Import DICOM files, folders and ZIP archives into a site's archive."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--site", required=True, help="code of the site that owns the images")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            site = Site.objects.get(code=options["site"])
        except Site.DoesNotExist:
            known = ", ".join(Site.objects.values_list("code", flat=True)) or "none yet"
            raise CommandError(f"There is no site {options['site']!r}. Known: {known}.") from None
        paths: list[Path] = options["paths"]
        for path in paths:
            if not path.exists():
                raise CommandError(f"There is no file or folder {path}.")
        upload = start_upload(site, None)
        try:
            totals = self._import(Receiver(site, upload), upload, paths)
        except StorageFull as error:
            raise CommandError(str(error)) from None
        finally:
            finish_upload(upload)
        self.stdout.write(", ".join(f"{totals[result]} {result}" for result in Result))

    def _import(self, receiver: Receiver, upload: Upload, paths: list[Path]) -> Counter[Result]:
        totals: Counter[Result] = Counter()
        batch: list[Received] = []
        try:
            for path in paths:
                for file in walk_path(path):
                    with file.open("rb") as opened:
                        for received in receiver.take(opened, str(file)):
                            self._tell(received)
                            totals[received.outcome.result] += 1
                            batch.append(received)
                    if len(batch) >= BATCH:
                        count_outcomes(upload, [item.outcome for item in batch])
                        batch = []
        finally:
            count_outcomes(upload, [item.outcome for item in batch])
        return totals

    def _tell(self, received: Received) -> None:
        if received.outcome.result in (Result.QUARANTINED, Result.IGNORED):
            self.stderr.write(
                f"{received.outcome.result}: {received.name}: {received.outcome.reason}"
            )
