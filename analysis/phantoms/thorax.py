"""A digital thorax: PET/CT in one frame of reference, lung nodules of known size and uptake."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from analysis.contracts import IDENTITY
from analysis.geometry import Volume
from analysis.hounsfield import HU_UNIT as HU
from analysis.phantoms import airways, chest, scanner
from analysis.phantoms.canvas import Array, Canvas, axial_grid
from analysis.phantoms.lesions import Blob
from analysis.phantoms.model import (
    SUV,
    VERSION,
    LesionSpec,
    LesionTruth,
    Phantom,
    PhantomSeries,
)

DEMO_SPACING = (1.4, 1.4, 2.0)
PET_SPACING = (4.0, 4.0, 3.0)
PET_FWHM_MM = 6.5
PET_NOISE = 0.02
"""SD over mean in the liver: a long acquisition. Clinical routine has 5 to 12 %."""
HILA = {-1: np.array([-46.0, 8.0, -6.0]), 1: np.array([46.0, 14.0, -8.0])}
_COARSE = (5.0, 5.0, 5.0)


def draw_lesions(rng: np.random.Generator, positive: bool) -> tuple[LesionSpec, ...]:
    """Nodules of one patient. Avid and other nodules overlap in size and shape, so that the CT
    alone does not tell them apart."""
    out: list[LesionSpec] = []
    if positive:
        for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))):
            diameter = float(rng.uniform(8, 28))
            # Small lesions must be hot to be seen at all through the blur of the scanner.
            low = 5.5 if diameter < 11 else 3.0
            out.append(
                LesionSpec(diameter, float(rng.uniform(low, 12)), True, bool(rng.random() < 0.6))
            )
    few = [0.25, 0.45, 0.3] if positive else [0.15, 0.5, 0.35]
    for _ in range(int(rng.choice([0, 1, 2], p=few))):
        out.append(
            LesionSpec(
                float(rng.uniform(6, 22)),
                float(rng.uniform(0.5, 1.4)),
                False,
                bool(rng.random() < 0.35),
            )
        )
    return tuple(out)


def make_thorax(
    seed: int,
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    lesions: Sequence[LesionSpec] | None = None,
    positive: bool | None = None,
    noise: float = 1.0,
) -> Phantom:
    """A thorax PET/CT.

    ``spacing_mm`` (x, y, z) is that of the CT; the same seed is the same patient at any spacing.
    ``lesions`` replaces the drawn nodules; ``positive`` fixes whether there is an avid one.
    ``noise`` scales the noise of both scanners (1 = usual, 0 = none). Raises ``ValueError`` when
    a lesion finds no room in the lungs.
    """
    streams = np.random.default_rng([seed, 1]).spawn(6)
    body_rng, choice_rng, place_rng, tree_rng, noise_rng, extra_rng = streams
    patient = chest.Chest.draw(body_rng)
    if positive is None:
        positive = bool(choice_rng.random() < 0.5)
    else:
        choice_rng.random()
    specs = draw_lesions(choice_rng, positive) if lesions is None else tuple(lesions)

    room = _Room(patient)
    blobs = [room.place(place_rng, spec) for spec in specs]
    grid = axial_grid(chest.LOWER, chest.UPPER, spacing_mm or DEMO_SPACING)
    canvas = Canvas(grid, hu=-1000.0, suv=0.0)
    body, lung = chest.paint(patient, canvas)
    _confusers(extra_rng, canvas, room, lung, blobs)
    _trees(tree_rng, canvas, room, lung, blobs)

    nodule = np.zeros(grid.shape, dtype=np.float32)
    suspicious = np.zeros(grid.shape, dtype=np.float32)
    for spec, blob in zip(specs, blobs, strict=True):
        density = float(place_rng.uniform(25, 55))
        if spec.spiculated:
            _spicules(place_rng, canvas, blob, spec, lung)
        box, share = blob.shares(canvas)
        if box is None:
            continue
        canvas.paint(share, box, hu=density, suv=spec.uptake_suv)
        for target, wanted in ((nodule, True), (suspicious, spec.suspicious)):
            if wanted:
                np.maximum(target[box], share, out=target[box])
    _table(canvas)

    ct = scanner.ct_view(canvas.layers["hu"], grid, 0.45)
    ct_noisy = scanner.ct_noise(noise_rng, ct, grid, 22.0 * noise)
    pet_grid = axial_grid((-200, -200, chest.LOWER[2]), (200, 200, chest.UPPER[2]), PET_SPACING)
    pet = scanner.pet_view(canvas.layers["suv"], grid, pet_grid, PET_FWHM_MM)
    pet_noisy = scanner.pet_noise(noise_rng, pet, pet_grid, PET_NOISE * noise, 2.0)

    def label(share: Array) -> Volume:
        return Volume((share >= 0.5).astype(np.uint8), grid, "1", "SEG", "OTHER")

    return Phantom(
        kind="thorax",
        seed=seed,
        generator_version=VERSION,
        reference_role="CT",
        series={
            "CT": PhantomSeries(
                "CT",
                Volume(ct_noisy, grid, HU, "CT", "CT"),
                Volume(ct, grid, HU, "CT", "CT"),
                IDENTITY,
                "thorax",
            ),
            "PET": PhantomSeries(
                "PET",
                Volume(pet_noisy, pet_grid, SUV, "PT", "PET"),
                Volume(pet, pet_grid, SUV, "PT", "PET"),
                IDENTITY,
                "thorax",
            ),
        },
        lesions=tuple(
            _truth(k + 1, s, b) for k, (s, b) in enumerate(zip(specs, blobs, strict=True))
        ),
        labels={"nodule": label(nodule), "suspicious": label(suspicious)},
        body=label(body),
        high_risk=any(s.suspicious for s in specs),
    )


def _truth(number: int, spec: LesionSpec, blob: Blob) -> LesionTruth:
    c = blob.centre
    side = "right" if c[0] < 0 else "left"
    zone = "upper" if c[2] > 25 else "middle" if c[2] > -30 else "lower"
    return LesionTruth(
        number=number,
        kind="solid nodule" if spec.suspicious else "benign nodule",
        suspicious=spec.suspicious,
        centre=(float(c[0]), float(c[1]), float(c[2])),
        diameter_mm=blob.diameter_mm,
        volume_ml=blob.volume_ml,
        uptake_suv=spec.uptake_suv,
        location=f"{side} {zone} lung zone",
        laterality=side,
    )


class _Room:
    """Free space in the lungs, on a coarse grid that does not depend on the CT's."""

    def __init__(self, patient: chest.Chest) -> None:
        self.canvas = Canvas(axial_grid(chest.LOWER, chest.UPPER, _COARSE), hu=-1000.0, suv=0.0)
        chest.paint(patient, self.canvas)
        x, y, z = self.canvas.x, self.canvas.y, self.canvas.z
        self.lung = (self.canvas.layers["hu"] < -650) & (patient.cavity(x, y, z) < -2)
        self.lung &= patient.lungs(x, y, z, patient.cavity(x, y, z)) < 0  # not the trachea
        inner = self.lung & (z > chest.LOWER[2] + 20)
        for side, hilum in HILA.items():
            gap = np.sqrt((x - hilum[0]) ** 2 + (y - hilum[1]) ** 2 + ((z - hilum[2]) / 1.4) ** 2)
            inner &= ~((gap < 26) & (np.sign(x) == side))
        self.depth = distance_transform_edt(inner, sampling=_COARSE)

    def points(self, mask: np.ndarray) -> np.ndarray:
        """LPS of the coarse voxels in the mask (n, 3)."""
        return self.canvas.grid.to_lps(np.argwhere(mask)[:, ::-1])

    def place(self, rng: np.random.Generator, spec: LesionSpec) -> Blob:
        roughness = 0.055 if spec.spiculated else 0.03
        draws = rng.random(4)
        radius = spec.diameter_mm / 2
        if spec.centre is None:
            need = radius * 1.15 + 5.0
            free = np.argwhere(self.depth > need)
            if len(free) == 0:
                raise ValueError(f"no room in the lungs for a nodule of {spec.diameter_mm:.0f} mm")
            k, j, i = free[int(draws[0] * len(free))]
            jitter = (draws[1:] - 0.5) * 4.0
            centre = self.canvas.grid.to_lps([i, j, k]) + jitter
        else:
            centre = np.asarray(spec.centre, dtype=float)
        x, y, z = self.canvas.x, self.canvas.y, self.canvas.z
        gap = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
        self.depth = np.minimum(self.depth, gap - radius * 1.15 - 6.0)
        return Blob.make(rng, centre, spec.diameter_mm, roughness)


