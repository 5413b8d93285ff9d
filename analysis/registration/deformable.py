"""Deformable registration after a rigid or affine one, with its proof. See ``deform_series``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from analysis.contracts import Matrix, RegistrationRecord, Verdict
from analysis.deformation import Deformation
from analysis.geometry import FloatArray, Grid, Volume, isotropic_grid
from analysis.progress import Progress, silent
from analysis.registration.answers import answered
from analysis.registration.crew import Job, Tick, run_jobs
from analysis.registration.deformable_quality import Figures, as_quality, judge, measure
from analysis.registration.descriptors import Float32Array, descriptors
from analysis.registration.preparation import NothingToCompare, body_mask, kind_of
from analysis.registration.velocity import (
    BENDING,
    POINTS,
    STRETCHING,
    Side,
    Stage,
    Velocity,
    descend,
    nodes_of,
)
from analysis.resampling import resample

DEFORMABLE_VERSION = "1.1"
"""Version of this method, stored with each record. Raise it when results can change."""

METHOD = "deformable, stationary velocity field, self-similarity descriptors (MIND-SSC)"

FINEST_MM = 2.0
MAX_VOXELS = 5_000_000
"""Twelve descriptors of two images at this size are half a gigabyte; larger fields of view are
worked on with larger voxels (2.5 mm for a CT of 360x360x600 mm)."""
STAGES = (
    # Voxels and nodes as multiples of the finest voxel.
    (4.0, 8.0, 50, 0.6),
    (2.0, 5.0, 50, 0.42),
    (1.0, 3.5, 50, 0.3),
)
PERTURBED_STARTS = 2
PERTURB_MM = 5.0
PERTURB_NODE_MM = 60.0
"""The coarsest stage once more from fields that are off by this: does it come back?"""
MARGIN_MM = 8.0
"""The body's edge counts as image content: it is widened by this."""
CT_WINDOW = (-1000.0, 600.0)
"""HU kept: lung vessels guide the deformation of the chest; metal would rule over all."""

Mask = npt.NDArray[np.bool_]


def deform_series(
    moving: Volume,
    reference: Volume,
    record: RegistrationRecord,
    *,
    seed: int,
    threads: int,
    progress: Progress = silent,
    moving_mask: Volume | None = None,
    reference_mask: Volume | None = None,
    device: str = "cpu",
) -> tuple[RegistrationRecord, Deformation]:
    """How ``moving`` must be bent to lie in ``reference``, starting from the alignment on record.

    ``record.matrix`` (moving LPS -> reference LPS) is kept as it is; the field adds to it. The
    answer is one of:

    * ``model`` "deformable", verdict usable or doubtful: the field is the result. Its file is the
      caller's matter (:func:`stored`); ``deformation`` of the record is empty until then;
    * ``model`` "deformable", verdict refused, state ``not_registered``: the field folds or its
      figures fail. A zero field comes back;
    * the record as it came, a reason of no gain under ``parameters["deformable"]``, and a zero
      field: the images match no better bent than unbent.

    The verdict is never better than that of ``record``: images of two patients can be bent into
    each other, so what the rigid alignment doubts stays doubtful, and what it refuses is not tried.

    Masks (any grid, over 0.5 counts) limit what is compared: ``moving_mask`` in moving LPS,
    ``reference_mask`` in reference LPS. ``progress(share, text)`` is called several times a second
    in the caller's thread; an exception from it ends the work and comes out here. On a
    CPU the same seed gives the same field on any number of threads; a GPU adds in any order.
    Raises ``NothingToCompare`` when the fields of view or a mask leave nothing.
    """
    if record.verdict == "refused" or record.state == "not_registered":
        reason = "the alignment it would start from was refused"
        refused = _refused(record, (*record.reasons, reason), (), {})
        return answered(refused, f"not bent: {reason}"), _unbent(reference, record)
    progress(0.0, "Preparing the images")
    finest = _finest_mm(reference.grid)
    scene = _Scene(moving, reference, record.matrix, moving_mask, reference_mask)
    with _single_threaded_torch():
        there, back, spread = _solve(scene, finest, seed, device, threads, progress)
    progress(0.93, "Judging the deformation")
    velocity = there.halfway(back)
    field = Deformation(velocity.displacement(), velocity.lattice, record.matrix)
    forth = Deformation(there.displacement(), there.lattice)
    returned = Deformation(back.displacement(), back.lattice)
    bodies = scene.at(min(2.0 * finest, _coarsest(scene.reference.grid)))
    figures = measure(
        bodies.fixed, bodies.mobile, bodies.body, bodies.seen, bodies.grid, field,
        forth=forth, back=returned, start=record, spread_mm=spread,
        voxel_mm=max(*reference.grid.spacing, *moving.grid.spacing),
    )
    parameters: dict[str, Any] = {
        "seed": seed,
        "version": DEFORMABLE_VERSION,
        "library": f"torch {torch.__version__}",
        "device": device,
        "finest_voxel_mm": round(finest, 3),
        "stages": [list(stage) for stage in STAGES],
        "points": POINTS,
        "bending": BENDING,
        "stretching": STRETCHING,
        "symmetric": True,
        "start": {
            "method": record.method,
            "model": record.model,
            "version": record.version,
            "verdict": record.verdict,
            "estimated_error_mm": figures.start_error_mm,
            "start_spread_mm": next(
                (q.value for q in record.quality if q.name == "start_spread"), None
            ),
        },
    }
    progress(1.0, "Deformable registration done")
    return _answer(record, reference, figures, field, parameters)


