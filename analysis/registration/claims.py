"""Which stored registration object says what about two series of a case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from analysis.contracts import Matrix, Notice, TransformModel, VolumeRecord
from analysis.deformation import Deformation
from analysis.errors import InputRefused
from analysis.grids import Grid, apply, as_matrix
from analysis.registration.rigid import is_rigid
from analysis.registration.spatial_registration import (
    MAX_UNDEFINED,
    SpatialRegistration,
    filled,
)


@dataclass(frozen=True, eq=False)
class Claim:
    """Where an object says that one series lies in the space of another."""

    matrix: Matrix
    """moving LPS -> reference LPS, mm; with a field its affine part."""
    field: Deformation | None
    """Pull, reference LPS -> moving LPS, with the same matrix."""
    source: SpatialRegistration
    older: tuple[SpatialRegistration, ...] = ()
    """Further objects about the same pair, which are not used."""
    undefined: float = 0.0
    """Share of the field's nodes that got the nearest value, for the object leaves them open."""

    @property
    def model(self) -> TransformModel:
        if self.field is not None:
            return "deformable"
        return "rigid" if is_rigid(np.array(self.matrix)) else "affine"

    @property
    def method(self) -> str:
        kind = "Deformable Spatial" if self.source.deformable else "Spatial"
        return f"DICOM {kind} Registration by {self.source.maker}"


class DeliveredRegistrations:
    """The objects of a case, newest first; remembers which of them said something about it."""

    def __init__(self, objects: Iterable[SpatialRegistration]) -> None:
        self._objects = tuple(objects)
        self._relevant: set[str] = set()
        self._notices: list[Notice] = []

    def claim(self, moving: VolumeRecord, reference: VolumeRecord) -> Claim | None:
        """The newest object that relates the two series, or None. One that contradicts itself
        becomes a notice and the next is asked."""
        found: list[tuple[SpatialRegistration, Claim]] = []
        for stored in self._objects:
            try:
                one = between(stored, moving, reference)
            except InputRefused as refusal:
                self._relevant.add(stored.uid)
                self._notices.append(
                    Notice(refusal.code, refusal.message, "warning", moving.series_instance_uid)
                )
                continue
            if one is not None:
                self._relevant.add(stored.uid)
                found.append((stored, one))
        if not found:
            return None
        return replace(found[0][1], older=tuple(stored for stored, _ in found[1:]))

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Ask when every pair was looked at: contradictions, and objects about nothing here."""
        strangers = tuple(
            Notice(
                "registration_unrelated",
                f"A registration object of {stored.maker} says nothing about the reference series "
                "and another series of this case, and is not used.",
                "info",
                stored.series_uid,
            )
            for stored in self._objects
            if stored.uid not in self._relevant
        )
        return (*dict.fromkeys(self._notices), *strangers)


def between(
    stored: SpatialRegistration, moving: VolumeRecord, reference: VolumeRecord
) -> Claim | None:
    """What one object says about two series, chained through its registered RCS; None if nothing.

    With H the item of the reference and T that of the moving series, a reference point y lies at
    ``x = H y`` in the registered RCS and at ``T^-1 x`` in the moving series; either may be a
    field. A field of the *reference* is inverted at the nodes of its lattice; nodes without an
    inverse get the nearest one. Raises ``InputRefused`` (``registration_ambiguous``,
    ``registration_not_invertible``).
    """
    there = stored.item_of(moving.frame_of_reference_uid, frozenset(moving.sop_instance_uids))
    here = stored.item_of(
        reference.frame_of_reference_uid, frozenset(reference.sop_instance_uids)
    )
    if there is None or here is None or there is here:
        return None
    matrix = np.linalg.inv(here.matrix) @ there.matrix
    undefined = max(there.undefined, here.undefined)
    if here.field is None and there.field is None:
        same = moving.frame_of_reference_uid == reference.frame_of_reference_uid
        if same and moving.frame_of_reference_uid and np.allclose(matrix, np.eye(4), atol=1e-6):
            return None  # that they share a frame, the images say themselves
        return Claim(as_matrix(matrix), None, stored)
    back = np.linalg.inv(here.matrix)
    if here.field is None:
        assert there.field is not None
        grid = Grid(there.field.grid.shape, back @ there.field.grid.affine)
        moved = there.field.displacement @ back[:3, :3].T
        field = Deformation(moved.astype(np.float32), grid, as_matrix(matrix))
        return Claim(field.matrix, field, stored, undefined=undefined)
    grid = Grid(here.field.grid.shape, back @ here.field.grid.affine)
    nodes = grid.nodes()
    registered = here.field.to_reference(nodes)
    if there.field is not None:
        own = there.field.to_moving(registered)
    else:
        own = apply(np.linalg.inv(there.matrix), registered)
    vectors = (apply(matrix, own) - nodes).astype(np.float32)
    open_ = np.asarray(~np.isfinite(vectors).all(axis=-1), dtype=np.bool_)
    if float(open_.mean()) > MAX_UNDEFINED:
        raise InputRefused(
            "registration_not_invertible",
            f"The deformation of {stored.maker} runs the other way and cannot be inverted.",
        )
    field = Deformation(filled(vectors, open_), grid, as_matrix(matrix))
    return Claim(field.matrix, field, stored, undefined=max(undefined, float(open_.mean())))
