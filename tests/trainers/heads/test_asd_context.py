"""Active speakers beside each other: recorded outputs and losses, who is in view, own losses, a planted signal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cuebank.store import BadInput, Clip, ClipsTable, FeatureSpec, FeatureStore, Recipe
from cuebank.trainers.heads import _asd_views
from cuebank.trainers.heads._asd_scene import MISSING, Scene, context_of, grids, speaker_rows
from cuebank.trainers.heads.asd_context import AsdContext, AsdContextConfig
from cuebank.trainers.labels import RowLabels
from cuebank.trainers.loop import BatchTarget
from cuebank.trainers.losses import loss
from cuebank.trainers.spans import Spans
from cuebank.trainers.train_head import train_head

LOCO = AsdContextConfig(layers=1)
ASC = AsdContextConfig(backend="asc", moments=5, stride=2, hidden_size=8)


def random_scene(seed: int = 3, entities: int = 5, instants: int = 40) -> Scene:
    """Tracks that come and go, with gaps."""
    rng = np.random.default_rng(seed)
    rows = [
        (t * 0.04, name)
        for name in range(entities)
        for begin, end in [np.sort(rng.integers(0, instants, 2))]
        for t in range(begin, end + 1)
        if rng.random() < 0.9 or t == begin
    ]
    times, names = zip(*sorted(rows), strict=True)
    return Scene(np.array(names), np.array(times))


def clip_of(scene: Scene, width: tuple[int, int] = (16, 16), seed: int = 0) -> dict[str, Any]:
    """Arguments of a head for one clip with the rows of a scene, a few of them without sound or without face."""
    rng = torch.Generator().manual_seed(seed)
    n = len(scene.times)
    features = {
        role: torch.randn(1, n, dim, generator=rng, dtype=torch.float64)
        for role, dim in zip(("audio", "visual"), width, strict=True)
    }
    masks = {role: torch.rand(1, n, generator=rng) < 0.9 for role in features}
    masks["visual"] |= ~masks["audio"]
    return {
        "features": features,
        "masks": masks,
        "times": dict.fromkeys(features, torch.from_numpy(scene.times)[None]),
        "entities": torch.from_numpy(scene.entities)[None],
    }


def towards(labels: Tensor, counts: Tensor | None = None) -> BatchTarget:
    """The target of one batch, labels (B, T)."""
    counts = torch.ones_like(labels, dtype=torch.bool) if counts is None else counts
    rows = RowLabels(labels.flatten(), counts.flatten(), Spans.of_lengths([labels.shape[1]] * len(labels)))
    return BatchTarget(rows, torch.arange(len(labels)), loss("ce"), 1)


def some_labels(arguments: dict[str, Any]) -> BatchTarget:
    rng = torch.Generator().manual_seed(9)
    size = arguments["entities"].shape
    return towards(torch.randint(0, 2, size, generator=rng), torch.rand(size, generator=rng) < 0.8)


def build(config: AsdContextConfig, width: tuple[int, int] = (16, 16), outputs: int = 2) -> AsdContext:
    torch.manual_seed(0)
    return AsdContext(dict(zip(("audio", "visual"), width, strict=True)), outputs, config).double().eval()


@pytest.mark.golden("loconet")
def test_the_recorded_logits_and_loss_of_loconet_are_reproduced(golden_case: Any) -> None:
    arrays, about = golden_case.arrays, golden_case.json()
    audio, visual = (torch.from_numpy(arrays[f"{name}_embedding"]) for name in ("audio", "visual"))
    speakers, frames = visual.shape[:2]
    config = AsdContextConfig(speakers=speakers, layers=about["config"]["AV_layers"], step_rows=1)
    model = AsdContext({"audio": 128, "visual": 128}, 2, config).eval()
    ours = {name: about["state_dict"][name] for name in model.back.state_dict()}
    assert set(ours) == {n for n in about["state_dict"] if n.startswith(("model.cross", "model.convAV", "loss"))}
    model.back.load_state_dict(golden_case.state_dict(ours), strict=True)

    def in_rows(values: np.ndarray | Tensor) -> Tensor:  # (S, T, …) to (1, T * S, …): by time, then speaker
        return torch.as_tensor(values).transpose(0, 1).flatten(0, 1)[None]

    size = (speakers, frames)
    arguments = {
        "features": {"audio": in_rows(audio.expand(speakers, -1, -1)), "visual": in_rows(visual)},
        "times": dict.fromkeys(("audio", "visual"), in_rows(torch.arange(frames, dtype=torch.float64).expand(size))),
        "entities": in_rows(torch.arange(speakers)[:, None].expand(size)),
    }
    mask = arrays["mask"].reshape(size).astype(bool)
    target = towards(in_rows(arrays["labels"].reshape(size)), in_rows(mask))
    # The recorded scene is that of the first speaker with the two others as context, all there all the time.
    labelled = int(mask.any(1).sum())  # tracks that may be drawn
    drawn = (torch.randperm(labelled, generator=torch.Generator().manual_seed(seed))[0] for seed in range(99))
    first = next(seed for seed, track in enumerate(drawn) if track == 0)
    with torch.inference_mode():
        logits = model(**arguments)[0, ::speakers]
        torch.manual_seed(first)
        total = model.training_loss(arguments, target)
    wanted = arrays["logits"][:frames]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4 * np.abs(arrays["logits"]).max())
    np.testing.assert_allclose(total, arrays["loss_total"], rtol=1e-4)


@pytest.mark.golden("asc_net")
def test_the_recorded_logits_of_the_context_head_are_reproduced(golden_case: Any) -> None:
    arrays, about = golden_case.arrays, golden_case.json()
    grid, size = torch.from_numpy(arrays["x"]), about["constructor"]
    items, columns, moments, speakers = grid.shape
    config = AsdContextConfig(
        backend="asc",
        moments=size["clip_number"],
        speakers=size["candidate_speakers"],
        hidden_size=size["hidden_units"],
    )
    dims = {"audio": columns // 2, "visual": columns // 2}
    model = AsdContext(dims, 2, config).eval()
    model.back.load_state_dict(golden_case.state_dict(about["state_dict"]), strict=True)
    frames = config.stride * (moments - 1) + 1
    rows = torch.randn(items, frames, speakers, columns, generator=torch.Generator().manual_seed(0))
    rows[:, :: config.stride] = grid.permute(0, 2, 3, 1)  # every fourth frame of each track is a recorded moment
    times = torch.arange(frames, dtype=torch.float64).repeat_interleave(speakers).expand(items, -1)
    flat = rows.flatten(1, 2)
    with torch.inference_mode():
        logits = model(
            {"audio": flat[..., : columns // 2], "visual": flat[..., columns // 2 :]},
            None,
            dict.fromkeys(dims, times),
            torch.arange(speakers).repeat(items, frames),
        )
    middle = speakers * (frames // 2)  # the first speaker's
    np.testing.assert_allclose(logits[:, middle], arrays["logits"], rtol=0, atol=1e-5 * np.abs(arrays["logits"]).max())


def test_context_speakers_are_those_in_the_middle_of_a_track_who_share_most_of_it() -> None:
    times = {0: range(10), 1: range(4, 7), 2: range(8), 3: range(4), 4: range(5, 20)}
    rows = sorted((t, name) for name, there in times.items() for t in there)
    scene = Scene(np.array([name for _, name in rows]), np.array([t / 25 for t, _ in rows]))
    assert context_of(scene, 0, 4) == [0, 2, 4, 1]  # shares 8, 5 and 3 of 10; 3 is gone at time 5
    assert context_of(scene, 0, 2) == [0, 2]
    assert context_of(scene, 0, 6) == [0, 2, 4, 1, 2, 4]
    assert context_of(scene, 4, 3) == [4, 4, 4]  # nobody else is there at time 12
    drawn = {tuple(context_of(scene, 1, 4, np.random.default_rng(seed))) for seed in range(20)}
    assert all(set(one) == {0, 1, 2, 4} for one in drawn)
    assert len(drawn) > 1
    # in training, 4 and 1 share no more than half of the ten rows
    assert context_of(scene, 0, 3, np.random.default_rng(0)) == [0, 2, 2]


def test_speakers_are_looked_up_at_the_times_of_the_target() -> None:
    scene = random_scene()
    for entity in scene.tracks:
        others = [name for name in scene.tracks if name != entity][:2]
        found = speaker_rows(scene, [entity, *others])
        for name, rows in zip([entity, *others], found, strict=True):
            for time, row in zip(scene.times[scene.tracks[entity]], rows, strict=True):
                wanted = np.flatnonzero((scene.times == time) & (scene.entities == name))
                assert [row] == (wanted.tolist() or [MISSING])


def test_grids_are_those_of_a_plain_loop() -> None:
    scene = random_scene(1)
    targets = np.arange(len(scene.times))
    found = grids(scene, targets, 5, 3, 3)
    for target, grid in zip(targets, found, strict=True):
        together = np.flatnonzero(scene.times == scene.times[target]).tolist()
        own = together.index(target)
        others = [together[(own + k) % len(together)] for k in range(1, len(together))] or [target]
        for s, middle in enumerate([target, others[0], others[1 % len(others)]]):
            track = np.flatnonzero(scene.entities == scene.entities[middle])
            place = int(np.searchsorted(track, middle))
            wanted = [track[min(max(place + 3 * k, 0), len(track) - 1)] for k in (-2, -1, 0, 1, 2)]
            assert grid[:, s].tolist() == wanted
    drawn = grids(scene, targets, 5, 3, 3, np.random.default_rng(0))
    assert (drawn[:, :, 0] == found[:, :, 0]).all()
    assert (drawn != found).any()
    assert (scene.instants[drawn[:, 2]] == scene.instants[targets][:, None]).all()


@pytest.mark.parametrize("config", [LOCO, ASC])
def test_the_number_of_rows_at_once_changes_nothing(config: AsdContextConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model, arguments = build(config), clip_of(random_scene())
    wanted = model(**arguments)
    assert wanted.all()
    monkeypatch.setattr(_asd_views, "CELLS_AT_ONCE", 40)
    monkeypatch.setattr("cuebank.trainers.heads._asd_grids.CELLS_AT_ONCE", 40)
    torch.testing.assert_close(model(**arguments), wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("config", [LOCO, ASC])
def test_other_speakers_are_seen_if_they_are_there_at_the_time(config: AsdContextConfig) -> None:
    model, arguments = build(config), clip_of(random_scene())
    wanted, entities = model(**arguments), arguments["entities"]
    changed = {**arguments["features"]}
    changed["visual"] = torch.where((entities == 1)[..., None], changed["visual"] + 1, changed["visual"])
    found = model(**{**arguments, "features": changed})
    touched = (found != wanted).any(-1)
    assert touched[entities == 1].all()
    assert touched[entities != 1].any()
    scene = random_scene()
    if config.backend == "loconet":
        for name in scene.tracks:
            assert bool(touched[entities == name].all()) == (1 in context_of(scene, name, 3))


def test_without_own_losses_a_step_learns_from_the_answers() -> None:
    arguments = clip_of(random_scene())
    target = some_labels(arguments)
    for config in (replace(LOCO, losses="plain", step_rows=0), replace(ASC, step_rows=0)):
        model = build(config)
        torch.testing.assert_close(model.training_loss(arguments, target), target.loss(model(**arguments)))


@pytest.mark.parametrize("config", [replace(LOCO, contrastive=0.3), ASC])
def test_own_losses_reach_every_parameter_from_a_few_drawn_rows(config: AsdContextConfig) -> None:
    arguments = clip_of(random_scene())
    target, model = some_labels(arguments), build(replace(config, step_rows=30))
    values = set()
    for seed in range(8):
        torch.manual_seed(seed)
        total = model.training_loss(arguments, target)
        total.backward()
        values.add(round(total.item(), 9))
    assert len(values) > 1, "different rows are drawn"
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_so_many_tracks_are_drawn_that_there_are_enough_rows() -> None:
    from cuebank.trainers.heads._asd_loconet import _drawn

    scene = random_scene(entities=20)
    places = np.arange(len(scene.times))
    counts = torch.from_numpy(scene.entities != 3)
    one = _asd_views.Placed(scene, places)
    assert len(_drawn([one], counts, 0)) == len(scene.tracks) - 1
    for wanted in (1, 50, 10**6):
        torch.manual_seed(0)
        sizes = [len(scene.tracks[entity]) for _, entity in _drawn([one], counts, wanted)]
        assert sum(sizes[:-1]) < wanted
        assert sum(sizes) >= min(wanted, int(counts.sum()))


@pytest.mark.parametrize("config", [LOCO, ASC])
def test_context_is_drawn_in_training_only_and_by_torchs_generator(config: AsdContextConfig) -> None:
    model, arguments = build(replace(config, dropout=0.0)), clip_of(random_scene(entities=9))
    assert torch.equal(model(**arguments), model(**arguments))
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    torch.manual_seed(1)
    one = model(**arguments)
    torch.manual_seed(1)
    same = model(**arguments)
    assert torch.equal(one, same)
    assert not torch.equal(one, model(**arguments))


def test_a_clip_without_any_row_has_answers_of_zero() -> None:
    arguments = clip_of(random_scene())
    empty = {role: torch.zeros_like(mask) for role, mask in arguments["masks"].items()}
    for config in (LOCO, ASC):
        found = build(config)(**{**arguments, "masks": empty})
        assert found.shape == (*arguments["entities"].shape, 2)
        assert not found.any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backend": "light-asd"}, "--head asd "),
        ({"moments": 4}, "moments are odd"),
        ({"speakers": 0}, "speakers=0"),
        ({"step_rows": -1}, "step_rows=-1"),
        ({"dropout": 1.5}, "dropout=1.5"),
        ({"backend": "asc", "contrastive": 1.0}, "without cross-attention"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        AsdContextConfig(**settings)


def test_batches_that_it_cannot_see_are_refused() -> None:
    model, arguments = build(LOCO), clip_of(random_scene())
    with pytest.raises(BadInput, match="no times"):
        model(**{**arguments, "times": None})
    falling = {role: x.flip(1) for role, x in arguments["times"].items()}
    with pytest.raises(BadInput, match="item 0 fall"):
        model(**{**arguments, "times": falling})
    with pytest.raises(BadInput, match="10 columns"):
        AsdContext({"audio": 10, "visual": 16}, 2, LOCO)
    assert AsdContext({"audio": 10, "visual": 16}, 2, ASC).back.fc_final.out_features == 2


def plant(path: Path) -> Path:
    """Three faces at a time; the one that moves most speaks. Seen alone, a face tells little."""
    rng = np.random.default_rng(0)
    with FeatureStore.open(path, "a") as store:
        for name in ("light-asd.x@audio", "light-asd.x@visual"):
            recipe = Recipe("light-asd", {"source": "synthetic"})
            store.create(FeatureSpec(name, "numeric", 8, "float16", recipe, scope="entity"))
        step = {"step": "labels", "columns": ["label"], "classes": {"label": ["NOT_SPEAKING", "SPEAKING_AUDIBLE"]}}
        recipe = Recipe("labels", {"source": "synthetic"}, preprocessing=(step,))
        store.create(FeatureSpec("labels.asd", "label", 1, "float32", recipe, scope="entity"))
        clips, directions = [], rng.standard_normal((2, 8))
        for i in range(16):
            clips.append(Clip(f"c{i:02d}", Path("gone.mp4"), group_id=f"g{i % 4}"))
            rows = 24
            busy = (
                2 * rng.standard_normal()
            )  # of the whole scene: a face that moves much need not be the one that speaks
            moves = rng.standard_normal((3, rows))
            times, there = np.arange(rows) / 25, np.ones(rows, bool)
            for entity, own in zip("ABC", moves, strict=True):
                noise = 0.1 * rng.standard_normal((2, rows, 8))
                seen = (own + busy)[:, None] * directions[0] + noise[0]
                store.write("light-asd.x@visual", clips[-1].clip_id, entity, seen, times, there)
                store.write("light-asd.x@audio", clips[-1].clip_id, entity, directions[1] + noise[1], times, there)
                labels = (own == moves.max(0)).astype(float)[:, None]
                store.write("labels.asd", clips[-1].clip_id, entity, labels, times, there)
        store.write_clips(ClipsTable(clips, {}))
        store.commit()
    return path


def test_who_speaks_is_found_by_looking_at_the_others(tmp_path: Path) -> None:
    store, scores = plant(tmp_path / "f.zarr"), {}
    for name, head, lr, settings in (
        ("alone", "asd", 1e-2, {}),
        ("loconet", "asd-context", 3e-3, {"layers": "1", "dropout": "0"}),
        ("asc", "asd-context", 1e-2, {"backend": "asc", "moments": "3", "hidden_size": "32"}),
    ):
        options: dict[str, Any] = {"folds": 2, "epochs": 25, "batch_size": 2, "lr": lr, "control": False}
        scores[name] = train_head("asd", store, head=head, settings=settings, **options).metrics["map_ava"].mean
    assert scores["alone"] < 0.55 < 0.7 < min(scores["loconet"], scores["asc"]) <= 1, scores
