"""DICOM Spatial Registration and Deformable Spatial Registration objects, read and checked.

What the standard says (PS3.3 C.20), and this module holds to:

* **C.20.2**: each item of a Spatial Registration names a space (frame of reference, images, or
  both) and a matrix that maps points *of that item* to the object's own frame of reference, the
  registered RCS: ``x_registered = M @ x_item``, mm, row-major. Several matrices of one item apply
  in their order, the first item first: our reading of equation C.20.2-2, ``M3 (M2 (M1 x))``.
  SlicerRT multiplies the other way round; that matters only for matrices that do not commute, and
  the check against the images would tell.
* **C.20.3**: a Deformable Spatial Registration goes the *other way*: it says where to sample, from
  the registered RCS to the item's source RCS, ``x_source = M_post (M_pre x + D(x))``. The lattice
  of D lies in the registered RCS and is sampled at x, before ``M_pre``. This is the pull of
  :class:`analysis.deformation.Deformation`, ``inverse(matrix) @ (x + u(x))``, with
  ``matrix = inverse(M_post M_pre)`` and ``u = inverse(M_pre's linear part) @ D``.
* An item that lists images speaks for these images; one that names only a frame of reference
  speaks for everything in it.

An object that contradicts itself or cannot be a place of a patient raises ``InputRefused``; nothing
of it is used. Nothing here looks at images: :mod:`analysis.registration.delivered` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy import ndimage

from analysis.contracts import Notice, SeriesInput
from analysis.deformation import Deformation
from analysis.errors import InputRefused
from analysis.grids import FloatArray, Grid, as_matrix
from analysis.volumes.damage import READ_ERRORS, drop_damaged

SPATIAL = "1.2.840.10008.5.1.4.1.1.66.1"
DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.3"
MODALITY = "REG"

TYPES = ("RIGID", "RIGID_SCALE", "AFFINE")
ORTHONORMAL = 2e-3
"""How far a matrix called RIGID may be from a rotation: three decimals are written by some."""
SCALES = (0.2, 5.0)
"""Stretches (singular values) between these are believed: nobody is five times as large."""
MAX_NODES = 2**26
"""A larger lattice (800 MB of vectors) is refused before any memory is taken."""
MAX_UNDEFINED = 0.5
"""A field of which more is undefined (NaN) says too little."""


@dataclass(frozen=True, eq=False)
class Item:
    """One space that an object relates to its registered RCS."""

    frame: str
    """FrameOfReferenceUID; empty if the item names images only."""
    images: frozenset[str]
    """SOP instance UIDs; empty if the item names a frame of reference only."""
    matrix: FloatArray
    """4x4, item LPS -> registered LPS; of a deformable item the affine part."""
    field: Deformation | None = None
    """A pull: registered LPS -> item LPS."""
    undefined: float = 0.0
    """Share of the field's nodes that the object leaves undefined; they got the nearest value."""


@dataclass(frozen=True, eq=False)
class SpatialRegistration:
    """One stored object."""

    uid: str
    series_uid: str
    deformable: bool
    frame: str
    """The registered RCS."""
    made: str
    """ContentDate and ContentTime as written: sorts by age."""
    maker: str
    """Manufacturer and model."""
    items: tuple[Item, ...]

    @cached_property
    def registered(self) -> Item:
        """The object's own space, where every series of that frame lies that no item lists."""
        return Item(self.frame, frozenset(), np.eye(4))

    def item_of(self, frame: str, images: frozenset[str]) -> Item | None:
        """What the object says about a series: by its images, else by its frame of reference.

        Raises ``InputRefused`` (``registration_ambiguous``) if it says two things.
        """
        listed = [item for item in self.items if item.images & images]
        if len(listed) > 1 and not all(_same(listed[0], other) for other in listed[1:]):
            raise InputRefused(
                "registration_ambiguous",
                f"The registration object of {self.maker} places one series twice.",
            )
        if listed:
            return listed[0]
        if frame and frame == self.frame:
            return self.registered
        if not frame:
            return None
        named = [item for item in self.items if item.frame == frame]
        if not named:
            return None
        if not all(_same(named[0], other) for other in named[1:]):
            raise InputRefused(
                "registration_ambiguous",
                f"The registration object of {self.maker} places one frame of reference in "
                "several ways.",
            )
        return named[0]


