"""Read weights of speech networks in every form they are published in, into the names of our network.

Understood: a transformers folder or hub model, checkpoints of fairseq (`cfg` or the older `args`; shapes where neither
says anything) and of WavLM's authors, and bare files of tensors named either way. Names and shapes must match exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..checkpoint import as_weights, plain, read_file, require_match
from ..errors import WeightsError
from ..imported import Imported, settings_of
from ..networks import speech
from ..networks.speech_shape import (
    SpeechShape,
    UnreadableShape,
    from_fairseq,
    from_fairseq_tensors,
    from_transformers,
)
from ..weights import LocatedWeights

# Parts of published files that only training, or another task, uses.
_IGNORED = re.compile(
    r"(masked_spec_embed|mask_emb|label_embs_concat"
    r"|(final_proj|lm_head|projector|classifier|quantizer|project_q|project_hid)\..*)"
)
_PREFIX = re.compile(r"^(hubert|wav2vec2|wavlm)\.")  # of a bare model inside a task's
_FAIRSEQ = (
    ("feature_projection.layer_norm", "layer_norm"),
    ("feature_projection.projection", "post_extract_proj"),
    ("encoder.pos_conv_embed.conv", "encoder.pos_conv.0"),
    (".attention.", ".self_attn."),
    (".gru_rel_pos_linear.", ".grep_linear."),
    (".gru_rel_pos_const", ".grep_a"),
    (".rel_attn_embed.", ".relative_attention_bias."),
    (".feed_forward.intermediate_dense.", ".fc1."),
    (".feed_forward.output_dense.", ".fc2."),
)


class Contents(NamedTuple):
    """What a file says: tensors by the file's names, the network's measures, whether it wants normalised input.

    left_out: names of the tensors that the network does not use.
    """

    tensors: dict[str, Any]
    shape: SpeechShape
    normalise: bool
    fairseq: bool
    left_out: tuple[str, ...]


def read(
    located: LocatedWeights, known: Mapping[str, SpeechShape], backbone: str
) -> tuple[dict[str, Any], SpeechShape, bool]:
    """Read weights from a file or folder, and check them against the network.

    Args:
        located: where they are.
        known: measures of the networks on all cards of the family.
        backbone: name of the card that is wanted.

    Returns:
        Tensors by the names of `speech.build(shape)`, float32; the measures; whether the input is to be normalised.

    Raises:
        WeightsError: if they cannot be read, are of another network, or any name or shape differs.
    """
    contents = _checked(located, known, backbone)
    return _renamed(contents, located.source, backbone), contents.shape, contents.normalise


def import_checkpoint(located: LocatedWeights, known: Mapping[str, SpeechShape], backbone: str) -> Imported:
    """Read an original checkpoint; arguments and errors as those of `read`."""
    contents = _checked(located, known, backbone)
    tensors = _renamed(contents, located.source, backbone)
    names = _names(contents)
    if (positional := names[speech.POSITIONAL]) not in contents.tensors:
        names[speech.POSITIONAL] = f"{positional}_g, {positional}_v"
    return Imported(tensors, names, contents.left_out, {"normalise": contents.normalise})


def _checked(located: LocatedWeights, known: Mapping[str, SpeechShape], backbone: str) -> Contents:
    """Contents of a file, if it holds the network of the card."""
    expected = known[backbone]
    try:
        contents = _contents(located, expected)
    except UnreadableShape as error:
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            f"Its configuration does not fit: {error}.",
            f"Give weights of a {expected.kind} model.",
        ) from error
    # Biases of the convolutions are all that may differ: hub copies of the large model have them, at zero.
    lines = replace(expected, conv_bias=contents.shape.conv_bias).differences(contents.shape)
    if lines:
        bare = replace(contents.shape, conv_bias=False)
        fitting = [name for name, shape in known.items() if shape == bare]
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            "It is another network:\n  " + "\n  ".join(lines) + "\n",
            f"Use --backbone {' or '.join(fitting)}." if fitting else "No backbone of cuebank has these measures.",
        )
    return contents


def fairseq_name(name: str, conv_norm: str) -> str:
    """Return fairseq's name of a tensor of our network.

    Example:
        >>> fairseq_name("encoder.layers.3.attention.q_proj.bias", "group")
        'encoder.layers.3.self_attn.q_proj.bias'
        >>> fairseq_name("feature_extractor.conv_layers.0.layer_norm.weight", "layer")
        'feature_extractor.conv_layers.0.2.1.weight'
    """
    if name.startswith("feature_extractor."):
        norm = ".2.1." if conv_norm == "layer" else ".2."
        return name.replace(".conv.", ".0.").replace(".layer_norm.", norm)
    for ours, theirs in _FAIRSEQ:
        name = name.replace(ours, theirs)
    return re.sub(r"(layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm.", name)


def older_name(name: str) -> str:
    """Return a tensor's name with weight norm's parts as published files call them.

    Example:
        >>> older_name("conv.parametrizations.weight.original0")
        'conv.weight_g'
    """
    name = name.replace(".parametrizations.weight.original0", ".weight_g")
    return name.replace(".parametrizations.weight.original1", ".weight_v")


def _contents(located: LocatedWeights, expected: SpeechShape) -> Contents:
    content = read_file(located.file) if located.file else {}
    if not isinstance(content, Mapping):
        raise UnreadableShape(f"it holds a {type(content).__name__}, not tensors by name")
    inside = content.get("model")
    held = inside if isinstance(inside, Mapping) else content
    tensors, left_out = _tidied(held)
    config = located.config("config.json")
    if config is not None:
        shape = from_transformers(config, expected.kind)
        # Not `do_normalize` of preprocessor_config.json: copies on the hub state it otherwise than the models were
        # trained (base on the plain waveform, large on a normalised one), and not every copy has the file.
        return Contents(tensors, shape, shape.conv_norm == "layer", False, left_out)
    expected = replace(expected, kind=_kind([str(name) for name in held], expected.kind))
    if not any(name.startswith("post_extract_proj.") for name in tensors):
        shape = replace(expected, conv_bias="feature_extractor.conv_layers.0.conv.bias" in tensors)
        said = settings_of(located).get("normalise")
        return Contents(tensors, shape, shape.conv_norm == "layer" if said is None else bool(said), False, left_out)
    model, task = _fairseq_config(content)
    if "encoder_layers" in model:
        shape = from_fairseq(model, expected)
    else:
        shape = from_fairseq_tensors({name: tuple(tensor.shape) for name, tensor in tensors.items()}, expected)
    said = task.get("normalize")
    return Contents(tensors, shape, shape.conv_norm == "layer" if said is None else bool(said), True, left_out)


def _kind(names: Sequence[str], otherwise: str) -> str:
    """The kind of network that tensors without a configuration belong to, by what only one kind has."""
    for name in names:
        if prefix := _PREFIX.match(name):
            return prefix[1]
        if name.endswith((".grep_a", ".gru_rel_pos_const")):
            return "wavlm"
        if name.startswith("quantizer."):
            return "wav2vec2"
        if name == "label_embs_concat":
            return "hubert"
    return otherwise


def _fairseq_config(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model and task configuration of a checkpoint; empty where it has none that can be read."""
    cfg, args = plain(content.get("cfg")), plain(content.get("args"))
    if isinstance(cfg, dict) and "encoder_layers" in cfg:
        return cfg, cfg  # WavLM's
    if isinstance(cfg, dict) and isinstance(cfg.get("model"), dict):
        task = cfg.get("task")
        return cfg["model"], task if isinstance(task, dict) else {}
    return (args, args) if isinstance(args, dict) else ({}, {})


