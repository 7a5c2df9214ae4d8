"""A whole SEMPI fusion checkpoint, built small: taken apart, its features extracted, its predictions recomputed."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cuebank.cli import main
from cuebank.extractors import registry
from cuebank.extractors.backbones.i3d import SHAPES
from cuebank.extractors.checkpoint import read_file, sha256_file
from cuebank.extractors.errors import WeightsError
from cuebank.extractors.import_sempi import import_sempi
from cuebank.extractors.media.synthetic import write_clip
from cuebank.extractors.networks import i3d
from cuebank.extractors.openface_csv import GROUPS
from cuebank.extractors.sempi_checkpoint import PARTS
from cuebank.store import Conflict, FeatureStore, NotFound
from tests.conftest import fill_module, fixed_file

WIDTHS = {"video": 128, "audio": 64, "text": 48, "openface": 16}  # of what enters the first layer
SENTENCES = ("hi you", "", "you hi hi")
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "h", "i", "Ġ", "y", "o", "u", "hi", "yo", "you", "Ġyou", "<mask>"]
# Stands in for the family that reads text as long as there is none: a text file beside the medium.
TEXT_FAMILY = """
import numpy as np
from cuebank.extractors.backbones import _roberta, _roberta_weights
from cuebank.extractors.base import Needs, Rows
from cuebank.store import FeatureSpec, Recipe, feature_set_name

CARDS = _roberta.CARDS


def import_checkpoint(card, located):
    return _roberta_weights.import_checkpoint(located, _roberta.SHAPES[card.name], card.name)


def load(card, settings):
    return Texts(card, settings)


class Texts:
    def __init__(self, card, settings):
        self.card, self.needs = card, Needs()
        self.encoder = _roberta.load_encoder(card, settings)
        name = feature_set_name(card.name, self.encoder.tag, "last", settings.pooling)
        steps = tuple(self.encoder.steps())
        recipe = Recipe(card.name, self.encoder.weights, "last", settings.pooling, steps)
        self.specs = [FeatureSpec(name, "numeric", card.dim, settings.dtype, recipe)]

    def read(self, clip):
        values = self.encoder.rows(clip.path.with_suffix(".txt").read_text())[0]
        return [Rows(values, np.arange(len(values), dtype=float), np.ones(len(values), bool))]
"""


@pytest.fixture(autouse=True)
def text_family(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A family that reads text, for the time of a test, where there is none."""
    if any(card.family == "roberta" for card in registry.cards()):
        yield
        return
    path = tmp_path_factory.mktemp("family") / "texts.py"
    path.write_text(TEXT_FAMILY)
    monkeypatch.setattr(registry, "_files", dict(registry._files))
    registry.card(str(path))
    yield
    registry._families.cache_clear()


def network_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of a small fusion model; the audio part is a recorded checkpoint of its own."""
    from cuebank.extractors.backbones import _roberta
    from cuebank.extractors.networks import roberta, speech

    video = {**i3d.shapes(i3d.build(SHAPES["i3d-tiny"])), "Mixed_3b.b0.bn.num_batches_tracked": ()}
    text = speech.shapes(roberta.build(_roberta.SHAPES["roberta-tiny"]))
    text |= {"pooler.dense.weight": (48, 48), "pooler.dense.bias": (48,)}
    shapes = {f"video_enc.{name}": shape for name, shape in video.items()}
    shapes |= {f"text_enc.{name}": shape for name, shape in text.items()}
    for prefix in ("audio_enc.interpreter.0", "audio_enc.interpreter.4"):
        shapes |= {f"{prefix}.weight": (8, 64), f"{prefix}.bias": (8,)}
    for name, size in head_sizes().items():
        shapes |= {f"{name}.weight": size, f"{name}.bias": size[:1]}
    return shapes


def head_sizes() -> dict[str, tuple[int, int]]:
    """The layers that the recorded head has, smaller."""
    recorded = fixed_file("sempi_head.json")
    if recorded is None:
        pytest.skip("sempi_head.json is neither in tests/golden nor in the shared folder")
    names = {name.rpartition(".")[0] for name in json.loads(recorded.read_text())["readme"]["state_dict"]}
    ends = {"extra_mlp.0": (16, 329), "out.fc1": (6, sum(WIDTHS.values())), "out.fc2": (6, 6), "out.fc3": (1, 6)}
    assert names == set(ends)
    return ends


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """The whole state dict, filled by the rule of the recorded outputs."""
    audio = fixed_file("hubert_tiny_fairseq_base.pt")
    if audio is None:
        pytest.skip("hubert_tiny_fairseq_base.pt is neither in tests/golden nor in the shared folder")
    fill = fill_module().fill
    made = {name: torch.from_numpy(fill(name, shape)) for name, shape in network_shapes().items()}
    return made | {f"audio_enc.encoder.{name}": tensor for name, tensor in read_file(audio)["model"].items()}


@pytest.fixture
def checkpoint(tensors: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    torch.save(tensors, tmp_path / "Fold 0.pt")
    return tmp_path / "Fold 0.pt"


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A folder with a tokenizer of two words."""
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(PIECES)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\nh i\ny o\nyo u\nĠ you\n", encoding="utf-8")
    return folder


