"""Active speakers track by track: recorded outputs and losses, missing rows, own losses, a planted signal, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cuebank.store import BadInput, Clip, ClipsTable, FeatureSpec, FeatureStore, Recipe
from cuebank.trainers.features import Features
from cuebank.trainers.heads._asd_losses import contrastive_loss, temperature
from cuebank.trainers.heads.asd import Asd, AsdConfig
from cuebank.trainers.labels import ItemLabels, RowLabels
from cuebank.trainers.loop import BatchTarget, train_alone
from cuebank.trainers.losses import loss
from cuebank.trainers.runs import Run, TrainConfig
from cuebank.trainers.spans import Spans
from cuebank.trainers.train_head import train_head

LIGHT, TALK = AsdConfig(), AsdConfig(backend="talknet")


def whole(audio: Tensor, visual: Tensor) -> dict[str, Any]:
    """Arguments of a head for tracks (B, T, D) without any gap."""
    size = audio.shape[:2]
    return {
        "features": {"audio": audio, "visual": visual},
        "masks": dict.fromkeys(("audio", "visual"), torch.ones(size, dtype=torch.bool)),
        "times": dict.fromkeys(("audio", "visual"), torch.arange(size[1], dtype=torch.float64).expand(size)),
        "entities": torch.zeros(size, dtype=torch.int64),
    }


def towards(labels: Tensor, counts: Tensor | None = None, epoch: int = 1, name: str = "ce") -> BatchTarget:
    """The target of one batch, labels (B, T)."""
    counts = torch.ones_like(labels, dtype=torch.bool) if counts is None else counts
    rows = RowLabels(labels.flatten(), counts.flatten(), Spans.of_lengths([labels.shape[1]] * len(labels)))
    return BatchTarget(rows, torch.arange(len(labels)), loss(name), epoch)


def gappy(width: int = 16, seed: int = 0) -> tuple[dict[str, Any], BatchTarget]:
    """Two tracks of 9 and 6 rows; each role lacks some, one row is there in neither, one has no label."""
    rng = torch.Generator().manual_seed(seed)
    arguments = whole(*torch.randn(2, 2, 9, width, generator=rng, dtype=torch.float64))
    arguments["entities"][1, 6:] = -1
    inside = arguments["entities"] >= 0
    masks = {"audio": inside.clone(), "visual": inside.clone()}
    masks["audio"][0, [2, 5]] = False
    masks["visual"][0, [3, 5]] = False
    counts = inside.clone()
    counts[0, 0] = counts[0, 5] = False
    arguments["masks"] = masks
    labels = torch.randint(0, 2, (2, 9), generator=rng)
    rows = RowLabels(labels.flatten(), counts.flatten(), Spans(torch.tensor([0, 9]), torch.tensor([9, 6])))
    return arguments, BatchTarget(rows, torch.tensor([0, 1]), loss("ce"), 1)


def build(config: AsdConfig, width: int = 16, outputs: int = 2) -> Asd:
    torch.manual_seed(0)
    return Asd({"audio": width, "visual": width}, outputs, config).double().eval()


@pytest.mark.golden("light_asd_pretrain_AVA_CVPR", "light_asd_finetuning_TalkSet")
def test_published_light_asd_weights_give_recorded_logits_and_loss(
    golden_case: Any, shared: Callable[..., Path]
) -> None:
    path = shared("weights", "light_asd", golden_case.name.removeprefix("light_asd_") + ".model")
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    model = Asd({"audio": 128, "visual": 128}, 2, LIGHT).eval()
    wanted = {name: tensors[name] for name in model.back.state_dict()}
    assert set(wanted) == {name for name in tensors if name.startswith(("model.GRU.", "lossAV."))}
    model.back.load_state_dict(wanted, strict=True)
    arrays = golden_case.arrays
    arguments = whole(*(torch.from_numpy(arrays[f"{name}_embedding"]) for name in ("audio", "visual")))
    labels = torch.from_numpy(arrays["labels"]).view(arguments["entities"].shape)
    with torch.inference_mode():
        logits = model(**arguments)
        np.testing.assert_allclose(logits.flatten(0, 1), arrays["logits"], rtol=0, atol=1e-5)
        assert arrays["temperature_r"] == np.float32(temperature(1))
        np.testing.assert_allclose(model.training_loss(arguments, towards(labels)), arrays["loss_av"], atol=1e-5)


@pytest.mark.golden("talknet")
def test_the_recorded_logits_and_loss_of_talknet_are_reproduced(golden_case: Any) -> None:
    model, arrays = Asd({"audio": 128, "visual": 128}, 2, TALK).eval(), golden_case.arrays
    shapes = golden_case.json()["state_dict"]
    ours = {name: shapes[name] for name in model.back.state_dict()}
    assert set(ours) == {n for n in shapes if n.startswith(("model.cross", "model.selfAV", "loss"))}
    model.back.load_state_dict(golden_case.state_dict(ours), strict=True)
    arguments = whole(*(torch.from_numpy(arrays[f"{name}_embedding"]) for name in ("audio", "visual")))
    labels = torch.from_numpy(arrays["labels"]).view(arguments["entities"].shape)
    with torch.inference_mode():
        logits = model(**arguments).flatten(0, 1)
        total = model.training_loss(arguments, towards(labels))
    np.testing.assert_allclose(logits, arrays["logits"], rtol=0, atol=1e-4 * np.abs(arrays["logits"]).max())
    np.testing.assert_allclose(total, arrays["loss_total"], rtol=1e-4)


@pytest.mark.parametrize("config", [LIGHT, TALK])
def test_a_row_without_sound_and_face_is_as_if_it_were_not_there(config: AsdConfig) -> None:
    model, (arguments, _) = build(config), gappy()
    found = model(**arguments)
    assert not found[0, 5].any()
    assert not found[1, 6:].any()
    assert found[0, [2, 3]].all(), "rows with one of both are answered"
    keep = torch.tensor([0, 1, 2, 3, 4, 6, 7, 8])
    cut = {
        "features": {role: x[:1, keep] for role, x in arguments["features"].items()},
        "masks": {role: x[:1, keep] for role, x in arguments["masks"].items()},
        "entities": arguments["entities"][:1, keep],
    }
    torch.testing.assert_close(model(**cut), found[:1, keep], atol=1e-12, rtol=0)


def test_the_plain_loss_is_that_of_the_answers_and_light_asds_has_a_temperature() -> None:
    arguments, target = gappy()
    for config in (replace(LIGHT, losses="plain"), replace(TALK, losses="plain")):
        model = build(config)
        torch.testing.assert_close(model.training_loss(arguments, target), target.loss(model(**arguments)))
    model = build(LIGHT)
    late = replace(target, epoch=16)
    torch.testing.assert_close(model.training_loss(arguments, late), late.loss(model(**arguments)))  # 1.3 - 15 * 0.02
    early = target.loss(model(**arguments) / 1.3)
    torch.testing.assert_close(model.training_loss(arguments, target), early)
    assert temperature(30) == temperature(1000) == pytest.approx(0.72)


def test_talknets_loss_adds_those_of_sound_and_face_where_they_are_there() -> None:
    model, (arguments, target) = build(TALK), gappy()
    features, masks = arguments["features"], arguments["masks"]
    silent = {role: torch.where(masks[role][..., None], x, 0.0) for role, x in features.items()}
    audio, visual = model.back.cross(silent["audio"], silent["visual"], masks["audio"], masks["visual"])
    labels, counts = target.rows()
    wanted = target.loss(model(**arguments))
    for classifier, rows, role in ((model.back.lossA, audio, "audio"), (model.back.lossV, visual, "visual")):
        chosen = counts & masks[role]
        logits = classifier["FC"](rows)[chosen]
        wanted = wanted + 0.4 * torch.nn.functional.cross_entropy(logits, labels[chosen])
    torch.testing.assert_close(model.training_loss(arguments, target), wanted)


def test_the_published_losses_and_the_contrastive_one_reach_every_parameter() -> None:
    model, (arguments, target) = build(replace(TALK, contrastive=0.3)), gappy()
    total = model.training_loss(arguments, target)
    plain = build(TALK).training_loss(arguments, target)
    assert total > plain
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_contrastive_loss_is_its_formula_and_pulls_sound_and_face_together() -> None:
    rng = np.random.default_rng(0)
    tracks = [(rng.standard_normal((n, 4)), rng.standard_normal((n, 4))) for n in (5, 1, 3)]
    terms = []
    for sounds, faces in tracks:
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (sounds, faces)]
        if len(sounds) > 1:
            s = np.exp(unit[1] @ unit[0].T / 0.2)
            terms += [-np.log(s[i, i] / s[i].sum()) for i in range(len(s))]
    parts = [[torch.from_numpy(track[k]) for track in tracks] for k in (0, 1)]
    assert contrastive_loss(*parts, 0.2).item() == pytest.approx(np.mean(terms))
    assert contrastive_loss(parts[0][1:2], parts[1][1:2], 0.2) == 0
    sound = torch.nn.Parameter(parts[0][0].clone())
    optimizer = torch.optim.Adam([sound], lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        contrastive_loss([sound], parts[1][:1], 0.2).backward()
        optimizer.step()
    likeness = torch.nn.functional.cosine_similarity(parts[1][0][:, None], sound[None], dim=-1)
    assert likeness.argmax(1).tolist() == list(range(5))


def test_a_contrastive_loss_needs_classes() -> None:
    model, (arguments, target) = build(replace(TALK, contrastive=1.0), outputs=1), gappy()
    labels = replace(target.labels, values=target.labels.values.double())
    with pytest.raises(BadInput, match="contrastive=0"):
        model.training_loss(arguments, replace(target, labels=labels, criterion=loss("mse")))


def test_losses_of_rows_need_labels_of_rows() -> None:
    target = BatchTarget(ItemLabels(torch.zeros(2)), torch.tensor([0, 1]), loss("mse"), 1)
    with pytest.raises(BadInput, match="unit `row`"):
        target.rows()
    labels, counts = gappy()[1].rows()
    assert labels.shape == counts.shape == (2, 9)
    assert counts.sum(1).tolist() == [7, 6]


def test_the_loop_lowers_the_heads_own_loss_and_reports_the_runs() -> None:
    seen: list[int] = []

    class Doubled(Asd):
        def training_loss(self, arguments: Any, target: Any) -> Tensor:
            seen.append(target.epoch)
            return 2 * target.loss(self(**arguments))

        def forward(self, features: Any, **more: Any) -> Tensor:
            return self.back.lossAV["FC"](features["audio"])

    def run(kind: type[Asd]) -> Any:
        torch.manual_seed(0)
        features = Features.of({"audio": torch.randn(8, 16), "visual": torch.randn(8, 16)})
        rows = np.arange(8)
        item = Run("a", 0, features, torch.arange(8) % 2, rows, rows)
        config = TrainConfig(loss="ce", metric="accuracy", epochs=2, batch_size=8, lr=1e-9, clip_norm=0.0)
        head = kind({"audio": 16, "visual": 16}, 2, LIGHT)
        return train_alone(head, item, config)

    outcome = run(Doubled)
    assert seen == [1, 2]
    np.testing.assert_allclose(outcome.curves["train_loss"], 2 * np.array(outcome.curves["validation_loss"]), rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backend": "loconet"}, "asd-context"),
        ({"dropout": 1.0}, "dropout=1"),
        ({"losses": "both"}, "published, plain"),
        ({"contrastive": 0.5}, "without cross-attention"),
        ({"backend": "talknet", "contrastive": -1.0}, "0 or more"),
        ({"backend": "talknet", "contrastive_temperature": 0.0}, "above 0"),
        ({"contrastive": float("nan")}, "0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        AsdConfig(**settings)


def test_inputs_that_do_not_fit_are_refused() -> None:
    for dims in ({"audio": 8}, {"audio": 8, "visual": 8, "video": 8}, {"audio": 8, "visual": 8, "text": 8}, {}):
        with pytest.raises(BadInput, match="audio and visual"):
            Asd(dims, 2, LIGHT)
    with pytest.raises(BadInput, match=r"8 columns \(audio\), 6 columns \(visual\)"):
        Asd({"audio": 8, "visual": 6}, 2, LIGHT)
    with pytest.raises(BadInput, match="a multiple of 8"):
        Asd({"audio": 12, "visual": 12}, 2, TALK)
    assert Asd({"audio": 12, "video": 12}, 2, LIGHT).faces == "video"
    model = build(LIGHT)
    with pytest.raises(BadInput, match="unit `row`"):
        model({"audio": torch.zeros(2, 16), "visual": torch.zeros(2, 16)})


def plant(path: Path) -> Path:
    """Tracks whose label follows the mean of a level over five rows, half of it heard and half of it seen."""
    rng = np.random.default_rng(0)
    sound, face = rng.standard_normal((2, 16))
    with FeatureStore.open(path, "a") as store:
        for name in ("light-asd.x@audio", "light-asd.x@visual"):
            recipe = Recipe("light-asd", {"source": "synthetic"})
            store.create(FeatureSpec(name, "numeric", 16, "float16", recipe, scope="entity"))
        step = {"step": "labels", "columns": ["label"], "classes": {"label": ["NOT_SPEAKING", "SPEAKING_AUDIBLE"]}}
        recipe = Recipe("labels", {"source": "synthetic"}, preprocessing=(step,))
        store.create(FeatureSpec("labels.asd", "label", 1, "float32", recipe, scope="entity"))
        clips = []
        for i in range(20):
            clips.append(Clip(f"c{i:02d}", Path("gone.mp4"), group_id=f"g{i % 5}"))
            for entity in ("A", "B"):
                rows = int(rng.integers(20, 40))
                heard, seen = rng.standard_normal((2, rows))
                level = np.convolve(heard + seen, np.ones(5) / 5, mode="same")
                times, there = np.arange(rows) / 25, np.ones(rows, bool)
                for name, direction, values in (("audio", sound, heard), ("visual", face, seen)):
                    noisy = values[:, None] * direction + 0.1 * rng.standard_normal((rows, 16))
                    store.write(f"light-asd.x@{name}", clips[-1].clip_id, entity, noisy, times, there)
                labels = (level > 0).astype(float)[:, None]
                store.write("labels.asd", clips[-1].clip_id, entity, labels, times, there)
        store.write_clips(ClipsTable(clips, {}))
        store.commit()
    return path


@pytest.mark.parametrize("backend", ["light-asd", "talknet"])
def test_speakers_are_found_from_stored_sound_and_faces_along_time(tmp_path: Path, backend: str) -> None:
    store = plant(tmp_path / "f.zarr")
    settings = {"backend": backend, "dropout": "0"}
    report = train_head("asd", store, settings=settings, folds=2, epochs=12, batch_size=4, lr=1e-2, control=False)
    # GRUs know who a row's neighbours are, and so their mean; attention without positions sees the row itself best
    assert (0.9 if backend == "light-asd" else 0.6) < report.metrics["map_ava"].mean <= 1
