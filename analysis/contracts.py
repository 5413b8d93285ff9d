"""The frozen dataclasses that cross the border between science and web.

Nothing else crosses it. The web starts a step by handing a :class:`StepRequest` to a child
process and reads back the step's ``*Result``; both travel as JSON (``to_json``/``from_json``),
and bulk data travels as files named in the records, always relative to ``StepRequest.run_dir``.

Conventions that hold everywhere:

* arrays are ``[z, y, x]`` (slice, row, column); voxel indices in records are ``(i, j, k)`` =
  ``(column, row, slice)``;
* points are DICOM patient coordinates, LPS, millimetres (+x left, +y posterior, +z head);
* an affine is 4x4 row-major, voxel index ``(i, j, k, 1)`` -> LPS of the voxel *centre*;
* a transform ``matrix`` is 4x4 row-major and maps *moving* LPS points to *reference* LPS points
  (the sense of DICOM Spatial Registration, PS3.3 C.20.2), the inverse of what ITK returns;
* units are UCUM as DICOM writes them: ``[hnsf'U]`` (HU), ``g/ml{SUVbw}``, ``mm``, ``ml``, ``1``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from analysis.entries import EnteredValue

Matrix = tuple[tuple[float, float, float, float], ...]
"""4x4, row-major."""
Point = tuple[float, float, float]
"""LPS, mm."""
_I, _J, _K = (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)
IDENTITY: Matrix = (_I, _J, _K, (0.0, 0.0, 0.0, 1.0))

DEFORMED = "deformed-"
"""How the key of a deformed layer begins."""

STEPS: tuple[str, ...] = ("assemble", "register", "infer", "measure", "draft")
"""The steps of a run, in order. Each reads the results of those before it from ``run_dir``."""

StepName = Literal["assemble", "register", "infer", "measure", "draft"]
Severity = Literal["info", "warning", "refused"]
FusionState = Literal["reference", "same_frame", "registered", "not_registered"]
Verdict = Literal["usable", "doubtful", "refused"]
TransformModel = Literal["rigid", "affine", "deformable"]
Role = Literal["CT", "PET", "T1", "T1c", "T2", "FLAIR", "MR", "OTHER"]
Pathway = Literal["lung", "glioma", "general"]
Section = Literal["technique", "comparison", "findings", "impression"]


@dataclass(frozen=True)
class Notice:
    """Something a reader must know. ``subject`` is a SeriesInstanceUID or empty (whole case)."""

    code: str
    message: str
    severity: Severity = "warning"
    subject: str = ""


@dataclass(frozen=True)
class SeriesInput:
    """One DICOM series to analyse; ``paths`` are absolute files, in any order."""

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    description: str
    paths: tuple[str, ...]
    role: str = ""
    """A code of ``analysis/roles/roles.toml`` that the web stored, by rule or by hand. Empty:
    decided from the headers."""
    entered: tuple[EnteredValue, ...] = ()
    """For PET: each counts only where the header has no usable value."""
    study_date: str = ""
    """ISO date of the study, e.g. ``2024-03-01``; empty if it is not known."""
    prior: bool = False
    """An earlier study fetched for comparison: never the reference, given to no network."""


@dataclass(frozen=True)
class StepRequest:
    """What a child process needs to do one step.

    ``run_dir`` holds everything of the run; step ``s`` writes below ``run_dir/s/`` and its result
    as ``run_dir/s/result.json`` (written last, atomically: its presence means the step is done).
    """

    step: StepName
    run_dir: str
    series: tuple[SeriesInput, ...]
    seed: int = 20260101
    device: str = "cpu"
    threads: int = 2
    models_dir: str = ""
    """Folder of model bundles; empty means those shipped in ``analysis/models``."""
    cache_dir: str = ""
    """Folder where registrations are kept for the next run; may be shared by several processes.
    Empty: nothing is kept."""
    fixed_registrations: dict[str, RegistrationRecord] = field(default_factory=dict)
    """SeriesInstanceUID -> how that series lies, as a reader decided: the register step takes it
    as it is and computes nothing for that series."""


@dataclass(frozen=True)
class LevelRecord:
    """One resolution of a stored volume. ``offsets`` has nz+1 entries: slice k of this level is
    bytes ``offsets[k]:offsets[k+1]`` of the store file."""

    shape: tuple[int, int, int]
    """(nz, ny, nx) of this level."""
    factors: tuple[int, int, int]
    """(fz, fy, fx): full-resolution voxels averaged into one voxel of this level."""
    offsets: tuple[int, ...]
    checksums: tuple[int, ...] = ()
    """CRC-32 (zlib) of each encoded slice; empty for volumes stored before there were any."""


@dataclass(frozen=True)
class VolumeRecord:
    """A stored, streaming-ready volume: ``path`` is the store file (see volume_store.py)."""

    key: str
    """Unique in the run. A series that holds several volumes (b-values, phases, echoes) gives
    several records: the one that *speaks* for the series has the SeriesInstanceUID as its key,
    the others the SeriesInstanceUID, ``#`` and their ``number``. Only the speaker is registered,
    measured and given to networks; its siblings lie in the same space and share its registration.
    Derived volumes: ``heatmap``, ``segmentation``."""
    path: str
    sha256: str
    levels: tuple[LevelRecord, ...]
    """Level 0 is full resolution; the last is the coarsest."""
    affine: Matrix
    dtype: Literal["int16", "uint8"]
    slope: float
    intercept: float
    """physical value = stored * slope + intercept."""
    unit: str
    modality: str
    role: Role
    label: str
    """Short text on screen, e.g. ``CT``, ``PET (SUVbw)``, ``FLAIR``."""
    series_instance_uid: str = ""
    frame_of_reference_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()
    """Source instance of each slice k (empty for derived volumes)."""
    frame_numbers: tuple[int, ...] = ()
    """Frame (from 1) of that instance for each slice k; empty if the instances hold one frame, or
    a mosaic, whose tiles have no number."""
    number: int = 1
    """Which of the volumes of its series this is, from 1 ..."""
    count: int = 1
    """... of how many."""
    setting: str = ""
    """What sets it apart from its siblings, e.g. ``b 1000``; the values with their units lie in
    ``source["dimensions"]``. Empty if the series is one volume."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """Physical minimum and maximum."""
    window: tuple[float, float] = (400.0, 40.0)
    """Default (width, centre) in physical units."""
    source: dict[str, Any] = field(default_factory=dict)
    """Evidence: how the values were made (rescale, SUV branch and factor, resampling)."""
    synthetic: bool = False
    lossy: str = ""
    """E.g. ``J2K 20:1`` when LossyImageCompression is 01, else empty."""
    prior: bool = False
    """Of an earlier study, shown for comparison; its date stands in ``study_date`` and label."""
    study_date: str = ""
    """ISO date of the study; empty if it is not known."""

    @property
    def speaks(self) -> bool:
        """Whether this volume stands for its series (see ``key``)."""
        return bool(self.series_instance_uid) and self.key == self.series_instance_uid


@dataclass(frozen=True)
class OutlineRecord:
    """One delivered RTSTRUCT region: closed planar polygons in LPS mm of its own frame."""

    number: int
    name: str
    color: str
    """``#rrggbb``."""
    frame_of_reference_uid: str
    series_instance_uid: str
    """The image series that the structure set refers to; empty if it names none in the case."""
    polygons: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True)
