"""Does the alignment hold everywhere? Blocks of the reference matched one by one near their place.

A rigid fit of two different patients matches outlines, not organs: single blocks then fit better
somewhere else. Each block of about 28 mm is tried at all shifts of up to 12 mm along each axis.
Its score is the mean pointwise information log p(a, b) / p(a) p(b) of the intensity pairs, whose
table comes from all blocks as they lie (Rogelj et al., Computer Vision and Image Understanding 92,
2003). So a block needs no histogram of its own, and any pair of modalities will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from analysis.geometry import FloatArray
from analysis.registration.lattice import CHUNK, Floats
from analysis.registration.matching import scaled
from analysis.registration.preparation import Level
from analysis.registration.rigid import apply

STEP_MM = 4.0
HALF = 3
"""A block reaches three steps to each side: 28 mm."""
REACH = 3
"""Shifts of up to three steps: 12 mm."""
BINS = 20
BLOCKS = 64
APART_MM = 20.0
CLEARLY = 0.8
"""A block that reaches less than this of its best fit near by counts as misplaced."""
BLUNT = 0.03
FEWEST = 8
LEAST_STRUCTURE = 0.04
"""Standard deviation within a block, as a share of the image's intensity range."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """One entry per block that has structure in both images."""

    centres: FloatArray
    """(n, 3) reference LPS mm."""
    shifts: FloatArray
    """(n, 3) mm along the reference's LPS axes: where the block fits best."""
    fit: FloatArray
    """How well the block fits where it is: 1 as well as anywhere near, 0 no better than the mean
    of all places near by."""
    blunt: FloatArray
    """Share of the places near by that fit nearly as well as the best: small for a sharp peak."""

    @property
    def misfit(self) -> float:
        """Share of the blocks that fit clearly better somewhere else; 1 without blocks, as then
        nothing speaks for the fit."""
        return float((self.fit < CLEARLY).mean()) if len(self.fit) else 1.0

    @property
    def distance_mm(self) -> float:
        """Median distance to the best place, of the blocks with a sharp best place (of all, if
        they are few); as far as was looked without blocks."""
        lengths = np.linalg.norm(self.shifts, axis=1)
        sharp = lengths[self.blunt < BLUNT]
        chosen = sharp if len(sharp) >= FEWEST else lengths
        return float(np.median(chosen)) if len(chosen) else REACH * STEP_MM


def match_blocks(reference: Level, moving: Level, pull: FloatArray) -> Blocks:
    """Best local shift of up to ``BLOCKS`` blocks inside the reference body."""
    centres = _centres(reference, moving, pull)
    size, window = 2 * HALF + 1, 2 * (HALF + REACH) + 1
    fixed, _ = _cubes(reference, centres, np.eye(4), size)
    mobile, seen = _cubes(moving, centres, pull, window)
    contrast = fixed.std(axis=(1, 2, 3)), _core(mobile).std(axis=(1, 2, 3))
    useful = (contrast[0] > LEAST_STRUCTURE) & (contrast[1] > LEAST_STRUCTURE) & (seen > 0.95)
    order = np.argsort(-contrast[0] * contrast[1], kind="stable")
    chosen = np.sort(order[useful[order]][:BLOCKS])
    centres, fixed, mobile = centres[chosen], fixed[chosen], mobile[chosen]
    if not len(centres):
        return Blocks(np.empty((0, 3)), np.empty((0, 3)), np.empty(0), np.empty(0))
    scores = _scores(fixed, mobile, _table(fixed, _core(mobile)))
    shifts, peak = _best(scores)
    flat = scores.reshape(len(scores), -1)
    rise = np.maximum(peak - flat.mean(axis=1), 1e-9)
    fit = 1.0 - (peak - scores[:, REACH, REACH, REACH]) / rise
    blunt = (flat > (peak - 0.1 * rise)[:, None]).mean(axis=1)
    return Blocks(centres, shifts * STEP_MM, fit, blunt)


def _table(fixed: Floats, mobile: Floats) -> Floats:
    """(BINS, BINS) pointwise information of each pair of intensities, all blocks together."""
    rows = _binned(fixed).ravel()
    columns = _binned(mobile).ravel()
    joint = np.bincount(rows * BINS + columns, minlength=BINS * BINS).reshape(BINS, BINS)
    joint = ndimage.gaussian_filter(joint.astype(np.float64), 1.0, mode="constant")
    joint /= joint.sum()
    # A pair of intensities never seen together counts as rare, not as impossible.
    chance = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    return np.asarray(np.log((joint + 0.02 * chance + 1e-9) / (chance + 1e-9)), dtype=np.float32)


