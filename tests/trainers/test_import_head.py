"""The head of a SEMPI checkpoint: recorded outputs of all options, what can be told from shapes, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput, FeatureSpec, NotFound, Recipe
from cuebank.trainers.features import Features
from cuebank.trainers.import_head import MEMBER, import_head
from cuebank.trainers.loop import evaluate
from cuebank.trainers.runs import Inputs
from cuebank.trainers.saved_head import load

DIMS = {"video": 1024, "audio": 768, "text": 768, "openface": 329}
SAID = ("ablation", "activation_fn", "expnum", "openfacefeat")


def describe(role: str) -> FeatureSpec:
    return FeatureSpec(f"{role}.x@last", "numeric", DIMS[role], "float32", Recipe(role, {"sha256": "0" * 64}))


def shapes_of(case: Any, variant: str) -> dict[str, torch.Tensor]:
    return case.state_dict(case.json()[variant]["state_dict"])


@pytest.fixture
def readme() -> dict[str, torch.Tensor]:
    """Tensors in the shapes of the published command's head."""
    shapes = {"extra_mlp.0": (64, 329), "out.fc1": (32, 2624), "out.fc2": (32, 32), "out.fc3": (1, 32)}
    generator = torch.Generator().manual_seed(1)
    tensors = {f"{name}.weight": 0.1 * torch.randn(size, generator=generator) for name, size in shapes.items()}
    return tensors | {f"{name}.bias": torch.zeros(size[0]) for name, size in shapes.items()}


@pytest.fixture
def norm(tmp_path: Path) -> Path:
    """The two fixed vectors in the form of the original."""
    np.savez(tmp_path / "norm.npz", min_vec=np.linspace(-3, 0, 329), max_vec=np.linspace(0.5, 9, 329))
    return tmp_path / "norm.npz"


@pytest.mark.golden("sempi_head")
def test_all_recorded_option_sets_come_out_of_the_saved_head(golden_case: Any, tmp_path: Path) -> None:
    arrays, norm = golden_case.arrays, golden_case.fixed("sempi_openface_norm.npz")
    mask = torch.from_numpy(arrays["text_mask"]).bool()[..., None]
    text = (torch.from_numpy(arrays["text_hidden"]) * mask).sum(1) / mask.sum(1)
    rows = torch.from_numpy(arrays["openface_rows"]).split(arrays["openface_lengths"].tolist())
    values = {
        "video": torch.from_numpy(arrays["video_features"]),
        "audio": torch.from_numpy(arrays["audio_features"]),
        "text": text,
        "openface": torch.stack([part.mean(0) for part in rows]),
    }
    for name, variant in golden_case.json().items():
        options = {key: str(variant["options"][key]) for key in SAID}
        tensors = golden_case.state_dict(variant["state_dict"])
        import_head(tensors, DIMS, describe, options=options, openface_norm=norm)[0].write(tmp_path / name)
        saved = load(tmp_path / name)
        model = saved.new()
        model.load_state_dict(dict(saved.members[0].state))
        features = Features.of({role: values[role] for role in saved.inputs})
        found = evaluate(model, Inputs(features, saved.members[0].scalings), np.arange(len(text)))
        np.testing.assert_allclose(found.numpy(), arrays[f"out_{name}"], atol=1e-5, rtol=0, err_msg=name)
        assert saved.kind == ("classes" if "ce3" in name else "regression")


@pytest.mark.golden("sempi_head")
def test_inputs_are_told_from_the_shapes_wherever_they_can_be(golden_case: Any, norm: Path) -> None:
    told = 0
    for name, variant in golden_case.json().items():
        tensors = golden_case.state_dict(variant["state_dict"])
        options = {key: str(variant["options"][key]) for key in SAID}
        known, _ = import_head(tensors, DIMS, describe, options=options, openface_norm=norm)
        rest = {key: options[key] for key in ("activation_fn", "expnum")}
        if name in ("abl2", "abl3"):  # sound and text are as wide
            with pytest.raises(BadInput, match=r"ablation=2 \(looks at video, text, openface\); ablation=3"):
                import_head(tensors, DIMS, describe, options=rest, openface_norm=norm)
            continue
        found, _ = import_head(tensors, DIMS, describe, options=rest, openface_norm=norm)
        assert (found.config.order, tuple(found.inputs)) == (known.config.order, tuple(known.inputs)), name
        assert {n: t.shape for n, t in found.members[0].state.items()} == {
            n: t.shape for n, t in known.members[0].state.items()
        }
        told += 1
    assert told >= 15


def test_what_was_assumed_is_said(readme: dict[str, torch.Tensor], norm: Path) -> None:
    saved, notes = import_head(readme, DIMS, describe, openface_norm=norm)
    assert list(saved.inputs) == ["video", "audio", "text", "openface"]
    assert [member.name for member in saved.members] == [MEMBER]
    assert "activation_fn=tanh and expnum=8" in notes[0]
    _, notes = import_head(
        readme, DIMS, describe, options={"activation_fn": "relu", "expnum": "10"}, openface_norm=norm
    )
    assert "out.fc2.bias, out.fc2.weight" in notes[0]
    assert not any("assumed" in note for note in notes)


def test_only_the_feature_sets_that_it_looks_at_are_asked_for(readme: dict[str, torch.Tensor]) -> None:
    tensors = {**readme, "out.fc1.weight": torch.zeros(32, 1536)}  # ablation 7: neither video nor OpenFace
    asked: list[str] = []

    def note(role: str) -> FeatureSpec:
        asked.append(role)
        return describe(role)

    saved, notes = import_head(tensors, DIMS, note)
    assert asked == list(saved.inputs) == ["audio", "text"]
    assert "extra_mlp.0.bias, extra_mlp.0.weight" in " ".join(notes)


def test_what_does_not_fit_is_refused_by_name(readme: dict[str, torch.Tensor], norm: Path, tmp_path: Path) -> None:
    def refused(match: str, tensors: dict[str, Any] | None = None, **more: Any) -> None:
        given = {**readme, **(tensors or {})}
        given = {name: tensor for name, tensor in given.items() if tensor is not None}
        with pytest.raises(BadInput, match=match):
            import_head(given, DIMS, describe, **{"openface_norm": norm, **more})

    refused("lacks out.fc1.weight", {"out.fc1.weight": None})
    refused("no set of its inputs", {"out.fc1.weight": torch.zeros(32, 777)})
    refused("no set of its inputs", options={"ablation": "4"})
    refused("missing: out.fc3.bias", {"out.fc3.bias": None})
    refused("not wanted: out.fc9.bias", {"out.fc9.bias": torch.zeros(1)})
    refused(r"shape: out.fc2.weight is \(3, 3\)", {"out.fc2.weight": torch.zeros(3, 3)})
    refused("NaN", {"out.fc2.bias": torch.full((32,), torch.nan)})
    refused("torch.int64", {"out.fc2.bias": torch.zeros(32, dtype=torch.int64)})
    refused("--openface-norm", openface_norm=None)
    refused("ablation", options={"ablaton": "1"})
    refused("no ablation 6", options={"ablation": "6"})
    refused("'eight'", options={"expnum": "eight"})
    refused("0 to 5", options={"openfacefeat": "6"})
    refused("activation", options={"activation_fn": "gelu"})
    with pytest.raises(NotFound):
        import_head(readme, DIMS, describe, openface_norm=tmp_path / "absent.npz")
