"""The measures of a speech network (HuBERT, wav2vec 2.0, WavLM), and how to read them from any published configuration.

The three have one structure; WavLM's attention has gated biases by relative position besides.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

KINDS = ("hubert", "wav2vec2", "wavlm")  # as transformers calls its model types
MAX_CONV_LAYERS = 32


class UnreadableShape(ValueError):
    """A configuration describes no network of this family, or one that is not supported."""


@dataclass(frozen=True)
class SpeechShape:
    """Sizes and style of a speech network; the defaults are those of the published base models.

    Args:
        kind: `hubert`, `wav2vec2` or `wavlm`.
        dim: width of the blocks, D. layers: blocks. heads: of attention. ffn: width inside the feed-forward parts.
        conv_dims, conv_kernels, conv_strides: of the convolutions over the waveform.
        conv_norm: `group` (base: after the first convolution only) or `layer` (large: after each).
        pre_norm: whether norms come before attention and feed-forward, with one more at the end (large).
        conv_bias: whether the convolutions over the waveform have biases.
        pos_kernel, pos_groups: of the positional convolution.
        norm_eps: of the layer norms in the blocks.
        buckets, max_distance: of WavLM's biases by relative position.
    """

    kind: str = "hubert"
    dim: int = 768
    layers: int = 12
    heads: int = 12
    ffn: int = 3072
    conv_dims: tuple[int, ...] = (512,) * 7
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_norm: str = "group"
    pre_norm: bool = False
    conv_bias: bool = False
    pos_kernel: int = 128
    pos_groups: int = 16
    norm_eps: float = 1e-5
    buckets: int = 320
    max_distance: int = 800

    @property
    def hop(self) -> int:
        """Samples from one row to the next: 320."""
        hop = 1
        for stride in self.conv_strides:
            hop *= stride
        return hop

    @property
    def support(self) -> int:
        """Samples that one row of the convolutions sees: 400."""
        support, hop = 1, 1
        for kernel, stride in zip(self.conv_kernels, self.conv_strides, strict=True):
            support += (kernel - 1) * hop
            hop *= stride
        return support

    def differences(self, other: SpeechShape) -> list[str]:
        """Return one line for each measure in which another network differs: `name: expected mine, found theirs`."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name}: expected {mine}, found {theirs}" for name, mine, theirs in pairs if mine != theirs]


