"""Random training windows: place, pose, intensity, and channels left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as torch_f

from analysis.training.patients import Patient
from analysis.training.plans import Plan

Rng = np.random.Generator
FloatArray = npt.NDArray[np.float64]

# Registration is good to about 1 mm between MR and 2 mm to PET; training sees a little worse.
SHIFT_MM = 1.5
TILT_DEG = 2.0
POSE_DEG = 8.0
POSE_SCALE = 0.08
PLAIN_SHARE = 0.3
"""Share of windows cut straight from the voxels, so that un-interpolated noise is seen too."""
ALL_CHANNELS_SHARE = 0.6
"""Share of windows with every channel; the others show what a case with fewer series shows."""


def rotation(degrees: FloatArray) -> FloatArray:
    """3x3 rotation by angles (degrees) about the three axes in turn."""
    out = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(3)
        a, b = [i for i in range(3) if i != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        out = turn @ out
    return out


def _lattice(window: tuple[int, int, int], zoom: int) -> torch.Tensor:
    """Voxel offsets (z, y, x) from the window's middle, [z, y, x, 3]."""
    axes = [(torch.arange(n, dtype=torch.float32) - n // 2) / zoom for n in window]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def _sample(volume: torch.Tensor, points: torch.Tensor, padding: str) -> torch.Tensor:
    """Linear interpolation of [c, z, y, x] at voxel ``points`` [z, y, x, 3] (z, y, x)."""
    size = torch.tensor(volume.shape[1:], dtype=torch.float32)
    unit = (2 * points / (size - 1) - 1).flip(-1)[None]
    return torch_f.grid_sample(
        volume[None], unit, mode="bilinear", padding_mode=padding, align_corners=True
    )[0]


def keep_channels(plan: Plan, rng: Rng) -> list[bool]:
    """Which channels a training window has: all, all but one, one alone, or any subset."""
    names = plan.channels
    if rng.random() < ALL_CHANNELS_SHARE:
        return [True] * len(names)
    single = [n for n in names if n == "PET"]
    others = [n for n in names if n != "PET"]
    kind = rng.random()
    if len(names) == 2 or kind < 0.4:  # MR or CT alone; PET alone
        kept = set(single if rng.random() < 0.5 else others)
    elif kind < 0.75:
        kept = set(names) - {names[int(rng.integers(len(names)))]}
    else:
        kept = {n for n in names if rng.random() < 0.5} or {names[int(rng.integers(len(names)))]}
    return [n in kept for n in names]


def choose_centre(patient: Patient, plan: Plan, rng: Rng) -> FloatArray:
    """The voxel (z, y, x) a segmentation window is laid around.

    Lesions of the suspicious kind and lesions of the other kind come equally often, since telling
    them apart is the point; then the hottest places that are no lesion (heart, liver, hilar nodes,
    clots; grey matter); the rest lie anywhere.
    """
    shape = np.array(patient.labels.shape[1:])
    kind = rng.random()
    if kind < 0.6:
        wanted = patient.centres[patient.suspicious == (kind < 0.3)]
        wanted = wanted if len(wanted) else patient.centres
        if len(wanted):
            chosen = wanted[int(rng.integers(len(wanted)))].astype(float)
            return np.asarray(chosen + rng.uniform(-9, 9, 3))
    if kind < 0.85 and "PET" in plan.channels:
        hot = patient.image[plan.channels.index("PET")]
        voxels = np.argwhere((hot > np.quantile(hot, 0.98)) & ~patient.labels.any(axis=0))
        if len(voxels):
            return np.asarray(voxels[int(rng.integers(len(voxels)))] + rng.uniform(-9, 9, 3))
    return np.asarray(rng.uniform(0.15, 0.85, 3) * shape)


def draw_window(
    patient: Patient,
    centre: FloatArray,
    window: tuple[int, int, int],
    plan: Plan,
    rng: Rng,
    kept: list[bool],
    *,
    zoom: int = 1,
    turn_deg: float = POSE_DEG,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(image [channel, *window], labels [output, *window]), float32, around voxel ``centre``.

    ``zoom``: samples lie 1/zoom voxel apart. ``turn_deg``: the whole is turned by up to so much.
    Channels that are not ``kept`` are zero: how inference gives a missing series.
    """
    offsets = _lattice(window, zoom)
    pose = np.eye(3)
    moved = rng.random() >= PLAIN_SHARE
    if moved:
        size = 1 + rng.uniform(-POSE_SCALE, POSE_SCALE)
        pose = rotation(rng.uniform(-turn_deg, turn_deg, 3)) * size
    if plan.mirror and rng.random() < 0.5:
        pose = pose @ np.diag([1.0, 1.0, -1.0])
    middle = np.asarray(centre) if moved else np.rint(centre)
    points = offsets @ torch.tensor(pose.T, dtype=torch.float32)
    place = torch.tensor(middle, dtype=torch.float32)
    whole = torch.from_numpy(patient.image)
    image = torch.zeros((len(kept), *window))
    for c in np.flatnonzero(kept):
        own, shift = points, place
        # Every series but the reference a little off, as registration leaves it.
        if moved and plan.channels[c] != plan.reference:
            tilt = rotation(rng.uniform(-TILT_DEG, TILT_DEG, 3))
            own = points @ torch.tensor(tilt.T, dtype=torch.float32)
            drift = rng.uniform(-SHIFT_MM, SHIFT_MM, 3) / plan.spacing_mm
            shift = place + torch.tensor(drift, dtype=torch.float32)
        image[c] = _sample(whole[c : c + 1], own + shift, "border")[0]
    labels = _sample(torch.from_numpy(patient.labels.astype(np.float32)), points + place, "zeros")
    return _vary(image, plan, rng, kept), (labels >= 0.5).float()


def _vary(image: torch.Tensor, plan: Plan, rng: Rng, kept: list[bool]) -> torch.Tensor:
    """Other scanners: gain, offset and noise, channel by channel."""
    out = image.clone()
    for c in np.flatnonzero(kept):
        name = plan.channels[c]
        if plan.normalisation[name].kind == "zscore":
            gain, offset, noise = rng.uniform(0.85, 1.15), rng.uniform(-0.15, 0.15), 0.12
        elif name == "PET":
            gain, offset, noise = rng.uniform(0.92, 1.08), 0.0, 0.03
        else:
            gain, offset, noise = 1.0, rng.uniform(-0.02, 0.02), 0.05
        spread = float(rng.uniform(0, noise))
        grain = rng.standard_normal(tuple(out[c].shape), dtype=np.float32)
        out[c] = out[c] * float(gain) + float(offset) + spread * torch.from_numpy(grain)
    return out
