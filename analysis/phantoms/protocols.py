"""What the headers of each simulated series say about how it was acquired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.contracts import Role
from analysis.phantoms.model import Kind

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128"


@dataclass(frozen=True)
class Header:
    """``study`` groups the series into studies; ``minute`` is the start after the study's."""

    study: str
    study_description: str
    folder: str
    number: int
    description: str
    modality: str
    storage: str
    minute: int
    tags: Mapping[str, Any] = field(default_factory=dict)


def _mr(tr: float, te: float, flip: float, **more: Any) -> dict[str, Any]:
    return {
        "MagneticFieldStrength": 3, "ImagedNucleus": "1H", "ImagingFrequency": 127.7,
        "RepetitionTime": tr, "EchoTime": te, "FlipAngle": flip, "NumberOfAverages": 1,
        "EchoNumbers": 1, "ScanOptions": "", "EchoTrainLength": 1, "PixelBandwidth": 240,
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
    } | more  # fmt: skip


_GRADIENT = {"ScanningSequence": "GR", "SequenceVariant": ["SP", "MP"], "MRAcquisitionType": "3D"}
_SPIN = {"ScanningSequence": "SE", "SequenceVariant": "SK", "MRAcquisitionType": "2D"}
_PET = {
    "ImageType": ["ORIGINAL", "PRIMARY"], "SeriesType": ["STATIC", "IMAGE"],
    "CorrectedImage": ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"], "Units": "BQML",
    "CountsSource": "EMISSION", "DecayCorrection": "START", "CollimatorType": "NONE",
    "AttenuationCorrectionMethod": "CT-derived", "ScatterCorrectionMethod": "Model-based",
    "RandomsCorrectionMethod": "DLYD", "ReconstructionMethod": "OSEM 3i21s, Gaussian filter",
}  # fmt: skip
_HEAD = "MR HEAD WITH AND WITHOUT CONTRAST"

HEADERS: dict[tuple[Kind, Role], Header] = {
    ("thorax", "CT"): Header(
        "PETCT", "PET/CT CHEST FDG", "CT", 2, "CT CHEST 2.0 B", "CT", CT_STORAGE, 0, {
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "KVP": 120,
            "XRayTubeCurrent": 90, "ExposureTime": 500, "Exposure": 45,
            "ConvolutionKernel": "B", "RescaleType": "HU", "GantryDetectorTilt": 0,
            "ReconstructionDiameter": 500, "WindowCenter": 40, "WindowWidth": 400,
        }),
    ("thorax", "PET"): Header(
        "PETCT", "PET/CT CHEST FDG", "PET", 3, "PET AC", "PT", PET_STORAGE, 3, _PET),
    ("head", "T1"): Header(
        "MR", _HEAD, "T1", 3, "AX T1 PRE", "MR", MR_STORAGE, 4, _GRADIENT | _mr(7.6, 3.1, 12)),
    ("head", "T2"): Header(
        "MR", _HEAD, "T2", 4, "AX T2 TSE", "MR", MR_STORAGE, 10,
        _SPIN | _mr(4800, 98, 150, EchoTrainLength=15)),
    ("head", "FLAIR"): Header(
        "MR", _HEAD, "FLAIR", 5, "AX FLAIR", "MR", MR_STORAGE, 14,
        _SPIN | {"ScanningSequence": ["SE", "IR"]}
        | _mr(9000, 120, 150, InversionTime=2500, EchoTrainLength=17)),
    ("head", "T1c"): Header(
        "MR", _HEAD, "T1c", 8, "AX T1 POST", "MR", MR_STORAGE, 24,
        _GRADIENT | _mr(7.6, 3.1, 12) | {
            "ContrastBolusAgent": "GADOBUTROL", "ContrastBolusRoute": "INTRAVENOUS",
            "ContrastBolusVolume": 7.5,
        }),
    ("head", "PET"): Header(
        "PET", "PET BRAIN FDG", "PET", 2, "PET BRAIN AC", "PT", PET_STORAGE, 2, _PET),
}  # fmt: skip