def _scores(fixed: Floats, mobile: Floats, table: Floats) -> FloatArray:
    """(n, s, s, s) mean pointwise information of each block at each shift along x, y, z."""
    size, window = fixed.shape[1], mobile.shape[1]
    shifts = window - size + 1
    rows = _binned(fixed) * BINS
    columns = _binned(mobile)
    scores = np.empty((len(fixed), shifts, shifts, shifts))
    flat = table.ravel()
    for i in range(shifts):
        for j in range(shifts):
            for k in range(shifts):
                part = columns[:, i : i + size, j : j + size, k : k + size]
                scores[:, i, j, k] = flat.take(rows + part).mean(axis=(1, 2, 3))
    return scores


def _binned(values: Floats) -> npt.NDArray[np.int64]:
    return np.minimum((values * np.float32(BINS)).astype(np.int64), BINS - 1)


def _best(ratio: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, 3) best shift in steps along x, y, z, parabola through the neighbours; peak value."""
    count = len(ratio)
    flat = ratio.reshape(count, -1).argmax(axis=1)
    places = np.stack(np.unravel_index(flat, ratio.shape[1:]), axis=1)
    peak = ratio.reshape(count, -1).max(axis=1)
    shifts = places.astype(np.float64) - REACH
    last = ratio.shape[1] - 1
    rows = np.arange(count)
    for axis in range(3):
        inner = (places[:, axis] > 0) & (places[:, axis] < last)
        before, after = places.copy(), places.copy()
        before[:, axis] = np.maximum(before[:, axis] - 1, 0)
        after[:, axis] = np.minimum(after[:, axis] + 1, last)
        low = ratio[rows, before[:, 0], before[:, 1], before[:, 2]]
        high = ratio[rows, after[:, 0], after[:, 1], after[:, 2]]
        bend = 2 * peak - low - high
        move = np.where(inner & (bend > 1e-9), 0.5 * (high - low) / np.maximum(bend, 1e-9), 0.0)
        shifts[:, axis] += np.clip(move, -0.5, 0.5)
    return shifts, peak


def _centres(reference: Level, moving: Level, pull: FloatArray) -> FloatArray:
    """Places of blocks: a regular lattice in LPS over the common body, at most a few hundred."""
    points = reference.body_points(4_000)
    low, high = points.min(axis=0), points.max(axis=0)
    apart = APART_MM
    while True:
        axes = [np.arange(a + apart / 2, b, apart) for a, b in zip(low, high, strict=True)]
        lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        kept = _in_body(reference, lattice) & _in_body(moving, apply(pull, lattice))
        if kept.sum() <= 3 * BLOCKS:
            return np.asarray(lattice[kept], dtype=np.float64)
        apart *= 1.25


def _in_body(level: Level, points: FloatArray) -> npt.NDArray[np.bool_]:
    index = np.ascontiguousarray(level.grid.to_index(points).T, dtype=np.float32)
    if not index.size:
        return np.zeros(0, dtype=np.bool_)
    return level.lattice.inside(index) & (level.body_lattice.nearest(index) > 0.5)


def _cubes(
    level: Level, centres: FloatArray, pull: FloatArray, size: int
) -> tuple[Floats, FloatArray]:
    """(n, size, size, size) intensities in [0, 1] along x, y, z around each pulled centre, and the
    share of each cube that lies inside the image."""
    steps = (np.arange(size) - size // 2) * STEP_MM
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(1, -1, 3)
    total = np.linalg.inv(level.grid.affine) @ pull
    arms = (cube[0] @ total[:3, :3].T).T.astype(np.float32)
    starts = (centres @ total[:3, :3].T + total[:3, 3]).astype(np.float32)
    values = np.empty((len(centres), cube.shape[1]), dtype=np.float32)
    share = np.empty(len(centres))
    group = max(1, CHUNK // cube.shape[1])
    for begin in range(0, len(centres), group):
        part = starts[begin : begin + group]
        index = (part.T[:, :, None] + arms[:, None, :]).reshape(3, -1)
        values[begin : begin + group] = level.lattice.values(index).reshape(len(part), -1)
        inside = level.lattice.inside(index)
        if level.allowed_lattice is not None:
            inside &= level.allowed_lattice.nearest(index) > 0.5
        share[begin : begin + group] = inside.reshape(len(part), -1).mean(axis=1)
    return scaled(values, level.limits).reshape(-1, size, size, size), share


def _core(cubes: Floats) -> Floats:
    """The part of each window that lies under the block without a shift."""
    inner = slice(REACH, -REACH)
    return cubes[:, inner, inner, inner]
