"""Gliomas of known extent, and the findings of the brain that imitate them.

No sequence alone tells them apart: white-matter spots are as bright on FLAIR as oedema, a
subacute infarct takes up contrast medium but no FDG, a seizure focus is hot on PET alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.phantoms.brain import Head, Painted
from analysis.phantoms.canvas import Array, Canvas
from analysis.phantoms.lesions import Blob


@dataclass(frozen=True, eq=False)
class Glioma:
    """Where a tumour lies and how it looks. ``core`` is None for a low grade."""

    high: bool
    core: Blob | None
    necrosis: Blob | None
    whole: Blob
    enhancement: float
    uptake: float
    """SUVbw of the living tumour."""

    @property
    def centre(self) -> np.ndarray:
        return self.whole.centre if self.core is None else self.core.centre


def draw(rng: np.random.Generator, head: Head, high: bool) -> Glioma:
    """A tumour deep enough in one hemisphere to be covered by brain."""
    side = rng.choice([-1.0, 1.0])
    radius = rng.uniform(9, 19) if high else rng.uniform(12, 22)
    inner = max(0.12, 0.80 - (radius + 4) / 68)
    for _ in range(200):
        p = rng.uniform([20, -52, -4], [44, 52, 50])
        q = (p - [0, 2, 10]) / (np.array([68, 86, 66]) * head.size)
        if np.linalg.norm(q) < max(inner, 0.42):
            break
    centre = p * [side, 1, 1]
    if not high:
        whole = Blob.make(rng, centre, 2 * radius, 0.05)
        uptake = rng.uniform(1.6, 2.9) * head.grey_uptake
        return Glioma(False, None, None, whole, 0.0, float(uptake))
    core = Blob.make(rng, centre, 2 * radius, 0.045)
    offset = rng.standard_normal(3)
    offset *= 0.10 * radius / np.linalg.norm(offset)
    necrosis = Blob.make(rng, centre + offset, 2 * radius * rng.uniform(0.45, 0.7), 0.05)
    spread = rng.standard_normal(3)
    spread *= 4.0 / np.linalg.norm(spread)
    whole = Blob.make(rng, centre + spread, 2 * (radius + rng.uniform(7, 15)), 0.07)
    uptake = rng.uniform(1.0, 1.7) * 8.6 * head.grey_uptake
    return Glioma(True, core, necrosis, whole, float(rng.uniform(260, 560)), float(uptake))


def paint(
    rng: np.random.Generator, canvas: Canvas, anatomy: Painted, glioma: Glioma
) -> tuple[Array, Array]:
    """Paint the tumour; returns voxel shares of ``core`` and ``whole`` on the whole grid."""
    core = np.zeros(canvas.grid.shape, dtype=np.float32)
    whole = np.zeros(canvas.grid.shape, dtype=np.float32)
    shade = rng.uniform(0.92, 1.08)
    box, share = glioma.whole.soft_shares(canvas, edge_mm=max(4.0, canvas.width))
    if box is None:
        return core, whole
    pial = anatomy.pial[box]
    # Oedema follows white matter and leaves the cortex; a low grade grows into it as well.
    limit = 3.0 if glioma.high else 0.2
    share = share * canvas.share(np.float32(limit) - pial)
    share *= (canvas.layers["t2"][box] < 800) | (pial < 3)  # not into the ventricles
    if glioma.high:
        canvas.paint(share, box, t1=500.0, t2=690 * shade, flair=700 * shade, gd=10.0, pet=2.6)
    else:
        canvas.paint(
            share, box, t1=455.0, t2=700 * shade, flair=720 * shade, gd=15.0, pet=glioma.uptake
        )
    whole[box] = share
    if glioma.core is None or glioma.necrosis is None:
        return core, whole
    box, share = glioma.core.shares(canvas, fine_mm=0.5)
    if box is not None:
        share = share * anatomy.brain[box]
        canvas.paint(
            share,
            box,
            t1=420.0,
            t2=570 * shade,
            flair=580 * shade,
            gd=glioma.enhancement,
            pet=glioma.uptake,
        )
        core[box] = share
        np.maximum(whole, core, out=whole)
    box, share = glioma.necrosis.shares(canvas, fine_mm=0.5)
    if box is not None:
        canvas.paint(
            share * core[box],
            box,
            t1=270.0,
            t2=890.0,
            flair=rng.uniform(300, 700),
            gd=25.0,
            pet=1.4,
        )
    return core, whole


def imitators(
    rng: np.random.Generator, canvas: Canvas, head: Head, anatomy: Painted, avoid: Glioma | None
) -> None:
    """White-matter spots and caps, an enhancing infarct, a hot patch of cortex."""

    def far(point: np.ndarray, reach: float) -> bool:
        if avoid is None:
            return True
        gap = float(np.linalg.norm(point - avoid.whole.centre))
        return gap > avoid.whole.reach_mm + reach + 4

    matter = canvas.share(np.float32(3.2) - anatomy.pial)
    burden = int(rng.choice([4, 12, 28], p=[0.35, 0.4, 0.25]))
    spots = rng.uniform([16, -50, 12], [44, 50, 46], (burden, 3))
    spots *= np.stack([rng.choice([-1, 1], burden), np.ones(burden), np.ones(burden)], axis=1)
    sizes = rng.uniform(1.4, 3.6, (burden, 3)) + (rng.random((burden, 1)) < 0.15) * 4
    for spot, size in zip(spots, sizes, strict=True):
        canvas.ellipsoid(spot, size, clip=matter, t1=540.0, t2=640.0, flair=690.0)
    for side in (-1, 1):
        for place in ((side * 11, -38, 10), (side * 26, 46, 10)):
            canvas.ellipsoid(place, rng.uniform(2.5, 6.5, 3), clip=matter, t2=600.0, flair=660.0)
    chance = rng.random(2)
    for _ in range(3):  # draws stay the same in number whatever is accepted
        point = rng.uniform([18, -45, 0], [46, 50, 46]) * [rng.choice([-1, 1]), 1, 1]
        size = rng.uniform(4, 9, 3)
        strength, cold = rng.uniform(200, 480), rng.uniform(1.0, 2.2)
        if chance[0] < 0.45 and far(point, float(size.max())):
            canvas.ellipsoid(point, size + 3, clip=matter, t1=520.0, t2=640.0, flair=680.0)
            canvas.ellipsoid(
                point,
                size,
                clip=anatomy.brain,
                t1=430.0,
                t2=660.0,
                flair=720.0,
                gd=strength,
                pet=cold,
            )
            break
    for _ in range(3):
        point = rng.uniform([30, -55, 10], [58, 60, 50]) * [rng.choice([-1, 1]), 1, 1]
        size = rng.uniform(8, 16, 3)
        factor = rng.uniform(1.35, 1.8)
        if chance[1] < 0.5 and far(point, float(size.max())):
            cortex = canvas.share(-anatomy.pial) - matter
            canvas.ellipsoid(
                point, size, clip=np.clip(cortex, 0, 1), pet=8.6 * head.grey_uptake * factor
            )
            break