def read_registrations(
    series: Iterable[SeriesInput],
) -> tuple[tuple[SpatialRegistration, ...], tuple[Notice, ...]]:
    """Every registration object among ``series``, the newest first, and why others are not used."""
    found: dict[str, SpatialRegistration] = {}
    notices: list[Notice] = []
    for one in series:
        if one.modality != MODALITY:
            continue
        for path in one.paths:
            try:
                read = read_registration(path)
            except InputRefused as refusal:
                message = f"A registration object is not used: {refusal.message}"
                notices.append(
                    Notice(refusal.code, message, "warning", one.series_instance_uid)
                )
                continue
            found[read.uid] = read
    newest = sorted(found.values(), key=lambda r: (r.made, r.uid), reverse=True)
    return tuple(newest), tuple(dict.fromkeys(notices))


def read_registration(path: str) -> SpatialRegistration:
    """One file. Raises ``InputRefused`` (``unreadable_file``, ``not_a_registration``,
    ``registration_malformed``)."""
    try:
        ds = dcmread(path)
        drop_damaged(ds)
    except READ_ERRORS as error:
        raise InputRefused("unreadable_file", "The file is damaged and cannot be read.") from error
    kind = str(ds.get("SOPClassUID") or "")
    if kind not in (SPATIAL, DEFORMABLE):
        raise InputRefused("not_a_registration", "The file holds no spatial registration.")
    try:
        return _read(ds, deformable=kind == DEFORMABLE)
    except READ_ERRORS as error:
        raise _malformed("it lacks what a registration must hold") from error


def _read(ds: Dataset, *, deformable: bool) -> SpatialRegistration:
    frame = str(ds.get("FrameOfReferenceUID") or "")
    if not frame:
        raise _malformed("it names no frame of reference")
    sequence = ds.get("DeformableRegistrationSequence" if deformable else "RegistrationSequence")
    if not sequence:
        raise _malformed("it holds no registration")
    items = tuple(_deformable(item) if deformable else _spatial(item) for item in sequence)
    for item in items:
        still = item.field is None and np.allclose(item.matrix, np.eye(4), atol=1e-6)
        if item.frame == frame and not item.images and not still:
            raise _malformed("it moves its own frame of reference")
    firm, model = str(ds.get("Manufacturer") or ""), str(ds.get("ManufacturerModelName") or "")
    maker = model if model.lower().startswith(firm.lower()) else f"{firm} {model}".strip()
    return SpatialRegistration(
        uid=str(ds.get("SOPInstanceUID") or ""),
        series_uid=str(ds.get("SeriesInstanceUID") or ""),
        deformable=deformable,
        frame=frame,
        made=f"{ds.get('ContentDate') or '':8.8}{ds.get('ContentTime') or ''}",
        maker=maker[:80] or "an unnamed maker",
        items=items,
    )


def _spatial(item: Dataset) -> Item:
    frame, images = str(item.get("FrameOfReferenceUID") or ""), _images(item)
    if not frame and not images:
        raise _malformed("an item names neither a frame of reference nor images")
    steps = item.get("MatrixRegistrationSequence") or []
    matrix = np.eye(4)
    if not steps:
        raise _malformed("an item holds no matrix")
    for step in steps:
        matrices = step.get("MatrixSequence") or []
        if not matrices:
            raise _malformed("an item holds no matrix")
        for one in matrices:
            matrix = _matrix(one) @ matrix
    return Item(frame, images, _believed(matrix))


def _deformable(item: Dataset) -> Item:
    frame = str(item.get("SourceFrameOfReferenceUID") or "")
    if not frame:
        raise _malformed("an item names no source frame of reference")
    before = _one_matrix(item.get("PreDeformationMatrixRegistrationSequence"))
    after = _one_matrix(item.get("PostDeformationMatrixRegistrationSequence"))
    matrix = _believed(np.asarray(np.linalg.inv(after @ before), dtype=np.float64))
    grids = item.get("DeformableRegistrationGridSequence") or []
    if not grids:
        return Item(frame, _images(item), matrix)
    if len(grids) > 1:
        raise _malformed("an item holds several deformation grids")
    grid = _lattice(grids[0])
    offsets, undefined = _filled(_vectors(grids[0], grid.shape))
    displacement = offsets @ np.linalg.inv(before[:3, :3]).T
    field = Deformation(displacement.astype(np.float32), grid, as_matrix(matrix))
    return Item(frame, _images(item), matrix, field, undefined)


def _one_matrix(sequence: Sequence[Dataset] | None) -> FloatArray:
    if not sequence:
        return np.eye(4)
    if len(sequence) > 1:
        raise _malformed("a deformation has several matrices where one may be")
    return _believed(_matrix(sequence[0]))


