"""predict and saved heads: the mean of all folds' heads, fingerprints, what is missing, strict loading."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cuebank.store import BadInput, Conflict, Corrupt, CuebankError, FeatureSpec, FeatureStore, NotFound
from cuebank.trainers import saved_head
from cuebank.trainers.metrics import metric
from cuebank.trainers.predict import predict
from cuebank.trainers.train_head import train_head

Planted = Callable[..., Path]
QUICK: dict[str, Any] = {"epochs": 10, "lr": 3e-3, "folds": 4}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained_once(plant: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_head("engagement", plant(folder, noise=0.2), out=folder / "head", **QUICK)
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A head for the stores that `planted` makes, in tmp_path / head, beside the store that it was trained on."""
    shutil.copytree(trained_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "head"


def test_a_head_predicts_the_clips_of_another_store(trained: Path, planted: Planted, tmp_path: Path) -> None:
    other = planted("other.zarr", n=60, noise=0.2, seed=7, fields=lambda i: {"entity_id": "left" if i == 1 else None})
    result = predict(trained, other, tmp_path / "p.csv")
    rows = rows_of(tmp_path / "p.csv")
    assert result.count == len(rows) == 60
    assert result.missing == []
    assert list(rows[0]) == ["clip_id", "entity_id", "prediction", "seen"]
    assert rows[1]["entity_id"] == "left"
    with FeatureStore.open(other) as store:
        labels = [clip.labels["engagement"] for clip in store.clips()]
    assert metric("ccc")([float(row["prediction"]) for row in rows], labels) > 0.8
    assert result.to_json()["predictions"] == 60
    assert "60 predictions" in result.to_text()


def test_the_prediction_is_the_mean_of_all_folds_heads_and_is_said_to_be(trained: Path, tmp_path: Path) -> None:
    result = predict(trained, tmp_path / "features.zarr", tmp_path / "p.csv")
    saved = saved_head.load(trained)
    assert [member.name for member in saved.members] == [f"seed0.fold{i}" for i in range(4)]
    with FeatureStore.open(tmp_path / "features.zarr") as store:
        features = {}
        for role, spec in saved.inputs.items():
            series = store.read(spec.name, "clip0003")
            features[role] = torch.from_numpy(series.values[series.valid].mean(0, keepdims=True))
    model = saved.new().eval()
    found = []
    for member in saved.members:
        model.load_state_dict(dict(member.state))
        found.append(model(features).item())
    assert float(rows_of(tmp_path / "p.csv")[3]["prediction"]) == pytest.approx(np.mean(found), abs=1e-6)
    assert any("mean of 4 heads" in note for note in result.notes)


def test_clips_that_the_heads_were_trained_on_are_marked(trained: Path, planted: Planted, tmp_path: Path) -> None:
    result = predict(trained, tmp_path / "features.zarr", tmp_path / "p.csv")
    assert result.seen == 160
    assert {row["seen"] for row in rows_of(tmp_path / "p.csv")} == {"1"}
    assert any("Out-of-fold ones are in" in note for note in result.notes)
    larger = planted("larger.zarr", n=170)
    result = predict(trained, larger, tmp_path / "q.csv")
    assert result.seen == 160
    assert [row["seen"] for row in rows_of(tmp_path / "q.csv")[-11:]] == ["1"] + ["0"] * 10


def test_a_head_with_scalings_applies_each_folds_own(planted: Planted, tmp_path: Path) -> None:
    store = planted(roles=("audio", "openface"), noise=0.2)
    report = train_head(
        "engagement", store, out=tmp_path / "head", normalise="standard", protocol="leave-one-group-out", epochs=3
    )
    saved = saved_head.load(tmp_path / "head")
    shifts = [member.scalings["audio"].shift for member in saved.members]
    assert not torch.equal(shifts[0], shifts[1])
    assert {member.scalings["openface"].offset for member in saved.members} == {-0.5}
    # One member alone gives the out-of-fold predictions of its fold again.
    alone = saved_head.SavedHead(**{**saved.__dict__, "members": saved.members[:1]})
    alone.write(tmp_path / "alone")
    predict(tmp_path / "alone", store, tmp_path / "p.csv")
    again = {row["clip_id"]: float(row["prediction"]) for row in rows_of(tmp_path / "p.csv")}
    found = report.predictions
    fold = [i for i in range(report.n) if found.folds[i] == 0]
    np.testing.assert_allclose([again[found.clip_ids[i]] for i in fold], found.preds[0, fold], atol=1e-6)


def test_classes_are_predicted_by_name_with_mean_probabilities(planted: Planted, tmp_path: Path) -> None:
    store = planted(noise=0.2)
    train_head("engagement-class", store, classes=2, out=tmp_path / "head", **QUICK)
    predict(tmp_path / "head", store, tmp_path / "p.csv")
    for row in rows_of(tmp_path / "p.csv"):
        chances = {name: float(row[f"probability_{name}"]) for name in ("low", "high")}
        assert sum(chances.values()) == pytest.approx(1, abs=1e-6)
        assert row["prediction"] == max(chances, key=lambda name: chances[name])


def test_features_of_another_recipe_are_refused_field_by_field(
    trained: Path, tmp_path: Path, spec: Callable[..., FeatureSpec]
) -> None:
    with FeatureStore.open(tmp_path / "other.zarr", "a") as store:
        store.create(spec("i3d.k400+mean", 12))
        store.create(spec("hubert-tiny.random-0@last", 10, seed=5))
    with pytest.raises(Conflict, match=r"recipe\.weights\.seed: 0 -> 5"):
        predict(trained, tmp_path / "other.zarr", tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()


def test_the_same_recipe_under_another_name_is_used_and_said(
    trained: Path, tmp_path: Path, spec: Callable[..., FeatureSpec]
) -> None:
    saved = saved_head.load(trained)
    with FeatureStore.open(tmp_path / "other.zarr", "a") as store:
        for role, wanted in saved.inputs.items():
            renamed = FeatureSpec(f"renamed-{role}", "numeric", wanted.dim, wanted.dtype, wanted.recipe)
            assert renamed.fingerprint == wanted.fingerprint
            store.create(renamed)
            store.write(renamed.name, "new", None, np.zeros((1, wanted.dim)), [0.0], [True])
        store.commit()  # and no clips table: the series are the clips
    result = predict(trained, tmp_path / "other.zarr", tmp_path / "p.csv")
    assert result.count == 1
    assert any("`renamed-audio`: made by the same recipe as `hubert-tiny.random-0@last`" in n for n in result.notes)


def test_an_input_that_the_store_does_not_have_is_answered_with_its_recipe(trained: Path, tmp_path: Path) -> None:
    FeatureStore.open(tmp_path / "other.zarr", "a").close()
    with pytest.raises(NotFound, match=r"Extract it: recipe .*'backbone': 'i3d'"):
        predict(trained, tmp_path / "other.zarr", tmp_path / "p.csv")


def test_clips_without_features_are_listed_and_not_predicted(trained: Path, planted: Planted, tmp_path: Path) -> None:
    other = planted("other.zarr", n=20, skip=lambda i, role: i == 5 and role == "audio", label=lambda i, s: None)
    result = predict(trained, other, tmp_path / "deep" / "p.csv")
    assert result.count == 19
    assert result.missing == [
        {"clip_id": "clip0005", "entity_id": None, "reason": "not in `hubert-tiny.random-0@last`"}
    ]
    assert "clip0005" not in {row["clip_id"] for row in rows_of(tmp_path / "deep" / "p.csv")}


def settings_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    return content


def rewrite(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write other tensors, with the checksum that belongs to them."""
    import hashlib

    save_file(tensors, folder / "head.safetensors")
    content = settings_of(folder) | {"sha256": hashlib.sha256((folder / "head.safetensors").read_bytes()).hexdigest()}
    (folder / "head.json").write_text(json.dumps(content), encoding="utf-8")


def drop_tensor(folder: Path) -> None:
    tensors = load_file(folder / "head.safetensors")
    del tensors["seed0.fold1/out.fc2.bias"]
    rewrite(folder, tensors)


def add_tensor(folder: Path) -> None:
    rewrite(folder, load_file(folder / "head.safetensors") | {"seed0.fold1/out.fc9.bias": torch.zeros(1)})


def reshape_tensor(folder: Path) -> None:
    rewrite(folder, load_file(folder / "head.safetensors") | {"seed0.fold0/out.fc3.bias": torch.zeros(2)})


def flip_byte(folder: Path) -> None:
    content = bytearray((folder / "head.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "head.safetensors").write_bytes(content)


def no_members(folder: Path) -> None:
    (folder / "head.json").write_text(json.dumps(settings_of(folder) | {"members": []}), encoding="utf-8")


def newer_format(folder: Path) -> None:
    (folder / "head.json").write_text(json.dumps(settings_of(folder) | {"format": 99}), encoding="utf-8")


def unknown_head(folder: Path) -> None:
    (folder / "head.json").write_text(json.dumps(settings_of(folder) | {"head": "mlq"}), encoding="utf-8")


def no_json(folder: Path) -> None:
    (folder / "head.json").write_text("[]", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (drop_tensor, Corrupt, "seed0.fold1/out.fc2.bias is missing"),
        (add_tensor, Corrupt, "seed0.fold1/out.fc9.bias is not part of the head"),
        (reshape_tensor, Corrupt, r"seed0.fold0/out.fc3.bias is \(2,\), not \(1,\)"),
        (flip_byte, Corrupt, "is not the file that head.json speaks of"),
        (no_members, Corrupt, "not part of the head"),
        (newer_format, BadInput, "Its format is 99"),
        (unknown_head, NotFound, "Did you mean `mlp`"),
        (no_json, BadInput, "head.json is damaged"),
        (lambda folder: (folder / "head.json").unlink(), NotFound, "There is no head.json"),
        (lambda folder: shutil.rmtree(folder), NotFound, "cuebank train-head"),
    ],
)
def test_loading_is_strict(trained: Path, spoil: Callable[[Path], None], error: type[CuebankError], said: str) -> None:
    saved_head.load(trained)
    spoil(trained)
    with pytest.raises(error, match=said):
        saved_head.load(trained)


def test_a_saved_head_comes_back_exactly_with_its_settings(trained: Path, tmp_path: Path) -> None:
    saved = saved_head.load(trained)
    saved.write(tmp_path / "again")
    again = saved_head.load(tmp_path / "again")
    assert again.config == saved.config
    assert again.inputs == saved.inputs
    assert np.array_equal(again.seen, saved.seen)
    for one, other in zip(saved.members, again.members, strict=True):
        assert one.name == other.name
        assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    assert (tmp_path / "again" / "head.json").read_bytes() == (trained / "head.json").read_bytes()
