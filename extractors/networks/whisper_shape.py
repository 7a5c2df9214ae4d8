"""The measures of a Whisper, and how it is told to write; importing this needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

WINDOW_S = 30.0
STEP_S = 0.02  # between two time stamps
STAMPS = 1501  # of a window: 0.00 to 30.00
FIXED = {"activation_function": "gelu", "scale_embedding": False, "max_source_positions": 1500}

# What `generation_config.json` may say that changes what is written; the rest is about other ways to search.
GENERATION = (
    "begin_suppress_tokens",
    "bos_token_id",
    "decoder_start_token_id",
    "eos_token_id",
    "forced_decoder_ids",
    "is_multilingual",
    "lang_to_id",
    "language",
    "max_initial_timestamp_index",
    "max_length",
    "no_timestamps_token_id",
    "pad_token_id",
    "prev_sot_token_id",
    "suppress_tokens",
    "task",
    "task_to_id",
)


class UnreadableShape(ValueError):
    """A configuration describes no Whisper, or one that is not supported."""


@dataclass(frozen=True)
class WhisperShape:
    """Sizes of a Whisper; the defaults are those of the published tiny model.

    Args:
        vocab: numbers of tokens that there are.
        dim: width of the blocks. layers: blocks of the encoder. decoder_layers: of the decoder. heads: of attention in
            the encoder. decoder_heads: in the decoder. ffn: width inside the encoder's feed-forward parts.
        decoder_ffn: likewise the decoder's.
        mels: bands of the spectrum.
        targets: tokens of one window, with those that begin it.
    """

    vocab: int = 51865
    dim: int = 384
    layers: int = 4
    decoder_layers: int = 4
    heads: int = 6
    decoder_heads: int = 6
    ffn: int = 1536
    decoder_ffn: int = 1536
    mels: int = 80
    targets: int = 448

    def differences(self, other: WhisperShape) -> list[str]:
        """Return one line for each measure in which another network differs: `name: expected mine, found theirs`."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name}: expected {mine}, found {theirs}" for name, mine, theirs in pairs if mine != theirs]


TRANSFORMERS_NAMES = {
    "vocab": "vocab_size",
    "dim": "d_model",
    "layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "heads": "encoder_attention_heads",
    "decoder_heads": "decoder_attention_heads",
    "ffn": "encoder_ffn_dim",
    "decoder_ffn": "decoder_ffn_dim",
    "mels": "num_mel_bins",
    "targets": "max_target_positions",
}


def from_transformers(config: Mapping[str, Any]) -> WhisperShape:
    """Read a transformers `config.json` of model type `whisper`.

    Raises:
        UnreadableShape: for another model type, or a variant that is not supported.
    """
    kind = config.get("model_type", "whisper")
    if kind != "whisper":
        raise UnreadableShape(f"it is a {kind!r} model, not a 'whisper' one")
    for name, only in FIXED.items():
        if config.get(name, only) != only:
            raise UnreadableShape(f"{name} is {config[name]!r}; only {only!r} is supported")
    try:
        return WhisperShape(**{o: int(config[t]) for o, t in TRANSFORMERS_NAMES.items() if t in config})
    except (TypeError, ValueError) as error:
        raise UnreadableShape(f"its sizes cannot be read: {error}") from error
