"""What a slow line must carry before the first usable picture, whatever the images hold."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.geometry import Grid
from analysis.volume_store import level_factors
from tests.reading.slow_line import Line

ROUND_TRIPS = 3
"""TCP, the upgrade, and ``open`` with its first slice."""
ROUND_TRIP_SECONDS = 0.05


def coarsest(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> int:
    """Bytes of the coarsest level before any compression, for voxels of 16 bits."""
    factors = level_factors(Grid(shape, np.diag([*spacing, 1.0])))[-1]
    return 2 * int(np.prod([-(-n // f) for n, f in zip(shape, factors, strict=True)]))


@pytest.mark.parametrize(
    "shape, spacing",
    [
        ((300, 512, 512), (0.7, 0.7, 1.0)),
        ((600, 512, 512), (0.7, 0.7, 0.5)),
        ((120, 512, 512), (0.97, 0.97, 2.5)),
        ((300, 1024, 1024), (0.35, 0.35, 1.0)),
    ],
)
def test_coarse_ct_and_pet_fit_into_a_second_of_10_mbit_uncompressed(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    length = shape[0] * spacing[2]
    pet = (round(length / 2), 200, 200)
    line = Line(10e6)
    line.send(coarsest(shape, spacing) + coarsest(pet, (2.036, 2.036, 2.0)), now=0.0)
    assert line.free_at + ROUND_TRIPS * ROUND_TRIP_SECONDS < 1.0


def test_a_line_carries_its_rate_and_no_more() -> None:
    line = Line(8e6)
    for _ in range(100):
        line.send(10_000, now=0.0)
    assert line.free_at == pytest.approx(1.0)
    # What was not used is gone: an idle line saves nothing up.
    assert line.send(10_000, now=5.0) == pytest.approx(5.01)
