"""`cuebank extract` and `cuebank backbones`: options for several backbones, devices, lists and checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cuebank.commands.extract import by_backbone, extract
from cuebank.commands.listings import backbones
from cuebank.extractors import registry
from cuebank.extractors.media.flash import make_flash_and_click, steady

OWN = str(Path(__file__).parent.parent / "extractors" / "own_backbone.py")


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., Result]:
    make_flash_and_click(tmp_path / "a.mov", steady(Fraction(25), 2), 2, Fraction(1))
    (tmp_path / "clips.csv").write_text(f"clip_id,path\na,{tmp_path / 'a.mov'}\n")
    given = ["--clips", str(tmp_path / "clips.csv"), "--store", str(tmp_path / "f.zarr"), "--json"]
    yield lambda *words: CliRunner().invoke(extract, [*given, *words])
    registry._files.clear()
    registry._families.cache_clear()


def sets(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["feature_sets"]


def test_several_backbones_in_one_command(call: Callable[..., Result]) -> None:
    result = call("--backbone", "hubert-tiny", "--backbone", "i3d-tiny", "--backbone", OWN, "--weights", "random")
    assert sets(result) == ["hubert-tiny.random-0@last", "i3d-tiny.random-0@last", "colour.random-0@last"]
    assert json.loads(result.stdout)["done"] == 1


def test_options_may_name_the_backbone_that_they_are_for(call: Callable[..., Result]) -> None:
    result = call(
        *("--backbone", "hubert-tiny", "--backbone", OWN, "--weights", "hubert-tiny=random", "--weights", "random"),
        *("--layer", "hubert-tiny=1", "--layer", "hubert-tiny=2", "--layer", "last", "--pooling", f"{OWN}=mean"),
    )
    assert sets(result) == ["hubert-tiny.random-0@1", "hubert-tiny.random-0@2", "colour.random-0@last+mean"]


def test_devices_rate_and_precision_are_passed_on(call: Callable[..., Result]) -> None:
    result = call(
        *("--backbone", OWN, "--device", "cpu", "--device", "cpu:0", "--rate", "30000/1001", "--precision", "bf16"),
    )
    assert sets(result) == ["colour.random-0@last"]
    slots = call("--backbone", "i3d-tiny", "--weights", "random", "--slots", "16", "--slot-rule", "sempi")
    assert sets(slots) == ["i3d-tiny.random-0@last+sempi16"]


def test_one_value_is_enough_for_what_has_one(call: Callable[..., Result]) -> None:
    result = call("--backbone", "hubert-tiny", "--pooling", "none", "--pooling", "mean")
    assert result.exit_code == 2
    assert "--pooling was given 2 times" in result.output


def test_values_go_to_all_or_to_the_one_that_is_named() -> None:
    assert by_backbone(("a=1", "2", "c=3"), ("a", "b")) == {"a": ["1"], "b": ["2", "c=3"]}
    assert by_backbone((), ("a",)) == {"a": []}


def test_the_list_tells_what_each_looks_at_and_whether_weights_are_at_hand() -> None:
    shown = CliRunner().invoke(backbones, ["--json"])
    cards = {card["name"]: card for card in json.loads(shown.stdout)}
    assert cards["hubert-tiny"]["at_hand"] == "random only"
    assert cards["i3d-tiny"]["input"] == "pictures"
    assert cards["hubert-base"]["at_hand"] in ("yes", "no", "unknown")
    text = CliRunner().invoke(backbones, []).stdout.splitlines()
    assert {"name", "input", "dim", "rate_hz", "licence", "at_hand"} <= set(text[0].split())


def test_a_check_of_ones_own_backbone_tells_what_it_keeps_or_breaks(tmp_path: Path) -> None:
    shown = CliRunner().invoke(backbones, ["--check", OWN])
    assert (shown.exit_code, shown.stdout.splitlines()[-1]) == (0, "event: ok")
    broken = tmp_path / "broken.py"
    broken.write_text(Path(OWN).read_text().replace("pictures.times,", "pictures.times + 0.1,"))
    registry._files.clear()
    registry._families.cache_clear()
    shown = CliRunner().invoke(backbones, ["--check", str(broken)])
    assert "Times of rows were compared" in str(shown.exception)
    registry._files.clear()
    registry._families.cache_clear()