def _matrix(item: Dataset) -> FloatArray:
    """One 4x4 with its type checked. A RIGID one is made exactly rigid (nearest rotation)."""
    values = item.get("FrameOfReferenceTransformationMatrix")
    numbers = [float(v) for v in values] if values is not None else []
    if len(numbers) != 16:
        raise _malformed(f"a matrix has {len(numbers)} values instead of 16")
    matrix = np.array(numbers, dtype=np.float64).reshape(4, 4)
    if not np.isfinite(matrix).all():
        raise _malformed("a matrix has a value that is not a number")
    if not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6):
        raise _malformed("the last row of a matrix is not 0 0 0 1")
    kind = str(item.get("FrameOfReferenceTransformationMatrixType") or "")
    if kind not in TYPES:
        raise _malformed("a matrix has no known type")
    linear = matrix[:3, :3]
    if kind == "RIGID":
        if np.abs(linear.T @ linear - np.eye(3)).max() > ORTHONORMAL:
            raise _malformed("a matrix that is called RIGID is none")
        left, _, right = np.linalg.svd(linear)
        matrix[:3, :3] = left @ right
    return matrix


def _believed(matrix: FloatArray) -> FloatArray:
    """The matrix, if a patient can be moved by it."""
    stretches = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if stretches.min() < 1e-6:
        raise _malformed("a matrix is singular")
    if np.linalg.det(matrix[:3, :3]) < 0:
        raise _malformed("a matrix mirrors the patient")
    if not SCALES[0] <= stretches.min() <= stretches.max() <= SCALES[1]:
        raise _malformed(
            f"a matrix stretches the patient {stretches.min():.2g} to {stretches.max():.2g} times"
        )
    return matrix


def _lattice(grid: Dataset) -> Grid:
    nx, ny, nz = (int(v) for v in grid.GridDimensions)
    if min(nx, ny, nz) < 2 or nx * ny * nz > MAX_NODES:
        raise _malformed(f"a deformation grid has {nx} x {ny} x {nz} nodes")
    spacing = np.array([float(v) for v in grid.GridResolution], dtype=np.float64)
    cosines = np.array([float(v) for v in grid.ImageOrientationPatient], dtype=np.float64)
    origin = np.array([float(v) for v in grid.ImagePositionPatient], dtype=np.float64)
    if spacing.shape != (3,) or cosines.shape != (6,) or origin.shape != (3,):
        raise _malformed("a deformation grid has no place")
    row, column = cosines[:3], cosines[3:]
    square = np.array([row @ row - 1, column @ column - 1, row @ column])
    if not (np.isfinite(spacing).all() and (spacing > 0).all() and np.isfinite(origin).all()):
        raise _malformed("a deformation grid has no place")
    if not np.abs(square).max() <= ORTHONORMAL:
        raise _malformed("a deformation grid has no right angles")
    affine = np.eye(4)
    affine[:3, :3] = np.stack([row, column, np.cross(row, column)], axis=1) * spacing
    affine[:3, 3] = origin
    return Grid((nz, ny, nx), affine)


def _vectors(grid: Dataset, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """[z, y, x, 3] mm LPS; triples lie x fastest (PS3.3 C.20.3.1.3)."""
    data: bytes = grid.VectorGridData
    if len(data) != 12 * int(np.prod(shape)):
        raise _malformed("a deformation grid has another size than it says")
    return np.frombuffer(data, dtype="<f4").reshape(*shape, 3)


def _filled(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], float]:
    """Undefined nodes (NaN triples) get the nearest defined value; and how many these are."""
    undefined = np.asarray(~np.isfinite(vectors).all(axis=-1), dtype=np.bool_)
    share = float(undefined.mean())
    if share > MAX_UNDEFINED:
        raise _malformed(f"{share:.0%} of a deformation are undefined")
    return filled(vectors, undefined), share


def filled(
    vectors: npt.NDArray[np.float32], undefined: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """A field [z, y, x, 3] whose ``undefined`` nodes [z, y, x] hold the nearest defined value."""
    if not undefined.any():
        return vectors
    nearest = ndimage.distance_transform_edt(
        undefined, return_distances=False, return_indices=True
    )
    return np.asarray(vectors[tuple(nearest)], dtype=np.float32)


def _images(item: Dataset) -> frozenset[str]:
    return frozenset(
        str(image.ReferencedSOPInstanceUID)
        for image in item.get("ReferencedImageSequence") or []
        if image.get("ReferencedSOPInstanceUID")
    )


def _same(first: Item, second: Item) -> bool:
    return (
        first.field is None
        and second.field is None
        and np.allclose(first.matrix, second.matrix, atol=1e-6)
    )


def _malformed(what: str) -> InputRefused:
    return InputRefused("registration_malformed", f"{what[0].upper()}{what[1:]}.")
