"""The figures in the model cards: known answers (clinical.md 6.3 and 2.4)."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.training.scoring import (
    Detection,
    auc,
    auc_difference,
    bootstrap_mean,
    detect,
    dice,
)

TRUTH = [True] * 4 + [False] * 5
FIRST = [0.9, 0.8, 0.7, 0.4, 0.6, 0.5, 0.3, 0.2, 0.1]
SECOND = [0.8, 0.6, 0.9, 0.3, 0.7, 0.4, 0.35, 0.2, 0.1]


def test_delong_known_answer() -> None:
    area = auc(FIRST, TRUTH)
    assert (round(area.value, 4), round(area.low, 4), round(area.high, 4)) == (0.9, 0.4118, 0.9914)
    assert auc(SECOND, TRUTH).value == pytest.approx(0.8)
    z, p = auc_difference(FIRST, SECOND, TRUTH)
    assert z == pytest.approx(1.1882, abs=5e-5)
    assert p == pytest.approx(0.2348, abs=5e-5)


def test_a_perfect_area_still_has_an_interval() -> None:
    area = auc([0.9] * 10 + [0.1] * 10, [True] * 10 + [False] * 10)
    assert area.value == 1.0
    assert area.low == pytest.approx(0.05**0.1)
    assert np.isnan(auc([0.3, 0.2], [True, True]).value)


def test_dice_of_shifted_cubes() -> None:
    one, other = np.zeros((8, 8, 8), bool), np.zeros((8, 8, 8), bool)
    one[1:5, 1:5, 1:5] = True
    other[2:6, 1:5, 1:5] = True
    assert dice(one, other) == pytest.approx(0.75)
    empty = np.zeros_like(one)
    assert dice(empty, empty) == 1.0
    assert dice(one, empty) == 0.0


def test_detection_counts_lesions_and_false_marks() -> None:
    truth, marked = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    truth[2:5, 2:5, 2:5] = truth[10:13, 10:13, 10:13] = True
    marked[3:5, 3:5, 3:5] = True  # finds the first
    marked[16:18, 2:4, 2:4] = True  # finds nothing
    marked[18, 18, 18] = True  # a single voxel: dropped
    centres = np.array([[3.0, 3.0, 3.0], [11.0, 11.0, 11.0]])
    assert detect(marked, truth, centres, np.array([1.5, 1.5])) == Detection(2, 1, 1)
    nothing = np.zeros_like(truth)
    assert detect(nothing, truth, centres, np.array([1.5, 1.5])) == Detection(2, 0, 0)


def test_bootstrap_holds_the_mean_and_repeats() -> None:
    values = list(np.random.default_rng(3).normal(0.7, 0.1, 50))
    first = bootstrap_mean(values)
    assert first == bootstrap_mean(values)
    assert first.low < first.value < first.high
    assert first.high - first.low == pytest.approx(2 * 1.96 * 0.1 / 50**0.5, rel=0.3)
