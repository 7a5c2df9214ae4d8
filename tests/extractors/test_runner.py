"""Extraction as a whole: what it writes, skips, retries, refuses and reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.extractors import extract
from cuebank.extractors.errors import WeightsError
from cuebank.store import BadInput, Clip, ClipsTable, Conflict, CuebankError, FeatureStore, NotFound
from cuebank.store.verify import verify

NAME = "hubert-tiny.random-0@last"


def run(clips: Any, store: Path, **options: Any) -> Any:
    return extract("hubert-tiny", clips, store, **{"weights": "random", "decode_workers": 0, **options})


def ids(store: Path, name: str = NAME) -> list[str]:
    with FeatureStore.open(store) as features:
        return sorted(item.clip_id for item in features.series(name))


class Recorder:
    """A progress that remembers, and may interrupt."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.notes: list[str] = []
        self.interrupt_after = interrupt_after

    def start(self, total: int, unit: str, what: str) -> None:
        self.calls.append(("start", total, unit, what))

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.notes.append(note)
        if len(self.notes) == self.interrupt_after:
            raise KeyboardInterrupt

    def close(self) -> None:
        self.calls.append(("close",))


def test_rows_of_every_clip_are_in_the_store_with_the_table_and_the_recipe(
    make_clips: Callable[..., ClipsTable], tmp_path: Path
) -> None:
    clips, store = make_clips(3), tmp_path / "f.zarr"
    report = run(clips, store)
    assert (report.done, report.skipped, report.failed, report.interrupted) == (3, 0, [], False)
    assert report.feature_sets == [NAME]
    assert json.loads(json.dumps(report.to_json()))["store"] == str(store)
    with FeatureStore.open(store) as features:
        assert features.clips() == clips
        series = features.read(NAME, "clip 001")
        assert series.values.shape == ((round(0.5 * 1.13 * 16000) - 400) // 320 + 1, 64)
        assert series.values.dtype == np.float16
        assert series.times[0] == 0.0125
        recipe = features.spec(NAME).recipe
        assert recipe.unhashed["device"] == "cpu"
        assert recipe.unhashed["threads"] == torch.get_num_threads()
        assert {"torch", "transformers", "av"} <= recipe.unhashed["versions"].keys()
    assert verify(store)["ok"]


def test_start_and_end_cut_the_clip_and_times_count_from_its_start(
    make_wav: Callable[..., Path], tmp_path: Path
) -> None:
    path, store = make_wav("a.wav", 4.0), tmp_path / "f.zarr"
    run(ClipsTable([Clip("part", path, None, 1.0, 2.0), Clip("whole", path)]), store, dtype="float32")
    with FeatureStore.open(store) as features:
        part = features.read(NAME, "part")
        assert (len(part.times), part.times[0]) == (49, 0.0125)
        assert len(features.read(NAME, "whole").times) == 199


def test_a_second_run_skips_what_is_there_and_overwrite_makes_it_anew(
    make_clips: Callable[..., ClipsTable], tmp_path: Path
) -> None:
    clips, store = make_clips(4), tmp_path / "f.zarr"
    run(ClipsTable(clips.clips[:2]), store)
    segments = lambda: sorted((store / NAME / "segments").iterdir())  # noqa: E731
    first = segments()
    report = run(clips, store)
    assert (report.done, report.skipped) == (2, 2)
    again = run(clips, store)
    assert (again.done, again.skipped) == (0, 4)
    kept = segments()
    assert set(first) < set(kept)
    assert (run(clips, store, overwrite=True).done, ids(store)) == (4, [c.clip_id for c in clips])
    assert {path.name for path in set(segments()) & set(kept)} == {"zarr.json"}  # the old ones' space is given back


def test_a_new_layer_is_added_without_touching_the_others(
    make_clips: Callable[..., ClipsTable], tmp_path: Path
) -> None:
    clips, store = make_clips(2), tmp_path / "f.zarr"
    run(clips, store)
    before = sorted((store / NAME / "segments").iterdir())
    report = run(clips, store, layers=("1", "last"))
    assert (report.done, report.skipped) == (2, 0)
    assert report.feature_sets == ["hubert-tiny.random-0@1", NAME]
    assert sorted((store / NAME / "segments").iterdir()) == before


def test_a_clip_that_fails_is_recorded_and_tried_again_while_the_others_go_on(
    make_clips: Callable[..., ClipsTable], make_wav: Callable[..., Path], tmp_path: Path
) -> None:
    store, bad = tmp_path / "f.zarr", tmp_path / "media" / "bad.wav"
    clips = ClipsTable([*make_clips(2), Clip("bad", bad), Clip("short", make_wav("short.wav", 0.02))])
    bad.write_text("this is not sound")
    progress = Recorder()
    report = run(clips, store, progress=progress)
    assert report.done == 2
    assert [failure.clip_id for failure in report.failed] == ["bad", "short"]
    assert "320 samples" in report.failed[1].reason
    assert progress.notes == ["clip 000", "clip 001", "bad FAILED", "short FAILED"]
    with FeatureStore.open(store) as features:
        assert [(f.clip_id, f.reason) for f in features.failures(NAME)] == [
            (failure.clip_id, failure.reason) for failure in report.failed
        ]
    make_wav("bad.wav", 0.5)
    again = run(clips, store)
    assert (again.done, again.skipped, len(again.failed)) == (1, 2, 1)
    assert "bad" in ids(store)


def test_values_too_large_for_float16_fail_with_the_remedy_which_works(
    make_clips: Callable[..., ClipsTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cuebank.extractors.backbones.speech import SpeechExtractor

    forward = SpeechExtractor._forward
    monkeypatch.setattr(SpeechExtractor, "_forward", lambda self, samples: [x * 1e6 for x in forward(self, samples)])
    clips = make_clips(2)
    report = run(clips, tmp_path / "half.zarr")
    assert report.done == 0
    assert all("--dtype float32" in failure.reason for failure in report.failed)
    assert run(clips, tmp_path / "single.zarr", dtype="float32").done == 2


def test_entities_that_share_a_clip_get_their_rows_from_one_forward(
    make_wav: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cuebank.extractors.backbones.speech import SpeechExtractor

    calls, forward = [], SpeechExtractor._forward
    monkeypatch.setattr(SpeechExtractor, "_forward", lambda self, s: calls.append(1) or forward(self, s))
    path, store = make_wav("a.wav", 0.5), tmp_path / "f.zarr"
    report = run(ClipsTable([Clip("c", path, f"p{i}") for i in range(4)]), store)
    assert (report.done, len(calls)) == (4, 1)
    with FeatureStore.open(store) as features:
        first, last = (features.read(NAME, "c", f"p{i}") for i in (0, 3))
        assert np.array_equal(first.values, last.values)


def test_several_backbones_and_pooling_go_into_one_store(make_clips: Callable[..., ClipsTable], tmp_path: Path) -> None:
    clips, store = make_clips(2), tmp_path / "f.zarr"
    report = extract(("hubert-tiny", "hubert-tiny-large"), clips, store, weights="random", pooling="mean", seed=3)
    assert report.done == 2
    assert report.feature_sets == ["hubert-tiny.random-3@last+mean", "hubert-tiny-large.random-3@last+mean"]
    with FeatureStore.open(store) as features:
        for name in report.feature_sets:
            assert features.read(name, "clip 000").values.shape == (1, 64)


def test_ids_are_data(make_wav: Callable[..., Path], tmp_path: Path) -> None:
    path, names = make_wav("a.wav", 0.1), ["../x", "/etc/passwd", "a\nb", "é日本", "x" * 300, "."]
    store = tmp_path / "f.zarr"
    assert run(ClipsTable([Clip(name, path) for name in names]), store).done == len(names)
    assert ids(store) == sorted(names)


def test_ctrl_c_commits_what_is_finished_and_the_same_call_completes_the_rest(
    make_clips: Callable[..., ClipsTable], tmp_path: Path
) -> None:
    clips, store = make_clips(6), tmp_path / "f.zarr"
    progress = Recorder(interrupt_after=3)
    report = run(clips, store, progress=progress, decode_workers=1, commit_every_s=60)
    assert (report.interrupted, report.done, report.left) == (True, 3, 3)
    assert "The same command goes on" in report.to_text()
    assert progress.calls[-1] == ("close",)
    assert ids(store) == ["clip 000", "clip 001", "clip 002"]
    again = run(clips, store)
    assert (again.interrupted, again.done, again.skipped) == (False, 3, 3)


def test_progress_is_told_the_total_at_once_and_each_clip_and_nothing_is_printed(
    make_clips: Callable[..., ClipsTable], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    progress = Recorder()
    run(make_clips(3), tmp_path / "f.zarr", progress=progress, decode_workers=1)
    assert progress.calls == [("start", 3, "clip", "hubert-tiny"), ("close",)]
    assert progress.notes == ["clip 000", "clip 001", "clip 002"]
    assert capfd.readouterr() == ("", "")


def test_a_mistake_in_the_code_is_not_swallowed_and_loses_nothing_finished(
    make_clips: Callable[..., ClipsTable], tmp_path: Path
) -> None:
    class Broken(Recorder):
        def advance(self, note: str = "", steps: int = 1) -> None:
            super().advance(note, steps)
            if len(self.notes) == 2:
                raise ZeroDivisionError

    store = tmp_path / "f.zarr"
    with pytest.raises(ZeroDivisionError):
        run(make_clips(4), store, progress=Broken(), decode_workers=1)
    assert ids(store) == ["clip 000", "clip 001"]


def test_threads_are_used_during_the_call_only_and_recorded(
    make_clips: Callable[..., ClipsTable], tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    run(make_clips(1), tmp_path / "f.zarr", threads=before + 2)
    assert torch.get_num_threads() == before
    with FeatureStore.open(tmp_path / "f.zarr") as features:
        assert features.spec(NAME).recipe.unhashed["threads"] == before + 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"pooling": "max"}, BadInput),
        ({"layers": ("7",)}, BadInput),
        ({"dtype": "int8"}, BadInput),
        ({"device": "cuda:99"}, BadInput),
        ({"decode_workers": -1}, BadInput),
        ({"commit_every_s": -1.0}, BadInput),
        ({"commit_every_s": float("nan")}, BadInput),
        ({"seed": -1}, BadInput),
        ({"keep_last_s": 0.0}, BadInput),
        ({"backbones": "hubert-huge"}, NotFound),
        ({"backbones": "./hubert.pt"}, BadInput),
        ({"backbones": ()}, BadInput),
        ({"backbones": ("hubert-tiny", "hubert-tiny")}, BadInput),
        ({"backbones": ("hubert-tiny", "hubert-tiny-large"), "weights": "model.pt"}, BadInput),
        ({"weights": {"hubert-base": "random"}}, BadInput),
        ({"weights": None}, WeightsError),
        ({"weights": "absent.pt"}, WeightsError),
    ],
    ids=str,
)
def test_options_that_cannot_be_used_are_refused_before_anything_is_written(
    make_clips: Callable[..., ClipsTable], tmp_path: Path, options: dict[str, Any], error: type[CuebankError]
) -> None:
    given = {"backbones": "hubert-tiny", "weights": "random", **options}
    with pytest.raises(error) as caught:
        extract(given.pop("backbones"), make_clips(1), tmp_path / "f.zarr", **given)
    assert caught.value.asked
    assert caught.value.todo
    assert sorted(path.name for path in tmp_path.iterdir()) == ["media"]


def test_a_table_with_mistakes_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text("clip_id,path\nx,absent.wav\nx,absent.wav\n")
    with pytest.raises(BadInput):
        run(table, tmp_path / "f.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["clips.csv"]


def test_another_recipe_under_a_used_name_is_refused_with_the_difference_and_changes_nothing(
    make_clips: Callable[..., ClipsTable], tmp_path: Path
) -> None:
    clips, store = make_clips(1), tmp_path / "f.zarr"
    run(clips, store)
    before = sorted(str(path) for path in store.rglob("*"))
    for options in ({"dtype": "float32"}, {"precision": "bf16"}, {"keep_last_s": 1.0}):
        for dry_run in (True, False):
            # The layer that would be new is not made either.
            with pytest.raises(Conflict, match="stored -> asked for"):
                run(clips, store, layers=("1", "last"), dry_run=dry_run, **options)
    assert sorted(str(path) for path in store.rglob("*")) == before


def test_weights_by_name_of_backbone_are_used(make_clips: Callable[..., ClipsTable], tmp_path: Path) -> None:
    report = extract(
        ("hubert-tiny", "hubert-tiny-large"),
        make_clips(1),
        tmp_path / "f.zarr",
        weights={"hubert-tiny": "random", "hubert-tiny-large": "random"},
    )
    assert report.done == 1
