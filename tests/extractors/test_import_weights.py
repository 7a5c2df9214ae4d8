"""Importing original checkpoints: the same features to the last bit, honest cards, atomic folders, clear refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cuebank.extractors import new_folder as module
from cuebank.extractors.base import ExtractorSettings
from cuebank.extractors.checkpoint import read_file, sha256_file
from cuebank.extractors.errors import WeightsError
from cuebank.extractors.import_weights import import_weights
from cuebank.extractors.networks import i3d, i3d_shape
from cuebank.extractors.registry import load
from cuebank.extractors.runner import extract
from cuebank.store import BadInput, ClipsTable, Conflict, FeatureStore, NotFound
from tests.conftest import fixed_file

FAIRSEQ = ("hubert_tiny_fairseq_base.pt", "hubert_tiny_fairseq_base_legacy.pt", "hubert_tiny_fairseq_large.pt")


def golden_file(name: str) -> Path:
    path = fixed_file(name)
    if path is None:
        pytest.skip(f"{name} is neither in tests/golden nor in the shared folder")
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint as fairseq writes it, in a folder of the test."""
    return Path(shutil.copy(golden_file(FAIRSEQ[0]), tmp_path / "hubert_tiny.pt"))


@pytest.fixture
def i3d_file(tmp_path: Path) -> Path:
    """Weights of the small I3D as published: bare tensors, with one batch norm that counts its steps."""
    shapes = i3d.shapes(i3d.build(i3d_shape.I3dShape(divide=8, side=64)))
    generator = torch.Generator().manual_seed(3)
    tensors = {name: torch.rand(shape, generator=generator) + 0.5 for name, shape in shapes.items()}
    tensors["Conv3d_1a_7x7.bn.num_batches_tracked"] = torch.tensor(7)
    torch.save(tensors, tmp_path / "rgb_tiny.pt")
    return tmp_path / "rgb_tiny.pt"


def card_of(folder: Path) -> Any:
    return json.loads((folder / "card.json").read_text())


