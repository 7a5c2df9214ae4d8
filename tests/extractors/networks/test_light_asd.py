"""Light-ASD with its published weights against recorded outputs; its back end where rows are missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from cuebank.extractors.networks.light_asd import LightAsd
from cuebank.extractors.networks.light_asd_back import BothWays, LightAsdBack

RTOL = 1e-5  # of the largest value


def close(found: torch.Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy().reshape(wanted.shape), wanted, rtol=0, atol=RTOL * np.abs(wanted).max())


@pytest.mark.golden("light_asd_pretrain_AVA_CVPR", "light_asd_finetuning_TalkSet")
def test_published_weights_give_the_recorded_outputs(golden_case: Any, shared: Callable[..., Path]) -> None:
    path = shared("weights", "light_asd", golden_case.name.removeprefix("light_asd_") + ".model")
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    network = LightAsd().eval()
    network.load_state_dict(tensors, strict=True)
    arrays = golden_case.arrays
    mfcc, faces, labels = (torch.from_numpy(arrays[name]) for name in ("mfcc", "faces_u8", "labels"))
    with torch.inference_mode():
        audio, visual = network.embed_audio(mfcc), network.embed_faces(faces)
        close(audio, arrays["audio_embedding"])
        close(visual, arrays["visual_embedding"])
        close(network.fuse(audio, visual), arrays["fused"])
        logits, of_faces = network(audio, visual).flatten(0, 1), network.lossV["FC"](visual).flatten(0, 1)
    close(logits, arrays["logits"])
    close(logits[:, 1], arrays["demo_score_logit1"])
    close(logits.softmax(1)[:, 1], arrays["prob_speaking"])
    assert int((logits.argmax(1) == labels).sum()) == int(arrays["correct"])
    # binary cross-entropy of the softmax of both logits is their cross-entropy
    r = float(arrays["temperature_r"])
    losses = [functional.cross_entropy(z / r, labels).item() for z in (logits, of_faces)]
    np.testing.assert_allclose(losses, [arrays["loss_av"], arrays["loss_v"]], atol=1e-5)
    np.testing.assert_allclose(losses[0] + 0.5 * losses[1], arrays["loss_total"], atol=1e-5)


def test_names_shapes_and_counts_are_the_originals() -> None:
    text = (Path(__file__).parents[2] / "golden" / "light_asd.json").read_text(encoding="utf-8")
    network, wanted = LightAsd(), json.loads(text)
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == wanted["state_dict"]
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.model.items()}
    assert counts == {"visualEncoder": 545_024, "audioEncoder": 277_952, "GRU": 198_144}
    assert sum(p.numel() for p in network.parameters()) == 1_021_636 == wanted["parameters_total"]


def test_faces_may_be_floats_and_a_row_sees_six_frames_to_each_side() -> None:
    torch.manual_seed(0)
    network = LightAsd().double().eval()
    faces = torch.randint(0, 256, (1, 15, 112, 112), dtype=torch.uint8)
    other = faces.clone()
    other[:, 0] = 255 - other[:, 0]
    with torch.inference_mode():
        one, two = network.embed_faces(faces.double()), network.embed_faces(other.double())
        torch.testing.assert_close(network.float().embed_faces(faces), one.float(), atol=1e-5, rtol=1e-4)
    changed = (one != two).any(-1)[0]
    assert changed[6]
    assert not changed[7:].any()


def test_rows_that_are_missing_are_stepped_over() -> None:
    torch.manual_seed(0)
    gru = BothWays(6).double()
    rows = torch.randn(2, 9, 6, dtype=torch.float64)
    there = torch.ones(2, 9, dtype=torch.bool)
    there[0, [0, 3, 4]] = False
    there[1, 5:] = False
    found = gru(rows, there)
    for i in range(2):
        torch.testing.assert_close(found[i][there[i]], gru(rows[i][there[i]][None])[0], atol=1e-12, rtol=0)
    assert not found[~there].any()


def test_the_second_gru_runs_over_the_first_ones_outputs_and_sees_the_future() -> None:
    torch.manual_seed(0)
    back = LightAsdBack(6, visual_classifier=False).double()
    assert not [name for name in back.state_dict() if name.startswith("lossV")]
    audio, visual = torch.randn(2, 1, 5, 6, dtype=torch.float64)
    later = audio.clone()
    later[:, 4] += 1
    assert (back(audio, visual) != back(later, visual)).all()
    torch.testing.assert_close(back(audio, visual), back(visual, audio))
