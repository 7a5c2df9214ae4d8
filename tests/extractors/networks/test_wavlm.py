"""WavLM's attention in pieces gives what transformers' own gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cuebank.extractors.networks import speech, wavlm
from cuebank.extractors.networks.speech_shape import SpeechShape
from cuebank.extractors.random_weights import fill_all

SHAPE = {"kind": "wavlm", "dim": 64, "layers": 3, "heads": 4, "ffn": 128, "conv_dims": (32,) * 7}
STYLES: dict[str, dict[str, Any]] = {"base": {}, "large": {"conv_norm": "layer", "pre_norm": True}}


def network(style: str) -> tuple[Any, Any]:
    """Ours and transformers' own with the same weights."""
    import transformers

    shape = SpeechShape(**SHAPE, **STYLES[style])
    ours = speech.build(shape)
    tensors = fill_all(speech.shapes(ours), 1)
    speech.install(ours, tensors)
    theirs = transformers.WavLMModel(transformers.WavLMConfig(**speech.configuration(shape))).eval()
    torch.nn.utils.parametrize.remove_parametrizations(theirs.encoder.pos_conv_embed.conv, "weight")
    theirs.load_state_dict(tensors)
    return ours, theirs


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("queries", [1, 7, 512])
def test_every_hidden_state_equals_transformers(style: str, queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wavlm, "QUERIES", queries)
    ours, theirs = network(style)
    waves = torch.from_numpy((0.1 * np.random.default_rng(0).standard_normal((2, 9000))).astype(np.float32))
    for batch in (waves, waves[:1, :400]):  # of 27 rows, and of one
        with torch.inference_mode():
            expected = theirs(batch, output_hidden_states=True)
            found = speech.hidden(ours, batch, [0, 1, 2, 3, None])
        # Whether the last hidden state of large models is behind the norm differs between versions of transformers.
        for mine, other in zip(found[:3], expected.hidden_states[:3], strict=True):
            torch.testing.assert_close(mine, other, rtol=0, atol=5e-6)
        torch.testing.assert_close(found[-1], expected.last_hidden_state, rtol=0, atol=5e-6)


def test_padded_input_is_refused() -> None:
    ours, _ = network("base")
    with pytest.raises(NotImplementedError, match="no mask"), torch.inference_mode():
        ours.encoder(torch.zeros(1, 3, 64), attention_mask=torch.ones(1, 3, dtype=torch.bool))
