"""Transforms made elsewhere: found for a pair of series, checked against the images, then used.

A stored object is a claim. It is used exactly as it was delivered, but only after the images were
asked: our own registration starts from it and may move it (locally, no search), and the distance
it moves is the error that the images see in the claim. A claim that is not usable loses against
our own registration if that has the better verdict; the record says which was used and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.contracts import (
    IDENTITY,
    FieldRecord,
    Matrix,
    Notice,
    QualityFigure,
    RegistrationRecord,
    TransformModel,
    Verdict,
    VolumeRecord,
)
from analysis.deformation import Deformation
from analysis.errors import InputRefused
from analysis.geometry import Volume
from analysis.grids import FloatArray, Grid, as_matrix
from analysis.registration import thresholds as t
from analysis.registration.crew import Progress
from analysis.registration.preparation import build_pyramid
from analysis.registration.rigid import apply, is_rigid
from analysis.registration.series import register_series
from analysis.registration.spatial_registration import (
    MAX_UNDEFINED,
    SpatialRegistration,
    filled,
)
from analysis.resampling import resample

VERSION = "1"
"""Of this check, stored with each record beside the registration's own version."""
PROBES = 2_000
RANK: dict[Verdict, int] = {"usable": 0, "doubtful": 1, "refused": 2}


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
    nz, ny, nx = grid.shape
    k, j, i = np.meshgrid(np.arange(nz), np.arange(ny), np.arange(nx), indexing="ij")
    nodes = grid.to_lps(np.stack([i, j, k], axis=-1))
    registered = here.field.to_reference(nodes)
    if there.field is not None:
        own = there.field.to_moving(registered)
    else:
        own = _mapped(np.asarray(np.linalg.inv(there.matrix), dtype=np.float64), registered)
    vectors = (_mapped(np.asarray(matrix, dtype=np.float64), own) - nodes).astype(np.float32)
    open_ = np.asarray(~np.isfinite(vectors).all(axis=-1), dtype=np.bool_)
    if float(open_.mean()) > MAX_UNDEFINED:
        raise InputRefused(
            "registration_not_invertible",
            f"The deformation of {stored.maker} runs the other way and cannot be inverted.",
        )
    field = Deformation(filled(vectors, open_), grid, as_matrix(matrix))
    return Claim(field.matrix, field, stored, undefined=max(undefined, float(open_.mean())))


def _mapped(matrix: FloatArray, points: FloatArray) -> FloatArray:
    return apply(matrix, points.reshape(-1, 3)).reshape(points.shape)


# --- against the images --------------------------------------------------------------------------

Register = Callable[..., RegistrationRecord]


def _silent(_fraction: float, _message: str) -> None:
    """Progress that goes nowhere."""


def judge_claim(
    claim: Claim,
    moving: Volume,
    reference: Volume,
    *,
    moving_uid: str,
    reference_uid: str,
    seed: int,
    threads: int,
    store: Callable[[Deformation], FieldRecord],
    progress: Progress = _silent,
    register: Register = register_series,
) -> RegistrationRecord:
    """The claim as a record: its matrix and field unchanged, with figures, verdict and reasons.

    The images may move it: ``register`` starts from the claim (of a deformable one: from the
    moving series as the claim deforms it). The mean distance over the reference's body by which
    the result differs is a figure of its own and part of the estimated error. A refused claim
    has state ``not_registered`` and the identity; its matrix is kept in ``parameters``.
    ``store`` keeps the field of a claim that is not refused.
    """
    start, volume, folds = claim.matrix, moving, 0.0
    quality: tuple[QualityFigure, ...] = ()
    if claim.field is not None:
        folds = claim.field.folded_share()
        basis = "share of the field's cell corners with a Jacobian of 0 or less"
        quality = (QualityFigure("folded", folds, "1", basis, folds == 0),)
    if folds > 0:
        verdict: Verdict = "refused"
        reasons: tuple[str, ...] = (
            f"the delivered deformation folds space at {folds:.1%} of its cells",
        )
        check = "folding"
    else:
        if claim.field is not None:
            volume, start = _straightened(claim, claim.field, moving, reference)
        found = register(
            volume, reference, moving_uid=moving_uid, reference_uid=reference_uid,
            same_frame=False, seed=seed, threads=threads, progress=progress,
            model="affine" if claim.model == "affine" else "rigid", start=start,
        )  # fmt: skip
        verdict, reasons, figures = _judged(found, start, reference, moving)
        quality = (*figures, *quality)
        check = f"{found.method}; {found.version}"
    parameters: dict[str, Any] = {
        "object": claim.source.uid,
        "made": claim.source.made,
        "maker": claim.source.maker,
        "older_objects": [stored.uid for stored in claim.older],
        "undefined_nodes": claim.undefined,
        "check": f"{VERSION}; {check}",
        "seed": seed,
    }
    refused = verdict == "refused"
    if refused:
        parameters["rejected_matrix"] = [list(row) for row in claim.matrix]
    return RegistrationRecord(
        series_instance_uid=moving_uid,
        reference_series_uid=reference_uid,
        state="not_registered" if refused else "registered",
        matrix=IDENTITY if refused else claim.matrix,
        method=claim.method,
        version=t.REGISTRATION_VERSION,
        verdict=verdict,
        reasons=reasons,
        quality=quality,
        parameters=parameters,
        model="rigid" if refused else claim.model,
        deformation=None if refused or claim.field is None else store(claim.field),
    )


