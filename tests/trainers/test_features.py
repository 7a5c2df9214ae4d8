"""Features in one matrix, and scalings: fitted, fixed, constant columns, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cuebank.store import BadInput, NotFound
from cuebank.trainers.features import ALIGNMENT, Features, fixed_min_max, min_max, standard


def test_inputs_are_views_of_one_matrix_whose_rows_are_aligned() -> None:
    inputs = {"video": torch.randn(5, 3), "audio": torch.randn(5, 4)}
    features = Features.of(inputs)
    parts = features.split(features.matrix)
    assert features.matrix.shape == (5, ALIGNMENT)
    assert list(parts) == ["video", "audio"]
    for role, values in inputs.items():
        assert torch.equal(parts[role], values)
        assert parts[role].untyped_storage().data_ptr() == features.matrix.untyped_storage().data_ptr()
    block = features.split(features.matrix.view(5, 1, -1))
    assert block["audio"].shape == (5, 1, 4)


def test_standard_scaling_gives_mean_0_and_deviation_1_and_constant_columns_0() -> None:
    rows = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * 5 + 100
    rows[:, 1] = 0.1
    found = standard(rows).apply_(rows.clone())
    torch.testing.assert_close(found.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(0, correction=0), torch.tensor([1.0, 0.0, 1.0]), atol=1e-5, rtol=0)


def test_min_max_scaling_gives_the_range_of_the_training_rows_and_keeps_constant_columns_finite() -> None:
    rows = torch.tensor([[0.0, 0.1, -3.0], [10.0, 0.1, -1.0], [5.0, 0.1, -2.0]])
    scaling = min_max(rows)
    torch.testing.assert_close(
        scaling.apply_(rows.clone()), torch.tensor([[-0.5, -0.5, -0.5], [0.5, -0.5, 0.5], [0.0, -0.5, 0.0]])
    )
    beyond = scaling.apply_(torch.tensor([[20.0, 0.2, 0.0]]))
    torch.testing.assert_close(beyond, torch.tensor([[1.5, -0.4, 1.0]]))


def test_a_column_that_is_constant_but_for_rounding_is_not_blown_up() -> None:
    rows = torch.tensor([[1000.0], [1000.0001], [1000.0]])
    for scaling in (min_max(rows), standard(rows)):
        assert scaling.apply_(rows.clone()).abs().max() < 1


def test_fixed_vectors_follow_the_published_formula(tmp_path: Path) -> None:
    low, high = np.array([-2.0, 0.0, 1.0]), np.array([-1.0, 0.5, 5.0])
    np.savez(tmp_path / "norm.npz", min_vec=low, max_vec=high)
    mean = np.array([-1.5, 0.25, 3.0], dtype=np.float32)
    found = fixed_min_max(tmp_path / "norm.npz", 3).apply_(torch.from_numpy(mean.copy()))
    np.testing.assert_allclose(found.numpy(), (mean - low) / (np.maximum(high, 1) - low) - 0.5, atol=1e-6)


def test_files_that_are_no_fixed_vectors_are_refused(tmp_path: Path) -> None:
    vectors = {"min_vec": np.zeros(3), "max_vec": np.ones(3)}
    np.savez(tmp_path / "good.npz", **vectors)
    np.savez(tmp_path / "half.npz", min_vec=np.zeros(3))
    np.savez(tmp_path / "nan.npz", **{**vectors, "min_vec": np.array([0, np.nan, 0])})
    np.savez(tmp_path / "flat.npz", **{**vectors, "min_vec": np.array([0, 1.0, 0])})
    np.savez(tmp_path / "pickle.npz", **{**vectors, "min_vec": np.array([0, None, 0])})
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(NotFound, match="--openface-norm"):
        fixed_min_max(tmp_path / "absent.npz", 3)
    with pytest.raises(BadInput, match=r"min_vec \(3,\)"):
        fixed_min_max(tmp_path / "good.npz", 4)
    for name in ("half.npz", "nan.npz", "flat.npz", "pickle.npz", "array.npy", "text.npz"):
        with pytest.raises(BadInput):
            fixed_min_max(tmp_path / name, 3)
