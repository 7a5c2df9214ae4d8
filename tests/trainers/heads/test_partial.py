"""The head partial against whole networks whose lower part is frozen; its inputs, start weights, and the whole way."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor, nn

from cuebank.cli import main
from cuebank.extractors.backbones import _i3d_weights, _roberta
from cuebank.extractors.backbones import i3d as i3d_backbone
from cuebank.extractors.media.synthetic import make_meetings
from cuebank.extractors.networks import i3d, roberta, speech
from cuebank.extractors.networks.i3d_shape import I3dShape
from cuebank.extractors.networks.roberta_shape import RobertaShape
from cuebank.extractors.random_weights import fill_all
from cuebank.extractors.runner import extract
from cuebank.store import BadInput, FeatureStore, NotFound
from cuebank.trainers.heads._partial_config import I3DS, ROBERTAS, PartialConfig, stored_map, stored_tokens
from cuebank.trainers.heads.mlp import Mlp, MlpConfig
from cuebank.trainers.heads.partial import Partial

ATOL = 1e-5
DIMS = {"video": 832, "text": 48, "audio": 5}  # what is inside the tiny backbones
POOL, TOPS = "MaxPool3d_5a_2x2", ("Mixed_5b", "Mixed_5c")


def head(outputs: int = 1, dims: Mapping[str, int] = DIMS, **settings: Any) -> Partial:
    torch.manual_seed(0)
    return Partial(dims, outputs, PartialConfig(**{"text_layers": 1, **settings}))


def inputs(items: int = 3, rows: int = 4) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One map, `rows` tokens and one vector for each item."""
    rng = torch.Generator().manual_seed(1)
    features = {"video": torch.randn(items, 1, 832, generator=rng), "text": torch.randn(items, rows, 48, generator=rng)}
    features["audio"] = torch.randn(items, 1, 5, generator=rng)
    return features, {role: torch.ones(x.shape[:2], dtype=torch.bool) for role, x in features.items()}


