"""From a signed version to DICOM files. Runs in the export worker: it loads highdicom."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
from django.conf import settings
from pydicom.dataset import Dataset

from workstation.exporting.models import Export, ObjectKind
from workstation.exporting.plain_objects import save, write_pdf_object
from workstation.exporting.registrations import write_registration
from workstation.exporting.segmentation import write_segmentation
from workstation.exporting.services import WrittenObject
from workstation.exporting.sources import Sources, header_of
from workstation.exporting.structured_report import write_report
from workstation.receiving.models import Series
from workstation.reporting.documents import render_pdf
from workstation.reporting.models import VersionKind


def write_objects(export: Export) -> list[WrittenObject]:
    """Every object of the version. A final report: SEG (if a finding has voxels), SR, one REG per
    registered series, PDF. An addendum: the PDF with all versions in it."""
    sources = Sources(export.version)
    folder = settings.EXPORTS_DIR / str(export.version.report.case_id) / str(export.version.number)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, name, dataset in _datasets(sources):
        path = folder / f"{name}.dcm"
        save(dataset, path)
        written.append(
            WrittenObject(
                kind=kind,
                sop_class_uid=dataset.SOPClassUID,
                sop_instance_uid=dataset.SOPInstanceUID,
                path=str(path.relative_to(settings.EXPORTS_DIR)),
                sha256=_sha256(path),
            )
        )
    return written


def _datasets(sources: Sources) -> Iterator[tuple[str, str, Dataset]]:
    def uids(name: str) -> tuple[str, str]:
        return sources.uid_for(name), sources.uid_for(f"{name} series")

    if sources.version.kind == VersionKind.FINAL:
        segmentation: hd.seg.Segmentation | None = None
        if sources.segment_numbers:
            segmentation = write_segmentation(sources, *uids("seg"))
            yield ObjectKind.SEG, "seg", segmentation
        yield ObjectKind.SR, "sr", write_report(sources, *uids("sr"), segmentation)
        for number, (row, headers) in enumerate(_registered_series(sources), start=1):
            name = f"reg{number}"
            placed = sources.transform_of(row)
            dataset = write_registration(sources, headers, row, placed, *uids(name))
            yield ObjectKind.REG, name, dataset
    pdf = render_pdf(sources.version)
    yield ObjectKind.PDF, "pdf", write_pdf_object(sources, pdf, *uids("pdf"))


def _registered_series(sources: Sources) -> Iterator[tuple[dict[str, Any], list[Dataset]]]:
    """Series that were moved into the reference space and fused when the report was signed: usable
    or accepted, refined or aligned by hand. Of a series that only shares the reference's frame,
    its images say so themselves."""
    for row in sources.content["registrations"]:
        moved = row["state"] == "registered" or row["decision"] == "nudged" or row.get("refined")
        if not (row["fused"] and moved):
            continue
        series = Series.objects.get(
            study__cases=sources.version.report.case,
            series_instance_uid=row["series_instance_uid"],
        )
        yield row, [header_of(instance) for instance in series.instances.order_by("pk")]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
