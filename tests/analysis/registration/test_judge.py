"""The verdict: one bad figure is enough, an unknown one is refused, worse is never better."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.registration.quality import Figures, as_quality, judge

GOOD = Figures(
    information_before=0.1,
    information_after=0.8,
    normalised_information=1.2,
    shared=0.12,
    sharpness=0.6,
    mirror_gain=-0.3,
    overlap=1.0,
    agreement=0.95,
    consistency_mm=0.3,
    spread_mm=0.4,
    largest_voxel_mm=4.0,
    turned_degrees=10.0,
    moved_mm=15.0,
    misfit=0.02,
    local_mm=0.8,
    blocks=40,
)
ORDER = {"usable": 0, "doubtful": 1, "refused": 2}


def test_good_figures_are_usable_without_reasons() -> None:
    assert judge(GOOD) == ("usable", ())
    assert all(figure.passed in (True, None) for figure in as_quality(GOOD))


@pytest.mark.parametrize(
    ("name", "doubtful", "refused"),
    [
        ("information_after", 0.095, 0.05),
        ("shared", 0.03, 0.01),
        ("sharpness", 0.15, 0.02),
        ("mirror_gain", 0.01, 0.1),
        ("overlap", 0.5, 0.1),
        ("agreement", 0.7, 0.4),
        ("consistency_mm", 3.0, 9.0),
        ("spread_mm", 3.0, 9.0),
        ("smallest_scale", 0.88, 0.7),
        ("largest_scale", 1.15, 1.4),
        ("shear", 0.1, 0.3),
    ],
)
def test_one_bad_figure_is_enough(name: str, doubtful: float, refused: float) -> None:
    for value, expected in ((doubtful, "doubtful"), (refused, "refused")):
        bad = replace(GOOD, **{name: value})
        verdict, reasons = judge(bad)
        assert verdict == expected
        assert reasons
        assert any(figure.passed is False for figure in as_quality(bad))


def test_blocks_that_fit_elsewhere_make_doubtful() -> None:
    """Another patient's head: every other figure is fine."""
    for bad in (replace(GOOD, misfit=0.35), replace(GOOD, misfit=1.0), replace(GOOD, blocks=3),
                replace(GOOD, local_mm=5.0)):
        verdict, reasons = judge(bad)
        assert verdict == "doubtful"
        assert len(reasons) == 1


JUDGED = (
    "information_after", "shared", "sharpness", "mirror_gain", "overlap", "agreement",
    "consistency_mm", "spread_mm", "misfit", "local_mm", "largest_scale", "shear",
)


@pytest.mark.parametrize("name", JUDGED)
def test_a_figure_that_could_not_be_computed_is_refused(name: str) -> None:
    assert judge(replace(GOOD, **{name: float("nan")}))[0] == "refused"


@given(st.sampled_from(JUDGED), st.floats(-1.0, 20.0), st.floats(0.0, 20.0))
def test_worse_is_never_better(name: str, value: float, more: float) -> None:
    falling = name in {
        "mirror_gain", "consistency_mm", "spread_mm", "misfit", "local_mm", "largest_scale",
        "shear",
    }
    worse = value + more if falling else value - more
    first, _ = judge(replace(GOOD, **{name: value}))
    second, _ = judge(replace(GOOD, **{name: worse}))
    assert ORDER[second] >= ORDER[first]


def test_every_figure_has_a_unit_and_a_basis() -> None:
    for figure in as_quality(GOOD):
        assert figure.unit
        assert figure.basis
    assert {field.name for field in fields(Figures)} >= set(JUDGED)
