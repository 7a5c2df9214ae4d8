"""Read Whisper weights: a transformers folder or hub model, with its tokenizer and the way in which it writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..checkpoint import as_weights, read_file, require_match
from ..errors import WeightsError
from ..networks import whisper
from ..networks.whisper_shape import GENERATION, UnreadableShape, WhisperShape, from_transformers
from ..random_weights import fill_all
from ..weights import LocatedWeights
from ._whisper_tokens import END, ByteWriter, FileWriter, TextWriter

CONFIG, WRITING = "config.json", "generation_config.json"
POSITIONS = "model.encoder.embed_positions.weight"
_NEEDED = ("decoder_start_token_id", "eos_token_id", "no_timestamps_token_id")
_LOUDER = {"encoder_attn.q_proj.weight": 8.0, "encoder_attn.k_proj.weight": 8.0, "encoder_attn.out_proj.weight": 8.0}
LETTERS_LOUDER = 6.0
_IGNORED = re.compile(re.escape(whisper.TIED))  # the same as the embeddings


class Loaded(NamedTuple):
    """network: with weights, on the device. writer: tokens to text. generation: how it is told to write."""

    network: Any
    writer: TextWriter
    generation: dict[str, Any]


def load(located: LocatedWeights, expected: WhisperShape, backbone: str, device: str) -> Loaded:
    """Read weights and all that belongs to them.

    Args:
        located: where they are; for random weights tokens are bytes.
        expected: measures of the network on the card; the number of tokens follows the file.
        backbone: name of the card.
        device: to put them on.

    Raises:
        WeightsError: if something is absent or cannot be read, or is of another network.
    """
    if located.file is None:
        shape = replace(expected, vocab=ByteWriter.vocab)
        generation = ByteWriter.generation(shape.targets)
        network = whisper.build(shape, generation)
        tensors = fill_all(whisper.shapes(network), located.seed or 0)
        tensors[POSITIONS] = whisper.sinusoids(*tensors[POSITIONS].shape)
        # As they are, all sounds would give one letter: the decoder must look at some places, and mind what is there.
        for name, tensor in tensors.items():
            tensor *= next((factor for part, factor in _LOUDER.items() if part in name), 1.0)
        # There are five times as many time stamps as letters, and together they would nearly always win.
        tensors[whisper.TIED_TO][:END] *= LETTERS_LOUDER
        whisper.install(network, tensors, device)
        return Loaded(network, ByteWriter(), generation)
    if located.folder is None:
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            "It is a file alone: the tokenizer and the way in which it writes belong to it.",
            "Give the folder of transformers' files that the weights belong to.",
        )
    shape, generation = _configured(located, expected, backbone)
    special = {generation[name] for name in generation if name.endswith("_token_id")}
    special |= {number for name in ("lang_to_id", "task_to_id") for number in generation.get(name, {}).values()}
    writer = FileWriter(located.folder, located.source, {int(number) for number in special if number is not None})
    try:
        network = whisper.build(shape, generation)
    except (TypeError, ValueError) as error:
        said = str(error).splitlines()[0][:200]
        raise _unreadable(located, WRITING, said) from error
    wanted = whisper.shapes(network)
    content = read_file(located.file)
    held = content if isinstance(content, Mapping) else {}
    found = {str(name): tensor for name, tensor in held.items() if not _IGNORED.fullmatch(str(name))}
    sizes = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in found.items()}
    require_match(backbone, located.source, wanted, sizes)
    tensors = {name: as_weights(located.source, name, found[name]) for name in wanted}
    whisper.install(network, tensors, device)
    return Loaded(network, writer, generation)


def _configured(located: LocatedWeights, expected: WhisperShape, backbone: str) -> tuple[WhisperShape, dict[str, Any]]:
    config, writing = located.config(CONFIG), located.config(WRITING)
    for name, content in ((CONFIG, config), (WRITING, writing)):
        if content is None:
            raise _unreadable(located, name, "it is not beside the weights")
    try:
        shape = from_transformers(config or {})
    except UnreadableShape as error:
        raise _unreadable(located, CONFIG, str(error)) from error
    if lines := replace(expected, vocab=shape.vocab).differences(shape):
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            "It is another network:\n  " + "\n  ".join(lines) + "\n",
            "Give weights of this network.",
        )
    # What both files may say, as transformers has it: older folders have it in the configuration.
    generation = {name: (writing or {})[name] for name in GENERATION if name in (writing or {})}
    if "forced_decoder_ids" not in generation and (config or {}).get("forced_decoder_ids") is not None:
        generation["forced_decoder_ids"] = (config or {})["forced_decoder_ids"]
    lacking = [name for name in _NEEDED if not isinstance(generation.get(name), int)]
    if lacking:
        raise _unreadable(located, WRITING, f"it does not say {' or '.join(lacking)}")
    return shape, generation


def _unreadable(located: LocatedWeights, name: str, why: str) -> WeightsError:
    return WeightsError(
        f"`{name}` of {located.source} was to be read.",
        f"It does not do: {why}.",
        "Give a folder of a Whisper that transformers saved, with all its files.",
    )
