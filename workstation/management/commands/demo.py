"""Demo sites, people and synthetic patients, so that a newcomer has something to read."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pydicom
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.presentation import StoragePresentationContexts

from workstation.accounts.models import Role, Site, User
from workstation.accounts.services import create_user
from workstation.exporting.models import Destination
from workstation.receiving.models import Patient, PriorRule, RemoteNode

PASSWORD = "radfuse-demo-2026"  # printed by deploy/run; the demo listens on this machine only
SCANNER = "DEMO_SCANNER"
DESTINATION = "DEMO_PACS"
PRIOR_AGE = timedelta(days=300)

PEOPLE: tuple[tuple[str, Role, str, str, str], ...] = (
    ("radiologist", Role.RADIOLOGIST, "Rosa", "Demo", "demo"),
    ("radiologist2", Role.RADIOLOGIST, "Ravi", "Demo", "demo"),
    ("lead", Role.LEAD, "Lena", "Demo", "demo"),
    ("admin", Role.ADMINISTRATOR, "Alex", "Demo", "demo"),
    ("remote", Role.RADIOLOGIST, "Remy", "Elsewhere", "elsewhere"),
)
"""Sign-in name, role, first name, family name, site."""

PATIENTS: tuple[tuple[str, int, str, str], ...] = (
    ("thorax", 11, "SYNTHETIC^Thorax One", "SYN-T-0011"),
    ("head", 21, "SYNTHETIC^Head One", "SYN-H-0021"),
)
"""Kind, seed, name, ID of each digital patient (analysis/phantoms)."""


class Command(BaseCommand):
    """``manage.py demo --users`` and ``manage.py demo --cases``; both may be repeated."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--users", action="store_true", help="sites, people, destination")
        parser.add_argument("--cases", action="store_true", help="send the synthetic patients in")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["users"]:
            make_people()
        if options["cases"]:
            send_patients()


@transaction.atomic
def make_people() -> None:
    """Sites, users and the demo destination; existing ones are left as they are."""
    home, _ = Site.objects.get_or_create(
        code="demo", defaults={"name": "Demo hospital"}
    )
    away, _ = Site.objects.get_or_create(
        code="elsewhere", defaults={"name": "Elsewhere clinic"}
    )
    for site, title, name in (
        (home, SCANNER, "Demo scanner"),
        (home, "STORESCU", "DCMTK storescu"),
        (away, "ELSEWHERE", "Scanner elsewhere"),
    ):
        RemoteNode.objects.get_or_create(site=site, name=name, defaults={"ae_title": title})
    pacs, _ = RemoteNode.objects.get_or_create(
        site=home,
        name="Demo PACS",
        defaults={
            "ae_title": DESTINATION,
            "host": "127.0.0.1",
            "port": settings.DEMO_DESTINATION_PORT,
            "may_send": False,
            "may_be_queried": True,
        },
    )
    PriorRule.objects.get_or_create(
        site=home,
        name="Earlier CT of the same region",
        defaults={"node": pacs, "when_modalities": "PT", "fetch_modalities": "CT", "years": 3},
    )
    sites = {"demo": home, "elsewhere": away}
    for name, role, first, last, site in PEOPLE:
        if not User.objects.filter(username=name).exists():
            create_user(
                name, PASSWORD, role=role, sites=[sites[site]], first_name=first, last_name=last
            )
    Destination.objects.update_or_create(
        site=home,
        name="Demo PACS",
        defaults={
            "ae_title": DESTINATION,
            "host": "127.0.0.1",
            "port": settings.DEMO_DESTINATION_PORT,
        },
    )


def send_patients() -> None:
    """Make each missing patient's DICOM files and send them as a scanner would, by C-STORE."""
    for kind, seed, name, patient_id in PATIENTS:
        if Patient.objects.filter(patient_id=patient_id, site__code="demo").exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            # A process of its own: this one must not load the science.
            subprocess.run(
                [
                    sys.executable, "-m", "analysis.phantoms", folder, "--kind", kind,
                    "--seed", str(seed), "--positive",
                    "--patient-name", name, "--patient-id", patient_id,
                ],
                cwd=settings.BASE_DIR,
                check=True,
            )  # fmt: skip
            if kind == "thorax":
                leave_prior(Path(folder), settings.RADFUSE_HOME / "demo-destination" / "priors")
            send_folder(Path(folder))


def leave_prior(folder: Path, pacs: Path) -> None:
    """Put last year's CT of the digital patient into the demo PACS: the same images, dated back.

    The demo's prior rule finds and fetches it when the new study has arrived.
    """
    pacs.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.rglob("*.dcm")):
        image = pydicom.dcmread(path)
        if image.Modality != "CT":
            continue
        for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
            if image.get(keyword):
                day = datetime.strptime(str(image[keyword].value), "%Y%m%d") - PRIOR_AGE
                setattr(image, keyword, day.strftime("%Y%m%d"))
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
                        "FrameOfReferenceUID"):  # fmt: skip
            if image.get(keyword):
                fresh = generate_uid(entropy_srcs=["prior", image[keyword].value])
                setattr(image, keyword, fresh)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.StudyDescription = "SYNTHETIC earlier chest CT"
        image.AccessionNumber = ""
        image.save_as(pacs / f"prior_{image.SOPInstanceUID}.dcm")


def send_folder(folder: Path, *, patience: float = 30.0) -> None:
    """C-STORE every file below ``folder`` to our own listener; waits for it to come up."""
    scanner = AE(ae_title=SCANNER)
    scanner.requested_contexts = StoragePresentationContexts
    until = time.monotonic() + patience
    while True:
        link = scanner.associate(
            settings.DICOM_HOST, settings.DICOM_PORT, ae_title=settings.DICOM_AE_TITLE
        )
        if link.is_established:
            break
        if time.monotonic() > until:
            raise CommandError("The DICOM listener does not answer; see its log.")
        time.sleep(0.5)
    try:
        for path in sorted(folder.rglob("*.dcm")):
            status = link.send_c_store(path)
            if "Status" not in status or status.Status != 0x0000:
                raise CommandError(f"The listener refused {path.name}: {status}")
    finally:
        link.release()
