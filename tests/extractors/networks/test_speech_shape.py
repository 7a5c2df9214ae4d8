"""The measures of a network are read without evaluating anything."""

from __future__ import annotations

import pytest

from cuebank.extractors.networks.speech_shape import (
    SpeechShape,
    UnreadableShape,
    from_fairseq,
    from_fairseq_tensors,
    from_transformers,
    parse_conv_layers,
)

PUBLISHED = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"


def test_the_published_list_of_convolutions_is_read() -> None:
    base = SpeechShape()
    assert parse_conv_layers(PUBLISHED) == list(zip(base.conv_dims, base.conv_kernels, base.conv_strides, strict=True))
    assert parse_conv_layers(" [ (1, 2, 3), (4, 5, 6) ] ") == [(1, 2, 3), (4, 5, 6)]
    assert parse_conv_layers("([(1,2,3)] + [(4,5,6)]) * 2") == [(1, 2, 3), (4, 5, 6)] * 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[(512,10)]",
        "[(512,10,5,1)]",
        "[(512,10,-5)]",
        "[(512,10,True)]",
        "[(512,10,5.0)]",
        "[(1,2,3)] * 33",
        "[(1,2,3)] * 10**9",
        "[(1,2,3)] * -1",
        "[(1,2,3)] - [(1,2,3)]",
        "__import__('os').system('true')",
        "[x for x in ((1,2,3),)]",
        "[(1,2,3)][0:1]",
        "(lambda: [(1,2,3)])()",
        "[(1,2,3)" + "+[(1,2,3)" * 10,
        "(" * 400 + ")" * 400,
        "[" + "(1,2,3)," * 500 + "]",
    ],
)
def test_anything_but_lists_of_triples_is_refused(text: str) -> None:
    with pytest.raises(UnreadableShape):
        parse_conv_layers(text)


def test_hop_and_support_follow_from_kernels_and_strides() -> None:
    shape = SpeechShape(conv_dims=(1, 1), conv_kernels=(4, 3), conv_strides=(2, 2))
    assert (shape.hop, shape.support) == (4, 8)
    assert (SpeechShape().hop, SpeechShape().support) == (320, 400)


def test_what_a_configuration_does_not_say_is_taken_from_the_expected_network() -> None:
    base = SpeechShape(heads=4, pos_groups=8)
    assert from_fairseq({"encoder_layers": 3}, base) == SpeechShape(layers=3, heads=4, pos_groups=8)
    assert from_transformers({}) == SpeechShape()


def test_shapes_of_tensors_give_all_measures_that_leave_a_trace() -> None:
    conv = {f"feature_extractor.conv_layers.{i}.0.weight": (8, 8 if i else 1, k) for i, k in enumerate((10, 3))}
    tensors = {
        **conv,
        "feature_extractor.conv_layers.0.2.1.weight": (8,),
        "encoder.layers.0.fc1.weight": (20, 16),
        "encoder.layers.1.fc1.weight": (20, 16),
        "encoder.pos_conv.0.weight_v": (16, 4, 6),
    }
    assert from_fairseq_tensors(tensors, SpeechShape(heads=2)) == SpeechShape(
        dim=16,
        layers=2,
        heads=2,
        ffn=20,
        conv_dims=(8, 8),
        conv_kernels=(10, 3),
        conv_norm="layer",
        pre_norm=True,
        pos_kernel=6,
        pos_groups=4,
    )
    with pytest.raises(UnreadableShape):
        from_fairseq_tensors({}, SpeechShape())


def test_differences_name_the_measure_and_both_values() -> None:
    assert SpeechShape().differences(SpeechShape(layers=24)) == ["layers: expected 12, found 24"]
    assert SpeechShape().differences(SpeechShape()) == []
