"""The chest as a painting: CT number and FDG uptake of every organ of one patient.

Origin: the middle of the chest at about the carina. Sizes are those of an average adult, varied
from patient to patient. Sources of the values: usual CT numbers of unenhanced tissue; usual
SUVbw one hour after injection (liver about 2, blood pool 1.5, marrow 1, muscle 0.6, lung 0.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.phantoms.canvas import (
    Array,
    Canvas,
    Material,
    SmoothField,
    ellipsoid_distance,
    rotation_matrix,
)

LOWER, UPPER = (-180.0, -160.0, -140.0), (180.0, 170.0, 130.0)
"""Corners of the field of view, LPS mm."""

# Inner rib cage along z: half-width, half-depth, centre of depth (mm).
_Z = np.array([-150, -100, -60, 0, 40, 70, 90, 105, 116, 124, 140], dtype=float)
_WIDE = np.array([126, 129, 129, 125, 118, 106, 88, 64, 38, 12, 3], dtype=float)
_DEEP = np.array([86, 90, 90, 85, 77, 66, 55, 43, 27, 10, 3], dtype=float)
_BACK = np.array([0, 0, 0, 3, 8, 13, 17, 20, 22, 22, 22], dtype=float)
# Outline of muscle along z.
_ZM = np.array([-150, -60, 0, 50, 85, 110, 140], dtype=float)
_MUSCLE_WIDE = np.array([138, 142, 145, 148, 152, 154, 140], dtype=float)
_MUSCLE_DEEP = np.array([103, 105, 103, 97, 86, 72, 58], dtype=float)
_MUSCLE_BACK = np.array([4, 4, 5, 9, 12, 14, 14], dtype=float)


def _along(z: Array, knots: np.ndarray, values: np.ndarray, scale: float = 1.0) -> Array:
    flat = np.interp(z.ravel(), knots, values * scale).astype(np.float32)
    return np.asarray(flat.reshape(z.shape))


def _superellipse(x: Array, y: Array, wide: Array, deep: Array, power: float) -> Array:
    """First-order signed distance to |x/wide|^p + |y/deep|^p = 1, slice by slice."""
    u, v = np.abs(x / wide), np.abs(y / deep)
    up, vp = u ** np.float32(power - 1), v ** np.float32(power - 1)
    total = np.maximum(up * u + vp * v, np.float32(1e-6))
    rho = total ** np.float32(1 / power)
    slope = rho / total * np.sqrt((up / wide) ** 2 + (vp / deep) ** 2)
    return np.asarray((rho - 1) / np.maximum(slope, np.float32(1e-4)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Chest:
    """What differs between patients; drawn once, the same on every grid."""

    size: float
    fat_mm: float
    heart_uptake: float
    liver_uptake: float
    blood_uptake: float
    marrow_uptake: float
    lung_hu: float
    emphysema: float
    rib_shift: float
    kyphosis: float
    dome_right: float
    dome_left: float
    heart_size: float
    heart_turn: tuple[float, float, float]
    aorta_shift: float
    texture: SmoothField
    fine: SmoothField

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Chest:
        u = rng.uniform
        return cls(
            size=u(0.92, 1.03),
            fat_mm=u(5, 14),
            heart_uptake=float(np.exp(u(0.0, 2.0))),
            liver_uptake=u(1.8, 2.4),
            blood_uptake=u(1.3, 1.7),
            marrow_uptake=u(0.8, 1.4),
            lung_hu=u(-890, -840),
            emphysema=u(0, 40),
            rib_shift=u(0, 26),
            kyphosis=u(4, 12),
            dome_right=u(-74, -60),
            dome_left=u(-84, -70),
            heart_size=u(0.92, 1.1),
            heart_turn=(u(-8, 8), u(-8, 8), u(-8, 8)),
            aorta_shift=u(-3, 3),
            texture=SmoothField(rng, LOWER, UPPER, 22.0),
            fine=SmoothField(rng, LOWER, UPPER, 7.0),
        )

    def cavity(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the inner face of the rib cage."""
        wide, deep = _along(z, _Z, _WIDE, self.size), _along(z, _Z, _DEEP, self.size)
        return _superellipse(x, y - _along(z, _Z, _BACK), wide, deep, 2.35)

    def spine_y(self, z: Array) -> Array:
        """y of the centre of the vertebral bodies."""
        back = _along(z, _Z, _BACK)
        bend = self.kyphosis * (1 - (z - 20) ** 2 / 110.0**2)
        low = np.float32(58 * self.size)
        return np.asarray(np.minimum(low + bend * 0.6 + 0.15 * back, 66), dtype=np.float32)

    def domes(self, x: Array, y: Array) -> Array:
        """z of the diaphragm."""
        s = self.size
        right = self.dome_right - 38 * ((x + 60) / (66 * s)) ** 2
        left = self.dome_left - 38 * ((x - 58) / (66 * s)) ** 2
        both = np.maximum(right, left)
        drop = np.where(y > 0, 52.0, 24.0).astype(np.float32) * ((y + 5) / (82 * s)) ** 2
        return np.asarray(both - drop, dtype=np.float32)

    def heart(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centre, semi-axes, rotation."""
        tilt = np.array([0.0, 32.0, -38.0]) + np.array(self.heart_turn)
        centre = np.array([18.0, -27.0, -52.0]) * self.size
        return centre, np.array([60.0, 43.0, 43.0]) * self.heart_size, rotation_matrix(tilt)

    def lungs(self, x: Array, y: Array, z: Array, cavity: Array) -> Array:
        """Signed distance to both lungs: rib cage less mediastinum, heart and abdomen."""
        flat_y = y.ravel()
        knots = [-95, -75, -55, -30, 5, 30, 50, 75, 95]
        right = np.interp(flat_y, knots, [3, 4, 9, 25, 27, 18, 15, 21, 24]).reshape(y.shape)
        left = np.interp(flat_y, knots, [2, 4, 11, 22, 25, 26, 24, 23, 24]).reshape(y.shape)
        taper = 0.75 + 0.25 * _along(z, np.array([20.0, 110.0]), np.array([1.0, 0.2]))
        middle = np.where(x < 0, x + right * taper, left * taper - x).astype(np.float32)
        heart = ellipsoid_distance(x, y, z, *_grown(self.heart(), 5.0))
        out = np.maximum(cavity + np.float32(2.5), middle)
        np.maximum(out, self.domes(x, y) - z, out=out)
        np.maximum(out, -heart, out=out)
        return np.asarray(out, dtype=np.float32)


def _grown(
    body: tuple[np.ndarray, np.ndarray, np.ndarray], by: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return body[0], body[1] + by, body[2]


def paint(chest: Chest, canvas: Canvas) -> tuple[Array, Array]:
    """Paint layers ``hu`` and ``suv``; returns the shares of body and of lung."""
    x, y, z = canvas.x, canvas.y, canvas.z
    s = chest.size
    texture, fine = chest.texture.on(x, y, z), chest.fine.on(x, y, z)

    muscle = _superellipse(
        x,
        y - _along(z, _ZM, _MUSCLE_BACK),
        _along(z, _ZM, _MUSCLE_WIDE, s),
        _along(z, _ZM, _MUSCLE_DEEP, s),
        2.5,
    )
    body = canvas.share(muscle - np.float32(chest.fat_mm + 1.8))
    canvas.paint(body, hu=20.0, suv=0.4)
    canvas.paint(canvas.share(muscle - np.float32(chest.fat_mm)), hu=-104 + 5 * fine, suv=0.25)
    # Muscle with fat between its layers.
    canvas.paint(canvas.share(muscle), hu=52 + 5 * fine, suv=0.62 + 0.05 * texture)
    cavity = chest.cavity(x, y, z)
    # Fat planes between the layers of muscle, roughly parallel to the skin.
    plane = np.abs((6 * texture - muscle) % 17 - 8) - 0.7
    planes = canvas.share(np.maximum(plane, np.maximum(12 - cavity, muscle + 3)))
    canvas.paint(planes * np.float32(0.7), hu=-90.0, suv=0.3)
    canvas.paint(canvas.share(cavity - 1), hu=-92 + 8 * fine, suv=0.5)

    _abdomen(chest, canvas, cavity, texture, fine)
    lung = canvas.share(chest.lungs(x, y, z, cavity))
    parenchyma = (
        chest.lung_hu
        + 0.32 * (y + 20)
        + 9 * texture
        + 6 * fine
        - chest.emphysema * np.clip(texture - 0.4, 0, 1.5)
    )
    canvas.paint(lung, hu=parenchyma, suv=0.38 + 0.0012 * y + 0.04 * texture)
    _fissures(chest, canvas, lung)
    _heart(chest, canvas)
    _great_vessels(chest, canvas)
    _bones(chest, canvas, cavity, muscle, fine)
    return body, lung


def _abdomen(chest: Chest, canvas: Canvas, cavity: Array, texture: Array, fine: Array) -> None:
    x, y, z = canvas.x, canvas.y, canvas.z
    low = np.nonzero(z.ravel() < max(chest.dome_right, chest.dome_left) + 6)[0]
    if low.size == 0:
        return
    box = (slice(0, int(low[-1]) + 1), slice(None), slice(None))
    z = z[box[0]]
    texture, fine = texture[box], fine[box]
    inside = np.maximum(cavity[box] + 4, z - chest.domes(x, y) + 3)
    edge = x - 12 + 0.55 * (y + 25) - 0.5 * (z + 90)
    liver = np.maximum(inside, edge * np.float32(0.8))
    canvas.paint(
        canvas.share(liver), box, hu=58 + 2 * fine, suv=chest.liver_uptake * (1 + 0.02 * texture)
    )
    stomach = np.maximum(inside, ellipsoid_distance(x, y, z, (58, -18, -118), (44, 48, 44)))
    stomach = np.maximum(stomach, 6 - liver)
    canvas.paint(canvas.share(stomach), box, hu=45.0, suv=1.4)
    canvas.paint(canvas.share(stomach + 4), box, hu=12.0, suv=0.7)
    gas = np.maximum(stomach + 4, y + 22)
    canvas.paint(canvas.share(gas), box, hu=-960.0, suv=0.05)
    spleen = np.maximum(inside, ellipsoid_distance(x, y, z, (88, 42, -112), (38, 40, 42)))
    canvas.paint(
        canvas.share(np.maximum(spleen, 3 - stomach)),
        box,
        hu=50 + 2 * fine,
        suv=0.82 * chest.liver_uptake,
    )
    vena = ellipsoid_distance(x, y, z, (-22, 18, -120), (12, 11, 60))
    canvas.paint(canvas.share(vena), box, hu=42.0, suv=chest.blood_uptake)


def _fissures(chest: Chest, canvas: Canvas, lung: Array) -> None:
    """Oblique fissures of both lungs, the minor fissure of the right: thin dense sheets."""
    x, y, z = canvas.x, canvas.y, canvas.z
    bend = 6 * np.sin(x / 31) + 0.0012 * x * x
    oblique = (z - 12 - 0.95 * (y - 10) - bend) * np.float32(0.72)
    minor = np.maximum(np.abs(z + 8 + 0.08 * y - 0.15 * (x + 60)), np.maximum(x, -oblique))
    distance = np.minimum(np.abs(oblique), np.where(x < 0, minor, np.float32(99)))
    thin = min(1.0, 1.0 / canvas.width)
    share = np.clip(1 - distance / np.float32(canvas.width), 0, 1) * np.float32(0.35 * thin)
    canvas.paint(np.asarray(share * lung, dtype=np.float32), hu=-300.0)


def _heart(chest: Chest, canvas: Canvas) -> None:
    centre, semi, turn = chest.heart()
    canvas.ellipsoid(centre, semi + 3.5, turn, hu=-95.0, suv=0.5)
    canvas.ellipsoid(centre, semi, turn, hu=41.0, suv=chest.blood_uptake)
    # Left ventricle: a thick cup towards the apex (left, front, down) with variable uptake.
    apex = turn @ np.array([1.0, 0.0, 0.0])
    base = centre + 8 * apex + turn @ np.array([0, 8.0, 2.0])
    canvas.ellipsoid(
        base, np.array([42.0, 28.0, 28.0]) * chest.heart_size, turn, hu=47.0, suv=chest.heart_uptake
    )
    canvas.ellipsoid(
        base - 4 * apex,
        np.array([34.0, 18.0, 18.0]) * chest.heart_size,
        turn,
        hu=40.0,
        suv=chest.blood_uptake,
    )


def _great_vessels(chest: Chest, canvas: Canvas) -> None:
    blood = Material(hu=42.0, suv=chest.blood_uptake)
    shift = chest.aorta_shift
    spine = float(chest.spine_y(np.zeros(1, dtype=np.float32))[0])
    dx, dy = 24 + shift, spine - 17
    ascending = [(2, -22, -30), (-12, -27, -5), (-13, -24, 18), (-2, -12, 33), (12, 8, 37)]
    arch = [(12, 8, 37), (20, 24, 33), (dx, dy, 18), (dx, dy + 2, -40), (dx - 6, dy, -150)]
    canvas.tube(
        [(-24, -14, -20), (-25, -16, 30), (-16, -14, 60), (16, -16, 78)], [10, 9.5, 8, 6.5], **blood
    )
    canvas.tube([(-16, -14, 60), (-34, -12, 82), (-50, -14, 100)], [7, 6.5, 6], **blood)
    canvas.tube(ascending, [15, 15.5, 15, 14, 13], **blood)
    canvas.tube(arch, [13, 12.5, 12, 11.5, 11], **blood)
    for path in (
        [(2, -10, 36), (-12, -6, 62), (-26, 2, 96), (-30, 8, 130)],
        [(8, 0, 38), (12, 0, 66), (20, 6, 98), (24, 8, 130)],
        [(14, 12, 38), (24, 14, 66), (32, 16, 96), (48, 14, 118)],
    ):
        canvas.tube(path, [6, 5, 4.5, 4], **blood)
    # Pulmonary trunk and main arteries; upper and lower veins into the left atrium.
    canvas.tube([(16, -34, -22), (14, -24, 4), (16, -8, 12)], [14, 13.5, 12], **blood)
    canvas.tube([(16, -8, 12), (-6, -2, 8), (-34, 4, 2), (-44, 6, -8)], [12, 10.5, 9.5, 8], **blood)
    canvas.tube([(16, -8, 12), (32, 8, 12), (42, 14, 2)], [12, 10, 8], **blood)
    canvas.ellipsoid((4, 14, -24), (32, 18, 20), **blood)
    for side in (-1, 1):
        canvas.tube([(side * 24 + 4, 14, -20), (side * 48 + 4, 4, -4)], [7, 5], **blood)
        canvas.tube([(side * 24 + 4, 18, -28), (side * 50 + 4, 26, -46)], [7, 5], **blood)
    # Oesophagus, thymus remnant, trachea with its wall and the main bronchi.
    canvas.tube(
        [(4, 30, 130), (2, 33, 40), (8, 36, -20), (14, 30, -90)], [7, 7, 7, 8], hu=35.0, suv=1.3
    )
    trachea = [(0, 8, 135), (0, 10, 80), (-2, 16, 20), (-2, 17, 8)]
    right = [(-2, 17, 8), (-24, 17, -6), (-44, 18, -14)]
    left = [(-2, 17, 8), (24, 18, -10), (44, 20, -18)]
    for path, radii in ((trachea, [9] * 4), (right, [8, 7, 5.5]), (left, [7.5, 6.5, 5.5])):
        canvas.tube(path, [r + 1.6 for r in radii], hu=35.0, suv=0.9)
    for path, radii in ((trachea, [9] * 4), (right, [8, 7, 5.5]), (left, [7.5, 6.5, 5.5])):
        canvas.tube(path, radii, hu=-1000.0, suv=0.1)
    canvas.ellipsoid((-18, -4, 112), (11, 10, 20), hu=95.0, suv=1.3)
    canvas.ellipsoid((19, -4, 112), (10, 10, 20), hu=95.0, suv=1.3)


def _bones(chest: Chest, canvas: Canvas, cavity: Array, muscle: Array, fine: Array) -> None:
    x, y, z = canvas.x, canvas.y, canvas.z
    marrow = chest.marrow_uptake
    spine = chest.spine_y(z)
    box = canvas.box((-48, 20, -999), (48, 140, 999))
    if box is not None:
        bx, by = x[:, :, box[2]], y[:, box[1], :]
        py = by - spine
        level = (z + 200 + 5) % 24 - 12
        round_body = np.sqrt((bx / 17.5) ** 2 + (py / 14.5) ** 2) - 1
        whole = np.maximum(round_body * 15, -11 - py)
        disc = np.maximum(whole, np.abs(level) - 99)
        bone = np.maximum(whole, np.abs(level) - np.float32(9.6))
        canvas.paint(canvas.share(disc), box, hu=85.0, suv=0.6)
        canvas.paint(canvas.share(bone), box, hu=420.0, suv=marrow * 0.8)
        canvas.paint(canvas.share(bone + 2.2), box, hu=165 + 25 * fine[box], suv=marrow)
        # Arch around the canal, spinous and transverse processes.
        ring = np.abs(np.sqrt((bx / 1.15) ** 2 + (py - 21) ** 2) - 12) - 3
        arch = np.maximum(ring, np.abs(level) - 8)
        spinous = np.maximum(
            np.maximum(np.abs(bx) - 3, np.abs(py - 38 + 0.5 * level) - 9), np.abs(level) - 8
        )
        wings = np.maximum(np.maximum(np.abs(bx) - 34, np.abs(py - 19) - 4.5), np.abs(level) - 6)
        wings = np.maximum(wings, 12 - np.abs(bx))
        arches = np.minimum(np.minimum(arch, spinous), wings)
        arches = np.maximum(arches, muscle[box] + 4).astype(np.float32)
        canvas.paint(canvas.share(arches), box, hu=430.0, suv=marrow * 0.7)
        canal = (np.sqrt((bx / 1.15) ** 2 + (py - 21) ** 2) - 9.5).astype(np.float32)
        canvas.paint(canvas.share(canal), box, hu=25.0, suv=1.0)
    _ribs(chest, canvas, cavity, muscle)
    # Sternum in front of the rib cage.
    low, high = -75.0, 78.0
    box = canvas.box((-26, -999, low), (26, 0, high))
    if box is not None:
        bx, by, bz = canvas.axes(box)
        front = _along(bz, _Z, _BACK) - _along(bz, _Z, _DEEP, chest.size) - 6
        half = np.interp(bz.ravel(), [low, -50, 30, 50, high], [7, 17, 13, 22, 26])
        plate = np.maximum(
            np.abs(bx) - half.reshape(bz.shape).astype(np.float32), np.abs(by - front) - 5
        )
        plate = np.maximum(plate, np.maximum(bz - high, low - bz))
        canvas.paint(canvas.share(plate), box, hu=320.0, suv=marrow * 0.7)
        canvas.paint(canvas.share(plate + 1.8), box, hu=120.0, suv=marrow * 0.8)
    for side in (-1, 1):
        s = chest.size
        # Scapula: a thin blade with a spine; clavicle; head of the humerus (arms raised).
        turn = rotation_matrix((0, 0, side * 52))
        canvas.ellipsoid((side * 112 * s, 66, 62), (4.0, 40, 56), turn, hu=380.0, suv=0.6)
        canvas.tube(
            [(side * 78 * s, 84, 88), (side * 132 * s, 62, 104)], [4.5, 5], hu=420.0, suv=0.6
        )
        clavicle = [
            (side * 24, -36, 80),
            (side * 62, -26, 98),
            (side * 104 * s, 0, 112),
            (side * 136 * s, 26, 114),
        ]
        canvas.tube(clavicle, [7.5, 6, 6, 6.5], hu=460.0, suv=marrow * 0.6)
        canvas.tube(clavicle, [5, 3.5, 3.5, 4], hu=170.0, suv=marrow * 0.8)
        canvas.ellipsoid((side * 142 * s, 34, 124), (15, 21, 23), hu=420.0, suv=marrow * 0.6)
        canvas.ellipsoid((side * 142 * s, 34, 124), (12, 18, 20), hu=180.0, suv=marrow * 0.8)


def _ribs(chest: Chest, canvas: Canvas, cavity: Array, muscle: Array) -> None:
    """Ribs run round the cage and down towards the front; cartilage joins them to the sternum."""
    where = np.nonzero((cavity > -1) & (cavity < 13) & (muscle < -2))
    if where[0].size == 0:
        return
    zs, ys, xs = (a.ravel()[i] for a, i in zip((canvas.z, canvas.y, canvas.x), where, strict=True))
    back = np.interp(zs, _Z, _BACK)
    turn = np.abs(np.arctan2(xs, ys - back + 10)) / np.pi  # 0 at the spine, 1 at the front
    height = zs + 88 * turn**1.15 + chest.rib_shift + 400
    phase = height % 26 - 13
    start = zs + 88 * turn**1.15
    depth = cavity[where] - 5.5
    distance = (np.sqrt((depth / 4.0) ** 2 + (phase / 6.8) ** 2) - 1) * 4.2
    floating = (start < -70) & (turn > 0.62)
    gone = (turn > 0.93) | floating | (start < -170)
    distance = np.where(gone, 9, distance).astype(np.float32)
    share = canvas.share(distance)
    core = canvas.share(distance + np.float32(1.7))
    cartilage = turn > 0.74
    marrow = chest.marrow_uptake
    for name, shell, pith, soft in (
        ("hu", 520.0, 170.0, 95.0),
        ("suv", 0.6 * marrow, 0.9 * marrow, 0.5),
    ):
        layer = canvas.layers[name]
        old = layer[where]
        new = old + share * (np.where(cartilage, soft, shell) - old)
        layer[where] = new + core * (np.where(cartilage, soft, pith) - new)
