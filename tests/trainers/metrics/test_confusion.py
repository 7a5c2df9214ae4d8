"""The confusion matrix against scikit-learn: rows truth."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.confusion import confusion


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_confusion_equals_scikit_learn(classes):
    from sklearn.metrics import confusion_matrix

    preds, target = np.random.default_rng(classes).integers(0, classes, size=(2, 200))
    np.testing.assert_array_equal(
        confusion(preds, target, classes), confusion_matrix(target, preds, labels=range(classes))
    )


def test_rows_are_the_truth():
    np.testing.assert_array_equal(confusion([1, 1, 1], [0, 0, 1]), [[0, 2], [0, 1]])


def test_classes_that_do_not_occur_have_rows_and_columns_of_zeros():
    counts = confusion([0, 3], [0, 0], classes=5)
    assert counts.shape == (5, 5)
    assert counts.sum() == 2
    assert counts[0, 3] == 1
    assert counts.dtype == np.int64


def test_a_class_beyond_the_number_of_classes_is_refused():
    with pytest.raises(BadInput, match=r"class id 2 in preds \(3,\)"):
        confusion([0, 1, 2], [0, 1, 1], classes=2)


@pytest.mark.parametrize("bad", [-1, 0.5, 4096, np.nan])
def test_what_is_no_class_id_is_refused(bad):
    with pytest.raises(BadInput, match=r"preds|target"):
        confusion([0, 1], [0, bad])
