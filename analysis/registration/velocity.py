"""A smooth, invertible deformation that brings two sets of descriptors together.

The field is the exponential of a stationary velocity (Arsigny et al., MICCAI 2006) on a coarse
lattice, smoothed as a cubic B-spline, so it is one-to-one up to the lattice's resolution. Its
bending energy is kept low. Each step of the descent (Adam) looks at a fresh random draw of points,
which makes the cost independent of the image size. torch: on the GPU where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as torch_f

from analysis.geometry import FloatArray, Grid
from analysis.registration.crew import Tick
from analysis.registration.descriptors import Float32Array

SQUARINGS = 5
"""The velocity is followed in 2^5 steps."""
POINTS = 15_000
"""Drawn for each step of the descent; 40 000 were no more accurate (measured)."""
BENDING = 20.0
"""Weight (mm^2) of the mean squared second derivative of the velocity."""
STRETCHING = 0.01
"""Weight of the mean squared first derivative."""


@dataclass(frozen=True)
class Stage:
    """One resolution: image voxels, lattice nodes (both mm), steps, first step length in mm."""

    voxel_mm: float
    node_mm: float
    steps: int
    pace_mm: float


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two images at one stage: descriptors (12, z, y, x) and where they count."""

    descriptors: Float32Array
    region: npt.NDArray[np.bool_]


class Velocity:
    """Velocities in mm along the axes of ``grid`` at the nodes of a lattice over its voxel centres.

    ``values`` is (1, 3, z, y, x); channel 0 points along i.
    """

    def __init__(self, values: torch.Tensor, grid: Grid) -> None:
        self.values = values
        self.grid = grid

    @property
    def lattice(self) -> Grid:
        """The nodes as a grid in LPS."""
        counts = np.array(self.values.shape[:1:-1])
        affine = np.eye(4)
        affine[:3, :3] = self.grid.direction * (extent_mm(self.grid) / (counts - 1))
        affine[:3, 3] = self.grid.affine[:3, 3]
        return Grid((int(counts[2]), int(counts[1]), int(counts[0])), affine)

    def displacement(self, sign: float = 1.0) -> Float32Array:
        """exp(sign * velocity) - identity, [z, y, x, 3] in LPS mm at the nodes."""
        with torch.no_grad():
            scale = 2.0 / _extent(self.grid, self.values)
            moved = exponential(sign * self.values, scale)
        along = moved[0].permute(1, 2, 3, 0).cpu().numpy().astype(np.float64)
        return np.ascontiguousarray(along @ self.grid.direction.T, dtype=np.float32)

    def halfway(self, back: Velocity) -> Velocity:
        """The mean of this velocity and the opposite of ``back``, found with exchanged roles."""
        return Velocity((self.values - back.values) / 2, self.grid)


def extent_mm(grid: Grid) -> FloatArray:
    """Length between the outer voxel centres along i, j, k."""
    return np.asarray(
        np.maximum(np.array(grid.shape[::-1]) - 1, 1) * np.array(grid.spacing), dtype=np.float64
    )


def nodes_of(grid: Grid, node_mm: float) -> tuple[int, int, int]:
    """Lattice nodes (z, y, x) over a grid, at most ``node_mm`` apart; at least four."""
    counts = np.maximum(4, np.ceil(extent_mm(grid) / node_mm - 1e-6).astype(int) + 1)
    return int(counts[2]), int(counts[1]), int(counts[0])


