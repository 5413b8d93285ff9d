"""``manage.py export_deidentified --study PK --profile NAME --out DIR``: images for research."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from workstation.accounts.services import record
from workstation.receiving import storage
from workstation.receiving.dicomweb.delivering import correct, is_moved
from workstation.receiving.headers import NotAccepted
from workstation.receiving.models import DeidentificationProfile, Instance, Study
from workstation.receiving.services.deidentifying import read_deidentified
from workstation.receiving.services.pseudonyms import remember


class Command(BaseCommand):
    help = "Write the de-identified form of a study's objects into a folder."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", type=int, required=True, action="append", metavar="PK")
        parser.add_argument("--profile", required=True, help="name of a profile of the site")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR")

    def handle(self, *args: Any, **options: Any) -> None:
        held: list[tuple[int, str]] = []
        written = 0
        for pk in options["study"]:
            study = Study.objects.filter(pk=pk).select_related("site", "patient").first()
            if study is None:
                raise CommandError(f"There is no study {pk}.")
            profile = self._profile(study, options["profile"])
            before = written
            for instance in Instance.objects.filter(series__study=study).order_by("pk"):
                try:
                    self._write(study, instance, profile, options["out"])
                except NotAccepted as refusal:
                    held.append((instance.pk, refusal.reason))
                except storage.BytesMissing as problem:
                    held.append((instance.pk, str(problem)))
                else:
                    written += 1
            record(
                "export", username="export_deidentified", site=study.site, obj=study,
                detail={"deidentification": profile.pk, "objects": written - before},
            )  # fmt: skip
        for instance_pk, reason in held:
            self.stderr.write(f"object {instance_pk} not written: {reason}")
        self.stdout.write(f"{written} written, {len(held)} held back")
        if held:
            raise CommandError("Some objects were held back; see above.", returncode=3)

    def _profile(self, study: Study, name: str) -> DeidentificationProfile:
        profiles = DeidentificationProfile.objects.filter(site=study.site, active=True)
        found = profiles.filter(name=name).first()
        if found is None:
            known = ", ".join(profiles.values_list("name", flat=True)) or "none"
            raise CommandError(f"The study's site has no profile {name!r} in use. Known: {known}.")
        return found

    def _write(
        self, study: Study, instance: Instance, profile: DeidentificationProfile, out: Path
    ) -> None:
        """Folders and files carry the new names only."""
        path = storage.path_of(instance.sha256)
        dataset, found = read_deidentified(
            study.site, path, profile,
            correct=partial(correct, study=study) if is_moved(study) else None,
        )  # fmt: skip
        remember(study.site, found)
        folder = out / found.pseudonym / str(dataset.StudyInstanceUID)
        folder = folder / str(dataset.SeriesInstanceUID)
        folder.mkdir(parents=True, exist_ok=True)
        dataset.save_as(folder / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
