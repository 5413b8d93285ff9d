"""The rules as data: what a pathway needs and which words name a body region.

Adding a pathway is adding a :class:`PathwayRule`; adding a spelling is adding a word. The words
are matched as whole tokens, upper case, against BodyPartExamined first and then against the
study and series descriptions (DICOM PS3.16 CID 4 lists the defined terms; real archives add
their own).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.contracts import Pathway, Role

Region = Literal["chest", "head", "other", ""]

REGION_WORDS: dict[Region, frozenset[str]] = {
    "chest": frozenset({"CHEST", "THORAX", "LUNG", "LUNGS", "PULMONARY", "CHESTABDOMEN"}),
    "head": frozenset({"BRAIN", "HEAD", "SKULL", "CEREBRAL", "NEURO", "GLIOMA", "CRANIUM"}),
    "other": frozenset(
        {
            "ABDOMEN", "PELVIS", "EXTREMITY", "LEG", "ARM", "KNEE", "HIP", "FOOT", "HAND",
            "SHOULDER", "THIGH", "NECK", "SPINE", "CSPINE", "LSPINE", "PROSTATE", "LIVER",
            "KIDNEY", "HEART", "BREAST", "ANKLE", "ELBOW", "WRIST", "HEADNECK",
        }
    ),
}  # fmt: skip
"""Words that name a region. Terms for the whole body are in none: the content then decides."""

MIN_LUNG_FRACTION = 0.10
MIN_LUNG_ML = 1000.0
"""A CT shows the lungs when this share of the body, or this volume, holds lung-like air
(-950..-500 HU). Airways and bowel gas of other regions stay far below both."""


@dataclass(frozen=True)
class PathwayRule:
    """A case takes the pathway when its region fits and ``need`` of the ``roles`` are there."""

    pathway: Pathway
    region: Region
    roles: tuple[Role, ...]
    need: int
    reference: tuple[Role, ...]
    """Roles that may be the reference, best first."""
    channels: tuple[Role, ...]
    """Roles that the pathway's network can take."""


RULES: tuple[PathwayRule, ...] = (
    PathwayRule("lung", "chest", ("CT",), 1, ("CT",), ("CT", "PET")),
    PathwayRule(
        "glioma",
        "head",
        ("T1", "T1c", "T2", "FLAIR"),
        2,
        ("T1c", "T1", "FLAIR", "T2"),
        ("T1", "T1c", "T2", "FLAIR", "PET"),
    ),
)

GENERAL_REFERENCE: tuple[Role, ...] = ("CT",)
"""Without a special pathway a CT is the reference; else the anatomical series that covers most;
else the PET."""

ANATOMICAL: frozenset[Role] = frozenset({"CT", "T1", "T1c", "T2", "FLAIR", "MR", "OTHER"})