@pytest.mark.parametrize("name", FAIRSEQ)
def test_features_are_those_of_the_original_to_the_last_bit(
    name: str, tmp_path: Path, make_clips: Callable[..., ClipsTable]
) -> None:
    original, backbone = golden_file(name), "hubert-tiny-large" if "large" in name else "hubert-tiny"
    report = import_weights(original, backbone, out=tmp_path / "imported")
    table = make_clips(2)
    made = {}
    for store, weights in (("original", original), ("imported", report.folder)):
        done = extract(
            backbone, table, tmp_path / f"{store}.zarr", weights=str(weights), dtype="float32", decode_workers=0
        )
        assert not done.failed
        with FeatureStore.open(tmp_path / f"{store}.zarr") as opened:
            (feature_set,) = opened.feature_sets()
            rows = [opened.read(feature_set, clip.clip_id).values.copy() for clip in table]
            made[store] = (feature_set, rows, opened.spec(feature_set).recipe)
    for mine, theirs in zip(made["imported"][1], made["original"][1], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert made["imported"][0] == made["original"][0], "features keep the name that the original would give them"
    recipe = made["imported"][2]
    assert recipe.weights["sha256"] == report.sha256 == sha256_file(report.folder / "model.safetensors")
    assert recipe.weights["source"] == f"{name}, imported"
    assert recipe.preprocessing == made["original"][2].preprocessing
    assert made["original"][2].weights["sha256"] == report.original_sha256


def test_the_card_says_where_everything_is_from(checkpoint: Path, tmp_path: Path) -> None:
    report = import_weights(checkpoint, "hubert-tiny", out=tmp_path / "imported", licence="MIT")
    card = card_of(report.folder)
    assert sorted(path.name for path in report.folder.iterdir()) == ["card.json", "model.safetensors"] == card["files"]
    assert card["original"] == {
        "file": "hubert_tiny.pt",
        "sha256": sha256_file(checkpoint),
        "bytes": checkpoint.stat().st_size,
    }
    assert len({path.stat().st_mode for path in report.folder.iterdir()}) == 1, "both can be read by the same people"
    assert (card["backbone"], card["licence"], card["tag"]) == ("hubert-tiny", "MIT", "hubert_tiny")
    assert card["renamed"]["encoder.layers.1.attention.q_proj.weight"] == "encoder.layers.1.self_attn.q_proj.weight"
    positional = next(theirs for ours, theirs in card["renamed"].items() if "pos_conv" in ours and "bias" not in ours)
    assert positional == "encoder.pos_conv.0.weight_g, encoder.pos_conv.0.weight_v"
    assert {"mask_emb", "label_embs_concat", "final_proj.weight", "final_proj.bias"} == set(card["left_out"])
    tensors = load_file(report.folder / "model.safetensors")
    assert (card["tensors"], card["parameters"]) == (len(tensors), sum(t.numel() for t in tensors.values()))
    assert str(tmp_path) not in json.dumps(card), "a card names files, never where they lay"


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    one, two = (import_weights(checkpoint, "hubert-tiny", out=tmp_path / name) for name in "ab")
    assert one.sha256 == two.sha256


def test_what_the_checkpoint_says_of_its_input_goes_along(checkpoint: Path, tmp_path: Path) -> None:
    content = read_file(golden_file(FAIRSEQ[1]))  # its configuration is a namespace: easy to change
    content["args"].normalize = True
    content["task_state"] = {}
    torch.save(content, checkpoint)
    folder = import_weights(checkpoint, "hubert-tiny", out=tmp_path / "imported").folder
    for weights in (checkpoint, folder):
        (spec,) = load("hubert-tiny", ExtractorSettings(weights=str(weights))).specs
        assert {"step": "normalise-waveform", "eps": 1e-5} in spec.recipe.preprocessing


def test_i3d_keeps_its_names_and_leaves_out_the_counters(i3d_file: Path, tmp_path: Path) -> None:
    report = import_weights(i3d_file, "i3d-tiny", out=tmp_path / "imported")
    assert report.renamed == 0
    assert report.left_out == ("Conv3d_1a_7x7.bn.num_batches_tracked",)
    one, two = (
        load("i3d-tiny", ExtractorSettings(weights=str(path), slots=16, slot_rule="sempi")).network.state_dict()
        for path in (i3d_file, report.folder)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_transformers_folder_states_its_licence(checkpoint: Path, tmp_path: Path) -> None:
    plain = import_weights(checkpoint, "hubert-tiny", out=tmp_path / "my model").folder
    (plain / "card.json").unlink()
    (plain / "README.md").write_text("---\ntags: [speech]\nlicense: cc-by-4.0\n---\n# Model\nlicense: none\n")
    report = import_weights(plain, "hubert-tiny", out=tmp_path / "imported")
    assert report.licence == "cc-by-4.0"
    (spec,) = load("hubert-tiny", ExtractorSettings(weights=str(report.folder))).specs
    assert spec.recipe.weights["licence"] == "cc-by-4.0"
    assert spec.name.startswith("hubert-tiny.my-model@")


def test_a_difference_is_shown_and_at_most_a_screenful(i3d_file: Path, tmp_path: Path) -> None:
    tensors = torch.load(i3d_file)
    del tensors["Mixed_3b.b0.bn.bias"]
    tensors["Mixed_3b.b0.bn.weight"] = torch.ones(3)
    tensors["extra"] = torch.ones(1)
    torch.save(tensors, i3d_file)
    with pytest.raises(WeightsError) as error:
        import_weights(i3d_file, "i3d-tiny", out=tmp_path / "imported")
    for part in ("missing: Mixed_3b.b0.bn.bias", "not wanted: extra", "shape: Mixed_3b.b0.bn.weight is (3,)"):
        assert part in str(error.value)
    torch.save({f"other.{i}": torch.ones(1) for i in range(300)}, i3d_file)
    with pytest.raises(WeightsError) as error:
        import_weights(i3d_file, "i3d-tiny", out=tmp_path / "imported")
    assert len(str(error.value).splitlines()) < 20
    assert "more" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["rgb_tiny.pt"], "a refusal leaves nothing behind"


class _Runs:
    def __reduce__(self) -> Any:
        return (print, ("this must never be printed",))


def test_a_checkpoint_that_wants_to_run_something_is_refused(tmp_path: Path, capsys: Any) -> None:
    torch.save({"model": _Runs()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="nothing was run"):
        import_weights(tmp_path / "evil.pt", "hubert-tiny", out=tmp_path / "imported")
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pt"]


def test_a_folder_is_replaced_only_on_purpose_and_only_if_an_import_wrote_it(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "imported"
    out.mkdir()
    first = import_weights(checkpoint, "hubert-tiny", out=out)  # an empty folder is nobody's
    with pytest.raises(Conflict, match="--overwrite"):
        import_weights(checkpoint, "hubert-tiny", out=out)
    assert import_weights(checkpoint, "hubert-tiny", out=out, licence="MIT", overwrite=True).sha256 == first.sha256
    assert card_of(out)["licence"] == "MIT"
    (out / "notes.txt").write_text("mine")
    with pytest.raises(Conflict, match=r"notes\.txt"):
        import_weights(checkpoint, "hubert-tiny", out=out, overwrite=True)
    (out / "card.json").unlink()
    with pytest.raises(Conflict, match="no import wrote"):
        import_weights(checkpoint, "hubert-tiny", out=out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(BadInput, match="not a folder"):
        import_weights(checkpoint, "hubert-tiny", out=checkpoint, overwrite=True)


@pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
def test_a_failure_at_any_step_leaves_what_was_there(
    there: bool, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "imported"
    if there:
        import_weights(checkpoint, "hubert-tiny", out=out, licence="first")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    rename = Path.rename

    def broken(self: Path, target: Path) -> Path:
        if self.name.endswith(".making"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(OSError, match="No space"):
        import_weights(checkpoint, "hubert-tiny", out=out, overwrite=there)
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(module, "sync_tree", lambda folder: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        import_weights(checkpoint, "hubert-tiny", out=out, overwrite=there)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert not there or card_of(out)["licence"] == "first"


def test_tensors_that_are_not_those_of_the_card_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    one = import_weights(checkpoint, "hubert-tiny", out=tmp_path / "one").folder
    two = import_weights(golden_file(FAIRSEQ[1]), "hubert-tiny", out=tmp_path / "two").folder
    shutil.copy(two / "model.safetensors", one / "model.safetensors")
    with pytest.raises(WeightsError, match="sha256 is another"):
        load("hubert-tiny", ExtractorSettings(weights=str(one)))
    for content, said in (("{", "cannot be read"), ('{"format": "cuebank-weights-9"}', "Update cuebank")):
        (one / "card.json").write_text(content)
        with pytest.raises(WeightsError, match=said):
            load("hubert-tiny", ExtractorSettings(weights=str(one)))
    (one / "card.json").write_text('{"format": "of another program"}')
    load("hubert-tiny", ExtractorSettings(weights=str(one)))


def test_backbones_without_weights_are_told_from_those_with(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(BadInput, match=r"no weights that could be imported.*hubert-base, .*i3d"):
        import_weights(checkpoint, "mfcc", out=tmp_path / "imported")
    with pytest.raises(NotFound, match="hubert"):
        import_weights(checkpoint, "hubrt", out=tmp_path / "imported")
    with pytest.raises(NotFound, match="no such file"):
        import_weights("facebook/hubert-base-ls960", "hubert-base", out=tmp_path / "imported")


def network_of(extractor: Any) -> torch.nn.Module:
    return extractor.loaded.forward._network if hasattr(extractor, "loaded") else extractor._network


def random_tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: 0.3 * torch.randn(value.shape, generator=generator) for name, value in network.state_dict().items()}


@pytest.mark.parametrize("name", ["vit-tiny", "wavlm-tiny-sv", "wavlm-tiny", "wav2vec2-tiny", "hubert-tiny"])
def test_a_transformers_folder_gives_the_same_network_and_keeps_its_configuration(name: str, tmp_path: Path) -> None:
    network = network_of(load(name, ExtractorSettings(weights="random")))
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save(random_tensors(network), folder / "pytorch_model.bin")
    if name == "vit-tiny":
        size = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
        config = {"model_type": "vit", **size, "image_size": 32, "patch_size": 8}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "preprocessor_config.json").write_text('{"size": 32, "image_mean": [0.1, 0.2, 0.3]}')
    if name == "wavlm-tiny-sv":
        (folder / "preprocessor_config.json").write_text('{"do_normalize": true}')
    report = import_weights(folder, name, out=tmp_path / "imported")
    one, two = (load(name, ExtractorSettings(weights=str(path))) for path in (folder, report.folder))
    states = [network_of(extractor).state_dict() for extractor in (one, two)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert one.specs[0].recipe.preprocessing == two.specs[0].recipe.preprocessing
    assert one.specs[0].name == two.specs[0].name