def stored(
    record: RegistrationRecord, deformation: Deformation, run_dir: Path, path: Path
) -> RegistrationRecord:
    """The record with its field written to ``path`` below ``run_dir``; as it is if it has none."""
    if record.model != "deformable" or record.verdict == "refused":
        return record
    path.parent.mkdir(parents=True, exist_ok=True)
    return replace(record, deformation=deformation.record(run_dir, path))


@dataclass(frozen=True, eq=False)
class _View:
    """Both images at one voxel size on one grid of the reference space."""

    grid: Grid
    fixed: Float32Array
    mobile: Float32Array
    """The moving image, unbent."""
    body: Mask
    """Of the reference; what may be compared (mask applied), not widened."""
    seen: Mask
    """Where the moving image shows something (and its mask allows it)."""


class _Scene:
    """The pair, at whatever voxel size is asked for."""

    def __init__(
        self,
        moving: Volume,
        reference: Volume,
        matrix: Matrix,
        moving_mask: Volume | None,
        reference_mask: Volume | None,
    ) -> None:
        self.moving = moving
        self.reference = reference
        self.matrix = matrix
        self.moving_mask = moving_mask
        self.reference_mask = reference_mask

    def at(self, voxel_mm: float) -> _View:
        grid = isotropic_grid(self.reference.grid, voxel_mm)
        fixed, inside = resample(self.reference, grid)
        mobile, seen = resample(self.moving, grid, matrix=self.matrix)
        image = _levelled(fixed)
        body = body_mask(image, grid, kind_of(self.reference)) & inside
        if self.reference_mask is not None:
            share, _ = resample(_as_float(self.reference_mask), grid)
            body &= _of(share)
        if self.moving_mask is not None:
            share, _ = resample(_as_float(self.moving_mask), grid, matrix=self.matrix)
            seen &= _of(share)
        if not (body & seen).any():
            raise NothingToCompare("there is nothing to compare: images or masks share no region")
        return _View(grid, image, _levelled(mobile), body, seen)


def _solve(
    scene: _Scene, finest: float, seed: int, device: str, threads: int, progress: Progress
) -> tuple[Velocity, Velocity, float]:
    """(reference to moving, moving to reference): two independent descents, side by side; and how
    far apart (mm, largest mean over the body) the first ends on the coarsest level when it starts
    from random smooth bends of about ``PERTURB_MM``.

    Each is single-threaded, so that the number of threads does not change the result.
    """
    found: list[Velocity | None] = [None, None]
    spread = 0.0
    cost = [steps / voxel for voxel, _, steps, _ in STAGES]
    begin = 0.03
    for number, (voxel, node, steps, pace) in enumerate(STAGES):
        stage = Stage(voxel * finest, node * finest, steps, pace * finest / FINEST_MM)
        span = 0.9 * cost[number] / sum(cost)
        text = f"Bending at {stage.voxel_mm:.1f} mm"
        progress(begin, text)
        grid, sides = _sides(scene, stage.voxel_mm)
        jobs = [
            _descent(*pair, grid, stage, start, seed + way, device)
            for way, (pair, start) in enumerate(zip((sides, sides[::-1]), found, strict=True))
        ]
        if not number:
            jobs += [
                _descent(*sides, grid, stage, _bend(grid, seed + n), seed + n, device)
                for n in range(2, 2 + PERTURBED_STARTS)
            ]

        def show(share: float, begin: float = begin, span: float = span, text: str = text) -> None:
            progress(begin + span * (0.2 + 0.8 * share), text)

        own, back_, *others = run_jobs(
            jobs, threads=threads, ticks=len(jobs) * steps, progress=show
        )
        found = [own, back_]
        if others:
            spread = _apart(own, others, grid, sides[0].region)
        begin += span
    there, back = found
    assert there is not None and back is not None
    return there, back, spread


def _bend(grid: Grid, seed: int) -> Velocity:
    """A random smooth velocity of ``PERTURB_MM`` (root mean square), nodes 60 mm apart."""
    shape = nodes_of(grid, PERTURB_NODE_MM)
    values = np.random.default_rng(seed).normal(size=(1, 3, *shape)).astype(np.float32)
    return Velocity(torch.from_numpy(values * np.float32(PERTURB_MM / np.sqrt(3))), grid)