class WholeI3d:
    """An I3D from the pictures on, of which only Mixed_5b and 5c are trained."""

    def __init__(self, shape: I3dShape, items: int = 4) -> None:
        self.network = i3d.build(shape, until="pooled")
        i3d.install(self.network, _i3d_weights.random(i3d.shapes(self.network), 0))
        for name in TOPS:
            self.network.get_submodule(name).requires_grad_(True)
        rng = torch.Generator().manual_seed(2)
        self.pictures = torch.rand(items, 3, 16, shape.side, shape.side, generator=rng) * 2 - 1

    def double(self) -> None:
        self.network.double()
        self.pictures = self.pictures.double()

    def trained(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def vectors(self) -> Tensor:
        return self.network(self.pictures, ["pooled"])["pooled"].flatten(1)

    def stored(self) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            rows = self.network(self.pictures, [POOL])[POOL].flatten(1).unsqueeze(1)
        return rows, torch.ones(rows.shape[:2], dtype=torch.bool)

    def prepare_training(self, norm: str) -> None:
        """Everything below stays in evaluation."""
        for name in TOPS:
            self.network.get_submodule(name).train(norm == "batch")


class WholeRoberta:
    """A RoBERTa from numbers of tokens on, of which only the last blocks are trained; texts of several lengths."""

    def __init__(self, shape: RobertaShape, count: int) -> None:
        self.network = roberta.build(shape)
        speech.install(self.network, fill_all(speech.shapes(self.network), 0))
        self.below = shape.layers - count
        for block in self.network.encoder.layer[self.below :]:
            block.requires_grad_(True)
        rng = torch.Generator().manual_seed(2)
        self.mask = torch.arange(7) < torch.tensor([7, 2, 5, 4])[:, None]
        self.ids = torch.randint(3, shape.vocab, (4, 7), generator=rng).masked_fill(~self.mask, shape.pad_id)

    def double(self) -> None:
        self.network.double()

    def trained(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def vectors(self) -> Tensor:
        (rows,) = roberta.hidden(self.network, self.ids, self.mask.long(), [None])
        return roberta.masked_mean(rows, self.mask)

    def stored(self) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            (rows,) = roberta.hidden(self.network, self.ids, self.mask.long(), [self.below])
        return rows.masked_fill(~self.mask.unsqueeze(-1), 0.0), self.mask

    def prepare_training(self, norm: str) -> None: ...


def compare(whole: WholeI3d | WholeRoberta, role: str, model: Partial, steps: int, norm: str = "batch") -> None:
    """Train the fusion head on the whole network, and the head on what a store holds; they stay the same.

    In float64: in float32, batch norm over four clips turns the rounding of another order of sums into more than that.
    """
    top = model.get_submodule(f"{role}_enc")
    top.load_state_dict({name: whole.network.state_dict()[name] for name in top.state_dict()})
    fusion = Mlp({role: model.out["fc1"].in_features}, 1, MlpConfig(dropout=0.0))
    fusion.load_state_dict({n: x for n, x in model.state_dict().items() if not n.startswith(f"{role}_enc.")})
    whole.double()
    model.double(), fusion.double()
    theirs = {**{f"{role}_enc.{n}": p for n, p in whole.trained().items()}, **dict(fusion.named_parameters())}
    ours = dict(model.named_parameters())
    assert ours.keys() == theirs.keys()
    rows, mask = whole.stored()
    target = torch.tensor([[0.3], [-0.2], [0.1], [0.4]], dtype=torch.float64)[: len(rows)]
    whole.prepare_training(norm)
    model.train()
    optimizers = [torch.optim.AdamW(p.values(), lr=3e-4, weight_decay=0.01) for p in (ours, theirs)]
    for _ in range(steps):
        found, wanted = model({role: rows}, {role: mask}), fusion({role: whole.vectors()})
        torch.testing.assert_close(found, wanted, atol=ATOL, rtol=0)
        for optimizer, outputs in zip(optimizers, (found, wanted), strict=True):
            optimizer.zero_grad()
            (outputs - target).square().mean().backward()
        for name, parameter in ours.items():
            wanted = theirs[name].grad
            close = ATOL * float(wanted.abs().max()) + 1e-8  # gradients are small: of the largest one of a tensor
            torch.testing.assert_close(parameter.grad, wanted, atol=close, rtol=0, msg=name)
        for parameters in (ours, theirs):
            torch.nn.utils.clip_grad_norm_(parameters.values(), 0.1)
        before = {name: parameter.detach().clone() for name, parameter in ours.items()}
        for optimizer in optimizers:
            optimizer.step()
        for name, parameter in ours.items():
            # What is added to all keys of a softmax changes nothing: that bias has no gradient.
            if not name.endswith("key.bias"):
                assert float((parameter - before[name]).detach().abs().max()) > 1e-5, name
    state = whole.network.state_dict()
    for name, value in model.state_dict().items():
        wanted = theirs.get(name, state.get(name.removeprefix(f"{role}_enc.")))
        torch.testing.assert_close(value, wanted, atol=ATOL, rtol=0, msg=name)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_training_mixed_5b_and_5c_from_the_stored_map_is_training_the_whole_i3d_frozen_below(norm: str) -> None:
    compare(WholeI3d(I3DS["i3d-tiny"]), "video", head(dims={"video": 832}, dropout=0.0, video_norm=norm), 3, norm)


def test_training_mixed_5b_and_5c_is_the_same_at_full_width() -> None:
    compare(WholeI3d(I3dShape(), items=2), "video", head(dims={"video": 81_536}, dropout=0.0), 1)


@pytest.mark.parametrize(("name", "count"), [("roberta-tiny", 1), ("roberta-base", 2)])
def test_training_the_last_blocks_from_stored_tokens_is_training_the_whole_roberta_frozen_below(
    name: str, count: int
) -> None:
    shape = RobertaShape(**{**vars(ROBERTAS[name]), "vocab": 50, "positions": 12})
    model = head(dims={"text": shape.dim}, dropout=0.0, text_layers=count, text_dropout=0.0)
    compare(WholeRoberta(shape, count), "text", model, 2)


def test_the_published_run_has_its_numbers_of_parameters_under_the_originals_names() -> None:
    dims = {"video": 81_536, "audio": 768, "text": 768, "openface": 329}
    model = head(dims=dims, text_layers=2)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert counts["extra_mlp"] == 21_120
    assert counts["out"] == 85_089
    assert round(counts["video_enc"] / 1e6, 2) == 4.76
    assert round(counts["text_enc"] / 1e6, 1) == 14.2
    originals = {f"video_enc.{name}" for name in i3d.build(I3dShape()).state_dict()}
    originals |= {f"text_enc.{name}" for name in roberta.build(RobertaShape()).state_dict()}
    own = {name for name in model.state_dict() if "_enc." in name}
    assert own <= originals
    assert {name.split(".")[1] for name in own if name.startswith("video")} == set(TOPS)
    assert {name.split(".")[3] for name in own if name.startswith("text")} == {"10", "11"}


def test_networks_are_those_of_the_cards() -> None:
    assert I3DS == i3d_backbone.SHAPES
    for name, shape in ROBERTAS.items():
        assert shape == RobertaShape(**{**vars(_roberta.SHAPES[name]), "vocab": shape.vocab})


def test_a_map_before_the_pool_gives_what_the_map_behind_it_gives() -> None:
    model, other = head(dims={"video": 832}).eval(), head(dims={"video": 104 * 4 * 4 * 4}).eval()
    assert (stored_map(832, model.config).boundary, stored_map(6656, other.config).boundary) == (POOL, "Mixed_4f")
    other.load_state_dict(model.state_dict())
    rows = torch.randn(2, 1, 104, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    pooled = torch.nn.functional.max_pool3d(rows.flatten(0, 1), 2)
    torch.testing.assert_close(other({"video": rows.flatten(1)}), model({"video": pooled.flatten(1)}))
    deeper = head(dims={"video": 832}, video_boundary="Mixed_5b")
    assert {name.split(".")[1] for name in deeper.state_dict() if name.startswith("video")} == {"Mixed_5c"}


def test_rows_that_are_not_there_do_not_reach_the_batch_norms() -> None:
    model, other = head(dims={"video": 832}).train(), head(dims={"video": 832}).train()
    rows = torch.randn(2, 3, 832, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, False, False], [True, True, False]])
    model({"video": rows.masked_fill(~mask.unsqueeze(-1), torch.nan)}, {"video": mask})
    other({"video": rows[:, :2].masked_fill(~mask[:, :2, None], 7.0)}, {"video": mask[:, :2]})
    untouched = head(dims={"video": 832}).state_dict()
    means = [name for name in untouched if name.endswith("running_mean")]
    for name in means:
        assert bool(model.state_dict()[name].isfinite().all())
        assert not torch.equal(model.state_dict()[name], untouched[name])
        torch.testing.assert_close(model.state_dict()[name], other.state_dict()[name])
    kept = head(dims={"video": 832}, video_norm="running").train()
    kept({"video": rows}, {"video": mask})
    assert all(torch.equal(kept.state_dict()[name], untouched[name]) for name in means)


def test_training_drops_values_of_the_text_with_torchs_generator() -> None:
    model = head(dims={"text": 48}, dropout=0.0).train()
    rows = torch.randn(2, 5, 48, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 5, dtype=torch.bool)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(model({"text": rows}, {"text": mask}))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_what_is_not_trained_enters_as_in_mlp_and_frozen_parameters_get_no_gradient() -> None:
    features, masks = inputs()
    model = head(trained=("text",), frozen=("text_enc.encoder.layer.1.output", "out.fc2.bias"))
    assert model.out["fc1"].in_features == 832 + 48 + 5
    model(features, masks).sum().backward()
    still = {name for name, p in model.named_parameters() if p.grad is None}
    layers = ("dense", "LayerNorm")
    wanted = {f"text_enc.encoder.layer.1.output.{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert still == {*wanted, "out.fc2.bias"}
    with pytest.raises(NotFound, match=r"Mixed_6b.*\n?.*Did you mean"):
        head(frozen=("video_enc.Mixed_6b",))


def saved(folder: Path, network: nn.Module, prefix: str = "") -> Path:
    folder.mkdir()
    tensors = {f"{prefix}{name}": x.contiguous() for name, x in network.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Whole tiny backbones as `import-weights` and transformers write them: settings of the head."""
    folder = tmp_path_factory.mktemp("weights")
    network = i3d.build(I3DS["i3d-tiny"])
    i3d.install(network, _i3d_weights.random(i3d.shapes(network), 3))
    words = roberta.build(_roberta.SHAPES["roberta-tiny"])
    speech.install(words, fill_all(speech.shapes(words), 3))
    return {
        "video_weights": str(saved(folder / "video", network)),
        "text_weights": str(saved(folder / "text", words, "roberta.") / "model.safetensors"),
    }


def test_an_absent_start_is_an_error_unless_the_head_gets_weights_of_its_own(weights: dict[str, str]) -> None:
    features, masks = inputs()
    trained = head(**weights).eval()
    moved = head(video_weights="/nowhere/video", text_weights="/nowhere/text").eval()
    with pytest.raises(NotFound, match="/nowhere/text") as caught:
        moved(features, masks)
    assert "import-weights" in str(caught.value)
    moved.load_state_dict(trained.state_dict())
    assert torch.equal(moved(features, masks), trained(features, masks))


def test_start_weights_that_do_not_fit_are_refused(weights: dict[str, str], tmp_path: Path) -> None:
    def used(**settings: str) -> None:
        head(**settings)(*inputs())

    top = head().get_submodule("video_enc").state_dict()
    name = "Mixed_5b.b0.conv3d.weight"
    cases = {
        f"missing: {name}": {key: x for key, x in top.items() if key != name},
        r"shape: .* is \(3,\)": {**top, name: torch.ones(3)},
        "NaN or infinity": {**top, name: torch.full_like(top[name], torch.nan)},
        "values: .* is torch.int64": {**top, name: torch.ones(top[name].shape, dtype=torch.int64)},
    }
    for said, tensors in cases.items():
        save_file(tensors, tmp_path / "x.safetensors")
        with pytest.raises(BadInput, match=said):
            used(video_weights=str(tmp_path / "x.safetensors"))
    # Published files are old: their batch norms count no steps, and their floats may be halves.
    halves = {key: x.half() for key, x in top.items() if not key.endswith("num_batches_tracked")}
    save_file(halves, tmp_path / "x.safetensors")
    found = head(video_weights=str(tmp_path / "x.safetensors")).get_parameter(f"video_enc.{name}")
    torch.testing.assert_close(found, top[name].half().float(), atol=0, rtol=0)
    (tmp_path / "x.safetensors").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(BadInput, match="import-weights"):
        used(video_weights=str(tmp_path / "x.safetensors"))
    with pytest.raises(BadInput, match="missing: encoder"):
        used(text_weights=weights["video_weights"])


@pytest.mark.parametrize(
    ("dims", "settings", "said"),
    [
        ({"video": 1024}, {}, r"1024 columns, not 81536 \(i3d, 832 x 2 x 7 x 7\) or"),
        ({"video": 832 * 4 * 49}, {}, "video_boundary=MaxPool3d_5a_2x2 --set video_pictures=2[56]"),
        ({"video": 480 * 8 * 784}, {}, "video_boundary=Mixed_3c --set video_pictures=16"),
        ({"video": 832}, {"video_network": "i3d"}, "832 columns"),
        ({"video": 832}, {"video_pictures": 8}, "so few pictures"),
        ({"text": 49}, {}, "roberta-base 768"),
        ({"text": 48}, {"text_layers": 2}, "text_layers=1 to 1"),
        ({"text": 48}, {"text_network": "roberta-base"}, "48 columns"),
        ({"audio": 5}, {}, "--head mlp"),
        ({"audio": 5, "text": 48}, {"trained": ("video", "text")}, "trained"),
    ],
)
def test_inputs_that_are_no_inside_of_a_backbone_are_refused(
    dims: dict[str, int], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        head(dims=dims, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"video_boundary": "Mixed_5c"},
        {"video_norm": "group"},
        {"video_network": "resnet"},
        {"text_network": "bert"},
        {"trained": ("audio",)},
        {"video_pictures": 0},
        {"text_layers": 0},
        {"text_dropout": 1.0},
        {"text_dropout": float("nan")},
        {"hidden_size": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises((BadInput, NotFound)):
        PartialConfig(**settings)


def test_what_has_no_output_is_refused() -> None:
    model, (features, masks) = head().eval(), inputs()
    with pytest.raises(BadInput, match=r"1 of them have no valid row of the input `audio`"):
        model(features, {**masks, "audio": torch.tensor([[True], [False], [True]])})
    with pytest.raises(BadInput, match="temporal-gnn"):
        model(features, masks, entities=torch.zeros(3, 4, dtype=torch.int64))
    most = stored_tokens(48, model.config)[1].max_tokens
    long, there = torch.zeros(1, most + 1, 48), torch.ones(1, most + 1, dtype=torch.bool)
    only = head(dims={"text": 48}).eval()
    with pytest.raises(BadInput, match=f"{most + 1} rows of a text"):
        only({"text": long}, {"text": there})
    there[0, 3] = False
    assert only({"text": long}, {"text": there}).isfinite().all()


def run(*words: object) -> str:
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_the_whole_way_from_media_that_are_deleted_to_predictions(tmp_path: Path, weights: dict[str, str]) -> None:
    clips = make_meetings(tmp_path, meetings=4, participants=2, clips_per_participant=1, duration_s=1.2)
    for i, path in enumerate(sorted((tmp_path / "media").rglob("*.mp4"))):
        path.with_suffix(".txt").write_text("yes " * (i % 4))
    store, out = tmp_path / "f.zarr", tmp_path / "head"
    report = extract(
        ("i3d-tiny", "roberta-tiny", "hubert-tiny"),
        clips,
        store,
        weights={
            "i3d-tiny": weights["video_weights"],
            "roberta-tiny": weights["text_weights"],
            "hubert-tiny": "random",
        },
        layers={"i3d-tiny": (POOL, "last"), "roberta-tiny": ("1", "last"), "hubert-tiny": ("last",)},
        dtype="float32",
        slots=16,
        slot_rule="sempi",
        text="sempi",
    )
    assert not report.failed
    shutil.rmtree(tmp_path / "media")
    with FeatureStore.open(store) as opened:
        sets = {name.split("@")[0].split("-")[0] + "@" + name.split("@")[1]: name for name in opened.feature_sets()}
        chosen = {"video": sets[f"i3d@{POOL}+sempi16"], "text": sets["roberta@1"], "audio": sets["hubert@last"]}
        # Started from the backbones' own weights, the tops give what extraction gives.
        model = head(dims={role: opened.spec(name).dim for role, name in chosen.items()}, **weights).eval()
        for role, whole in (("video", sets["i3d@last+sempi16"]), ("text", sets["roberta@last"])):
            for series in opened.series(whole):
                key = (series.clip_id, series.entity_id)
                rows = torch.from_numpy(np.array(opened.read(chosen[role], *key).values)).unsqueeze(0)
                top: Any = model.get_submodule(f"{role}_enc")
                found = top.per_item(rows, torch.ones(rows.shape[:2], dtype=torch.bool))[0].detach().numpy()
                wanted = opened.read(whole, *key).values.mean(0)
                np.testing.assert_allclose(found, wanted, rtol=0, atol=ATOL)
    words = ["--task", "engagement", "--head", "partial", "--store", store, "--out", out, "--epochs", 3, "--folds", 2]
    for role, name in chosen.items():
        words += ["--input", f"{role}={name}"]
    for name, value in {"text_layers": 1, **weights}.items():
        words += ["--set", f"{name}={value}"]
    run("train-head", *words)
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert content["head"] == "partial"
    assert content["n"] == 8
    for setting in weights.values():  # a head that is applied elsewhere finds no start weights
        Path(setting).rename(Path(setting).with_name("gone"))
    run("predict", out, "--store", store, "--out", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        predictions = [float(row["prediction"]) for row in csv.DictReader(file)]
    assert len(predictions) == 8
    assert np.ptp(predictions) > 0
