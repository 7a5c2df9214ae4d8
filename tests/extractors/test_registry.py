"""The list of backbones, and what an unknown name answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cuebank.extractors import registry
from cuebank.extractors.base import Card, ExtractorSettings, check_device
from cuebank.store.errors import BadInput, NotFound


def test_every_family_has_exactly_one_default_card_and_a_tiny_one() -> None:
    families = {card.family for card in registry.cards()}
    assert "hubert" in families
    for family in families:
        cards = [card for card in registry.cards() if card.family == family]
        assert sum(card.default for card in cards) == 1
        assert any(card.tiny for card in cards)


def test_the_name_of_a_family_means_its_default_card() -> None:
    assert registry.card("hubert") is registry.card("hubert-base")


def test_cards_state_what_they_need_and_turn_into_json() -> None:
    base, large = registry.card("hubert-base"), registry.card("hubert-large")
    assert (base.dim, base.layers, base.rate_hz, base.row_rate_hz) == (768, 12, 16000, "50")
    assert (large.dim, large.layers) == (1024, 24)
    for card in registry.cards():
        assert json.loads(json.dumps(card.to_json()))["name"] == card.name
        # Published weights are pinned to a commit, and say under which licence they are; tiny cards have none.
        assert card.weights is None or not card.tiny
        assert card.weights is None or (len(card.revision or "") == 40 and card.licence and card.tag)


@pytest.mark.parametrize(("name", "near"), [("hubert-bsae", "hubert-base"), ("huber", "hubert"), ("Hubert-large", "")])
def test_an_unknown_name_answers_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(NotFound, match=near or "hubert-large") as caught:
        registry.card(name)
    assert caught.value.asked
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "name", ["./hubert.pt", "facebook/hubert-base-ls960", "hubert_base_ls960.pt", "C:\\w\\m.bin", "~/m", ".hidden"]
)
def test_a_name_that_looks_like_a_path_is_refused_with_both_spellings(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        registry.card(name)
    like = re.search(r"--backbone (\S+) for the published weights", caught.value.todo)[1]
    assert registry.card(like).weights
    assert "hubert" not in name or like == "hubert-base"
    assert f"--backbone {like} --weights {name}" in caught.value.todo


def test_listing_the_cards_does_not_import_torch() -> None:
    code = "import sys; from cuebank.extractors import cards; cards(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_two_cards_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card("twin", "twin", "audio", 16000, 1, 1, "50")
    monkeypatch.setattr(
        registry.importlib,
        "import_module",
        lambda name, package: SimpleNamespace(CARDS=(card, card), __name__=package + name),
    )
    registry._families.cache_clear()
    try:
        with pytest.raises(BadInput, match="Two backbones are called `twin`"):
            registry.cards()
    finally:
        registry._families.cache_clear()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("precision", "fp16", "fp32, bf16"),
        ("dtype", "int8", "float16, float32"),
        ("layers", (), "--layer last"),
        ("layers", ("1", "1"), "each of them once"),
        ("seed", -1, "negative"),
        ("keep_last_s", 0.0, "positive length"),
        ("keep_last_s", float("nan"), "positive length"),
        ("rate_hz", "0", "no rate"),
        ("rate_hz", "25/0", "no rate"),
        ("rate_hz", "1e9", "no rate"),
        ("rate_hz", "1001", "no rate"),
        ("slots", 0, "whole number from 1"),
        ("slot_rule", "odd", "even, viper, sempi"),
        ("stride_s", 0.0, "positive length"),
    ],
)
def test_settings_that_do_not_exist_are_refused_with_those_that_do(field: str, value: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ExtractorSettings(**{field: value})


def test_a_pooling_that_a_backbone_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(BadInput, match="none, mean"):
        registry.load("hubert-tiny", ExtractorSettings(weights="random", pooling="max"))


def test_a_rate_and_a_number_of_pictures_exclude_each_other() -> None:
    with pytest.raises(BadInput, match="one of them only"):
        ExtractorSettings(rate_hz="30000/1001", slots=8)


@pytest.mark.parametrize("device", ["cuda:99", "toaster", "meta:x"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(device: str) -> None:
    with pytest.raises(BadInput, match="Use one of: cpu"):
        check_device(device)


@pytest.mark.parametrize("layer", ["0", "3", "-1", "first", "1.0", "01", ""])
def test_a_layer_that_the_card_does_not_have_is_refused_before_anything_is_loaded(layer: str) -> None:
    with pytest.raises(BadInput, match="layers 1 to 2"):
        registry.load("hubert-tiny", ExtractorSettings(weights="no/such", layers=("last", layer)))


OWN = """
from cuebank.extractors import Card
CARDS = (Card("mine", "mine", "audio", 16000, 1, 0, "50", default=True),
         Card("mine-2", "mine", "audio", 8000, 1, 0, ""))
def load(card, settings):
    return card, settings
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    yield path
    registry._files.clear()
    registry._families.cache_clear()


def test_a_python_file_is_a_family(own: Path) -> None:
    assert registry.card(str(own)).name == "mine"
    assert registry.card(f"{own}:mine-2").rate_hz == 8000
    assert registry.card("mine").name == "mine"  # once it is known
    assert registry.load(str(own), ExtractorSettings(seed=3))[1].seed == 3
    assert "mine-2" in [card.name for card in registry.cards()]


def test_a_python_file_without_a_backbone_says_what_is_missing(own: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="mine-2"):
        registry.card(f"{own}:mine-3")
    with pytest.raises(NotFound, match="no such file"):
        registry.card(str(tmp_path / "absent.py"))
    (tmp_path / "empty.py").write_text("CARDS = ()")
    with pytest.raises(BadInput, match="no function load"):
        registry.card(str(tmp_path / "empty.py"))


def test_an_installed_package_adds_a_family(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cuebank.backbones]\nmine = mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._families.cache_clear()
    assert registry.card("mine").name == "mine"
    (info / "entry_points.txt").write_text("[cuebank.backbones]\nmine = no_such_module\n")
    registry._families.cache_clear()
    with pytest.raises(BadInput, match="cannot be imported"):
        registry.cards()


@pytest.mark.parametrize(("name", "said"), [("hubert-tiny", "random only"), ("mfcc", "none needed")])
def test_whether_weights_are_at_hand_is_told_without_looking_them_up(name: str, said: str) -> None:
    assert registry.weights_at_hand(registry.card(name)) == said


def test_weights_in_the_cache_of_the_hub_are_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    card = registry.card("hubert-base")
    for found, said in ((True, "yes"), (False, "no"), (None, "unknown")):
        monkeypatch.setattr(registry, "at_hand", lambda name, revision, found=found: found)
        assert registry.weights_at_hand(card) == said