def _tidied(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Tensors under the names of the bare model: a task's prefix removed, weight norm's parts by their older names.

    Also the names of those that the network does not use.
    """
    import torch

    tidy, left_out = {}, []
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            continue  # a checkpoint's bookkeeping
        name = older_name(_PREFIX.sub("", name))
        if _IGNORED.fullmatch(name):
            left_out.append(name)
        else:
            tidy[name] = tensor
    return tidy, tuple(left_out)


def _names(contents: Contents) -> dict[str, str]:
    """The file's name of each tensor of our network."""
    norm = contents.shape.conv_norm
    ours = speech.shapes(speech.build(contents.shape))
    return {name: fairseq_name(name, norm) if contents.fairseq else name for name in ours}


def _renamed(contents: Contents, source: str, backbone: str) -> dict[str, Any]:
    """Tensors by our names, after a comparison in the file's own names."""
    ours = speech.shapes(speech.build(contents.shape))
    names = _names(contents)
    wanted = {names[name]: shape for name, shape in ours.items()}
    positional = names[speech.POSITIONAL]
    scale, direction = f"{positional}_g", f"{positional}_v"
    if positional not in contents.tensors:
        wanted[direction] = wanted.pop(positional)
        wanted[scale] = (1, 1, contents.shape.pos_kernel)
    require_match(backbone, source, wanted, {name: tuple(t.shape) for name, t in contents.tensors.items()})
    ready = {name: as_weights(source, name, tensor) for name, tensor in contents.tensors.items()}
    if positional not in ready:
        ready[positional] = speech.join_weight_norm(ready.pop(scale), ready.pop(direction))
    return {name: ready[theirs] for name, theirs in names.items()}
