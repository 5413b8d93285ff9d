"""``manage.py import_dicom PATH... --site CODE``: take in files, folders, discs and ZIPs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from workstation.accounts.models import Site
from workstation.receiving.files import Received, Receiver, walk_path
from workstation.receiving.models import Disc, Upload
from workstation.receiving.outcomes import Result
from workstation.receiving.services.uploading import count_outcomes, finish_upload, start_upload
from workstation.receiving.storage import StorageFull

BATCH = 200
TELL_SECONDS = 2.0
INCOMPLETE, DISK_FULL = 1, 2


class Command(BaseCommand):
    help = (
        "Import DICOM files, folders, discs with a DICOMDIR and ZIP archives into a site's "
        "archive. An interrupted import is continued by running it again: what is there already "
        "is recognised. Exit code 0: all DICOM files were taken in (discs also carry programs and "
        "texts, which are only listed); 1: some were not accepted, could not be read, or are "
        "missing from a disc; 2: the disk is full."
    )

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
        work = _Import(self, Receiver(site, upload), upload)
        try:
            work.run(paths)
        except StorageFull as error:
            raise CommandError(str(error), returncode=DISK_FULL) from None
        finally:
            finish_upload(upload)
        self.stdout.write(", ".join(f"{work.totals[result]} {result}" for result in Result))
        if work.refused or work.incomplete_discs:
            raise CommandError("Not everything was taken in; see above.", returncode=INCOMPLETE)


class _Import:
    """One run: its counts, what it tells, and the discs it met."""

    def __init__(self, command: Command, receiver: Receiver, upload: Upload) -> None:
        self.command = command
        self.receiver = receiver
        self.upload = upload
        self.totals: Counter[Result] = Counter()
        self.refused = 0
        self.incomplete_discs = 0
        self.batch: list[Received] = []
        self.bytes = 0
        self.began = self.told = time.monotonic()

    def run(self, paths: list[Path]) -> None:
        names: list[str] = []
        try:
            for path in paths:
                for file in walk_path(path):
                    names.append(str(file))
                    self._file(file)
        finally:
            self._count()
        for disc in self.receiver.check_discs(names):
            self._tell_disc(disc)
        complete = {"missing": 0, "unreadable": 0}
        self.incomplete_discs = self.upload.discs.exclude(**complete).count()

    def _file(self, file: Path) -> None:
        for received in self._received(file):
            self._tell(received)
            self.totals[received.outcome.result] += 1
            self.batch.append(received)
            if len(self.batch) >= BATCH:
                self._count()
            self._progress()

    def _received(self, file: Path) -> Iterator[Received]:
        try:
            opened = file.open("rb")
        except OSError as error:
            self.refused += 1
            self.command.stderr.write(f"unreadable: {file}: {error.strerror}")
            return
        with opened:
            self.bytes += file.stat().st_size
            yield from self.receiver.take(opened, str(file))

    def _count(self) -> None:
        count_outcomes(self.upload, [item.outcome for item in self.batch])
        self.batch = []

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self.told < TELL_SECONDS:
            return
        self.told = now
        megabytes = self.bytes / 1e6
        self.command.stderr.write(
            f"{self.totals.total()} files, {megabytes:.0f} MB, "
            f"{megabytes / (now - self.began):.0f} MB/s"
        )

    def _tell(self, received: Received) -> None:
        outcome = received.outcome
        if outcome.result is Result.QUARANTINED and outcome.code != "not_dicom":
            self.refused += 1
        if outcome.result is Result.QUARANTINED or outcome.code == "clutter":
            self.command.stderr.write(f"{outcome.result}: {received.name}: {outcome.reason}")

    def _tell_disc(self, disc: Disc) -> None:
        found = f"{disc.name}: the disc lists {disc.listed} files"
        if not disc.missing and not disc.unreadable:
            self.command.stderr.write(f"{found}; all are here.")
            return
        self.command.stderr.write(
            f"{found}; {disc.missing} are missing and {disc.unreadable} were not accepted: "
            + ", ".join(disc.names)
        )
