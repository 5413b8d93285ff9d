"""A digital head: T1, T1c, T2, FLAIR and FDG PET with a known tumour and known transforms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from analysis.contracts import IDENTITY, Matrix, Role
from analysis.geometry import Grid, Volume, as_matrix
from analysis.phantoms import brain, scanner, tumour
from analysis.phantoms.canvas import Array, Canvas, SmoothField, axial_grid, rotation_matrix
from analysis.phantoms.lesions import Blob
from analysis.phantoms.matter import AIR
from analysis.phantoms.model import MR_UNIT, SUV, VERSION, LesionTruth, Phantom, PhantomSeries

DEMO_SPACING = (1.0, 1.0, 1.2)
PET_FWHM_MM = 5.5
PET_NOISE = 0.03
"""SD over mean in grey matter."""
CENTRE = np.array([0.0, 2.0, 6.0])
"""Point that the rotations turn about, LPS mm in the reference."""


@dataclass(frozen=True)
class Protocol:
    """How one series is acquired: voxel (x, y, z), field of view in mm, tilt about x."""

    role: Role
    voxel: tuple[float, float, float]
    view: tuple[float, float, float]
    tilt_deg: float = 0.0


PROTOCOLS: tuple[Protocol, ...] = (
    Protocol("T1", (1.0, 1.0, 1.4), (192, 240, 176)),
    Protocol("T2", (0.9, 0.9, 4.0), (194.4, 234, 164)),
    Protocol("FLAIR", (1.0, 1.0, 4.0), (192, 240, 164), tilt_deg=6.0),
    Protocol("PET", (2.0, 2.0, 3.0), (240, 240, 171)),
)


def make_head(
    seed: int,
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    positive: bool | None = None,
    aligned: bool = False,
    noise: float = 1.0,
) -> Phantom:
    """A head with a glioma; reference is the contrast-enhanced T1.

    ``positive`` True: high grade; False: low grade; None: drawn, one in ten without a tumour.
    ``aligned`` puts every series on the reference grid in the reference frame (for training);
    otherwise each other series is turned by 4 to 12 degrees, moved by 4 to 15 mm and lives in a
    frame of its own. ``spacing_mm`` (x, y, z) is that of the reference; series of an unaligned
    head are never finer than it. ``noise`` scales the noise (1 = usual, 0 = none).
    """
    streams = np.random.default_rng([seed, 2]).spawn(5)
    body_rng, tumour_rng, other_rng, pose_rng, noise_rng = streams
    head = brain.Head.draw(body_rng)
    chance = float(tumour_rng.random())
    present = positive is not None or chance > 0.1
    high = positive if positive is not None else present and chance > 0.5
    glioma = tumour.draw(tumour_rng, head, high) if present else None

    grid = axial_grid(brain.LOWER, brain.UPPER, spacing_mm or DEMO_SPACING)
    canvas = Canvas(grid, **AIR)
    anatomy = brain.paint(head, canvas)
    tumour.imitators(other_rng, canvas, head, anatomy, glioma)
    if glioma is None:
        core = whole = np.zeros(grid.shape, dtype=np.float32)
    else:
        core, whole = tumour.paint(tumour_rng, canvas, anatomy, glioma)

    layers = canvas.layers
    objects: dict[Role, Array] = {
        "T1c": layers["t1"] + layers["gd"],
        "T1": layers["t1"],
        "T2": layers["t2"],
        "FLAIR": layers["flair"],
        "PET": layers["pet"],
    }
    series: dict[Role, PhantomSeries] = {}
    reference = Protocol("T1c", grid.spacing, (0, 0, 0))
    for protocol in (reference, *PROTOCOLS):
        pose = _pose(pose_rng)
        still = aligned or protocol.role == "T1c"
        series[protocol.role] = _acquire(
            noise_rng, protocol, objects[protocol.role], grid, None if still else pose, noise
        )
    order: tuple[Role, ...] = ("T1", "T1c", "T2", "FLAIR", "PET")

    def label(share: Array) -> Volume:
        return Volume((share >= 0.5).astype(np.uint8), grid, "1", "SEG", "OTHER")

    return Phantom(
        kind="head",
        seed=seed,
        generator_version=VERSION,
        reference_role="T1c",
        series={role: series[role] for role in order},
        lesions=() if glioma is None else (_truth(glioma, grid, core, whole),),
        labels={"core": label(core), "whole": label(whole)},
        body=label(anatomy.brain),
        high_risk=bool(high),
    )


def _truth(glioma: tumour.Glioma, grid: Grid, core: Array, whole: Array) -> LesionTruth:
    share = core if glioma.high else whole
    volume = float(share.sum(dtype=np.float64)) * grid.voxel_volume_ml
    blob: Blob = glioma.core if glioma.core is not None else glioma.whole
    c = blob.centre
    side = "right" if c[0] < 0 else "left"
    lobe = "frontal" if c[1] < -12 else "parietal" if c[1] < 34 else "occipital"
    if c[2] < 6 and -30 < c[1] < 34:
        # Lateral of the insula lies the temporal lobe, medial of it the basal ganglia.
        lobe = "temporal" if abs(c[0]) > 36 or c[2] < -8 else "basal ganglia"
    return LesionTruth(
        number=1,
        kind="glioma, high grade" if glioma.high else "glioma, low grade",
        suspicious=True,
        centre=(float(c[0]), float(c[1]), float(c[2])),
        diameter_mm=float((6 * volume * 1000 / np.pi) ** (1 / 3)),
        volume_ml=volume,
        uptake_suv=glioma.uptake,
        location=f"{side} {lobe}" if lobe == "basal ganglia" else f"{side} {lobe} lobe",
        laterality=side,
    )


def _pose(rng: np.random.Generator) -> np.ndarray:
    """A rigid transform, series LPS -> reference LPS (4x4)."""
    axis = rng.standard_normal(3)
    angle = np.radians(rng.uniform(4, 12))
    axis /= np.linalg.norm(axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    shift = rng.standard_normal(3)
    shift *= rng.uniform(4, 15) / np.linalg.norm(shift)
    out = np.eye(4)
    out[:3, :3] = turn
    out[:3, 3] = CENTRE + shift - turn @ CENTRE
    return out


def _series_grid(protocol: Protocol, finest: tuple[float, float, float], pose: np.ndarray) -> Grid:
    """Slices through the head as the technologist would plan them: centred on the brain."""
    voxel = np.maximum(protocol.voxel, finest)
    count = np.maximum(1, np.round(np.array(protocol.view) / voxel)).astype(int)
    affine = np.eye(4)
    direction = rotation_matrix((protocol.tilt_deg, 0, 0))
    affine[:3, :3] = direction * voxel
    middle = np.linalg.inv(pose) @ [*CENTRE, 1.0]
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((count - 1) / 2)
    return Grid((int(count[2]), int(count[1]), int(count[0])), affine)


def _acquire(
    rng: np.random.Generator,
    protocol: Protocol,
    scene: Array,
    scene_grid: Grid,
    pose: np.ndarray | None,
    noise: float,
) -> PhantomSeries:
    role = protocol.role
    thick = protocol.voxel[2]
    finest = scene_grid.spacing
    if role == "PET":
        variance = (PET_FWHM_MM * scanner.FWHM_TO_SIGMA) ** 2
        sigma = [np.sqrt(max(variance - s * s / 12, 0.0)) / s for s in reversed(finest)]
        scene = gaussian_filter(scene, sigma, mode="nearest", truncate=3.0)
    elif pose is None and thick > finest[2]:
        # Training on aligned volumes should see the blur of thick slices too.
        scene = gaussian_filter(
            scene, ((thick**2 - finest[2] ** 2) / 12) ** 0.5 / finest[2], axes=0, mode="nearest"
        )
    if pose is None:
        grid, clean = scene_grid, scene.astype(np.float32, copy=True)
    else:
        grid = _series_grid(protocol, finest, pose)
        clean = _sample(scene, scene_grid, grid, pose)
    gain, sd = float(rng.uniform(0.85, 1.2)), float(rng.uniform(9, 16)) * noise
    field = SmoothField(rng, (-130, -130, -130), (130, 130, 130), 95.0)
    if role == "PET":
        noisy = scanner.pet_noise(rng, clean, grid, PET_NOISE * noise, 8.0)
        unit, modality = SUV, "PT"
    else:
        nz, ny, nx = grid.shape
        dx, dy, dz = grid.spacing
        axes = [
            ((np.arange(n) - (n - 1) / 2) * d).astype(np.float32)
            for n, d in ((nx, dx), (ny, dy), (nz, dz))
        ]
        clean *= np.float32(gain) * np.exp(np.float32(0.09) * field.on(*axes))
        noisy = scanner.mr_noise(rng, clean, sd)
        unit, modality = MR_UNIT, "MR"
    matrix: Matrix = IDENTITY if pose is None else as_matrix(pose)
    frame = "head" if pose is None else f"head-{role}"
    return PhantomSeries(
        role,
        Volume(noisy, grid, unit, modality, role),
        Volume(clean, grid, unit, modality, role),
        matrix,
        frame,
    )


def _sample(scene: Array, scene_grid: Grid, grid: Grid, pose: np.ndarray) -> Array:
    """The scene on a posed grid, averaged through the thickness of each slice."""
    parts = max(1, round(grid.spacing[2] / 1.1))
    flip = np.eye(4)[[2, 1, 0, 3]]  # (i, j, k) <-> (k, j, i)
    to_scene = np.linalg.inv(scene_grid.affine) @ pose @ grid.affine
    out = np.zeros(grid.shape, dtype=np.float32)
    for part in range(parts):
        step = np.eye(4)
        step[2, 3] = (part + 0.5) / parts - 0.5
        matrix = flip @ to_scene @ step @ flip
        out += affine_transform(
            scene,
            matrix[:3, :3],
            matrix[:3, 3],
            grid.shape,
            order=1,
            mode="constant",
            cval=0.0,
            output=np.float32,
        )
    return out / np.float32(parts)