def _straightened(
    claim: Claim, field: Deformation, moving: Volume, reference: Volume
) -> tuple[Volume, Matrix]:
    """The moving series as the claim deforms it, left where it was delivered, and the rigid matrix
    that brings it to the reference: what a rigid registration can be asked about."""
    deformed, _ = resample(moving, reference.grid, deformation=field)
    push = np.array(claim.matrix)
    left, _, right = np.linalg.svd(push[:3, :3])
    rotation = left @ right
    # About the reference's middle: there the rigid part puts things where the affine one does.
    middle = reference.grid.centre
    own = apply(np.linalg.inv(push), middle[None])[0]
    rigid = np.eye(4)
    rigid[:3, :3] = rotation
    rigid[:3, 3] = middle - rotation @ own
    grid = Grid(deformed.grid.shape, np.linalg.inv(rigid) @ deformed.grid.affine)
    return replace(deformed, grid=grid), as_matrix(rigid)


def _judged(
    found: RegistrationRecord, start: Matrix, reference: Volume, moving: Volume
) -> tuple[Verdict, tuple[str, ...], tuple[QualityFigure, ...]]:
    """Verdict, reasons and figures of a claim from the registration that started there."""
    figures = tuple(
        replace(figure, basis=f"{figure.basis}; at the place to which the images move the claim")
        for figure in found.quality
    )
    if found.verdict == "refused":
        reasons = found.reasons or ("the images do not bear it out",)
        return "refused", reasons, figures
    probes = build_pyramid(reference).middle.body_points(PROBES)
    there = apply(np.linalg.inv(np.array(start)), probes)
    apart = np.linalg.norm(apply(np.array(found.matrix), there) - probes, axis=1)
    distance = float(apart.mean())
    voxel = max(*reference.grid.spacing, *moving.grid.spacing)
    doubtful = max(t.CONSISTENCY_DOUBTFUL_MM, 0.5 * voxel)
    refused = max(t.CONSISTENCY_REFUSED_MM, voxel)
    checked = {figure.name: figure.value for figure in found.quality}
    estimate = float(np.hypot(checked.get("estimated_error", 0.0), distance))
    verdict: Verdict = found.verdict
    reasons = found.reasons
    if distance > doubtful:
        verdict = "refused" if distance > refused else "doubtful"
        reasons = (
            f"the images lie {distance:.1f} mm away from where the delivered transform puts them",
            *reasons,
        )
    own = (
        QualityFigure(
            "estimated_error", estimate, "mm",
            "root of summed squares of the check's own estimate and the distance to the delivered "
            "place; a lower bound", estimate <= t.TARGET_ERROR_DOUBTFUL_MM,
        ),
        QualityFigure(
            "distance_to_delivered", distance, "mm",
            "mean over body points between the delivered place and the one to which the images "
            "move it", distance <= doubtful,
        ),
    )  # fmt: skip
    rest = tuple(figure for figure in figures if figure.name != "estimated_error")
    return verdict, reasons, (*own, *rest)


def decide(
    claimed: RegistrationRecord,
    claim: Claim,
    own: Callable[[], RegistrationRecord],
    label: str,
) -> tuple[RegistrationRecord, tuple[Notice, ...]]:
    """The delivered transform if it is usable or better than ``own``; and what the reader is told.

    ``own`` makes our own registration and is called only if the claim is not usable. The record
    of what was not used stays in ``parameters["not_used"]``.
    """
    uid, made = claimed.series_instance_uid, claim.source.made[:8]
    name = f"{label}: the {claim.method}" + (f" of {made}" if made.strip() else "")
    older = ""
    if claim.older:
        listed = ", ".join(
            f"{stored.maker} {stored.made[:8]}".strip() for stored in claim.older[:5]
        )
        older = f" Older objects about the same series are not used ({listed})."
    if claimed.verdict == "usable":
        error = next(f.value for f in claimed.quality if f.name == "estimated_error")
        text = f"{name} is used; the images confirm it (estimated error {error:.1f} mm).{older}"
        return claimed, (Notice("registration_object_used", text, "info", uid),)
    mine = own()
    why = "; ".join(claimed.reasons)
    if RANK[claimed.verdict] < RANK[mine.verdict]:
        text = f"{name} is {claimed.verdict} ({why}), our own registration is worse.{older}"
        kept = replace(claimed, parameters={**claimed.parameters, "not_used": _evidence(mine)})
        return kept, (Notice("registration_object_used", text, "warning", uid),)
    text = f"{name} is not used ({why}). The series is registered anew.{older}"
    kept = replace(mine, parameters={**mine.parameters, "not_used": _evidence(claimed)})
    return kept, (Notice("registration_object_not_used", text, "warning", uid),)


def _evidence(record: RegistrationRecord) -> dict[str, Any]:
    return {
        "method": record.method,
        "verdict": record.verdict,
        "reasons": list(record.reasons),
        "matrix": record.parameters.get("rejected_matrix", [list(row) for row in record.matrix]),
        "object": record.parameters.get("object", ""),
    }


def field_store(run_dir: Path, folder: Path, uid: str) -> Callable[[Deformation], FieldRecord]:
    """Keeps the field of a claim about series ``uid`` below ``folder``."""

    def store(field: Deformation) -> FieldRecord:
        name = "".join(c if c.isalnum() else "-" for c in uid)
        return field.record(run_dir, folder / f"delivered-{name}.npz")

    return store