def _spicules(
    rng: np.random.Generator, canvas: Canvas, blob: Blob, spec: LesionSpec, lung: Array
) -> None:
    """Fine strands around the nodule. They are no part of its volume (as in volumetry)."""
    for direction in rng.standard_normal((14, 3)):
        direction /= np.linalg.norm(direction)
        start = blob.centre + direction * blob.diameter_mm * 0.42
        end = start + direction * (2.5 + rng.uniform(0.15, 0.45) * blob.diameter_mm)
        canvas.tube([start, end], [0.75, 0.3], clip=lung, hu=-250.0)


def _trees(
    rng: np.random.Generator, canvas: Canvas, room: _Room, lung: Array, blobs: list[Blob]
) -> None:
    """Arteries, veins and bronchi of both lungs; none runs through a nodule."""
    vessel = np.zeros(canvas.grid.shape, dtype=np.float32)
    lumen = np.zeros(canvas.grid.shape, dtype=np.float32)
    wall = np.zeros(canvas.grid.shape, dtype=np.float32)
    for side in (-1, 1):
        mask = room.lung & (np.sign(room.canvas.x) == side)
        inside = room.points(mask)
        hilum = HILA[side]
        plans = (
            (vessel, 260, hilum, 0.78, 2.6, 0.0),
            (vessel, 200, hilum + np.array([0, 4.0, -14.0]), 0.78, 2.6, 0.0),
            (lumen, 34, hilum + np.array([0, 6.0, -6.0]), 0.8, 2.9, 0.7),
        )
        for layer, leaves, root, leaf_radius, exponent, shell in plans:
            chosen = inside[rng.choice(len(inside), size=leaves, replace=False)]
            chosen = chosen + rng.uniform(-2.5, 2.5, chosen.shape)
            if shell:  # airways fade from view before the periphery
                chosen = root + (chosen - root) * 0.72
            tree = airways.grow(rng, root, chosen, leaf_radius, exponent)
            for blob in blobs:
                tree = airways.clear_of(tree, blob.centre, blob.reach_mm + 2.0 + shell)
            for a, b, r in zip(tree.start, tree.end, tree.radius, strict=True):
                for target, grow in ((layer, 0.0), (wall, shell)):
                    if target is wall and not shell:
                        continue
                    box, share = canvas.segment(a, b, r[0] + grow, r[1] + grow)
                    if box is not None:
                        np.maximum(target[box], share, out=target[box])
    canvas.paint(wall * lung, hu=-250.0, suv=0.6)
    canvas.paint(vessel * lung, hu=42.0, suv=1.3)
    canvas.paint(lumen * lung, hu=-980.0, suv=0.2)