@pytest.fixture
def norm(tmp_path: Path) -> Path:
    np.savez(tmp_path / "norm.npz", min_vec=np.linspace(-3, 0, 329), max_vec=np.linspace(0.5, 9, 329))
    return tmp_path / "norm.npz"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three clips with sound, pictures, a sentence and an OpenFace table each."""
    rng = np.random.default_rng(2)
    lines = ["clip_id,path,openface"]
    for i, sentence in enumerate(SENTENCES):
        path = tmp_path / f"clip{i}.mp4"
        coarse = rng.integers(0, 256, (20 + i, 6, 6, 3), dtype=np.uint8)
        frames = coarse.repeat(16, 1).repeat(16, 2)
        write_clip(path, (0.1 * rng.standard_normal(round(16000 * len(frames) / 15))).astype(np.float32), frames)
        path.with_suffix(".txt").write_text(sentence)
        rows = np.concatenate([np.arange(5)[:, None] / 5, rng.standard_normal((5, 329))], 1)
        header = ["frame", "face_id", "timestamp", "confidence", "success", *GROUPS["all"]]
        table = [[n + 1, 0, f"{row[0]:.3f}", 0.9, int(n != 2), *row[1:]] for n, row in enumerate(rows)]
        text = "\n".join(", ".join(map(str, line)) for line in [header, *table])
        path.with_suffix(".csv").write_text(text + "\n")
        lines.append(f"c{i},{path},{path.with_suffix('.csv')}")
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "clips.csv"


def run(*words: object) -> str:
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def predicted(path: Path) -> np.ndarray:
    with path.open(newline="") as file:
        return np.array([float(row["prediction"]) for row in csv.DictReader(file)])


def recomputed(tensors: dict[str, torch.Tensor], store: FeatureStore, inputs: dict[str, str], norm: Path) -> np.ndarray:
    """The original's head by its description, on stored features."""
    weight = {name: tensors[name].double() for name in tensors if name.startswith(("out.", "extra_mlp."))}

    def affine(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ weight[f"{name}.weight"].T + weight[f"{name}.bias"]

    pooled = {
        role: torch.from_numpy(np.concatenate([store.read(name, f"c{i}").values for i in range(3)])).double()
        for role, name in inputs.items()
    }
    with np.load(norm) as vectors:
        low, high = (torch.from_numpy(vectors[name]) for name in ("min_vec", "max_vec"))
    scaled = (pooled["openface"] - low) / (high.clamp_min(1) - low) - 0.5
    pooled["openface"] = torch.tanh(affine("extra_mlp.0", scaled))
    x = torch.cat([pooled[role] for role in ("video", "audio", "text", "openface")], 1)
    x = torch.tanh(affine("out.fc2", torch.tanh(affine("out.fc1", x))))
    return affine("out.fc3", x)[:, 0].numpy()


def test_a_fusion_checkpoint_goes_all_the_way_to_predictions(
    checkpoint: Path,
    tensors: dict[str, torch.Tensor],
    tokenizer: Path,
    norm: Path,
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--openface-norm", norm, "--tokenizer", tokenizer, "--licence", "research only")
    result = json.loads(run("import-weights", checkpoint, "--as", "sempi", *words, "--json"))
    assert result["folder"] == "fold-0-imported"
    assert result["original_sha256"] == sha256_file(checkpoint)
    assert {role: part["backbone"] for role, part in result["parts"].items()} == {
        "video": "i3d-tiny",
        "audio": "hubert-tiny",
        "text": "roberta-tiny",
    }
    assert result["inputs"]["video"] == "i3d-tiny.fold-0-video@last+sempi16"
    assert result["inputs"]["audio"] == "hubert-tiny.fold-0-audio@last+mean"
    assert result["inputs"]["openface"] == "openface.csv@all+mean-all"
    run(*shlex.split(result["extract"])[1:])
    run("predict", "fold-0-imported/head", "--store", "features.zarr", "--out", "p.csv")
    with FeatureStore.open(tmp_path / "features.zarr") as store:
        assert set(store.feature_sets()) == set(result["inputs"].values())
        expected = recomputed(tensors, store, result["inputs"], norm)
        for role, part in result["parts"].items():
            recipe = store.spec(result["inputs"][role]).recipe
            assert recipe.weights["sha256"] == part["sha256"]
            assert recipe.weights["licence"] == "research only"
            prefix = PARTS[role].prefix
            card = json.loads((tmp_path / part["folder"] / "card.json").read_text())
            assert card["original"]["part"] == f"{prefix}*"
    np.testing.assert_allclose(predicted(tmp_path / "p.csv"), expected, rtol=0, atol=1e-5)
    assert np.ptp(expected) > 1e-3, "clips differ, or this test says nothing"
    card = json.loads((tmp_path / "fold-0-imported" / "card.json").read_text())
    assert card["left_out"] == [name for name in tensors if "interpreter" in name]
    assert card["inputs"]["text"]["name"] == result["inputs"]["text"]


def test_parts_have_the_tensors_of_the_checkpoint(
    checkpoint: Path, tensors: dict[str, torch.Tensor], tokenizer: Path, tmp_path: Path
) -> None:
    report = import_sempi(checkpoint, out=tmp_path / "out", tokenizer=tokenizer)
    assert report.notes == ("The head was left out.",)
    assert sorted(path.name for path in report.folder.iterdir()) == ["audio", "card.json", "text", "video"]
    for role in ("video", "text"):
        own = read_file(report.parts[role].folder / "model.safetensors")
        assert all(torch.equal(own[name], tensors[PARTS[role].prefix + name]) for name in own)
    assert (tmp_path / "out" / "text" / "vocab.json").read_bytes() == (tokenizer / "vocab.json").read_bytes()
    with pytest.raises(Conflict, match="--overwrite"):
        import_sempi(checkpoint, out=tmp_path / "out", tokenizer=tokenizer)
    import_sempi(checkpoint, out=tmp_path / "out", tokenizer=tokenizer, overwrite=True)
    (tmp_path / "out" / "video" / "notes.txt").write_text("mine")
    with pytest.raises(Conflict, match=r"video/notes\.txt"):
        import_sempi(checkpoint, out=tmp_path / "out", tokenizer=tokenizer, overwrite=True)


def test_what_is_no_fusion_checkpoint_is_refused_with_the_difference(
    tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    def refused(match: str, **more: Any) -> None:
        changed = {name.replace("|", "."): tensor for name, tensor in {**tensors, **more}.items()}
        torch.save({name: tensor for name, tensor in changed.items() if tensor is not None}, tmp_path / "x.pt")
        with pytest.raises(WeightsError, match=match):
            import_sempi(tmp_path / "x.pt", out=tmp_path / "out")
        assert not (tmp_path / "out").exists()
        assert len(list(tmp_path.iterdir())) == 1

    refused(r"not wanted: other.weight \(2,\)", **{"other|weight": torch.ones(2)})
    refused(r"missing: text_enc\.\*", **{name: None for name in tensors if name.startswith("text_enc")})
    refused(r"missing: out\.\*", **{name: None for name in tensors if name.startswith(("out", "extra"))})
    refused(r"missing: Mixed_3b.b0.bn.bias", **{"video_enc.Mixed_3b.b0.bn.bias": None})
    refused("and 9 more", **{f"other{i}": torch.ones(1) for i in range(21)})


def test_what_the_checkpoint_lacks_is_asked_for(
    checkpoint: Path, tokenizer: Path, norm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    ask: Callable[..., Any] = CliRunner().invoke
    words = ["import-weights", str(checkpoint), "--as", "sempi"]
    for more, said in (
        (["--openface-norm", str(norm)], "--tokenizer"),
        (["--tokenizer", str(tokenizer)], "--openface-norm"),
        (["--tokenizer", str(tokenizer), "--openface-norm", "absent.npz"], "absent.npz"),
        (["--tokenizer", str(tokenizer), "--openface-norm", str(norm), "--set", "ablation=4"], "--set"),
    ):
        done = ask(main, words + more)
        assert (done.exit_code, said in done.stderr) == (1, True), done.stderr
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(NotFound, match="tokenizer"):
        import_sempi(checkpoint, out=tmp_path / "out", tokenizer=tmp_path)
    assert "tokenizer.json" in import_sempi(checkpoint, out=tmp_path / "out").notes[-1]
