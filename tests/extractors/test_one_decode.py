"""One decode per clip for all backbones; each feature set by itself; several devices; settings for all."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from film_maker import make_film

from cuebank.extractors import extract, registry
from cuebank.extractors.media.flash import make_flash_and_click, steady
from cuebank.extractors.media.stream import ClipStream
from cuebank.store import BadInput, Clip, ClipsTable, FeatureStore
from cuebank.store.verify import verify

OWN = str(Path(__file__).with_name("own_backbone.py"))
THREE = ("hubert-tiny", "i3d-tiny", OWN)


@pytest.fixture(autouse=True)
def forget_own() -> Iterator[None]:
    yield
    registry._files.clear()
    registry._families.cache_clear()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipsTable:
    folder = tmp_path_factory.mktemp("films")
    for number in range(4):
        make_flash_and_click(
            folder / f"{number}.mov", steady(Fraction(25), 2 + number / 4), 2 + number / 4, Fraction(1)
        )
    return ClipsTable(Clip(f"c{number}", folder / f"{number}.mov") for number in range(4))


@pytest.fixture
def tallies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the decoder says that each clip took."""
    told: list[Any] = []
    finish = ClipStream.finish

    def listen(stream: ClipStream, error: Any = None, tally: Any = None) -> None:
        told.append(tally)
        finish(stream, error, tally)

    monkeypatch.setattr(ClipStream, "finish", listen)
    return told


def contents(store: Path) -> dict[tuple[str, str], tuple[bytes, ...]]:
    with FeatureStore.open(store) as features:
        return {
            (name, item.clip_id): tuple(np.asarray(array).tobytes() for array in features.read(name, item.clip_id))
            for name in features.feature_sets()
            for item in features.series(name)
        }


def run(clips: ClipsTable, store: Path, backbones: Any = THREE, **options: Any) -> Any:
    return extract(backbones, clips, store, **{"weights": "random", "dtype": "float32", **options})


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_each_clip_is_opened_and_decoded_once_for_three_backbones(
    clips: ClipsTable, tmp_path: Path, tallies: list[Any], workers: int
) -> None:
    report = run(clips, tmp_path / "f.zarr", decode_workers=workers)
    assert (report.done, report.failed) == (4, [])
    assert len(contents(tmp_path / "f.zarr")) == 3 * 4
    assert len(tallies) == 4
    frames = sorted(tally.picture_frames for tally in tallies)
    assert frames == [50, 56, 62, 68]
    assert [tally.opened for tally in tallies] == [1] * 4
    assert sorted(tally.picture_packets for tally in tallies) == frames
    assert verify(tmp_path / "f.zarr")["ok"]


def test_slots_are_opened_once_too(clips: ClipsTable, tmp_path: Path, tallies: list[Any]) -> None:
    run(clips, tmp_path / "f.zarr", ("hubert-tiny", "i3d-tiny"), slots=16, slot_rule="sempi")
    assert [tally.opened for tally in tallies] == [1] * 4


