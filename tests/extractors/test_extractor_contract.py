"""What every backbone must do, shown on the tiny card of each family that the registry finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.extractors import ExtractorSettings, cards, load
from cuebank.extractors.base import Card, Rows
from cuebank.extractors.media import Audio
from cuebank.store import FeatureSpec, feature_set_name

TINY = [card.name for card in cards() if card.tiny and card.input == "audio"]
POOLINGS = ("none", "mean")


def audio(seconds: float, rate_hz: int, seed: int = 0, start_s: float = 0.0) -> Audio:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))
    return Audio((0.1 * noise).astype(np.float32), rate_hz, start_s)


@pytest.fixture(params=[(name, pooling) for name in TINY for pooling in POOLINGS], ids="+".join)
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    name, pooling = request.param
    return lambda **settings: load(name, ExtractorSettings(**{"weights": "random", "pooling": pooling, **settings}))


def some_layers(card: Card) -> tuple[str, ...]:
    """Two layers, or the one output of a backbone that has none to choose from."""
    return ("1", "last") if card.layers else ("last",)


def whole(spec: FeatureSpec, rows: Rows, sound: Audio) -> np.ndarray:
    """(T,) bool: rows whose window lies within the sound; some recipes fill up windows at its ends."""
    half, end_s = float(spec.timebase.window_s) / 2, sound.start_s + sound.duration_s
    return (rows.times - half > sound.start_s - 1e-9) & (rows.times + half < end_s + 1e-9)


def test_rows_have_the_shapes_types_and_count_that_the_specs_state(make: Callable[..., Any]) -> None:
    layers = some_layers(make().card)
    extractor = make(layers=layers)
    assert extractor.needs.sound_hz == extractor.card.rate_hz
    assert len(extractor.specs) == len(layers)
    for seconds in (0.3, 1.0, 1.7):
        sound = audio(seconds, extractor.needs.sound_hz)
        made = extractor.extract(sound)
        assert len(made) == len(extractor.specs)
        for spec, rows in zip(extractor.specs, made, strict=True):
            count = len(rows.values)
            assert rows.valid.all()
            if spec.timebase is None:
                assert count == 1
            else:
                assert whole(spec, rows, sound).sum() == spec.timebase.count(seconds)
                assert extractor.card.layers == 0 or count == spec.timebase.count(seconds)
            assert rows.values.shape == (count, spec.dim)
            assert spec.dim == extractor.card.dim
            assert rows.values.dtype == np.float32
            assert rows.times.shape == rows.valid.shape == (count,)
            assert (rows.times.dtype, rows.valid.dtype) == (np.float64, bool)
            assert np.isfinite(rows.values).all()


def test_times_lie_within_the_stream_and_move_with_its_start(make: Callable[..., Any]) -> None:
    extractor = make()
    for start_s in (0.0, 2.43):
        (rows,) = extractor.extract(audio(1.5, extractor.needs.sound_hz, start_s=start_s))
        assert (np.diff(rows.times) > 0).all()
        assert rows.times[0] >= start_s
        assert rows.times[-1] <= start_s + 1.5
        timebase = extractor.specs[0].timebase
        if timebase is not None:
            np.testing.assert_allclose(rows.times, start_s + timebase.centers(len(rows.times)), rtol=0, atol=1e-12)


def test_a_clip_alone_and_in_company_and_again_gives_the_same_bits(make: Callable[..., Any]) -> None:
    one, other = (audio(seconds, 16000, seed) for seconds, seed in ((1.0, 1), (1.6, 2)))
    alone = make().extract(one)[0]
    company = make()
    company.extract(other)
    for _ in range(2):
        assert company.extract(one)[0].values.tobytes() == alone.values.tobytes()
    assert company.extract(other)[0].values.tobytes() == make().extract(other)[0].values.tobytes()


def test_the_alignment_and_the_fate_of_the_samples_do_not_matter(make: Callable[..., Any]) -> None:
    extractor, sound = make(), audio(1.0, 16000)
    expected = extractor.extract(sound)[0].values
    for offset in range(1, 5):
        shifted = np.zeros(len(sound.samples) + 8, np.float32)[offset:][: len(sound.samples)]
        shifted[:] = sound.samples
        shifted.flags.writeable = False
        assert extractor.extract(Audio(shifted, 16000, 0.0))[0].values.tobytes() == expected.tobytes()


def test_no_gradients_are_recorded_and_the_training_mode_of_others_does_not_matter(make: Callable[..., Any]) -> None:
    extractor = make()
    with torch.enable_grad():
        (rows,) = extractor.extract(audio(1.0, 16000))
    assert isinstance(rows.values, np.ndarray)
    assert torch.is_grad_enabled()


def test_specs_name_and_describe_what_was_asked_for(make: Callable[..., Any]) -> None:
    card = make().card
    layers: tuple[str | None, ...] = some_layers(card)
    extractor = make(seed=5, layers=layers, precision="bf16", dtype="float32")
    fixed = not card.layers  # a recipe without weights, which has no choice of precision either
    for spec, layer in zip(extractor.specs, (None,) if fixed else layers, strict=True):
        tag = card.tag if fixed else "random-5"
        assert spec.name == feature_set_name(card.name, tag, layer, spec.recipe.pooling)
        assert (spec.recipe.backbone, spec.recipe.layer) == (card.name, layer)
        assert (spec.recipe.precision, spec.dtype) == ("fp32" if fixed else "bf16", "float32")
        assert (spec.timebase is None) == (spec.recipe.pooling == "mean")
        assert spec == type(spec).from_json(spec.to_json())
    assert len({spec.fingerprint for spec in extractor.specs}) == len(layers)


def test_holes_are_marked_or_left_out_never_taken_for_sound(make: Callable[..., Any]) -> None:
    extractor, sound = make(), audio(2.0, 16000)
    holed = Audio(sound.samples, 16000, 0.0, ((1.0, 1.5),))
    (rows,) = extractor.extract(holed)
    if extractor.specs[0].timebase is None:
        assert rows.valid.all()
    else:
        half = float(extractor.specs[0].timebase.window_s) / 2
        inside = (rows.times + half > 1.0) & (rows.times - half < 1.5)
        assert np.array_equal(rows.valid, ~inside)
        assert inside.any()