def _confusers(
    rng: np.random.Generator, canvas: Canvas, room: _Room, lung: Array, blobs: list[Blob]
) -> None:
    """What misleads one modality: avid nodes at the hila, in the mediastinum and at a rib, avid
    foci in lung without a nodule (FDG clots), scars and a patch of ground glass."""
    for _ in range(int(rng.integers(0, 4))):
        side = int(rng.choice([-1, 1]))
        centre = HILA[side] * [0.85, 1, 1] + rng.uniform(-9, 9, 3)
        size = rng.uniform(3.5, 7.5, 3)
        canvas.ellipsoid(centre, size, hu=40.0, suv=float(rng.uniform(2.5, 8)))
    for _ in range(int(rng.integers(0, 3))):
        centre = np.array([rng.uniform(-14, 14), rng.uniform(4, 30), rng.uniform(-20, 50)])
        canvas.ellipsoid(centre, rng.uniform(3, 6, 3), hu=38.0, suv=float(rng.uniform(2, 5)))
    inside = room.points(room.depth > 8)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.4, 0.4, 0.2]))):
        centre = inside[int(rng.integers(len(inside)))] + rng.uniform(-2, 2, 3)
        radius = rng.uniform(4.0, 8.0)
        uptake = float(rng.uniform(3, 10))
        if all(np.linalg.norm(b.centre - centre) > b.reach_mm + radius + 12 for b in blobs):
            canvas.ellipsoid(centre, [radius] * 3, suv=uptake)
    inside = room.points(room.depth > 2)
    for _ in range(int(rng.integers(0, 3))):
        start = inside[int(rng.integers(len(inside)))]
        end = start + rng.standard_normal(3) * 22
        clear = all(
            np.linalg.norm(b.centre - start - t * (end - start)) > b.reach_mm + 6
            for b in blobs
            for t in (0.0, 0.25, 0.5, 0.75, 1.0)
        )
        if clear:
            canvas.tube(
                [start, (start + end) / 2 + rng.standard_normal(3) * 3, end],
                [1.2, 2.2, 1.0],
                clip=lung,
                hu=20.0,
                suv=0.7,
            )
    if rng.random() < 0.35:
        centre = inside[int(rng.integers(len(inside)))]
        size = rng.uniform(9, 18, 3)
        if all(np.linalg.norm(b.centre - centre) > b.reach_mm + 20 for b in blobs):
            canvas.ellipsoid(
                centre,
                size,
                clip=lung * np.float32(0.55),
                hu=-420.0,
                suv=float(rng.uniform(0.8, 2.5)),
            )


def _table(canvas: Canvas) -> None:
    """The patient table: a curved carbon shell with a foam core."""
    x, y = canvas.x, canvas.y
    top = np.float32(133) - (x / 60) ** 2 * np.float32(1.6)
    slab = np.maximum(np.abs(y - top - 10) - 10, np.abs(x) - 172)
    shape = np.broadcast_to(slab, (1, *slab.shape[1:])).astype(np.float32)
    outside = (canvas.layers["hu"] < -900).astype(np.float32)
    canvas.paint(canvas.share(shape) * outside, hu=-120.0)
    canvas.paint(canvas.share(shape + 2.0) * outside, hu=-900.0)
