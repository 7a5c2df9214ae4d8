"""The ten-bin matrix against scikit-learn and numpy's histogram, and the published variant against recorded arrays."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.confusion_bins import bins_of, confusion_bins, published_bins, row_shares


def test_the_matrix_equals_a_two_dimensional_histogram():
    preds, target = np.random.default_rng(0).random((2, 500))
    edges = np.linspace(0, 1, 11)
    expected = np.histogram2d(target, preds, bins=(edges, edges))[0]
    np.testing.assert_array_equal(confusion_bins(preds, target), expected)


def test_what_is_outside_of_0_to_1_counts_in_the_first_or_last_bin():
    counts = confusion_bins([-3.0, -0.05, 1.0, 7.5], [0.0, 0.0, 0.99, 1.0])
    assert counts.shape == (10, 10)
    assert (counts[0, 0], counts[9, 9], counts.sum()) == (2, 2, 4)


def test_published_bins_cut_towards_zero_and_know_negative_classes():
    assert bins_of(np.array([-0.1, -0.099, 0.3, 0.95, 1e9])).tolist() == [-1, 0, 2, 9, 9]
    present, counts = published_bins([-0.25, 0.55], [0.55, 0.55])
    assert present.tolist() == [-2, 5]
    assert counts.tolist() == [[0, 0], [1, 1]]


def test_published_bins_equal_scikit_learn_over_the_classes_that_occur():
    from sklearn.metrics import confusion_matrix

    preds, target = np.random.default_rng(1).normal(0.4, 0.4, size=(2, 200))
    present, counts = published_bins(preds, target)
    np.testing.assert_array_equal(counts, confusion_matrix(bins_of(target), bins_of(preds)))
    assert present.min() < 0


def test_a_row_without_truth_has_no_shares():
    np.testing.assert_array_equal(row_shares([[0, 0], [1, 1]]), [[np.nan, np.nan], [0.5, 0.5]])


@pytest.mark.parametrize("function", [confusion_bins, published_bins])
def test_arrays_that_do_not_fit_are_refused(function):
    with pytest.raises(BadInput, match=r"preds \(3, 7\) and target \(3, 7\)"):
        function(np.zeros((3, 7)), np.zeros((3, 7)))
    with pytest.raises(BadInput, match="1 of 2 values of target"):
        function([0.1, 0.2], [0.1, np.nan])


@pytest.mark.golden("viper_metrics")
def test_the_recorded_matrices_are_reproduced(golden_case):
    arrays = golden_case.arrays
    for i in range(arrays["label"].shape[1]):
        preds, target = arrays["pred"][:, i], arrays["label"][:, i]
        present, counts = published_bins(preds, target)
        np.testing.assert_array_equal(present, arrays[f"bins_present_{i}"])
        np.testing.assert_array_equal(counts, arrays[f"counts_{i}"])
        np.testing.assert_allclose(row_shares(counts), arrays[f"row_normalised_{i}"], atol=1e-6)
        clipped = np.zeros((10, 10), dtype=np.int64)
        rows = np.clip(present, 0, 9)
        np.add.at(clipped, (rows[:, None], rows[None]), counts)
        np.testing.assert_array_equal(confusion_bins(preds, target), clipped)


@pytest.mark.golden("viper_metrics")
def test_the_recorded_matrix_of_strongest_emotions_is_the_confusion_matrix_of_the_arg_max(golden_case):
    from cuebank.trainers.metrics.confusion import confusion

    arrays = golden_case.arrays
    present = arrays["argmax_classes_present"]
    counts = confusion(arrays["pred"].argmax(axis=1), arrays["label"].argmax(axis=1), arrays["label"].shape[1])
    np.testing.assert_array_equal(counts[np.ix_(present, present)], arrays["argmax_counts"])
    assert counts.sum() == arrays["argmax_counts"].sum()
