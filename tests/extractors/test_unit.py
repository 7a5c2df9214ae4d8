"""One unit of work: rows or an honest reason, for each feature set by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors.base import Needs, Rows
from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import Audio
from cuebank.extractors.media.request import ClipRequest
from cuebank.extractors.media.stream import SoundCame
from cuebank.extractors.registry import card
from cuebank.extractors.unit import process
from cuebank.store import FeatureSpec, Recipe

SOUND = Audio(np.zeros(1600, np.float32), 16000, 0.0)


class Stub:
    """An extractor that returns, or raises, what it is given."""

    card = card("hubert-tiny")
    needs = Needs(sound_hz=16000)

    def __init__(self, results: Any, dtype: str = "float16", precision: str = "fp32") -> None:
        recipe = Recipe("stub", {"source": "x"}, precision=precision)
        self.specs = [FeatureSpec(f"stub.{i}", "numeric", 1, dtype, recipe) for i in range(2)]
        self.results = results
        self.calls = 0

    def extract(self, audio: Audio) -> list[Rows]:
        self.calls += 1
        if isinstance(self.results, Exception):
            raise self.results
        return [Rows(np.array([[v]], np.float32), np.zeros(1), np.array([valid])) for v, valid in self.results]


def outcomes(stub: Stub, sound: Any = SOUND, wanted: set[str] | None = None) -> dict[str, Any]:
    request = ClipRequest(Path("x.wav"), (16000,))
    return process([stub], request, [SoundCame(0, sound)], {"stub.0", "stub.1"} if wanted is None else wanted).outcomes


def test_only_wanted_feature_sets_come_out_and_an_unwanted_backbone_does_not_run() -> None:
    stub = Stub([(1.0, True), (2.0, True)])
    assert outcomes(stub, wanted={"stub.1"})["stub.1"].values == [[2.0]]
    assert stub.calls == 1
    assert outcomes(stub, wanted={"other"}) == {}
    assert stub.calls == 1


@pytest.mark.parametrize("cause", ["decoding", "backbone"])
def test_a_media_error_is_the_reason_of_every_feature_set(cause: str) -> None:
    error = MediaError("asked.", "found.", "todo.")
    found = outcomes(Stub([]), sound=error) if cause == "decoding" else outcomes(Stub(error))
    assert found == {"stub.0": "asked. found. todo.", "stub.1": "asked. found. todo."}


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory.\nmore"), MemoryError()])
def test_a_computation_that_fails_is_a_reason_and_names_the_remedy(error: Exception) -> None:
    reason = outcomes(Stub(error))["stub.0"]
    assert "columns start and end" in reason
    assert "more" not in reason.split("Give it more")[0]


def test_mistakes_in_a_backbone_are_not_taken_for_bad_clips() -> None:
    with pytest.raises(TypeError):
        outcomes(Stub(TypeError("a mistake in the code")))


@pytest.mark.parametrize("value", [65520.0, -70000.0, 1e30])
def test_values_that_float16_cannot_hold_name_the_remedy_and_spare_the_other_layer(value: float) -> None:
    found = outcomes(Stub([(1.0, True), (value, True)]))
    assert isinstance(found["stub.0"], Rows)
    assert "--dtype float32" in found["stub.1"]
    assert isinstance(outcomes(Stub([(1.0, True), (value, True)], dtype="float32"))["stub.1"], Rows)


def test_the_largest_value_that_rounds_to_a_float16_passes() -> None:
    assert isinstance(outcomes(Stub([(65519.0, True), (0.0, True)]))["stub.0"], Rows)
    assert np.isfinite(np.float16(65519.0))
    with np.errstate(over="ignore"):
        assert np.isinf(np.float16(65520.0))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_reasons_in_every_type(value: float, dtype: str) -> None:
    assert "NaN or infinity" in outcomes(Stub([(value, True), (0.0, True)], dtype))["stub.0"]
    reason = outcomes(Stub([(value, True), (0.0, True)], dtype, "bf16"))["stub.0"]
    assert "--precision fp32" in reason


def test_rows_that_are_not_valid_may_hold_anything() -> None:
    assert isinstance(outcomes(Stub([(np.nan, False), (0.0, True)]))["stub.0"], Rows)
