"""Names of feature sets, and how they become folder names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuebank.store.errors import BadInput
from cuebank.store.keys import MAX_NAME_BYTES, check_id, feature_set_name, quote_name, slug, unquote_name


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20))
def test_every_name_comes_back_from_its_folder_name_and_the_folder_name_is_harmless(name: str) -> None:
    folder = quote_name(name)
    assert unquote_name(folder) == name
    assert "/" not in folder
    assert "\0" not in folder
    assert folder[0] not in "._"


def test_a_name_that_is_too_long_for_a_folder_is_refused() -> None:
    assert len(quote_name("x" * MAX_NAME_BYTES)) == MAX_NAME_BYTES
    with pytest.raises(BadInput, match="bytes"):
        quote_name("ü" * MAX_NAME_BYTES)


@pytest.mark.parametrize("folder", ["%41", ".hidden", "a b", "%2e"])
def test_a_folder_that_no_name_encodes_to_is_refused(folder: str) -> None:
    with pytest.raises(BadInput):
        unquote_name(folder)


@pytest.mark.parametrize("bad", ["", None, 3, "\ud800"])
def test_an_id_must_be_text_that_utf8_can_hold(bad: object) -> None:
    with pytest.raises(BadInput, match="clip_id"):
        check_id(bad, "clip_id")


def test_names_state_weights_layer_and_pooling() -> None:
    assert feature_set_name("i3d", "kinetics") == "i3d.kinetics"
    assert feature_set_name("hubert-large", "ll60k", "last") == "hubert-large.ll60k@last"
    assert slug("HuBERT_base ls960.PT") == "hubert_base-ls960-pt"
