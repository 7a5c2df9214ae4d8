"""The backbones mfcc, logmel, fbank and mel: what extraction adds to their recipes, and the way through the command."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors.backbones import fbank, logmel, mel, mfcc
from cuebank.extractors.base import ExtractorSettings
from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import Audio
from cuebank.extractors.registry import card, cards, load
from cuebank.store import BadInput, Clip, ClipsTable, FeatureStore

FAMILIES = ("mfcc", "logmel", "fbank", "mel")
NAMES = [item.name for item in cards() if item.family in FAMILIES]


def loaded(name: str, **settings: Any) -> Any:
    return load(name, ExtractorSettings(**settings))


def sound(samples: np.ndarray, rate_hz: int = 16_000, **more: Any) -> Audio:
    return Audio(np.asarray(samples, np.float32), rate_hz, **{"start_s": 0.0, **more})


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_every_card_gives_rows_of_the_dim_and_rate_that_it_states(name: str) -> None:
    extractor = loaded(name)
    (spec,) = extractor.specs
    assert (spec.dim, spec.dtype, spec.recipe.layer) == (extractor.card.dim, "float32", None)
    assert spec.timebase.rate_hz == Fraction(extractor.card.row_rate_hz)
    (rows,) = extractor.extract(sound(noise(extractor.card.rate_hz), extractor.card.rate_hz))
    assert rows.values.shape == (len(rows.times), spec.dim)
    assert rows.valid.all()
    assert (rows.values.dtype, rows.times.dtype) == (np.float32, np.float64)


def test_the_family_names_mean_the_original_recipes() -> None:
    assert [card(name).name for name in FAMILIES] == ["mfcc", "logmel-vggish", "fbank-kaldi", "mel-librosa"]
    assert [card(name).dim for name in FAMILIES] == [13, 64, 128, 128]


@pytest.mark.golden("asd_mfcc")
def test_stored_mfcc_equal_the_librarys(golden_case: Any, tmp_path: Path) -> None:
    from cuebank.extractors.runner import extract

    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(golden_case.arrays["wav_int16"].astype("<i2").tobytes())
    names = {
        "mfcc": "mfcc_default",
        "mfcc-asd-12fps": "mfcc_fps_12_0",
        "mfcc-asd-24fps": "mfcc_fps_24_0",
        "mfcc-asd-29_97fps": "mfcc_fps_29_97",
    }
    report = extract(list(names), ClipsTable([Clip("a", path)]), tmp_path / "store.zarr", decode_workers=0)
    assert (report.done, report.failed) == (1, [])
    with FeatureStore.open(tmp_path / "store.zarr") as store:
        for name, expected in names.items():
            rows = store.read(f"{name}.psf", "a")
            np.testing.assert_allclose(rows.values, golden_case.arrays[expected], rtol=0, atol=1e-3, err_msg=name)
            assert rows.valid.all()
            assert rows.times[-1] < len(golden_case.arrays["wav_int16"]) / 16000


@pytest.mark.golden("socialmae_fbank")
def test_fbank_rows_equal_kaldis(golden_case: Any) -> None:
    (rows,) = loaded("fbank").extract(sound(golden_case.arrays["wav_int16"] / 32768))
    np.testing.assert_allclose(rows.values, golden_case.arrays["fbank"], rtol=0, atol=1e-3)
    assert rows.valid.all()


def test_windows_beyond_the_ends_are_the_recipes() -> None:
    assert [len(loaded("mfcc").extract(sound(noise(n)))[0].times) for n in (400, 401, 720, 721)] == [1, 2, 3, 4]
    assert [len(loaded("fbank").extract(sound(noise(n)))[0].times) for n in (400, 401, 720, 721)] == [1, 1, 3, 3]
    (rows,) = loaded("mel-tiny").extract(sound(noise(640), start_s=1.0))
    assert rows.times.tolist() == [1.0, 1.01, 1.02, 1.03, 1.04]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("extra", range(0, 500, 37))
def test_times_lie_within_the_sound(name: str, extra: int) -> None:
    extractor = loaded(name)
    rate_hz = extractor.card.rate_hz
    heard = sound(noise(2048 + extra), rate_hz)
    times = extractor.extract(heard)[0].times
    assert 0 <= times[0] < times[-1] <= heard.duration_s


def test_a_row_of_the_12_fps_recipe_is_timed_at_the_middle_of_what_its_fft_sees() -> None:
    extractor = loaded("mfcc-asd-12fps")
    assert extractor.specs[0].timebase.window_s == Fraction(512, 16_000)
    assert extractor.specs[0].timebase.first_center_s == Fraction(256, 16_000)
    seen, unseen = noise(833), noise(833)
    unseen[512:] = 0.3
    (one,), (other,) = (extractor.extract(sound(samples)) for samples in (seen, unseen))
    np.testing.assert_allclose(one.values[0], other.values[0], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("mel")] + ["mfcc", "logmel", "fbank"])
def test_a_click_shows_in_the_row_whose_time_is_nearest(name: str) -> None:
    extractor = loaded(name)
    rate_hz = extractor.card.rate_hz
    samples = np.zeros(2 * rate_hz, np.float32)
    samples[rate_hz] = 0.9
    (rows,) = extractor.extract(sound(samples, rate_hz, start_s=0.5))
    loudness = rows.values[:, 0] if name == "mfcc" else rows.values.sum(1)
    heard = rows.times[loudness > loudness.min() + 0.1 * np.ptp(loudness)]
    half_a_step = 0.5 / float(extractor.specs[0].timebase.rate_hz)
    assert abs((heard[0] + heard[-1]) / 2 - 1.5) <= half_a_step + 1e-9


@pytest.mark.parametrize("name", FAMILIES)
def test_a_sound_shorter_than_a_window_is_an_error(name: str) -> None:
    extractor = loaded(name)
    rate_hz, window_s = extractor.card.rate_hz, extractor.specs[0].timebase.window_s
    with pytest.raises(MediaError, match="One row needs"):
        extractor.extract(sound(noise(int(window_s * rate_hz) - 1), rate_hz))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_mean_is_over_valid_rows(name: str) -> None:
    extractor, pooled = loaded(name), loaded(name, pooling="mean")
    rate_hz = extractor.card.rate_hz
    heard = sound(noise(rate_hz), rate_hz, gaps=((0.4, 0.5),))
    (rows,), (mean,) = extractor.extract(heard), pooled.extract(heard)
    expected = rows.values[rows.valid].mean(0, dtype=np.float64)
    np.testing.assert_allclose(mean.values[0], expected, rtol=1e-6, atol=1e-12)
    assert mean.times[0] == (rows.times[rows.valid][0] + rows.times[rows.valid][-1]) / 2
    assert pooled.specs[0].name.endswith("+mean")
    with pytest.raises(MediaError, match="touches a hole"):
        pooled.extract(sound(noise(rate_hz), rate_hz, gaps=((0.0, 1.0),)))


def test_only_the_end_of_a_clip_is_looked_at_where_asked_for() -> None:
    samples = noise(16_000)
    (rows,) = loaded("fbank", keep_last_s=0.25).extract(sound(samples, start_s=1.0))
    (expected,) = loaded("fbank").extract(sound(samples[-4000:], start_s=1.75))
    assert rows.values.tobytes() == expected.values.tobytes()
    assert np.array_equal(rows.times, expected.times)
    assert loaded("fbank", keep_last_s=0.25).specs[0].fingerprint != loaded("fbank").specs[0].fingerprint


def test_random_weights_and_seeds_change_nothing() -> None:
    plain = loaded("mfcc").specs[0]
    for settings in ({"weights": "random", "seed": 3}, {"precision": "bf16"}, {"dtype": "float16"}):
        spec = loaded("mfcc", **settings).specs[0]
        assert (spec.name, spec.fingerprint) == (plain.name, plain.fingerprint)
    assert spec.name == "mfcc.psf"


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"weights": "some/where"}, "without weights"),
        ({"layers": ("1",)}, "one output"),
        ({"pooling": "cls"}, "choice"),
    ],
)
def test_what_has_no_meaning_is_refused(settings: dict[str, Any], found: str) -> None:
    with pytest.raises(BadInput, match=found):
        loaded("fbank", **settings)


def test_sound_at_another_rate_is_refused() -> None:
    with pytest.raises(BadInput, match="8000 Hz was given"):
        loaded("mfcc").extract(sound(noise(8000), 8000))


def test_all_recipes_differ_and_state_their_numbers() -> None:
    specs = [loaded(name).specs[0] for name in NAMES]
    assert len({spec.fingerprint for spec in specs}) == len({spec.name for spec in specs}) == len(NAMES)
    for module in (mfcc, logmel, fbank, mel):
        for item in module.CARDS:
            step = loaded(item.name).specs[0].recipe.preprocessing[-1]
            shape = module.SHAPES[item.name]
            assert (step["window"], step["hop"], step["bands"]) == (shape.window, shape.step, shape.bands)


def test_neither_torch_nor_librosa_is_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys, numpy as np\n"
        "from cuebank.extractors.base import ExtractorSettings\n"
        "from cuebank.extractors.registry import load\n"
        "from cuebank.extractors.media.audio import Audio\n"
        "for name in ('mfcc', 'logmel', 'fbank', 'mel'):\n"
        "    one = load(name, ExtractorSettings())\n"
        "    one.extract(Audio(np.zeros(40000, np.float32), one.card.rate_hz, 0.0))\n"
        "print([m for m in ('torch', 'librosa', 'numba', 'scipy', 'transformers') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