def parse_conv_layers(text: str) -> list[tuple[int, int, int]]:
    """Read fairseq's list of (width, kernel, stride), without evaluating it.

    Lists of number triples, `+` between lists and `* number` after one are understood; nothing else.

    Raises:
        UnreadableShape: for anything else, or more than 32 layers.

    Example:
        >>> parse_conv_layers("[(512,10,5)] + [(512,3,2)] * 2")
        [(512, 10, 5), (512, 3, 2), (512, 3, 2)]
    """
    if len(text) > 1000:
        raise UnreadableShape("conv_feature_layers is longer than 1000 letters")
    try:
        layers = _conv_list(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableShape(f"conv_feature_layers {text[:60]!r} cannot be read") from error
    if not layers:
        raise UnreadableShape("conv_feature_layers is empty")
    return layers


def _conv_list(node: ast.expr) -> list[tuple[int, int, int]]:
    if isinstance(node, ast.List):
        return [_triple(item) for item in node.elts]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        joined = _conv_list(node.left) + _conv_list(node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        times = _number(node.right)
        if not 0 <= times <= MAX_CONV_LAYERS:
            raise ValueError("too many layers")
        joined = _conv_list(node.left) * times
    else:
        raise ValueError("neither a list, a sum nor a product")
    if len(joined) > MAX_CONV_LAYERS:
        raise ValueError("too many layers")
    return joined


def _triple(node: ast.expr) -> tuple[int, int, int]:
    if not isinstance(node, ast.Tuple) or len(node.elts) != 3:
        raise ValueError("no triple")
    width, kernel, stride = (_number(item) for item in node.elts)
    return width, kernel, stride


def _number(node: ast.expr) -> int:
    if not isinstance(node, ast.Constant) or type(node.value) is not int or not 0 < node.value < 2**20:
        raise ValueError("no positive number")
    return node.value


def from_transformers(config: Mapping[str, Any], kind: str = "hubert") -> SpeechShape:
    """Read a transformers `config.json`.

    Args:
        config: its content.
        kind: which model type it should be.

    Raises:
        UnreadableShape: for another model type, or a variant that is not supported.
    """
    found = config.get("model_type", kind)
    if found != kind:
        raise UnreadableShape(f"it is a {found!r} model, not a {kind!r} one")
    _refuse(config, {"conv_pos_batch_norm": False, "hidden_act": "gelu", "feat_extract_activation": "gelu"})
    _refuse(config, {"feat_proj_layer_norm": True, "adapter_attn_dim": None, "add_adapter": False})
    names = {
        "dim": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
        "conv_dims": "conv_dim",
        "conv_kernels": "conv_kernel",
        "conv_strides": "conv_stride",
        "conv_norm": "feat_extract_norm",
        "pre_norm": "do_stable_layer_norm",
        "conv_bias": "conv_bias",
        "pos_kernel": "num_conv_pos_embeddings",
        "pos_groups": "num_conv_pos_embedding_groups",
        "norm_eps": "layer_norm_eps",
    }
    if kind == "wavlm":
        names |= {"buckets": "num_buckets", "max_distance": "max_bucket_distance"}
    return _replaced(
        SpeechShape(kind=kind), {ours: config[theirs] for ours, theirs in names.items() if theirs in config}
    )


def from_fairseq(model: Mapping[str, Any], base: SpeechShape) -> SpeechShape:
    """Read fairseq's model configuration: `cfg.model`, the older `args`, or the plain `cfg` of WavLM's checkpoints.

    Args:
        model: the configuration as a plain dict.
        base: measures of the network that is expected, for what the configuration does not say.

    Raises:
        UnreadableShape: if it describes a variant that is not supported.
    """
    _refuse(
        model, {"activation_fn": "gelu", "conv_pos_batch_norm": False, "layer_type": "transformer", "attn_type": ""}
    )
    names = {
        "dim": "encoder_embed_dim",
        "layers": "encoder_layers",
        "heads": "encoder_attention_heads",
        "ffn": "encoder_ffn_embed_dim",
        "pre_norm": "layer_norm_first",
        "conv_bias": "conv_bias",
        "pos_kernel": "conv_pos",
        "pos_groups": "conv_pos_groups",
    }
    if base.kind == "wavlm":
        _refuse(model, {"relative_position_embedding": True, "gru_rel_pos": True})
        names |= {"buckets": "num_buckets", "max_distance": "max_distance"}
    found = {ours: model[theirs] for ours, theirs in names.items() if theirs in model}
    if "extractor_mode" in model:
        found["conv_norm"] = {"default": "group", "layer_norm": "layer"}.get(str(model["extractor_mode"]), "unknown")
    if "conv_feature_layers" in model:
        triples = parse_conv_layers(str(model["conv_feature_layers"]))
        found["conv_dims"], found["conv_kernels"], found["conv_strides"] = zip(*triples, strict=True)
    return _replaced(base, found)


def from_fairseq_tensors(shapes: Mapping[str, tuple[int, ...]], base: SpeechShape) -> SpeechShape:
    """Infer the measures from names and shapes of fairseq's tensors.

    Heads, strides and the norm's epsilon leave no trace in the tensors; they are taken from the expected network.

    Raises:
        UnreadableShape: if these are not the tensors of a HuBERT.
    """
    conv = "feature_extractor.conv_layers.{}.0.weight"
    try:
        count = next(i for i in range(MAX_CONV_LAYERS) if conv.format(i) not in shapes)
        convs = [shapes[conv.format(i)] for i in range(count)]
        layers = next(i for i in range(1000) if f"encoder.layers.{i}.fc1.weight" not in shapes)
        ffn, dim = shapes["encoder.layers.0.fc1.weight"]
        _, per_group, pos_kernel = shapes["encoder.pos_conv.0.weight_v"]
        large = "feature_extractor.conv_layers.0.2.1.weight" in shapes
        found: dict[str, Any] = {
            "dim": dim,
            "layers": layers,
            "ffn": ffn,
            "conv_dims": tuple(shape[0] for shape in convs),
            "conv_kernels": tuple(shape[2] for shape in convs),
            "conv_norm": "layer" if large else "group",
            "pre_norm": large,
            "conv_bias": "feature_extractor.conv_layers.0.0.bias" in shapes,
            "pos_kernel": pos_kernel,
            "pos_groups": dim // per_group,
        }
        if base.kind == "wavlm":
            found["buckets"], found["heads"] = shapes["encoder.layers.0.self_attn.relative_attention_bias.weight"]
    except (KeyError, ValueError, IndexError, StopIteration, ZeroDivisionError) as error:
        raise UnreadableShape("its tensors are not those of a speech network of this family") from error
    return _replaced(base, found)


def _refuse(config: Mapping[str, Any], supported: Mapping[str, Any]) -> None:
    for name, value in supported.items():
        if config.get(name, value) not in (value, None):
            raise UnreadableShape(f"{name} is {config[name]!r}; only {value!r} is supported")


def _replaced(base: SpeechShape, found: Mapping[str, Any]) -> SpeechShape:
    """`base` with some measures replaced, each turned into the type it must have."""
    typed: dict[str, Any] = {}
    for name, value in found.items():
        like = getattr(base, name)
        try:
            if isinstance(like, tuple):
                typed[name] = tuple(int(item) for item in value)
            elif isinstance(like, bool):
                typed[name] = bool(value)
            else:
                typed[name] = type(like)(value)
        except (TypeError, ValueError) as error:
            raise UnreadableShape(f"{name} is {value!r}") from error
    return replace(base, **typed)
