"""What a digital patient is: volumes as scanned, and the truth behind them.

Units: mm in LPS, HU, SUVbw in g/ml, ml. ``Volume`` arrays are float32 [z, y, x].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.contracts import Matrix, Point, Role
from analysis.geometry import Volume

VERSION = "1.1.0"
"""Version of the generator. The same version and seed give the same patient, bit for bit, with
the same numpy and scipy; a change of any picture raises it."""

SUV = "g/ml{SUVbw}"
MR_UNIT = "1"

Kind = Literal["thorax", "head"]


@dataclass(frozen=True)
class LesionSpec:
    """A lesion asked for by the caller of ``make_thorax``. ``centre`` None: a free place in the
    lung is drawn. ``uptake_suv`` is the true uptake, before the scanner's blur."""

    diameter_mm: float
    uptake_suv: float
    suspicious: bool
    spiculated: bool = False
    centre: Point | None = None


@dataclass(frozen=True)
class LesionTruth:
    """One lesion as it was made. ``diameter_mm`` is that of the sphere of equal volume."""

    number: int
    kind: str
    suspicious: bool
    centre: Point
    """LPS mm in the reference series' space."""
    diameter_mm: float
    volume_ml: float
    uptake_suv: float
    """True uptake in g/ml, before the scanner's blur and noise."""
    location: str
    laterality: str


@dataclass(frozen=True, eq=False)
class PhantomSeries:
    """One series as scanned (blurred, noisy, on its own grid) beside its noise-free twin."""

    role: Role
    volume: Volume
    noise_free: Volume
    to_reference: Matrix
    """Series LPS -> reference LPS; rigid."""
    frame: str
    """Series with equal ``frame`` share a FrameOfReferenceUID."""


@dataclass(frozen=True, eq=False)
class Phantom:
    """A digital patient. ``labels`` and ``body`` are uint8 0/1 on the reference grid."""

    kind: Kind
    seed: int
    generator_version: str
    reference_role: Role
    series: dict[Role, PhantomSeries]
    lesions: tuple[LesionTruth, ...]
    labels: dict[str, Volume]
    """Thorax: ``nodule`` (every nodule), ``suspicious`` (the FDG-avid ones).
    Head: ``core`` (enhancing and necrotic), ``whole`` (with oedema)."""
    body: Volume | None
    """Thorax: patient without table. Head: ``brain`` (tissue inside the skull)."""
    high_risk: bool

    @property
    def reference(self) -> PhantomSeries:
        return self.series[self.reference_role]
