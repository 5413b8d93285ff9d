"""What is trained for each pathway: channels, grid, networks, and the words of the model card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from analysis.fusion.bundle import Normalisation
from analysis.hounsfield import HU_UNIT as HU

PathwayName = Literal["lung", "glioma"]

SEEDS: dict[str, int] = {"train": 100_000, "validation": 200_000, "test": 300_000}
"""First phantom seed of each part; a part has fewer than 100 000 patients, so they never meet.
Seeds below 100 000 are for demos and tests and were never trained on."""

NOTE = "Trained on synthetic patients only. Not for diagnostic use."
VERSION = "0.1.0"

SUV = "g/ml{SUVbw}"
_MR = Normalisation("zscore", (-5.0, 5.0))


@dataclass(frozen=True)
class Plan:
    """Everything a training script needs to know about a pathway."""

    pathway: PathwayName
    channels: tuple[str, ...]
    reference: str
    """The channel the labels are drawn on; the others are registered to it."""
    minimum: tuple[str, ...]
    outputs: tuple[str, ...]
    """Label volumes of the phantom, in the order of the network's outputs."""
    primary: str
    spacing_mm: float
    normalisation: dict[str, Normalisation]
    widths: tuple[int, ...]
    """Features at each level of the U-Net."""
    strides: tuple[int, ...]
    patch: tuple[int, int, int]
    """Voxels of the segmentation network's window."""
    crop: tuple[int, int, int]
    """Samples of the classifier's crop around the heatmap's peak."""
    zoom: int
    """Those samples lie ``spacing_mm / zoom`` apart."""
    judges_candidates: bool
    """Whether the classifier is asked about every candidate (lung) or about the case (glioma)."""
    phantom_spacings: tuple[tuple[float, float, float] | None, ...]
    """(x, y, z) mm of the phantoms' reference series, in turn; None for the phantom's own."""
    mirror: bool
    """Whether left and right may be swapped: yes for the head, no for the chest (the heart)."""
    body: str
    target_words: str
    """What half of the phantoms (odd seeds) have."""
    heatmap_label: str
    case_label: str
    intended_use: str
    task_words: str
    limits: tuple[str, ...]

    def network(self) -> dict[str, Any]:
        """The segmentation network as MONAI configuration."""
        return {
            "_target_": "monai.networks.nets.UNet",
            "spatial_dims": 3,
            "in_channels": len(self.channels),
            "out_channels": len(self.outputs),
            "channels": list(self.widths),
            "strides": list(self.strides),
            "num_res_units": 1,
            "norm": ["INSTANCE", {"affine": True}],
        }

    def inferer(self) -> dict[str, Any]:
        return {
            "_target_": "monai.inferers.SlidingWindowInferer",
            "roi_size": list(self.patch),
            "sw_batch_size": 1,
            "overlap": 0.25,
            "mode": "gaussian",
        }

    def classifier(self) -> dict[str, Any]:
        """DenseNet121 with fewer features a layer than the usual 64/32, to stay small."""
        return {
            "_target_": "monai.networks.nets.DenseNet121",
            "spatial_dims": 3,
            "in_channels": len(self.channels),
            "out_channels": 1,
            "init_features": 24,
            "growth_rate": 12,
            "dropout_prob": 0.1,
        }


PLANS: dict[str, Plan] = {
    "lung": Plan(
        pathway="lung",
        channels=("CT", "PET"),
        reference="CT",
        minimum=("CT", "PET"),
        outputs=("nodule", "suspicious"),
        primary="suspicious",
        spacing_mm=3.0,
        normalisation={
            "CT": Normalisation("linear", (-1000.0, 400.0), (-1.0, 1.0), HU),
            "PET": Normalisation("linear", (0.0, 15.0), (0.0, 3.0), SUV),
        },
        # The first level keeps full resolution: the smallest nodules are two voxels wide.
        widths=(8, 16, 32, 64, 64),
        strides=(1, 2, 2, 2),
        patch=(32, 32, 32),
        crop=(32, 32, 32),
        zoom=2,
        judges_candidates=True,
        phantom_spacings=((2.0, 2.0, 3.0), (2.0, 2.0, 3.0), None, (1.8, 1.8, 2.5)),
        mirror=False,
        body="thorax",
        target_words="an FDG-avid nodule",
        heatmap_label="FDG-avid, malignant-type lung lesion",
        case_label="malignant-type (FDG-avid) lung lesion",
        intended_use=(
            "Research and teaching: to show, on registered chest CT and FDG PET, where a lung "
            "lesion with raised glucose uptake may lie, for a radiologist to judge."
        ),
        task_words="finds lung nodules and tells those with raised FDG uptake from the others",
        limits=(
            "Knows one kind of chest: the digital phantom's. Emphysema, fibrosis, pneumonia, "
            "effusion, post-operative chests and implants are unknown to it.",
            "Lesions below about 6 mm are two model voxels wide and are missed or merged.",
            "Organs outside the chest (brain, kidney, bladder, bowel) were never seen; uptake "
            "there may be marked.",
            "FDG uptake is not malignancy: infection and granuloma take up FDG, and some "
            "cancers do not.",
        ),
    ),
    "glioma": Plan(
        pathway="glioma",
        channels=("T1", "T1c", "T2", "FLAIR", "PET"),
        reference="T1c",
        minimum=(),
        outputs=("core", "whole"),
        primary="whole",
        spacing_mm=3.0,
        normalisation={
            "T1": _MR,
            "T1c": _MR,
            "T2": _MR,
            "FLAIR": _MR,
            "PET": Normalisation("linear", (0.0, 15.0), (0.0, 3.0), SUV),
        },
        widths=(16, 32, 64, 96),
        strides=(2, 2, 2),
        patch=(48, 48, 48),
        crop=(32, 32, 32),
        zoom=1,
        judges_candidates=False,
        phantom_spacings=(
            None,
            (2.0, 2.0, 2.0),
            (2.0, 2.0, 2.4),
            (1.8, 1.8, 2.0),
            (2.0, 2.0, 2.0),
        ),
        mirror=True,
        body="head",
        target_words="a high-grade tumour (the others a low-grade one)",
        heatmap_label="brain tumour, oedema included",
        case_label="high-grade glioma",
        intended_use=(
            "Research and teaching: to show, on registered brain MR and FDG PET, where a "
            "glioma-like lesion may lie, for a radiologist to judge."
        ),
        task_words="finds a brain tumour: its core, and the whole of it with oedema",
        limits=(
            "Knows one kind of brain: the digital phantom's. Stroke, haemorrhage, abscess, "
            "metastases, multiple sclerosis, surgery cavities and implants are unknown to it.",
            "Assumes T1, T1 with contrast, T2 and FLAIR as they are commonly weighted; other "
            "sequences given under these names will mislead it.",
            "Not trained on children.",
            "Grade is a histological and molecular diagnosis; the classifier only separates the "
            "phantom's two kinds of tumour.",
        ),
    ),
}
