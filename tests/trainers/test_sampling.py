"""Orders of training rows: seeded, balanced as published or by bins, cut into batches."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.sampling import balance_keys, balance_weights, batches, epoch_order


def test_shuffled_order_visits_each_row_once_and_depends_on_the_generator_only():
    rows = np.array([3, 5, 8, 13, 21])
    order = epoch_order(rows, "shuffled", np.random.default_rng(0))
    assert sorted(order) == sorted(rows)
    np.testing.assert_array_equal(order, epoch_order(rows, "shuffled", np.random.default_rng(0)))
    assert any((epoch_order(rows, "shuffled", np.random.default_rng(s)) != order).any() for s in range(1, 5))


def test_balanced_order_draws_every_label_equally_often_with_replacement():
    labels = np.array([0] * 90 + [1] * 9 + [2])
    weights = balance_weights(balance_keys(labels))
    assert weights.sum() == pytest.approx(1.0)
    rng = np.random.default_rng(1)
    drawn = np.concatenate([epoch_order(np.arange(100), "balanced", rng, weights) for _ in range(300)])
    assert drawn.size == 30_000
    np.testing.assert_allclose(np.bincount(labels[drawn]) / drawn.size, 1 / 3, atol=0.015)
    first = drawn[:100]
    assert np.bincount(first).max() > 1


def test_balanced_order_gives_entries_of_rows_not_positions():
    rows = np.array([70, 80, 90])
    drawn = epoch_order(rows, "balanced", np.random.default_rng(0), np.array([0.0, 1.0, 0.0]))
    np.testing.assert_array_equal(drawn, [80, 80, 80])


def test_balanced_frequencies_equal_the_weights_of_each_row():
    weights = np.array([0.5, 0.25, 0.125, 0.125])
    rng = np.random.default_rng(2)
    drawn = np.concatenate([epoch_order(np.arange(4), "balanced", rng, weights) for _ in range(20_000)])
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / drawn.size, weights, atol=0.01)


def test_float_labels_are_balanced_by_exact_value_as_published_or_by_bins():
    labels = [0.1, 0.1, 0.1000001, 0.9]
    np.testing.assert_array_equal(balance_keys(labels), [0, 0, 1, 2])
    np.testing.assert_array_equal(balance_keys(labels, bins=2), [0, 0, 0, 1])
    np.testing.assert_array_equal(balance_keys([0.3, 0.3], bins=4), [0, 0])
    np.testing.assert_allclose(balance_weights(balance_keys(labels, bins=2)), [1 / 6, 1 / 6, 1 / 6, 1 / 2])


@pytest.mark.parametrize("labels", [[], [[0.1]], [0.1, np.nan]])
def test_labels_that_cannot_be_balanced_are_refused(labels):
    with pytest.raises(BadInput, match="Balancing takes finite labels"):
        balance_keys(labels)


def test_unknown_sampler_and_missing_weights_are_refused():
    for sampler in ("random", "balanced"):
        with pytest.raises(BadInput, match=sampler):
            epoch_order(np.arange(3), sampler, np.random.default_rng(0))


@pytest.mark.parametrize(("n", "last", "sizes"), [(20, "drop", [8, 8]), (20, "keep", [8, 8, 4]), (16, "drop", [8, 8])])
def test_incomplete_last_batch_is_dropped_or_kept(n, last, sizes):
    cut = batches(np.arange(n), 8, last)
    assert [len(part) for part in cut] == sizes
    np.testing.assert_array_equal(np.concatenate(cut), np.arange(sum(sizes)))


def test_fewer_rows_than_a_batch_are_trained_on_all_the_same():
    assert [len(part) for part in batches(np.arange(5), 8, "drop")] == [5]


@pytest.mark.parametrize(("n", "size", "last"), [(0, 8, "drop"), (5, 0, "drop"), (5, 8, "pad")])
def test_batches_that_make_no_sense_are_refused(n, size, last):
    with pytest.raises(BadInput):
        batches(np.arange(n), size, last)