def test_the_file_is_opened_once_by_the_operating_system_too(
    clips: ClipsTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    opened, truth = [], av.open
    monkeypatch.setattr(av, "open", lambda *args, **more: opened.append(args[0]) or truth(*args, **more))
    run(clips, tmp_path / "f.zarr", decode_workers=0)
    assert opened == [str(clip.path) for clip in clips]


def test_together_gives_the_same_bits_as_one_by_one(clips: ClipsTable, tmp_path: Path) -> None:
    run(clips, tmp_path / "all.zarr")
    for number, backbone in enumerate(THREE):
        run(clips, tmp_path / f"{number}.zarr", backbone, decode_workers=number % 2)
        one = contents(tmp_path / f"{number}.zarr")
        assert len(one) == 4
        assert one.items() <= contents(tmp_path / "all.zarr").items()


def test_failures_are_recorded_by_feature_set_and_only_they_are_tried_again(
    clips: ClipsTable, make_wav: Callable[..., Path], tmp_path: Path, tallies: list[Any]
) -> None:
    silent = make_film(tmp_path / "silent.mov", steady(Fraction(25), 2))
    blind = make_wav("blind.wav", 1.0)
    table = ClipsTable(
        [*clips.clips[:1], Clip("silent", silent), Clip("blind", blind), Clip("gone", tmp_path / "gone.mov")]
    )
    store = tmp_path / "f.zarr"
    report = run(table, store)
    assert report.done == 1
    reasons = {failure.clip_id: failure.reason for failure in report.failed}
    assert "no sound track" in reasons["silent"]
    assert "no picture track" in reasons["blind"]
    assert reasons["gone"].count("cannot be opened") == 1
    made = dict.fromkeys(contents(store), 0)
    hubert, i3d, colour = report.feature_sets
    assert {name for name, clip in made if clip == "silent"} == {i3d, colour}
    assert {name for name, clip in made if clip == "blind"} == {hubert}
    with FeatureStore.open(store) as features:
        assert {failure.clip_id for failure in features.failures(i3d)} == {"blind", "gone"}
    tallies.clear()
    assert run(table, store).skipped == 1
    again = {(tally.picture_packets, tally.sound_packets) for tally in tallies}
    assert again == {(0, 0)}  # nothing is decoded that is there already


def test_several_layers_come_from_one_forward(clips: ClipsTable, tmp_path: Path, tallies: list[Any]) -> None:
    report = run(clips, tmp_path / "f.zarr", layers={"hubert-tiny": ("1", "2", "last")})
    assert len(report.feature_sets) == 5
    assert len(contents(tmp_path / "f.zarr")) == 5 * 4
    assert [tally.opened for tally in tallies] == [1] * 4


def test_settings_by_name_are_for_that_backbone_only(clips: ClipsTable, tmp_path: Path) -> None:
    two = ("hubert-tiny", OWN)
    report = run(clips, tmp_path / "f.zarr", two, pooling={OWN: "mean"}, layers={"hubert-tiny": ("1",)})
    assert report.feature_sets == ["hubert-tiny.random-0@1", "colour.random-0@last+mean"]
    with pytest.raises(BadInput, match="i3d-tiny"):
        run(clips, tmp_path / "g.zarr", two, pooling={"i3d-tiny": "mean"})


def test_two_devices_share_the_clips_and_give_the_same_bits(
    clips: ClipsTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cuebank.extractors import runner

    threads, truth = set(), runner.process
    monkeypatch.setattr(runner, "process", lambda *args: threads.add(threading.get_ident()) or truth(*args))
    report = run(clips, tmp_path / "two.zarr", device=("cpu", "cpu:0"))
    assert report.done == 4
    assert threading.get_ident() not in threads
    run(clips, tmp_path / "one.zarr")
    assert contents(tmp_path / "two.zarr") == contents(tmp_path / "one.zarr")
    for device in ((), ("cpu", "cpu")):
        with pytest.raises(BadInput, match="each of them once"):
            run(clips, tmp_path / "x.zarr", device=device)


class Trouble:
    """A progress bar that raises when the second clip is finished."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error, self.seen = error, 0

    def start(self, total: int, unit: str, what: str) -> None: ...

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.seen += 1
        if self.seen == 2:
            raise self.error

    def close(self) -> None: ...


@pytest.mark.parametrize("device", ["cpu", ("cpu", "cpu:0")], ids=str)
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_defect_or_ctrl_c_ends_all_devices_and_loses_nothing_finished(
    clips: ClipsTable, tmp_path: Path, device: Any, error: type[BaseException]
) -> None:
    store = tmp_path / "f.zarr"
    if error is KeyboardInterrupt:
        assert run(clips, store, progress=Trouble(error), device=device).interrupted
    else:
        with pytest.raises(error):
            run(clips, store, progress=Trouble(error), device=device)
    assert len({clip for _, clip in contents(store)}) >= 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("decode", "device", "series"))]
    assert run(clips, store).done <= 2
    assert len(contents(store)) == 12


def test_bf16_is_for_all_and_recorded(clips: ClipsTable, tmp_path: Path) -> None:
    report = run(clips, tmp_path / "f.zarr", ("hubert-tiny", "i3d-tiny"), precision="bf16")
    run(clips, tmp_path / "g.zarr", ("hubert-tiny", "i3d-tiny"))
    with FeatureStore.open(tmp_path / "f.zarr") as half, FeatureStore.open(tmp_path / "g.zarr") as full:
        for name in report.feature_sets:
            assert half.spec(name).recipe.precision == "bf16"
            one, other = half.read(name, "c0").values, full.read(name, "c0").values
            assert 0 < np.abs(one - other).max() < 0.1 * np.abs(other).max()


@pytest.mark.parametrize(
    "options", [{}, {"rate_hz": "10"}, {"pooling": "mean"}, {"slots": 16}], ids=["rate", "slow", "mean", "slots"]
)
def test_a_dry_run_counts_the_rows_that_pictures_then_give(clips: ClipsTable, tmp_path: Path, options: Any) -> None:
    store = tmp_path / "f.zarr"
    backbones = ("hubert-tiny", "i3d-tiny") if "slots" in options else THREE
    estimate = run(clips, store, backbones, dry_run=True, **options).estimate
    assert not store.exists()
    assert estimate.clips == 4
    assert estimate.hours == pytest.approx(sum(2 + n / 4 for n in range(4)) / 3600, rel=0.02)
    run(clips, store, backbones, **options)
    with FeatureStore.open(store) as features:
        rows = sum(one.rows for one in features.coverage().values())
    assert estimate.rows == pytest.approx(rows, abs=4)
    assert 0 < estimate.seconds < 60


def test_a_dry_run_tells_what_lacks_pictures(make_wav: Callable[..., Path], tmp_path: Path) -> None:
    table = ClipsTable([Clip("blind", make_wav("blind.wav", 1.0))])
    report = run(table, tmp_path / "f.zarr", dry_run=True)
    assert "no picture track" in report.failed[0].reason
    assert run(table, tmp_path / "f.zarr", "hubert-tiny", dry_run=True).failed == []


def test_a_missing_library_is_told_before_anything_is_written(
    clips: ClipsTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match="opencv-python"):
        run(clips, tmp_path / "f.zarr", "i3d-tiny", slots=16, slot_rule="sempi")
    assert not (tmp_path / "f.zarr").exists()
