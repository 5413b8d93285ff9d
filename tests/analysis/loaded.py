"""What tests of volumes compare: arrays to write, and everything that a series gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.contracts import SeriesInput
from analysis.volumes import LoadedVolume, load_volume, plan_series


def voxels(
    count: int = 1, shape: tuple[int, int, int] = (4, 3, 2), seed: int = 11
) -> list[np.ndarray]:
    """Arrays of stored values without zeros."""
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 4000, shape).astype(np.uint16) for _ in range(count)]


def load_all(series: SeriesInput) -> list[LoadedVolume]:
    """Every volume of a series."""
    plan = plan_series(series)
    return [load_volume(plan, planned) for planned in plan.volumes]


def same(found: Sequence[LoadedVolume], expected: Sequence[LoadedVolume]) -> None:
    """Same volumes, geometry, names and units; keys and places in the series too."""
    assert [v.label for v in found] == [v.label for v in expected]
    assert [v.key for v in found] == [v.key for v in expected]
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.volume.array, other.volume.array)
        assert np.allclose(one.volume.grid.affine, other.volume.grid.affine, atol=1e-6)
        assert one.volume.unit == other.volume.unit
        assert one.source.get("dimensions") == other.source.get("dimensions")