def exponential(velocity: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Scaling and squaring; ``scale`` turns mm into the lattice's -1..1."""
    axes = [torch.linspace(-1, 1, n, device=velocity.device) for n in velocity.shape[2:]]
    still = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flip(-1)[None]
    moved = velocity / float(2**SQUARINGS)
    for _ in range(SQUARINGS):
        there = still + (moved * scale).permute(0, 2, 3, 4, 1)
        moved = moved + _sampled(moved, there)
    return moved


def smoothed(control: torch.Tensor) -> torch.Tensor:
    """Control points -> the cubic B-spline at its nodes."""
    kernel = torch.tensor([1.0, 4.0, 1.0], device=control.device) / 6
    for axis in range(3):
        shape = [3, 1, 1, 1, 1]
        shape[2 + axis] = 3
        weight = kernel.view([1, 1, *shape[2:]]).expand(*shape).contiguous()
        margin = [0, 0, 0, 0, 0, 0]
        margin[4 - 2 * axis] = margin[5 - 2 * axis] = 1
        control = torch_f.conv3d(
            torch_f.pad(control, margin, mode="replicate"), weight, groups=3
        )
    return control


def roughness(velocity: torch.Tensor, node_mm: torch.Tensor) -> torch.Tensor:
    """Weighted bending energy and squared gradient, means over the nodes."""
    total = velocity.new_zeros(())
    first = [torch.diff(velocity, dim=axis) / node_mm[4 - axis] for axis in (2, 3, 4)]
    for number, slope in enumerate(first):
        total = total + STRETCHING * slope.square().mean()
        for axis in range(2 + number, 5):
            second = torch.diff(slope, dim=axis) / node_mm[4 - axis]
            # A mixed derivative stands twice in the Hessian.
            total = total + (1 if axis == 2 + number else 2) * BENDING * second.square().mean()
    return total


def descend(
    fixed: Side,
    mobile: Side,
    grid: Grid,
    stage: Stage,
    start: Velocity | None,
    *,
    seed: int,
    device: str,
    tick: Tick,
) -> Velocity:
    """The velocity that carries the points of ``fixed`` to where ``mobile`` looks the same.

    Both sides lie on ``grid``. ``start`` is the result of a coarser stage, over the same box.
    ``tick`` is asked after each step; the work ends early when it answers False.
    """
    generator = torch.Generator().manual_seed(seed)
    flat = np.flatnonzero(fixed.region)
    k, j, i = np.unravel_index(flat, fixed.region.shape)
    top = np.maximum(np.array(grid.shape[::-1]) - 1, 1)
    places = torch.from_numpy((2 * np.stack([i, j, k], axis=1) / top - 1).astype(np.float32))
    wanted = torch.from_numpy(
        np.ascontiguousarray(fixed.descriptors.reshape(len(fixed.descriptors), -1)[:, flat].T)
    )
    moving = _on(mobile.descriptors, device)
    counts = _on(mobile.region.astype(np.float32)[None], device)
    shape = nodes_of(grid, stage.node_mm)
    control = torch.zeros((1, 3, *shape), device=device)
    if start is not None:
        control = torch_f.interpolate(
            start.values.to(device), size=shape, mode="trilinear", align_corners=True
        ).clone()
    control.requires_grad_()
    extent = _extent(grid, control)
    scale = 2.0 / extent
    node_mm = (extent / torch.tensor([n - 1 for n in shape[::-1]], device=device).view(
        1, 3, 1, 1, 1
    )).flatten()
    optimiser = torch.optim.Adam([control], lr=stage.pace_mm)
    pace = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, stage.steps, eta_min=stage.pace_mm / 10
    )
    for _ in range(stage.steps):
        chosen = torch.randint(len(flat), (min(POINTS, len(flat)),), generator=generator)
        here = places[chosen].to(device)
        velocity = smoothed(control)
        moved = exponential(velocity, scale)
        there = here + _at(moved, here) * scale.flatten()
        with torch.no_grad():
            # Where the other image shows nothing, nothing is known: such points have no say.
            weight = _at(counts, there)[:, 0] * (there.abs() <= 1).all(dim=1)
        difference = (_at(moving, there) - wanted[chosen].to(device)).square().mean(dim=1)
        loss = (difference * weight).sum() / weight.sum().clamp_min(1.0)
        loss = loss + roughness(velocity, node_mm)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        pace.step()
        if not tick():
            break
    return Velocity(smoothed(control).detach(), grid)


def _on(channels: Float32Array, device: str) -> torch.Tensor:
    # All channels of a voxel side by side: three times as fast to sample.
    tensor = torch.from_numpy(channels)[None]
    return tensor.contiguous(memory_format=torch.channels_last_3d).to(device)


def _extent(grid: Grid, like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(extent_mm(grid), dtype=torch.float32, device=like.device).view(
        1, 3, 1, 1, 1
    )


def _sampled(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return torch_f.grid_sample(values, places, align_corners=True, padding_mode="border")


def _at(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Values (1, c, z, y, x) at places (n, 3) -> (n, c)."""
    return _sampled(values, places.view(1, 1, 1, -1, 3))[0, :, 0, 0].T
