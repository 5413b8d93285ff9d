"""Change over time: vectors of the reference, and properties that hold for any sizes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workstation.reading.growth import (
    LEAST_DAYS,
    NO_DATES,
    NO_GROWTH,
    NO_SIZE,
    TOO_SOON,
    NoDoubling,
    change,
    doubling_days,
    doubling_days_of_diameters,
    has_grown,
)

sizes = st.floats(0.01, 1e4)
spans = st.integers(LEAST_DAYS, 5000)


def test_vectors() -> None:
    assert doubling_days(100, 150, 90) == pytest.approx(153.8560, abs=5e-5)
    assert doubling_days_of_diameters(8, 10, 180) == pytest.approx(186.3770, abs=5e-5)
    assert change(60, 71).percent == pytest.approx(18.3333, abs=1e-4)
    assert change(60, 73).absolute == 13
    assert change(60, 73).percent == pytest.approx(21.6667, abs=1e-4)
    assert change(100, 70).percent == -30
    assert change(0, 3).percent is None
    assert has_grown(100, 125) and not has_grown(100, 124.9) and not has_grown(0, 5)


@pytest.mark.parametrize(
    ("before", "after", "days", "code"),
    [
        (150, 100, 90, NO_GROWTH), (100, 100, 90, NO_GROWTH), (0, 100, 90, NO_SIZE),
        (-1, 100, 90, NO_SIZE), (math.nan, 100, 90, NO_SIZE), (100, math.inf, 90, NO_SIZE),
        (100, 150, None, NO_DATES), (100, 150, LEAST_DAYS - 1, TOO_SOON), (100, 150, 0, TOO_SOON),
        (100, 150, -90, TOO_SOON),
    ],
)  # fmt: skip
def test_what_has_no_doubling_time(
    before: float, after: float, days: int | None, code: str
) -> None:
    for formula in (doubling_days, doubling_days_of_diameters):
        with pytest.raises(NoDoubling, match=f"^{code}$"):
            formula(before, after, days)


@given(sizes, spans)
def test_twice_the_volume_is_one_doubling(volume: float, days: int) -> None:
    assert doubling_days(volume, 2 * volume, days) == pytest.approx(days)
    assert doubling_days(volume, 4 * volume, days) == pytest.approx(days / 2)


@given(sizes, st.floats(1.001, 100), spans, st.floats(0.01, 100))
def test_unit_and_way_of_asking_do_not_matter(
    before: float, factor: float, days: int, unit: float
) -> None:
    """A sphere's diameter grows with the cube root of its volume, in whatever unit."""
    found = doubling_days(before, before * factor, days)
    assert found > 0
    assert doubling_days(before * unit, before * factor * unit, days) == pytest.approx(found)
    diameters = [(6 * v / math.pi) ** (1 / 3) for v in (before, before * factor)]
    assert doubling_days_of_diameters(*diameters, days) == pytest.approx(found, rel=1e-6)


@given(sizes, sizes)
def test_percent_takes_the_one_to_the_other(before: float, after: float) -> None:
    found = change(before, after)
    assert found.percent is not None
    assert before * (1 + found.percent / 100) == pytest.approx(after, rel=1e-6, abs=1e-9)
    assert before + found.absolute == pytest.approx(after)
