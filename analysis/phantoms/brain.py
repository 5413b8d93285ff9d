"""The head as a painting: T1, T2, FLAIR, gadolinium uptake and FDG uptake of one patient.

Origin: the middle of the cerebrum. The layers are those of :mod:`analysis.phantoms.matter`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from analysis.phantoms.canvas import Array, Canvas, Material, SmoothField, ellipsoid_distance
from analysis.phantoms.matter import (
    BLOOD,
    CSF,
    DURA,
    GLAND,
    GREY,
    NUCLEUS,
    PALLIDUM,
    PLEXUS,
    STEM,
    WHITE,
    hotter,
)
from analysis.phantoms.skull import paint_skull

LOWER, UPPER = (-92.0, -118.0, -92.0), (92.0, 112.0, 102.0)
"""Corners of the reference field of view, LPS mm."""


@dataclass(frozen=True, eq=False)
class Folding:
    """Signed distance to the sulcal sheets over the convexity, in mm, on a lattice."""

    distance: Array
    origin: float
    step: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Folding:
        origin, step, n = -102.0, 3.0, 69
        axis = (origin + step * np.arange(n)).astype(np.float32)
        field = SmoothField(rng, [origin] * 3, [-origin] * 3, 7.0).on(axis, axis, axis)
        slopes = np.gradient(field, step)
        steep = np.sqrt(sum(s**2 for s in slopes))
        usual = float(np.sqrt(np.mean(steep**2)))
        return cls(
            (field / np.sqrt(steep**2 + (0.45 * usual) ** 2)).astype(np.float32), origin, step
        )

    def at(self, x: Array, y: Array, z: Array) -> Array:
        index = [(v - np.float32(self.origin)) / np.float32(self.step) for v in (z, y, x)]
        return np.asarray(
            map_coordinates(self.distance, index, order=1, mode="nearest", output=np.float32)
        )


@dataclass(frozen=True, eq=False)
class Head:
    """What differs between patients; drawn once, the same on every grid."""

    size: tuple[float, float, float]
    skull_mm: float
    scalp_mm: float
    atrophy_mm: float
    ventricles: tuple[float, float]
    """Scale of the right and the left lateral ventricle."""
    grey_uptake: float
    petalia: tuple[float, float]
    folding: Folding
    depth: SmoothField
    bend: SmoothField
    warp: tuple[SmoothField, SmoothField, SmoothField]
    texture: SmoothField

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Head:
        u = rng.uniform
        return cls(
            size=(u(0.95, 1.04), u(0.95, 1.04), u(0.96, 1.03)),
            skull_mm=u(5.5, 7.5),
            scalp_mm=u(4.0, 6.5),
            atrophy_mm=u(0.0, 1.6),
            ventricles=(u(0.8, 1.4), u(0.8, 1.4)),
            grey_uptake=u(0.8, 1.2),
            petalia=(u(1.5, 4), u(1.5, 4)),
            folding=Folding.draw(rng),
            depth=SmoothField(rng, LOWER, UPPER, 18.0),
            bend=SmoothField(rng, LOWER, UPPER, 14.0),
            warp=(
                SmoothField(rng, LOWER, UPPER, 42.0),
                SmoothField(rng, LOWER, UPPER, 42.0),
                SmoothField(rng, LOWER, UPPER, 42.0),
            ),
            texture=SmoothField(rng, LOWER, UPPER, 5.0),
        )


@dataclass(frozen=True, eq=False)
class Painted:
    """What the tumour needs to know of the anatomy, all [z, y, x] on the whole grid."""

    pial: Array
    """Distance below the pial surface of the cerebrum in mm, negative outside."""
    brain: Array
    """Share of brain (cerebrum, cerebellum, stem; with ventricles and sulci)."""


def cranium(head: Head, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """Signed distances: whole cranial cavity, its cerebral part, posterior fossa."""
    sx, sy, sz = head.size
    right, left = head.petalia
    # Torque of the brain: the right frontal and the left occipital pole reach farther.
    side = np.tanh(x / np.float32(14))
    yy = y + (
        np.float32(right / 170) * (1 - side) * np.maximum(-y, 0)
        - np.float32(left / 170) * (1 + side) * np.maximum(y, 0)
    )
    narrow = 1 + np.float32(0.0009) * (y - 5)
    vault = _vault(x / narrow, yy - 2, z - 10, (67 * sx, 85 * sy, 66 * sz))
    knots = [-95.0, -50.0, -32.0, -24.0, 25.0, 45.0, 95.0]
    level = np.interp(y.ravel(), knots, [-6, -13, -18, -38, -38, -32, -26])
    floor = level.reshape(y.shape).astype(np.float32)
    ridge = np.float32(5) * np.cos(x / np.float32(16))
    upper = np.maximum(vault, (floor + ridge - z) * np.float32(0.85))
    fossa = ellipsoid_distance(x, y, z, (0, 44 * sy, -34), (52 * sx, 38 * sy, 33))
    canal = np.sqrt(x**2 + (y - 22) ** 2) - 12
    canal = np.maximum(canal, z + 40)
    cavity = np.minimum(np.minimum(upper, fossa), canal)
    return cavity.astype(np.float32), upper.astype(np.float32), fossa.astype(np.float32)


def _vault(x: Array, y: Array, z: Array, semi: tuple[float, float, float]) -> Array:
    """Signed distance to a rounded box-like ellipsoid (power 2.4), squarer than an egg."""
    power = np.float32(2.4)
    parts = [np.abs(v / np.float32(s)) for v, s in zip((x, y, z), semi, strict=True)]
    slopes = [p ** (power - 1) for p in parts]
    total = sum(s * p for s, p in zip(slopes, parts, strict=True))
    total = np.maximum(total, np.float32(1e-5))
    rho = total ** (1 / power)
    steep = np.sqrt(sum((s / np.float32(a)) ** 2 for s, a in zip(slopes, semi, strict=True)))
    gradient = rho / total * steep
    return np.asarray((rho - 1) / np.maximum(gradient, np.float32(1e-3)), dtype=np.float32)


def paint(head: Head, canvas: Canvas) -> Painted:
    """Paint all layers of the healthy head."""
    x0, y0, z0 = canvas.x, canvas.y, canvas.z
    warp = [w.on(x0, y0, z0) for w in head.warp]
    x = x0 + np.float32(1.6) * warp[0]
    y = y0 + np.float32(1.6) * warp[1]
    z = z0 + np.float32(1.6) * warp[2]
    cavity, upper, fossa = cranium(head, x, y, z)
    paint_skull(canvas, cavity, head.skull_mm, head.scalp_mm)
    brain, pial = _cerebrum(head, canvas, x, y, z, cavity, upper)
    _hindbrain(head, canvas, x, y, z, fossa, brain)
    _deep(head, canvas)
    _vessels(head, canvas, cavity)
    return Painted(pial, brain)


def _cerebrum(
    head: Head, canvas: Canvas, x: Array, y: Array, z: Array, cavity: Array, upper: Array
) -> tuple[Array, Array]:
    gap = np.float32(2.2 + head.atrophy_mm)
    tent = (
        np.interp(y.ravel(), [20, 36, 90], [-44, -12, -8]).reshape(y.shape) - 0.20 * np.abs(x)
    ).astype(np.float32)
    outline = np.maximum(upper + gap, tent + 1.5 - z)
    # No cerebrum in the middle below the third ventricle: cisterns, brain stem.
    cistern = np.maximum(np.abs(x) - 17, np.abs(y - 4) - 24)
    outline = np.maximum(outline, -np.maximum(cistern, z + 10)).astype(np.float32)
    callosum = ellipsoid_distance(np.zeros_like(x), y, z, (0, 2, 2), (1, 43, 27))
    medial = np.where(callosum > 0, np.abs(x), np.hypot(x, callosum)) - 1.3
    hull = np.minimum(-outline, medial).astype(np.float32)

    scale = np.array([68, 86, 66]) * np.array(head.size)
    rho = np.sqrt((x / scale[0]) ** 2 + ((y - 2) / scale[1]) ** 2 + ((z - 10) / scale[2]) ** 2)
    pull = (np.maximum(rho, 0.05) ** np.float32(-0.7)).astype(np.float32)
    depth = head.depth.on(canvas.x, canvas.y, canvas.z)
    bend = 3.5 * head.bend.on(canvas.x, canvas.y, canvas.z)
    sheet = np.abs(head.folding.at(x * pull + bend, y * pull + 3 * depth, z * pull - bend))
    deepest = 15 + 4.5 * depth
    beyond = np.maximum(hull - deepest, 0)
    narrow = 0.25 + 0.5 * head.atrophy_mm
    sulcus = sheet - narrow + 1.2 * beyond

    lift = -5 + 0.30 * (y + 4)
    cleft = np.maximum(
        np.maximum(np.abs(z - lift) - 1.0 - 0.3 * head.atrophy_mm, 36 - np.abs(x)), np.abs(y) - 29
    )
    bulge = 38 - 0.009 * (y + 3) ** 2 - 0.012 * (z - 4) ** 2
    insula = np.maximum(np.abs(np.abs(x) - bulge) - 0.6, np.hypot((z - 4) * 1.6, y + 3) - 20)
    pial = np.minimum(np.minimum(hull, sulcus), np.minimum(cleft, insula)).astype(np.float32)

    inside = canvas.share(outline)
    # Dural fold between the hemispheres.
    falx = np.maximum(np.abs(x) - 0.5, np.maximum(14 - callosum, cavity + 1))
    canvas.paint(canvas.share(falx.astype(np.float32)), **DURA)
    grey = hotter(GREY, head.grey_uptake)
    texture = head.texture.on(canvas.x, canvas.y, canvas.z)
    cortex = np.float32(3.0)
    canvas.paint(canvas.share(-pial), **grey)
    shade = 1 + 0.012 * texture
    white = Material(
        t1=WHITE["t1"] * shade,
        t2=WHITE["t2"] * shade,
        flair=WHITE["flair"] * shade,
        gd=WHITE["gd"],
        pet=np.asarray(WHITE["pet"] * shade * head.grey_uptake, dtype=np.float32),
    )
    canvas.paint(canvas.share(cortex - pial), **white)
    return inside, pial


def _hindbrain(
    head: Head, canvas: Canvas, x: Array, y: Array, z: Array, fossa: Array, brain: Array
) -> None:
    sx, sy, _ = head.size
    grey = hotter(GREY, 0.85 * head.grey_uptake)
    tent = -13 - 0.20 * np.abs(x) + 0.08 * (y - 36)
    for side in (-1, 1):
        lobe = ellipsoid_distance(x, y, z, (side * 23 * sx, 48 * sy, -37), (28, 29, 23))
        lobe = np.maximum(np.maximum(lobe, z - tent + 3), fossa + 2.5).astype(np.float32)
        share = canvas.share(lobe)
        canvas.paint(share, **grey)
        # Folia: fine furrows along the surface.
        ripple = np.clip(np.sin((z + 0.5 * y) * np.float32(2 * np.pi / 4.2)) - 0.35, 0, 1)
        furrow = share * ripple * (lobe > -9) * np.float32(0.55)
        canvas.paint(furrow.astype(np.float32), **CSF)
        core = ellipsoid_distance(x, y, z, (side * 19 * sx, 42 * sy, -35), (17, 15, 10))
        core = np.maximum(core, lobe + 4) + 1.6 * np.sin((z + 0.5 * y) * 0.75)
        canvas.paint(canvas.share(core.astype(np.float32)), **WHITE)
        canvas.ellipsoid((side * 14, 38, -34), (6, 5, 5), **NUCLEUS)
        np.maximum(brain, share, out=brain)
    vermis = ellipsoid_distance(x, y, z, (0, 50 * sy, -32), (9, 25, 22))
    vermis = np.maximum(np.maximum(vermis, z - tent + 2), fossa + 3).astype(np.float32)
    canvas.paint(canvas.share(vermis), **grey)
    np.maximum(brain, canvas.share(vermis), out=brain)
    stem = [
        ((0, 14, -6), (0, 10, -20), 15.0, 14.0),
        ((0, 6, -24), (0, 8, -38), 15.5, 15.0),
        ((0, 12, -44), (0, 18, -66), 10.0, 7.5),
        ((0, 18, -66), (0, 22, -98), 6.5, 6.0),
    ]
    matter = STEM
    for a, b, r0, r1 in stem:
        box, share = canvas.segment(a, b, r0, r1)
        if box is not None:
            canvas.paint(share, box, **matter)
            np.maximum(brain[box], share, out=brain[box])
    for side in (-1, 1):
        canvas.tube([(side * 10, 8, -30), (side * 20, 32, -34)], [8, 7], **WHITE)
        canvas.tube([(side * 9, 4, -18), (side * 17, 2, -2)], [7, 7], **WHITE)
    canvas.ellipsoid((0, 27, -33), (8, 5, 11), **CSF)
    canvas.tube([(0, 18, -4), (0, 23, -24)], [1.3, 1.5], **CSF)


def _deep(head: Head, canvas: Canvas) -> None:
    """Basal ganglia, thalamus, ventricles with choroid plexus, pituitary, pineal gland."""
    nucleus = hotter(NUCLEUS, head.grey_uptake)
    canvas.ellipsoid((0, 2, 3), (15, 36, 14), **WHITE)
    # Corpus callosum, a broad arch over the ventricles.
    for offset in (-9, -4.5, 0, 4.5, 9):
        arch = [
            (offset, -27, 0),
            (offset, -36, 5),
            (offset, -31, 17),
            (offset, -14, 25),
            (offset, 10, 26),
            (offset, 28, 20),
            (offset, 37, 11),
        ]
        canvas.tube(arch, [2.5, 4.5, 4.2, 3.6, 3.4, 4.0, 5.0], **WHITE)
    canvas.ellipsoid((0, -4, 12), (3.5, 23, 7.5), **CSF)
    for side, scale in zip((-1, 1), head.ventricles, strict=True):
        canvas.ellipsoid((side * 27, -4, 3), (7, 17, 11), **nucleus)
        canvas.ellipsoid((side * 20.5, -2, 1), (5, 11, 7), **PALLIDUM)
        canvas.ellipsoid((side * 11.5, 12, 6), (9.5, 15, 9.5), **nucleus)
        canvas.tube(
            [(side * 14, -24, 6), (side * 15, -12, 16), (side * 17, 8, 20)], [6.5, 5, 3], **nucleus
        )
        r = scale
        body = [
            (side * 9, -33, 9),
            (side * 8, -20, 14),
            (side * 8.5, 4, 20),
            (side * 14, 24, 18),
            (side * 24, 37, 10),
            (side * 20, 56, 6),
        ]
        canvas.tube(body, [4 * r, 5.2 * r, 4.6 * r, 5.4 * r, 6.4 * r, 2.6 * r], **CSF)
        horn = [(side * 24, 37, 10), (side * 31, 24, -8), (side * 34, 2, -18)]
        canvas.tube(horn, [6 * r, 3.6 * r, 2.6 * r], **CSF)
        canvas.tube(
            [(side * 13, 20, 15), (side * 22, 34, 10), (side * 28, 29, -2)],
            [1.6, 2.8, 1.6],
            **PLEXUS,
        )
        hippocampus = [(side * 28, 0, -21), (side * 27, 18, -15), (side * 20, 30, -4)]
        canvas.tube(hippocampus, [5, 4.5, 3.5], **nucleus)
    width = 1.6 * (sum(head.ventricles) / 2) ** 2
    canvas.ellipsoid((0, 3, 2), (width + 0.6, 17, 11), **CSF)
    canvas.tube([(0, -26, 6), (0, -6, 14), (0, 14, 18)], [1.5, 1.8, 2.0], **WHITE)
    canvas.ellipsoid((0, -22, -17), (6, 4.5, 4), **GLAND)
    canvas.ellipsoid((0, 25, 1), (3, 4, 3), **GLAND)


def _vessels(head: Head, canvas: Canvas, cavity: Array) -> None:
    """Dural sinuses and arteries: dark on T1 and T2 (flow), bright with contrast medium."""
    sx, sy, sz = head.size
    angles = np.radians(np.linspace(-15, 178, 26))
    ring = [(0.0, 2 - np.cos(a) * 83.5 * sy, 10 + np.sin(a) * 63.5 * sz) for a in angles]
    radii = list(np.linspace(1.5, 4.6, len(ring)))
    canvas.tube(ring, radii, **BLOOD)
    for side, r in ((-1, 4.8), (1, 3.6)):
        canvas.tube(
            [
                ring[-1],
                (side * 30 * sx, 74 * sy, -6),
                (side * 52 * sx, 46 * sy, -18),
                (side * 50 * sx, 26, -36),
            ],
            [r, r, r, r],
            **BLOOD,
        )
        carotid = [
            (side * 22, -6, -92),
            (side * 24, -4, -46),
            (side * 14, -12, -32),
            (side * 12, -24, -22),
            (side * 13, -18, -9),
        ]
        canvas.tube(carotid, [3, 2.8, 2.8, 2.6, 2.4], **BLOOD)
        middle = [
            (side * 13, -18, -9),
            (side * 28, -16, -8),
            (side * 38, -12, -6),
            (side * 44, 2, -2),
            (side * 48, 20, 6),
        ]
        canvas.tube(middle, [2.2, 2.0, 1.7, 1.4, 1.0], **BLOOD)
        front = [
            (side * 13, -18, -9),
            (side * 2.0, -30, -6),
            (side * 2.0, -46, 4),
            (side * 2.0, -40, 26),
            (side * 2.0, -10, 36),
        ]
        canvas.tube(front, [1.7, 1.6, 1.4, 1.2, 0.9], **BLOOD)
        canvas.tube(
            [(0, -8, -14), (side * 16, 6, -12), (side * 20, 24, -8), (side * 12, 54, 0)],
            [1.8, 1.6, 1.4, 1.0],
            **BLOOD,
        )
        canvas.tube([(side * 6, 28, 6), (side * 5, 10, 15)], [1.1, 0.8], **BLOOD)
    canvas.tube(
        [(0, -10, -14), (0, -10, -34), (6, -4, -50), (12, 8, -92)], [2, 2, 1.7, 1.6], **BLOOD
    )
    canvas.tube([(0, 26, 6), (0, 34, 4), (0, 48, 2), (0, 74, -4)], [2.2, 2.2, 2.2, 2.6], **BLOOD)
