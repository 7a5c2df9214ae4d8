"""Cards and measures of the speech networks: HuBERT, WavLM, wav2vec 2.0, and WavLM with an x-vector head."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from ..base import Card
from ..networks.speech_shape import SpeechShape

RATE_HZ = 16_000

BASE = SpeechShape()
LARGE = SpeechShape(dim=1024, layers=24, heads=16, ffn=4096, conv_norm="layer", pre_norm=True)
TINY = SpeechShape(dim=64, layers=2, heads=4, ffn=128, conv_dims=(32,) * 7)
TINY_LARGE = replace(TINY, conv_norm="layer", pre_norm=True)

SHAPES = {
    "hubert-base": BASE,
    "hubert-large": LARGE,
    "hubert-tiny": TINY,
    "hubert-tiny-large": TINY_LARGE,
    "wavlm-base": replace(BASE, kind="wavlm"),
    "wavlm-base-plus": replace(BASE, kind="wavlm"),
    "wavlm-large": replace(LARGE, kind="wavlm"),
    "wavlm-tiny": replace(TINY, kind="wavlm"),
    "wavlm-tiny-large": replace(TINY_LARGE, kind="wavlm"),
    "wav2vec2-base": replace(BASE, kind="wav2vec2"),
    "wav2vec2-tiny": replace(TINY, kind="wav2vec2"),
}


def _card(name: str, **published: Any) -> Card:
    shape = SHAPES[name]
    return Card(
        name=name,
        family=shape.kind,
        input="audio",
        rate_hz=RATE_HZ,
        dim=shape.dim,
        layers=shape.layers,
        row_rate_hz=str(Fraction(RATE_HZ, shape.hop)),
        **published,
    )


CARDS = (
    _card(
        "hubert-base",
        weights="facebook/hubert-base-ls960",
        revision="dba3bb02fda4248b6e082697eee756de8fe8aa8a",
        tag="ls960",
        licence="Apache-2.0",
        default=True,
        notes="Trained on 960 h of LibriSpeech; also reads fairseq's hubert_base_ls960.pt.",
    ),
    _card(
        "hubert-large",
        weights="facebook/hubert-large-ll60k",
        revision="ff022d095678a2995f3c49bab18a96a9e553f782",
        tag="ll60k",
        licence="Apache-2.0",
        notes="Trained on 60,000 h of Libri-Light; also reads fairseq's hubert_large_ll60k.pt.",
    ),
    _card("hubert-tiny", tiny=True, notes="The base model's code at 64 wide, for tests; random weights only."),
    _card("hubert-tiny-large", tiny=True, notes="The large model's code at 64 wide, for tests; random weights only."),
    _card(
        "wavlm-base",
        weights="microsoft/wavlm-base",
        revision="efa81aae7ff777e464159e0f877d54eac5b84f81",
        tag="ls960",
        licence="CC-BY-SA-3.0",
        notes="Trained on 960 h of LibriSpeech; also reads the original WavLM-Base.pt.",
    ),
    _card(
        "wavlm-base-plus",
        weights="microsoft/wavlm-base-plus",
        revision="4c66d4806a428f2e922ccfa1a962776e232d487b",
        tag="mix94k",
        licence="CC-BY-SA-3.0",
        default=True,
        notes="Trained on 94,000 h of mixed speech; also reads the original WavLM-Base+.pt.",
    ),
    _card(
        "wavlm-large",
        weights="microsoft/wavlm-large",
        revision="c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c",
        tag="mix94k",
        licence="CC-BY-SA-3.0",
        notes="Trained on 94,000 h of mixed speech; also reads the original WavLM-Large.pt.",
    ),
    _card("wavlm-tiny", tiny=True, notes="The base model's code at 64 wide, for tests; random weights only."),
    _card("wavlm-tiny-large", tiny=True, notes="The large model's code at 64 wide, for tests; random weights only."),
    _card(
        "wav2vec2-base",
        weights="facebook/wav2vec2-base",
        revision="0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
        tag="ls960",
        licence="Apache-2.0",
        default=True,
        notes="Trained on 960 h of LibriSpeech, without its transcripts; also reads fairseq's wav2vec_small.pt.",
    ),
    _card("wav2vec2-tiny", tiny=True, notes="The base model's code at 64 wide, for tests; random weights only."),
)