class AssembleResult:
    pathway: Pathway
    pathway_reason: str
    reference_series_uid: str
    volumes: tuple[VolumeRecord, ...]
    outlines: tuple[OutlineRecord, ...] = ()
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class QualityFigure:
    """One figure of registration quality: what, how much, in which unit, on which basis."""

    name: str
    value: float
    unit: str
    basis: str
    passed: bool | None = None


@dataclass(frozen=True)
class FieldRecord:
    """A displacement field on disk, with its own grid in the reference space.

    A point x of the reference space (LPS mm) lies in the moving series at
    ``inverse(matrix) @ (x + u(x))``, where ``u`` is the field and ``matrix`` the record's matrix.
    """

    path: str
    """Relative to ``run_dir``."""
    shape: tuple[int, int, int]
    """Nodes along z, y, x."""
    affine: Matrix
    """Node (i, j, k) -> reference LPS mm."""
    sha256: str


@dataclass(frozen=True)
class RegistrationRecord:
    """How one series, with all its volumes, lies in the reference series' space."""

    series_instance_uid: str
    reference_series_uid: str
    state: FusionState
    matrix: Matrix
    """moving LPS -> reference LPS; identity for ``reference`` and ``same_frame``."""
    method: str
    version: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    quality: tuple[QualityFigure, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    model: TransformModel = "rigid"
    deformation: FieldRecord | None = None
    """Only with ``model`` "deformable"; ``matrix`` is then its rigid or affine part."""


@dataclass(frozen=True)
class RegisterResult:
    """``deformed``: the series that lie deformed, drawn on a lattice of the reference space; the
    key of each is ``DEFORMED`` and the SeriesInstanceUID."""

    registrations: tuple[RegistrationRecord, ...]
    notices: tuple[Notice, ...] = ()
    deformed: tuple[VolumeRecord, ...] = ()


@dataclass(frozen=True)
class RefineRequest:
    """A reader's "refine from here", outside the steps of a run: register one series again from an
    alignment that is given. Its files lie below ``run_dir/folder/``, ``result.json`` last."""

    run_dir: str
    folder: str
    """Relative to ``run_dir``."""
    model: TransformModel
    start: RegistrationRecord
    """The alignment to start from, with what is known of it. One by hand is "doubtful": the images
    have not confirmed it. A deformable result keeps its ``matrix``."""
    moving: VolumeRecord
    reference: VolumeRecord
    seed: int = 20260101
    device: str = "cpu"
    threads: int = 2
    task: Literal["refine"] = "refine"
    cache_dir: str = ""
    """As that of a :class:`StepRequest`."""


@dataclass(frozen=True)
class RefineResult:
    """``deformed``: the moving volume on a lattice of the reference space; only of a deformable
    result that is not refused."""

    registration: RegistrationRecord
    deformed: VolumeRecord | None = None


@dataclass(frozen=True)
class ModelUse:
    """Which model gave a result, and what it saw."""

    name: str
    version: str
    sha256: str
    channels: tuple[str, ...]
    """Every channel the model knows, in order."""
    present: tuple[str, ...]
    """The channels it really had; the rest were given as missing."""
    note: str
    """E.g. ``Trained on synthetic patients only. Not for diagnostic use.``"""


@dataclass(frozen=True)
class InferResult:
    """``heatmap`` is a probability volume (uint8, slope 1/255) on its own grid in reference LPS."""

    heatmap: VolumeRecord | None
    segmentation_model: ModelUse | None
    classifier_model: ModelUse | None
    case_probability: float | None
    """The classifier's probability that the case holds the pathway's target disease."""
    case_label: str = ""
    """What ``case_probability`` is the probability of."""
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class FindingRecord:
    """One finding. Every number has a unit in its name and a way back to voxels."""

    number: int
    """1, 2, 3 ... in the run; also the segment number in the DICOM SEG."""
    tracking_uid: str
    label: str
    """E.g. ``Lung nodule``, ``Enhancing brain lesion``, ``FDG-avid lesion``."""
    location: str
    """Plain words, e.g. ``right upper lung zone``; empty if not determinable."""
    laterality: Literal["right", "left", "midline", ""]
    probability: float | None
    position: Point
    """Centroid, LPS mm in the reference series' space."""
    long_axis_mm: float
    short_axis_mm: float
    volume_ml: float
    suv_max: float | None = None
    suv_peak: float | None = None
    suv_mean: float | None = None
    suv_max_position: Point | None = None
    mean_value: float | None = None
    """Mean of the reference series in the segment."""
    mean_unit: str = ""
    method: str = ""
    """How it was found and measured, with versions."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """Voxel indices, thresholds, series UIDs: the way back."""


@dataclass(frozen=True)
class MeasureResult:
    """``segmentation``: uint8 label volume on the reference grid; voxel value = finding number."""

    findings: tuple[FindingRecord, ...]
    segmentation: VolumeRecord | None
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class SentenceRecord:
    """One sentence of the draft. ``finding`` is a FindingRecord.number, or 0 for a checked
    negative or technique sentence, whose ``basis`` says which check it stands on."""

    section: Section
    text: str
    finding: int = 0
    basis: str = ""


@dataclass(frozen=True)
class DraftResult:
    sentences: tuple[SentenceRecord, ...]
    notices: tuple[Notice, ...] = ()


StepResult = AssembleResult | RegisterResult | InferResult | MeasureResult | DraftResult

_RESULTS = (AssembleResult, RegisterResult, InferResult, MeasureResult, DraftResult)
RESULT_TYPES: dict[str, type] = dict(zip(STEPS, _RESULTS, strict=True))

T = TypeVar("T")


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(cls: type) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def to_json(value: Any) -> bytes:
    """A contract dataclass as UTF-8 JSON."""
    return _adapter(type(value)).dump_json(value)


def from_json(cls: type[T], data: bytes | str) -> T:
    """The inverse of :func:`to_json`; raises ``pydantic.ValidationError`` on a misfit."""
    value: T = _adapter(cls).validate_json(data)
    return value
