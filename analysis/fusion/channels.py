"""From registered series to the network's input: one grid, one channel per modality.

Training and inference both go through :func:`prepare`, so the network never meets voxels that
were made in another way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analysis.contracts import Matrix
from analysis.errors import ModelError
from analysis.fusion.bundle import Contract, Normalisation
from analysis.geometry import Grid, Volume, axial_grid, subgrid
from analysis.resampling import resample

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

BODY_ABOVE: dict[str, float] = {"CT": -500.0, "PET": 0.2}
"""Body threshold by role, HU and SUV; MR has no scale and uses half of the volume's mean."""
BODY_SHARE = 0.01
"""A plane belongs to the body's box when this share of its voxels is above the threshold."""
BODY_MARGIN = 2
"""Voxels kept around the box."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Network input. ``image`` is float32 [channel, z, y, x] on ``grid`` (reference LPS)."""

    image: FloatArray
    grid: Grid
    present: tuple[str, ...]
    missing: tuple[str, ...]
    inside: Mapping[str, Mask] = field(default_factory=dict)
    """For each channel that is present, [z, y, x]: where its series has voxels. Elsewhere the
    network was shown air (CT), no uptake (PET) or no signal (MR), not "missing"."""

    coverage: Mapping[str, float] = field(default_factory=dict)
    """For each channel that is present: the share of the body, as any of them shows it, that lies
    in its field of view."""

    @property
    def seen(self) -> Mask:
        """Voxels that at least one series covers."""
        return np.asarray(np.logical_or.reduce(list(self.inside.values())), dtype=np.bool_)


def normalise(array: npt.NDArray[np.generic], rule: Normalisation) -> FloatArray:
    """Physical values -> network input, as the rule says. A flat volume gives zeros by z-score."""
    values = np.asarray(array, dtype=np.float32)
    low, high = rule.clip
    if rule.kind == "linear":
        first, last = rule.output
        scaled = (np.clip(values, low, high) - low) / (high - low)
        return np.asarray(first + scaled * (last - first), dtype=np.float32)
    foreground = values[values > _foreground_threshold(values)]
    if foreground.size == 0 or float(foreground.std()) == 0.0:
        return np.zeros_like(values)
    scaled = (values - foreground.mean()) / foreground.std()
    return np.asarray(np.clip(scaled, low, high), dtype=np.float32)


def _foreground_threshold(values: npt.NDArray[np.float32]) -> float:
    return 0.5 * float(values.mean())


def _body(volumes: Mapping[str, npt.NDArray[np.float32]]) -> Mask:
    """What any channel shows as body."""
    body = np.zeros(next(iter(volumes.values())).shape, dtype=bool)
    for role, values in volumes.items():
        body |= values > BODY_ABOVE.get(role, _foreground_threshold(values))
    return body


def _box_of(body: Mask) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    """(start, stop) in (z, y, x) of the planes that hold body; None if none does."""
    start, stop = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(body.mean(axis=others) >= BODY_SHARE)
        if filled.size == 0:
            return None
        start.append(max(0, int(filled[0]) - BODY_MARGIN))
        stop.append(min(body.shape[axis], int(filled[-1]) + 1 + BODY_MARGIN))
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


def prepare(
    channels: Mapping[str, tuple[Volume, Matrix]], reference: Grid, contract: Contract
) -> Prepared:
    """Resample, crop to the body, normalise, stack.

    ``channels``: by role, the volume on its own grid and the matrix series LPS -> reference LPS.
    A channel of the contract that is not given is zero everywhere after normalisation. Outside its
    field of view a channel holds the declared fill of its unit, as the networks were trained with,
    and ``Prepared.inside`` says where that is. Raises ModelError ``wrong_unit`` for a channel in
    another unit than the model was trained on, and ``nothing_in_view`` when no channel shows a
    body inside the reference's field of view.
    """
    present = contract.present(set(channels))
    grid = axial_grid(reference, contract.spacing_mm)
    sampled: dict[str, npt.NDArray[np.float32]] = {}
    inside: dict[str, Mask] = {}
    for role in present:
        volume, matrix = channels[role]
        unit = contract.normalisation[role].unit
        if unit and volume.unit != unit:
            raise ModelError(
                "wrong_unit", f"The {role} series is in {volume.unit}; the model needs {unit}."
            )
        coarse, inside[role] = resample(volume, grid, matrix=matrix)
        sampled[role] = np.asarray(coarse.array, dtype=np.float32)
    body = _body(sampled) if sampled else np.zeros(grid.shape, dtype=bool)
    box = _box_of(body)
    if box is None:
        raise ModelError(
            "nothing_in_view", "No series shows anything inside the reference's field of view."
        )
    start, stop = box
    grid = subgrid(grid, start, stop)
    region = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    image = np.zeros((len(contract.channels), *grid.shape), dtype=np.float32)
    for role, values in sampled.items():
        rule = contract.normalisation[role]
        image[contract.channels.index(role)] = normalise(values[region], rule)
    missing = tuple(c for c in contract.channels if c not in present)
    coverage = {role: float(np.count_nonzero(mask & body) / body.sum()) for role, mask in
                inside.items()}  # fmt: skip
    covered = {role: mask[region].copy() for role, mask in inside.items()}
    return Prepared(image, grid, present, missing, covered, coverage)


def crop_around(
    image: FloatArray, centre: tuple[int, int, int], window: tuple[int, int, int], zoom: int = 1
) -> FloatArray:
    """A block of ``window`` samples (z, y, x) of [channel, z, y, x] around voxel ``centre``.

    Samples lie 1/``zoom`` voxel apart, by linear interpolation. Beyond the image its edge values
    go on, so that no false step appears at the border.
    """
    for axis, (middle, size) in enumerate(zip(centre, window, strict=True), start=1):
        last = image.shape[axis] - 1
        place = np.clip((np.arange(size) - size // 2) / zoom + middle, 0, last)
        before = np.floor(place).astype(int)
        after = np.minimum(before + 1, last)
        shape = [-1 if a == axis else 1 for a in range(4)]
        share = (place - before).astype(np.float32).reshape(shape)
        image = np.take(image, before, axis) * (1 - share) + np.take(image, after, axis) * share
    return np.ascontiguousarray(image, dtype=np.float32)
