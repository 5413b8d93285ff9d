"""What an export is made from: the signed content, the source images, the segmentation."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pydicom
from pydicom.valuerep import format_number_as_ds

from workstation.analyzing.models import Layer, LayerKind, Run
from workstation.analyzing.transforms import Transform, transform_of
from workstation.analyzing.volume_files import Values, VolumeUnreadable, read_volume
from workstation.receiving.models import Instance
from workstation.receiving.plain_text import as_utf_8
from workstation.receiving.storage import path_of
from workstation.reporting.models import Version

MANUFACTURER = "Radfuse"
MODEL_NAME = "Radfuse reading workstation"
SOFTWARE_VERSION = "0.1.0"
DEVICE_SERIAL = "0"
_NAMESPACE = uuid.UUID("5e1f0a6e-6f0a-4d0b-8a2e-526164667573")
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Attributes of patient and study that every object carries, if only empty."""


class CannotWrite(Exception):
    """An object cannot be written; the reason is for the deliveries page. Not worth retrying."""


def header_of(instance: Instance) -> pydicom.Dataset:
    """The stored header without pixels, its text decoded: whatever is copied from it into an
    object of ours is written as UTF-8."""
    try:
        header = pydicom.dcmread(path_of(instance.sha256), stop_before_pixels=True)
    except FileNotFoundError:
        raise CannotWrite("A source image is no longer in the archive.") from None
    as_utf_8(header)
    for keyword in TYPE_2:
        # Scanners leave out what may be empty; the writers expect it to be there.
        if keyword not in header:
            setattr(header, keyword, None)
    return header


def date_as_signed(dataset: pydicom.Dataset, signed_at: datetime) -> None:
    """Content and creation date are the signature's: the same version, the same bytes."""
    date, time = signed_at.strftime("%Y%m%d"), signed_at.strftime("%H%M%S")
    dataset.ContentDate, dataset.ContentTime = date, time
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.SeriesDate, dataset.SeriesTime = date, time
    dataset.TimezoneOffsetFromUTC = signed_at.strftime("%z")
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = signed_at.strftime("%Y%m%d%H%M%S%z")


def person_name(name: str) -> str:
    """``Given Family, Title`` as a DICOM person name: carets and backslashes have no place."""
    plain = name.split(",")[0].translate(str.maketrans("^=\\", "   ")).strip()
    given, _, family = plain.rpartition(" ")
    return f"{family}^{given}"[:64] if given else plain[:64]


@dataclass(frozen=True)
class Sources:
    """Everything the writers read, for one signed version."""

    version: Version

    @cached_property
    def content(self) -> dict[str, Any]:
        """The signed text: exports state what was signed, not what rows say today."""
        loaded: dict[str, Any] = json.loads(self.version.content)
        return loaded

    def uid_for(self, name: str) -> str:
        """A UID that depends only on the signed content: an export done twice writes the same
        instances, so a receiver never gets two copies."""
        return f"2.25.{uuid.uuid5(_NAMESPACE, f'{self.version.sha256}:{name}').int}"

    @property
    def run(self) -> Run:
        run = self.version.report.run
        if run is None:
            raise CannotWrite("The report has no analysis behind it.")
        return run

    @cached_property
    def findings(self) -> list[dict[str, Any]]:
        """Findings the reader accepted or edited, by number."""
        return [f for f in self.content["findings"] if f["state"] in ("accepted", "edited")]

    @cached_property
    def reference(self) -> Layer:
        layer = self.run.layers.filter(is_reference=True).select_related("series").first()
        if layer is None:
            raise CannotWrite("The case has no reference series.")
        return layer

    @cached_property
    def reference_headers(self) -> list[pydicom.Dataset]:
        """Headers of the reference volume's source objects, each once, in slice order: one per
        slice, or the multi-frame objects (or mosaics) that the slices are frames of."""
        uids: list[str] = self.reference.record["sop_instance_uids"]
        if not uids:
            raise CannotWrite("The reference volume does not say which images it was made of.")
        # Of the case, not of its site: a linked patient's study lies at another site.
        of_case = Instance.objects.filter(series__study__cases=self.version.report.case_id)
        rows = {row.sop_instance_uid: row for row in of_case.filter(sop_instance_uid__in=uids)}
        missing = [uid for uid in uids if uid not in rows]
        if missing:
            raise CannotWrite(f"{len(missing)} source images are no longer in the archive.")
        headers = [header_of(rows[uid]) for uid in dict.fromkeys(uids)]
        spacing = float(np.linalg.norm(np.array(self.reference.record["affine"])[:3, 2]))
        for header in headers:
            self._name_signed_patient(header)
            if not header.get("SliceThickness"):
                # highdicom asks for it; nothing of it is written, frames carry the stored grid.
                header.SliceThickness = format_number_as_ds(spacing)
        return headers

    def _name_signed_patient(self, header: pydicom.Dataset) -> None:
        """Images that were merged, moved or linked name another ID than the report does: what is
        sent names the patient who was signed for."""
        signed = self.content["patient"]
        named = (str(header.PatientID or ""), str(header.get("IssuerOfPatientID") or ""))
        if named == (signed["patient_id"], signed["issuer"]):
            return
        header.PatientID, header.PatientName = signed["patient_id"], signed["name"]
        header.IssuerOfPatientID = signed["issuer"]
        header.PatientBirthDate = signed["birth_date"].replace("-", "")
        header.PatientSex = signed["sex"]

    @property
    def frame_of_reference_uid(self) -> str:
        """The space of every coordinate we write."""
        uid = self.reference_headers[0].get("FrameOfReferenceUID")
        if not uid:
            raise CannotWrite("The reference images name no frame of reference.")
        return str(uid)

    @property
    def signed_at(self) -> datetime:
        """The date of everything written: an export done again gives the same objects."""
        return datetime.fromisoformat(self.content["signature"]["at"])

    @cached_property
    def labels(self) -> Values | None:
        """Finding numbers [z, y, x] with their affine; None if nothing was segmented."""
        layer = self.run.layers.filter(kind=LayerKind.SEGMENTATION).select_related("run").first()
        if layer is None:
            return None
        try:
            return read_volume(layer)
        except VolumeUnreadable as error:
            raise CannotWrite(str(error)) from error

    def transform_of(self, row: dict[str, Any]) -> Transform:
        """How a series lay when the report was signed, by its row in the signed content."""
        try:
            return transform_of(self.run, row["matrix"], row.get("deformation"))
        except VolumeUnreadable as error:
            raise CannotWrite(str(error)) from error

    @cached_property
    def segment_numbers(self) -> dict[int, int]:
        """Finding number -> segment number (1, 2, 3 ... without gaps) for findings with voxels."""
        if self.labels is None:
            return {}
        present = {int(v) for v in np.unique(self.labels.array)}
        kept = [f["number"] for f in self.findings if f["number"] in present]
        return {finding: segment for segment, finding in enumerate(kept, start=1)}
