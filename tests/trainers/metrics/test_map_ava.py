"""The AVA metric against the official steps written out plainly, all orders of ties tried, and recorded values.

What needs the CSV files (matching, errors, the recorded cases) is in `tests/trainers/test_ava.py`.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.map_ava import from_weights, map_ava, map_ava_bounds


def official_steps(preds, target) -> float:
    """Steps 4 and 5 of the specification as they stand: curve, padding, envelope, sum over changes of recall."""
    ranked = [y for _, y in sorted(zip(preds, target, strict=True), key=lambda row: -row[0])]
    hits = list(itertools.accumulate(ranked))
    recall = [0.0, *(hit / hits[-1] for hit in hits), 1.0]
    precision = [0.0, *(hit / (i + 1) for i, hit in enumerate(hits)), 0.0]
    for i in reversed(range(len(precision) - 1)):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)) if recall[i] != recall[i - 1])


@pytest.mark.parametrize("levels", [3, 20, 10**9])
@pytest.mark.parametrize("n", [1, 2, 12, 500])
def test_map_ava_equals_the_official_steps_with_ties_in_the_given_order(n, levels):
    rng = np.random.default_rng(n)
    preds, target = rng.integers(0, levels, size=n), rng.integers(0, 2, size=n)
    target[0] = 1
    assert map_ava(preds, target) == pytest.approx(official_steps(preds, target), abs=1e-13)


def test_map_ava_is_interpolated_and_average_precision_is_not():
    from sklearn.metrics import average_precision_score

    preds, target = [0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1]
    assert map_ava(preds, target) == pytest.approx((1 + 3 / 4 + 3 / 4) / 3)
    assert average_precision_score(target, preds) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_bounds_are_those_of_all_orders_of_the_rows_with_equal_scores():
    rng = np.random.default_rng(0)
    for _ in range(20):
        preds, target = rng.integers(0, 3, size=7), rng.integers(0, 2, size=7)
        target[rng.integers(7)] = 1
        scores = [official_steps(preds[list(o)], target[list(o)]) for o in itertools.permutations(range(7))]
        assert map_ava_bounds(preds, target) == pytest.approx((min(scores), max(scores)), abs=1e-13)
        assert min(scores) - 1e-13 <= map_ava(preds, target) <= max(scores) + 1e-13


def test_without_ties_both_bounds_are_the_score():
    preds, target = np.random.default_rng(1).permutation(50), np.arange(50) % 2
    assert map_ava_bounds(preds, target) == (map_ava(preds, target),) * 2


def test_rows_that_count_several_times_score_like_rows_repeated():
    rng = np.random.default_rng(3)
    preds, target = rng.integers(0, 6, size=40).astype(float), rng.integers(0, 2, size=40).astype(float)
    weights = rng.integers(0, 4, size=(20, 40))
    expected = [map_ava(np.repeat(preds, one), np.repeat(target, one)) for one in weights]
    np.testing.assert_allclose(from_weights(preds, target, weights.astype(float)), expected, atol=1e-14)


def test_map_ava_without_positives_is_undefined():
    assert math.isnan(map_ava([0.1, 0.2], [0, 0]))
    assert all(map(math.isnan, map_ava_bounds([0.1, 0.1], [0, 0])))


def test_scores_that_are_no_numbers_and_labels_that_are_not_0_or_1_are_refused():
    for score in (map_ava, map_ava_bounds):
        with pytest.raises(BadInput, match="1 of 2 values of preds"):
            score([0.1, np.nan], [0, 1])
        with pytest.raises(BadInput, match="It has 2 "):
            score([0.1, 0.2], [0, 2])
