"""What the measuring step sees of a case, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analysis.contracts import (
    FindingRecord,
    Matrix,
    ModelUse,
    Notice,
    OutlineRecord,
    Pathway,
    Role,
)
from analysis.geometry import Volume
from analysis.suv import SUV_UNIT

VERSION = "findings 1.1"
"""Stands in every finding's method; raised when a rule or threshold changes."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Layer:
    """One fused series: its voxels on their own grid and the way into the reference space."""

    uid: str
    role: Role
    label: str
    frame: str
    """FrameOfReferenceUID."""
    volume: Volume
    matrix: Matrix
    """This series' LPS -> reference LPS."""


@dataclass(frozen=True, eq=False)
class CaseImages:
    """The fused series of a case, the networks' maps and the delivered contours."""

    pathway: Pathway
    reference_uid: str
    layers: tuple[Layer, ...]
    preferred: Mapping[Role, str] = field(default_factory=dict)
    """Which series speaks for a role."""
    outputs: Mapping[str, Volume] = field(default_factory=dict)
    """Probability maps by name, in reference LPS."""
    model: ModelUse | None = None
    outlines: tuple[OutlineRecord, ...] = ()

    @property
    def reference(self) -> Layer:
        return next(layer for layer in self.layers if layer.uid == self.reference_uid)

    def layer(self, role: Role) -> Layer | None:
        """The series that speaks for ``role``, if it is there and fused."""
        uid = self.preferred.get(role, "")
        return next((layer for layer in self.layers if layer.uid == uid), None)

    def suv_layer(self) -> Layer | None:
        """The PET, if its voxels are SUV by body weight; counts or activity are not measured."""
        pet = self.layer("PET")
        return pet if pet is not None and pet.volume.unit == SUV_UNIT else None


@dataclass(frozen=True, eq=False)
class Candidate:
    """A finding before it has a number, with its mask on a box of the reference grid."""

    record: FindingRecord
    mask: Mask
    start: tuple[int, int, int]
    """(z, y, x) of the box in the reference grid."""


@dataclass(frozen=True, eq=False)
class Measured:
    """``labels`` is uint8 [z, y, x] on the reference grid; voxel value = finding number."""

    findings: tuple[FindingRecord, ...]
    labels: npt.NDArray[np.uint8]
    notices: tuple[Notice, ...]
