"""A small random Whisper as transformers saves it, and what transformers itself writes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cuebank.extractors.backbones._whisper_tokens import END, SPECIAL, ByteWriter
from cuebank.extractors.networks.speech import import_transformers
from cuebank.extractors.networks.whisper_shape import STAMPS, STEP_S

SIZES = {
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "max_target_positions": 48,
    "vocab_size": ByteWriter.vocab,
}


def byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in byte-level vocabularies, with the byte as its number."""
    seen = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


def saved(folder: Path, seed: int = 0, letters: float = 1.7, end: float = 1.0, **generation: Any) -> Any:
    """Save a random network with all its files; return it with transformers' tokenizer and features.

    Args:
        folder: to save to.
        seed: of the weights.
        letters: how much louder letters are than time stamps. end: likewise the end of a window.
        generation: what differs in how it is told to write.
    """
    transformers = import_transformers("Whisper")
    ids = {"pad_token_id": END, "bos_token_id": END, "eos_token_id": END, "decoder_start_token_id": END + 1}
    torch.manual_seed(seed)
    model = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(**SIZES, **ids, init_std=0.3)
    ).eval()
    with torch.no_grad():
        model.model.decoder.embed_tokens.weight[:256] *= letters
        model.model.decoder.embed_tokens.weight[END] *= end
    written = {**ByteWriter.generation(48), "max_initial_timestamp_index": 50, **generation}
    model.generation_config = transformers.GenerationConfig(**written)
    tokenizer = transformers.WhisperTokenizer(
        vocab={**byte_letters(), SPECIAL[0]: END},
        merges=[],
        **dict.fromkeys(("unk_token", "bos_token", "eos_token", "pad_token"), SPECIAL[0]),
        additional_special_tokens=list(SPECIAL[1:]),
    )
    stamps = [transformers.AddedToken(f"<|{i * STEP_S:.2f}|>", special=False) for i in range(STAMPS)]
    tokenizer.add_tokens(stamps)
    features = transformers.WhisperFeatureExtractor()
    for one in (model, tokenizer, features):
        one.save_pretrained(folder)
    return model, tokenizer, features


def piped(parts: Any, samples: np.ndarray) -> list[tuple[float, float | None, str]]:
    """What transformers' own pipeline makes of a sound: start, end and text of each segment."""
    model, tokenizer, features = parts
    transformers = import_transformers("Whisper")
    pipe = transformers.pipeline(
        "automatic-speech-recognition", model=model, tokenizer=tokenizer, feature_extractor=features
    )
    written = pipe(samples, return_timestamps=True, generate_kwargs={"num_beams": 1, "do_sample": False})
    return [(*chunk["timestamp"], chunk["text"]) for chunk in written["chunks"]]


def generated(parts: Any, samples: np.ndarray) -> list[tuple[list[int], float, float]]:
    """What transformers' own `generate` makes of a sound: tokens, start and end of each segment."""
    model, _, features = parts
    whole = {"truncation": False, "padding": "longest"} if len(samples) > 480_000 else {}
    given = features(samples, sampling_rate=16000, return_tensors="pt", return_attention_mask=True, **whole)
    with torch.inference_mode():
        written = model.generate(**given, return_timestamps=True, return_segments=True, num_beams=1, do_sample=False)
    return [(one["tokens"].tolist(), float(one["start"]), float(one["end"])) for one in written["segments"][0]]


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise with bursts, (N,) float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    samples = (
        rng.standard_normal(round(16000 * seconds))
        * np.repeat(rng.random(round(10 * seconds) + 1), 1600)[: round(16000 * seconds)]
    )
    return (0.3 * samples).astype(np.float32)
