"""``truth.json``: what is known of a digital patient, beside its DICOM files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.phantoms.dicom import Identity
from analysis.phantoms.model import Phantom
from analysis.phantoms.protocols import HEADERS


def truth_of(phantom: Phantom, uids: dict[Any, Identity]) -> dict[str, Any]:
    """Versions, transforms (series LPS -> reference LPS, mm), lesions (mm, ml, g/ml)."""
    series = {}
    for role, one in phantom.series.items():
        header = HEADERS[phantom.kind, role]
        series[role] = {
            "folder": f"{header.study}/{header.folder}",
            "study_instance_uid": uids[role].study,
            "series_instance_uid": uids[role].series,
            "frame_of_reference_uid": uids[role].frame,
            "to_reference": one.to_reference,
            "shape_zyx": one.volume.grid.shape,
            "spacing_xyz_mm": one.volume.grid.spacing,
            "unit": one.volume.unit,
        }
    return {
        "kind": phantom.kind,
        "seed": phantom.seed,
        "generator_version": phantom.generator_version,
        "reference_role": phantom.reference_role,
        "high_risk": phantom.high_risk,
        "lesions": [asdict(lesion) for lesion in phantom.lesions],
        "series": series,
    }


def write_truth(phantom: Phantom, uids: dict[Any, Identity], path: Path) -> None:
    text = json.dumps(truth_of(phantom, uids), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