def _apart(own: Velocity, others: list[Velocity], grid: Grid, region: Mask) -> float:
    """Largest mean distance in mm over ``region`` between the results of two descents."""
    flat = np.flatnonzero(region)
    k, j, i = np.unravel_index(flat[:: max(1, len(flat) // 2_000)], region.shape)
    points = grid.to_lps(np.stack([i, j, k], axis=1))

    def mapped(velocity: Velocity) -> FloatArray:
        return Deformation(velocity.displacement(), velocity.lattice).to_moving(points)

    here = mapped(own)
    return max(
        float(np.nanmean(np.linalg.norm(mapped(other) - here, axis=1))) for other in others
    )


def _sides(scene: _Scene, voxel_mm: float) -> tuple[Grid, tuple[Side, Side]]:
    """Reference and moving as the descent wants them."""
    view = scene.at(voxel_mm)
    region = ndimage.binary_dilation(view.body, iterations=max(1, round(MARGIN_MM / voxel_mm)))
    # The edge of the moving field of view against its fill value is no content.
    seen = ndimage.binary_erosion(view.seen, border_value=1)
    return view.grid, (
        Side(descriptors(view.fixed), region),
        Side(descriptors(view.mobile), seen & region),
    )


def _descent(
    fixed: Side,
    mobile: Side,
    grid: Grid,
    stage: Stage,
    start: Velocity | None,
    seed: int,
    device: str,
) -> Job[Velocity]:
    def job(tick: Tick) -> Velocity:
        return descend(
            fixed, mobile, grid, stage, start, seed=seed, device=device, tick=tick
        )

    return job


def _answer(
    record: RegistrationRecord,
    reference: Volume,
    figures: Figures,
    field: Deformation,
    parameters: dict[str, Any],
) -> tuple[RegistrationRecord, Deformation]:
    if not figures.gains:
        kept = {
            "tried": parameters,
            "result": "no gain: the images match no better bent than unbent, the alignment is kept",
            "figures": {q.name: q.value for q in as_quality(figures)},
        }
        return (
            replace(record, parameters=record.parameters | {"deformable": kept}),
            _unbent(reference, record),
        )
    verdict, reasons = judge(figures)
    if verdict == "refused":
        refused = _refused(record, reasons, as_quality(figures), parameters)
        return refused, _unbent(reference, record)
    if record.verdict == "doubtful":
        verdict, reasons = "doubtful", (*record.reasons, *reasons)
    result = replace(
        record,
        state="registered",
        method=METHOD,
        version=DEFORMABLE_VERSION,
        verdict=verdict,
        reasons=reasons,
        quality=as_quality(figures),
        parameters=parameters,
        model="deformable",
    )
    return result, field


def _refused(
    record: RegistrationRecord,
    reasons: tuple[str, ...],
    quality: tuple[Any, ...],
    parameters: dict[str, Any],
) -> RegistrationRecord:
    verdict: Verdict = "refused"
    return replace(
        record, state="not_registered", method=METHOD, version=DEFORMABLE_VERSION,
        verdict=verdict, reasons=reasons, quality=quality, parameters=parameters,
        model="deformable", deformation=None,
    )


def _unbent(reference: Volume, record: RegistrationRecord) -> Deformation:
    """No displacement anywhere in the reference's box."""
    grid = reference.grid
    corner = np.maximum(np.array(grid.shape[::-1]) - 1, 1)
    affine = grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * corner
    return Deformation(np.zeros((2, 2, 2, 3), np.float32), Grid((2, 2, 2), affine), record.matrix)


def _finest_mm(grid: Grid) -> float:
    box = float(np.prod(np.array(grid.shape[::-1]) * np.array(grid.spacing)))
    return max(FINEST_MM, float(np.cbrt(box / MAX_VOXELS)))


def _coarsest(grid: Grid) -> float:
    """A voxel size that leaves at least eight voxels along the shortest side."""
    return float(np.min(np.array(grid.shape[::-1]) * np.array(grid.spacing)) / 8)


def _levelled(volume: Volume) -> Float32Array:
    array = np.asarray(volume.array, dtype=np.float32)
    if kind_of(volume) == "CT":
        array = np.clip(array, *CT_WINDOW)
    return np.nan_to_num(array)


def _as_float(mask: Volume) -> Volume:
    return mask.with_array(_of(mask).astype(np.float32))


def _of(mask: Volume) -> Mask:
    return np.asarray(mask.array, dtype=np.float32) > 0.5


@contextmanager
def _single_threaded_torch() -> Iterator[None]:
    """The pool of run_jobs is the only parallelism: torch's own would change sums and fight it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
