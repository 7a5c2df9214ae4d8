"""What can be wanted of pictures, as values and as JSON."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from cuebank.extractors.media.demand import AtRate, EveryFrame, PictureDemand, PictureShape, Slots, picture_rate
from cuebank.store.errors import BadInput

SHAPES = [
    PictureShape(),
    PictureShape("exact", 224, 200),
    PictureShape("short-side", 256, filter="bicubic", crop=(224, 224)),
    PictureShape("at-least", 226, filter="opencv-linear", crop=(224, 224)),
]


@pytest.mark.parametrize("sampling", [AtRate(Fraction(30000, 1001)), EveryFrame(), Slots(16, "sempi")], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_demands_come_back_from_json_and_can_be_compared(sampling, shape):
    demand = PictureDemand(sampling, shape)
    again = PictureDemand.from_json(json.loads(json.dumps(demand.to_json())))
    assert again == demand
    assert hash(again) == hash(demand)
    assert {demand, again} == {demand}


@pytest.mark.parametrize(
    ("text", "rate"), [("25", 25), ("29.97", Fraction(2997, 100)), ("30000/1001", Fraction(30000, 1001))]
)
def test_rates_are_exact(text, rate):
    assert picture_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "0.0", "-25", "25/0", "25/", "1001", "1e3", "nan", "25 ", "٢٥", "1" * 400])
def test_other_texts_are_no_rates(text):
    with pytest.raises(BadInput, match="no rate"):
        picture_rate(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"resize": "crop"},
        {"resize": "none", "width": 5},
        {"resize": "exact", "width": 5},
        {"resize": "short-side", "width": 5, "height": 5},
        {"resize": "at-least"},
        {"resize": "exact", "width": 5, "height": -5},
        {"resize": "exact", "width": 50_000, "height": 5},
        {"filter": "nearest"},
        {"crop": (0, 5)},
    ],
    ids=str,
)
def test_shapes_that_say_nothing_are_refused(wrong):
    with pytest.raises(BadInput, match="no way to do it"):
        PictureShape(**wrong)


@pytest.mark.parametrize("wrong", [(0, "even"), (2.5, "even"), (100_000, "even"), (3, "odd"), (1, "viper")])
def test_slots_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadInput):
        Slots(*wrong)


def test_what_comes_out_of_a_shape_is_known_where_it_can_be():
    assert [shape.final for shape in SHAPES] == [None, (224, 200), (224, 224), (224, 224)]
