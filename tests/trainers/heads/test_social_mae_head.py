"""Social-MAE's head: parity with the recorded logits in all modes, its parameters, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput
from cuebank.trainers.heads.social_mae_head import SocialMaeHead, SocialMaeHeadConfig

MODES = ("multimodal", "audioonly", "videoonly")


@pytest.mark.golden("socialmae_tiny_ft", "socialmae_base_ft")
def test_recorded_logits_follow_from_the_pooled_embeddings_in_every_mode(golden_case: Any) -> None:
    shapes = golden_case.json()["state_dict"]
    own = {name: shape for name, shape in shapes.items() if name.startswith("mlp_head.")}
    outputs, dim = own["mlp_head.1.weight"]
    model = SocialMaeHead({"video": dim}, outputs, SocialMaeHeadConfig()).eval()
    model.load_state_dict(golden_case.state_dict(own))
    for mode in MODES:
        pooled = torch.from_numpy(golden_case.arrays[f"pooled_{mode}"])
        wanted = golden_case.arrays[f"logits_{mode}"]
        with torch.no_grad():
            found = model({"video": pooled}).numpy()
            as_rows = model({"video": pooled.unsqueeze(1)}, {"video": torch.ones(len(pooled), 1, dtype=torch.bool)})
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0, err_msg=mode)
        assert np.array_equal(as_rows.numpy(), found)


def test_the_head_of_768_columns_and_six_classes_has_the_parameters_of_the_original() -> None:
    model = SocialMaeHead({"video": 768}, 6, SocialMaeHeadConfig())
    # 165,547,782 parameters of the fine-tuning network less the 165,541,632 of the encoder.
    assert sum(p.numel() for p in model.parameters()) == 165_547_782 - 165_541_632
    assert list(model.state_dict()) == [f"mlp_head.{i}.{part}" for i in (0, 1) for part in ("weight", "bias")]
    assert model.mlp_head[0].eps == 1e-5
    assert (model.mlp_head[1].bias == 0).all()
    bound = (6 / (768 + 6)) ** 0.5
    assert 0.95 * bound < model.mlp_head[1].weight.abs().max().item() <= bound


def test_it_is_torchs_layer_norm_and_linear_layer_over_the_concatenation() -> None:
    torch.manual_seed(0)
    model = SocialMaeHead({"audio": 3, "video": 4}, 2, SocialMaeHeadConfig())
    norm, linear = torch.nn.LayerNorm(7), torch.nn.Linear(7, 2)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    plain = torch.nn.Sequential(norm, linear)
    model.mlp_head.load_state_dict(plain.state_dict())
    audio, video = torch.randn(5, 3), torch.randn(5, 4)
    torch.testing.assert_close(model({"audio": audio, "video": video}), plain(torch.cat([video, audio], 1)))


def test_dropout_stands_between_norm_and_linear_layer() -> None:
    model = SocialMaeHead({"video": 4}, 2, SocialMaeHeadConfig(dropout=0.5)).train()
    torch.nn.init.ones_(model.mlp_head[1].bias)
    assert model.dropout_sites() == {"normalised": (4, 0.5)}
    assert (model({"video": torch.randn(3, 4)}, dropout={"normalised": torch.zeros(3, 4)}) == 1).all()


@pytest.mark.parametrize("dropout", [1.0, -0.1, float("nan")])
def test_a_probability_out_of_range_is_refused(dropout: float) -> None:
    with pytest.raises(BadInput, match="dropout"):
        SocialMaeHeadConfig(dropout=dropout)


def test_an_order_that_does_not_name_each_input_once_is_refused() -> None:
    for order in (("audio",), ("audio", "audio"), ()):
        with pytest.raises(BadInput, match="names each input once"):
            SocialMaeHead({"audio": 2, "text": 2}, 1, SocialMaeHeadConfig(order=order))
    with pytest.raises(BadInput, match="inputs are none"):
        SocialMaeHead({}, 1, SocialMaeHeadConfig())
