"""What an export is made from: the signed content, the source images, the segmentation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from workstation.analyzing.models import Layer, LayerKind, Run
from workstation.analyzing.volume_files import read_volume
from workstation.receiving.models import Instance
from workstation.receiving.storage import path_of
from workstation.reporting.models import Version

MANUFACTURER = "Radfuse"
MODEL_NAME = "Radfuse reading workstation"
SOFTWARE_VERSION = "0.1.0"
DEVICE_SERIAL = "0"


class CannotWrite(Exception):
    """An object cannot be written; the reason is for the deliveries page. Not worth retrying."""


def header_of(instance: Instance) -> pydicom.Dataset:
    """The stored header without pixels."""
    return pydicom.dcmread(path_of(instance.sha256), stop_before_pixels=True)


@dataclass(frozen=True)
class Sources:
    """Everything the writers read, for one signed version."""

    version: Version

    @cached_property
    def content(self) -> dict[str, Any]:
        """The signed text: exports state what was signed, not what rows say today."""
        loaded: dict[str, Any] = json.loads(self.version.content)
        return loaded

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
        """Headers of the reference series, in the order of the stored volume's slices."""
        uids: list[str] = self.reference.record["sop_instance_uids"]
        if not uids:
            raise CannotWrite("The reference volume was resampled; it has no slice per image.")
        site = self.version.report.case.site
        rows = {
            row.sop_instance_uid: row
            for row in Instance.objects.filter(site=site, sop_instance_uid__in=uids)
        }
        missing = [uid for uid in uids if uid not in rows]
        if missing:
            raise CannotWrite(f"{len(missing)} source images are no longer in the archive.")
        return [header_of(rows[uid]) for uid in uids]

    @cached_property
    def labels(self) -> npt.NDArray[np.uint8] | None:
        """Finding numbers on the reference grid, [z, y, x]; None if nothing was segmented."""
        layer = self.run.layers.filter(kind=LayerKind.SEGMENTATION).select_related("run").first()
        if layer is None:
            return None
        array = read_volume(layer).array
        return np.asarray(array, dtype=np.uint8)

    @cached_property
    def segment_numbers(self) -> dict[int, int]:
        """Finding number -> segment number (1, 2, 3 ... without gaps) for findings with voxels."""
        if self.labels is None:
            return {}
        present = {int(v) for v in np.unique(self.labels)}
        kept = [f["number"] for f in self.findings if f["number"] in present]
        return {finding: segment for segment, finding in enumerate(kept, start=1)}
