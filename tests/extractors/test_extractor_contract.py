"""What every backbone must do, shown on the tiny card of each family that the registry finds, and on a user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors import ExtractorSettings, Rows, cards, check_backbone, load, registry
from cuebank.extractors.contract import CHECKS, RATES, ContractError, Subject
from cuebank.extractors.contract_event import event_error

OWN = Path(__file__).with_name("own_backbone.py")
TINY = [card for card in cards() if card.tiny]
CASES = [(card.name, pooling) for card in TINY for pooling in card.poolings]


@pytest.fixture
def own() -> Iterator[str]:
    yield str(OWN)
    registry._files.clear()
    registry._families.cache_clear()


def test_there_is_a_tiny_card_for_each_family() -> None:
    assert {card.family for card in TINY} == {card.family for card in cards()}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("name", "pooling"), CASES, ids=["+".join(case) for case in CASES])
def test_a_backbone_keeps_the_contract(name: str, pooling: str, check: str) -> None:
    CHECKS[check](Subject(name, {"pooling": pooling}))


@pytest.mark.parametrize("name", [card.name for card in TINY if card.input == "pictures"])
@pytest.mark.parametrize(
    "settings", [{"rate_hz": "30000/1001"}, {"slots": 16}, {"slots": 16, "slot_rule": "sempi"}], ids=str
)
def test_a_picture_backbone_keeps_it_at_other_samplings(name: str, settings: dict[str, Any]) -> None:
    for check in ("shapes", "times", "blocks"):
        CHECKS[check](Subject(name, settings))


def test_a_users_own_backbone_in_a_file_keeps_it_too(own: str) -> None:
    assert len(OWN.read_text().splitlines()) <= 60
    told: list[str] = []
    assert check_backbone(own, told.append) == told == list(CHECKS)
    check_backbone(own, pooling="mean")


@pytest.mark.parametrize("rate", RATES)
def test_pictures_at_a_rate_tell_an_event_within_half_a_step(own: str, rate: str) -> None:
    for step in ("25", "30000/1001", "10", "50"):
        told = event_error(load(own, ExtractorSettings(rate_hz=step, seed=1)), rate)
        assert told is not None
        assert told.found == pytest.approx(told.due, abs=0.5 / float(_number(step)) + 1e-6)


def _number(text: str) -> float:
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


class _Broken:
    """A backbone whose rows are changed on the way out."""

    def __init__(self, real: Any, change: Any) -> None:
        self.card, self.specs, self.needs, self._real, self._change = real.card, real.specs, real.needs, real, change

    def extract(self, audio: Any) -> list[Rows]:
        return [self._change(rows) for rows in self._real.extract(audio)]

    def read(self, clip: Any) -> list[Rows]:
        return [self._change(rows) for rows in self._real.read(clip)]


RNG = np.random.default_rng(0)
DEFECTS = {
    "shapes": lambda rows: rows._replace(values=rows.values[:, 1:]),
    "times": lambda rows: rows._replace(times=rows.times + 0.013),
    "alone": lambda rows: rows._replace(values=rows.values + RNG.standard_normal(rows.values.shape).astype(np.float32)),
    "holes": lambda rows: rows._replace(valid=np.ones(len(rows.valid), bool)),
    "event": lambda rows: rows._replace(times=rows.times + 0.1),
}


@pytest.mark.parametrize("check", DEFECTS)
def test_a_backbone_that_breaks_it_is_found_out(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, make = Subject("hubert-tiny", {}), Subject.make
    monkeypatch.setattr(Subject, "make", lambda self, **more: _Broken(make(self, **more), DEFECTS[check]))
    with pytest.raises(ContractError, match="hubert-tiny"):
        CHECKS[check](subject)


TEXT_DEFECTS = [
    ("roberta-tiny", "shapes", lambda rows: rows._replace(values=rows.values[:, 1:])),
    ("roberta-tiny", "times", lambda rows: rows._replace(times=rows.times + 9)),
    ("roberta-tiny", "alone", lambda rows: rows._replace(values=rows.values[:1] * 0 + 1)),
    ("whisper-random-tiny", "shapes", lambda rows: rows._replace(values=rows.values[:, None])),
    ("whisper-random-tiny", "shapes", lambda rows: rows._replace(values=np.array([1] * len(rows.values), object))),
    ("whisper-random-tiny", "alone", lambda rows: rows._replace(values=np.array(["a"] * len(rows.values), object))),
    ("whisper-random-tiny", "alone", lambda rows: rows._replace(values=np.array([""] * len(rows.values), object))),
]


@pytest.mark.parametrize(("name", "check", "change"), TEXT_DEFECTS)
def test_so_is_one_that_reads_or_writes_texts(
    name: str, check: str, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, make = Subject(name, {}), Subject.make
    CHECKS[check](subject)
    monkeypatch.setattr(Subject, "make", lambda self, **more: _Broken(make(self, **more), change))
    with pytest.raises(ContractError, match=name):
        CHECKS[check](subject)
