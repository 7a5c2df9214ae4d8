"""Stand-in weights follow from seed, name and shape alone, for ever."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.extractors.random_weights import RULE, fill, fill_all


def test_the_numbers_are_those_recorded_for_this_rule() -> None:
    # If this fails, stores made with random weights no longer agree with their names: raise the number in RULE.
    assert RULE == "pcg64-uniform-1"
    assert fill("a.weight", (2, 3), 0).ravel().tolist() == pytest.approx(RECORDED, abs=1e-7)


RECORDED = [0.196851969, 0.281593502, -0.143450677, 0.293003678, 0.244588971, 0.420218706]


def test_a_tensor_depends_on_its_name_its_seed_and_nothing_else() -> None:
    alone = fill("b.weight", (4, 5), 1)
    np.random.seed(0)
    among = fill_all({"a.weight": (3,), "b.weight": (4, 5)}, 1)
    assert np.array_equal(among["b.weight"].numpy(), alone)
    assert not np.allclose(fill("c.weight", (4, 5), 1), alone)
    assert not np.allclose(fill("b.weight", (4, 5), 2), alone)


@pytest.mark.parametrize(
    ("name", "shape", "mean", "deviation"),
    [
        ("x.weight", (300, 400), 0.0, 0.5 * 400**-0.5),
        ("conv.weight", (100, 10, 30), 0.0, 300**-0.5),
        ("x.bias", (100_000,), 0.0, 0.1),
        ("norm.weight", (100_000,), 1.0, 0.1),
    ],
)
def test_scales_keep_the_size_of_signals(name: str, shape: tuple[int, ...], mean: float, deviation: float) -> None:
    values = fill(name, shape, 0)
    assert values.dtype == np.float32
    assert values.shape == shape
    assert values.mean() == pytest.approx(mean, abs=deviation / 50)
    assert values.std() == pytest.approx(deviation, rel=0.02)


def test_odd_sizes_single_values_and_scalars_are_filled() -> None:
    assert fill("a", (7,), 0).shape == (7,)
    assert fill("a", (1,), 0).shape == (1,)
    assert fill("a", (), 0).shape == ()
