"""CLIP with prompts: cosines, the chosen prompt, lists of one's own, and what recipes and names say."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from film_maker import make_film
from still_pictures import clip, extract

from cuebank.extractors.base import ExtractorSettings, Pictures
from cuebank.extractors.networks import clip_image, clip_text
from cuebank.extractors.prompts import read_prompts
from cuebank.extractors.random_weights import fill_all
from cuebank.extractors.registry import card, load
from cuebank.extractors.runner import extract as run
from cuebank.store import BadInput, Clip, ClipsTable, FeatureStore

BOTH = ("similarity", "chosen")


def loaded(**settings: Any) -> Any:
    return load("clip-prompts-tiny", ExtractorSettings(**{"weights": "random", **settings}))


def test_rows_are_cosines_of_pictures_and_prompts_and_the_largest() -> None:
    from cuebank.extractors.backbones._clip import TINY

    pictures, extractor = clip(11), loaded(layers=BOTH, seed=3)
    similar, chosen = extract(extractor, pictures)
    network = clip_image.build(TINY, texts=True)
    clip_image.install(network, fill_all(clip_image.shapes(network), 3))
    with torch.inference_mode():
        texts = network.encode_text(clip_text.tokenize(read_prompts().texts, TINY), normalize=True)
        pixels = extractor.loaded.look.pixels(pictures.frames, torch.device("cpu"))
        expected = network.encode_image(pixels, normalize=True) @ texts.T
    assert similar.values.shape == (11, 53)
    np.testing.assert_allclose(similar.values, expected, rtol=0, atol=1e-5)
    assert chosen.values.shape == (11, 1)
    assert chosen.values[:, 0].tolist() == similar.values.argmax(1).tolist()
    assert np.array_equal(similar.times, chosen.times)


def test_layers_are_known_by_names_and_numbers() -> None:
    pictures = clip(5)
    similar, chosen = extract(loaded(layers=BOTH), pictures)
    last, first, second = extract(loaded(layers=("last", "1", "2")), pictures)
    assert np.array_equal(last.values, similar.values)
    assert np.array_equal(first.values, similar.values)
    assert np.array_equal(second.values, chosen.values)
    with pytest.raises(BadInput, match="last, similarity, chosen"):
        loaded(layers=("3",))


def test_prompts_are_in_the_recipe_and_others_make_another_feature_set(tmp_path: Path) -> None:
    spec = loaded(layers=("similarity",)).specs[0]
    step = spec.recipe.preprocessing[-1]
    prompts = read_prompts()
    assert step == {"step": "similarity-to-prompts", "sha256": prompts.sha256, "prompts": list(prompts.texts)}
    assert spec.recipe.unhashed["prompt_groups"] == list(prompts.groups)
    assert spec.name == "clip-prompts-tiny.random-0@similarity"
    path = tmp_path / "Two faces.txt"
    path.write_text("# mine\n[a]\na smiling face\n[b]\na sad face\n")
    own = loaded(layers=BOTH, prompts=str(path))
    assert own.specs[0].name == "clip-prompts-tiny.random-0-two-faces@similarity"
    assert [one.dim for one in own.specs] == [2, 1]
    assert own.specs[0].fingerprint != spec.fingerprint
    similar, chosen = extract(own, clip(4))
    assert similar.values.shape == (4, 2)
    assert set(chosen.values.ravel()) <= {0.0, 1.0}
    remarked = tmp_path / "other" / "Two faces.txt"
    remarked.parent.mkdir()
    remarked.write_text("a smiling face\n\n# or\na sad face")
    same = loaded(layers=BOTH, prompts=str(remarked))
    assert [one.fingerprint for one in same.specs] == [one.fingerprint for one in own.specs]


def test_what_a_prompt_gets_depends_on_no_other_prompt(tmp_path: Path) -> None:
    path = tmp_path / "reverse.txt"
    path.write_text("\n".join(reversed(read_prompts().texts)))
    (similar,), (other,) = extract(loaded(), clip(4)), extract(loaded(prompts=str(path)), clip(4))
    np.testing.assert_allclose(other.values[:, ::-1], similar.values, rtol=0, atol=1e-6)


def test_a_list_that_is_not_there_is_told_before_anything_is_loaded() -> None:
    with pytest.raises(BadInput, match=r"nowhere\.txt"):
        loaded(prompts="nowhere.txt", weights="nowhere.pt")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_company_of_a_picture_changes_no_bit(precision: str) -> None:
    extractor, pictures = loaded(layers=BOTH, precision=precision), clip(6)
    expected = extract(extractor, pictures)
    for first, last in ((0, 1), (1, 3), (5, 6)):
        part = Pictures(*(array[first:last] for array in pictures))
        for rows, due in zip(extract(extractor, part), expected, strict=True):
            assert np.array_equal(rows.values, due.values[first:last])


def test_the_part_that_reads_texts_is_given_up_after_the_prompts() -> None:
    network = loaded().loaded.forward.embedded.network
    assert all(name.startswith("visual.") for name in clip_image.shapes(network))


def test_indices_are_exact_in_the_stored_type() -> None:
    assert np.array_equal(np.arange(2048).astype(np.float16).astype(int), np.arange(2048))


def test_the_family_means_vipers_network() -> None:
    assert card("clip-prompts").weights == card("clip").weights
    assert card("clip-prompts").dim == 53


def test_a_list_is_named_for_a_whole_extraction(tmp_path: Path) -> None:
    film, path, store = tmp_path / "film.mp4", tmp_path / "mine.txt", tmp_path / "features.zarr"
    make_film(film, [Fraction(number, 25) for number in range(75)])
    path.write_text("a bright picture\na dark picture\n")
    report = run(
        "clip-prompts-tiny",
        ClipsTable([Clip("one", film)]),
        store,
        weights="random",
        layers=BOTH,
        prompts=path,
        decode_workers=0,
        threads=1,
    )
    assert not report.failed
    opened = FeatureStore.open(store)
    names = [f"clip-prompts-tiny.random-0-mine@{layer}" for layer in BOTH]
    assert sorted(opened.feature_sets()) == sorted(names)
    similar, chosen = (opened.read(name, "one").values for name in names)
    assert (similar.shape, chosen.shape) == ((3, 2), (3, 1))
    assert opened.read(names[0], "one").times.tolist() == [0.0, 1.0, 2.0]
    assert set(chosen.ravel().tolist()) <= {0.0, 1.0}
