"""The installed command, as a user meets it: what it prints, what it writes, its exit codes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CUEBANK = Path(sys.executable).with_name("cuebank")
TINY = ("--backbone", "hubert-tiny", "--weights", "random", "--seed", "7")
FEATURES = "hubert-tiny.random-7@last"


def cuebank(
    *words: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [CUEBANK, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        timeout=240,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clips table over 3 meetings x 2 participants x 2 clips of one second."""
    from cuebank.extractors.media.synthetic import make_meetings

    folder = tmp_path_factory.mktemp("media")
    return make_meetings(folder, meetings=3, participants=2, clips_per_participant=2, duration_s=1.0, seed=1)


@pytest.fixture(scope="module")
def store(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "features.zarr"
    done = cuebank("extract", *TINY, "--clips", clips, "--store", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "engagement"
    done = cuebank("train-head", "--task", "engagement", "--store", store, "--out", out, "--folds", 3, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    return out


def test_help_answers_without_heavy_imports_and_names_every_command() -> None:
    help_text = cuebank("--help").stdout
    for command in ("extract", "train-head", "predict", "store", "backbones", "tasks", "heads", "demo"):
        assert command in help_text


@pytest.mark.parametrize("way", [[sys.executable, "-m", "cuebank"], [sys.executable, "CLI"]], ids=["module", "script"])
def test_the_command_also_runs_as_a_module_and_as_a_script(way: list[str], tmp_path: Path) -> None:
    script = Path(__file__).resolve().parent.parent / "cli.py"
    words = [str(script) if word == "CLI" else word for word in way]
    done = subprocess.run([*words, "--version"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "cuebank" in done.stdout


def test_extract_prints_one_json_object_with_the_fields_of_the_contract(clips: Path, tmp_path: Path) -> None:
    done = cuebank("extract", *TINY, "--clips", clips, "--store", tmp_path / "f.zarr", "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["done"], result["skipped"], result["failed"]) == (0, 12, 0, [])
    assert result["feature_sets"] == [FEATURES]
    assert Path(result["store"]).name == "f.zarr"


def test_a_second_run_skips_everything_and_overwrite_makes_it_anew(clips: Path, store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "features.zarr")
    again = json.loads(cuebank("extract", *TINY, "--clips", clips, "--store", copy, "--json").stdout)
    assert (again["done"], again["skipped"]) == (0, 12)
    anew = json.loads(cuebank("extract", *TINY, "--clips", clips, "--store", copy, "--json", "--overwrite").stdout)
    assert (anew["done"], anew["skipped"]) == (12, 0)
    assert json.loads(cuebank("store", "verify", copy, "--json").stdout)["ok"]


def test_a_failing_clip_is_recorded_and_the_exit_code_is_1(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("this is text")
    media = next((clips.parent).rglob("*.mp4"))
    (tmp_path / "clips.csv").write_text(f"clip_id,path\ngood,{media}\nbad,bad.mp4\n")
    done = cuebank("extract", *TINY, "--clips", tmp_path / "clips.csv", "--store", tmp_path / "f.zarr")
    assert done.returncode == 1
    assert "bad" in done.stdout
    listed = cuebank("store", "ls", tmp_path / "f.zarr", "--json").stdout.splitlines()
    rows = {row["clip_id"]: row for row in map(json.loads, listed)}
    assert rows["good"]["rows"] > 0
    assert rows["bad"]["failed"]


def test_a_dry_run_counts_and_writes_nothing(clips: Path, tmp_path: Path) -> None:
    done = cuebank("extract", *TINY, "--clips", clips, "--store", tmp_path / "f.zarr", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "12" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_store_info_tells_series_rows_dim_and_rate(store: Path) -> None:
    info = json.loads(cuebank("store", "info", store, "--json").stdout)
    one = info["feature_sets"][FEATURES]
    assert (one["kind"], one["series"], one["clips"], one["dim"], one["dtype"]) == ("numeric", 12, 12, 64, "float16")
    assert one["rate_hz"] == pytest.approx(50)
    assert one["rows"] == pytest.approx(12 * 49, abs=24)
    assert FEATURES in cuebank("store", "info", store).stdout


def test_store_verify_is_clean_and_then_names_the_damaged_series(store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "features.zarr")
    assert cuebank("store", "verify", copy).returncode == 0
    values = next(p for p in copy.rglob("values/*") if p.suffix != ".json")
    damaged = bytearray(values.read_bytes())
    damaged[10] ^= 1
    values.write_bytes(bytes(damaged))
    done = cuebank("store", "verify", copy, "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["ok"]) == (1, False)
    assert any(problem["feature_set"] == FEATURES and problem["clip_id"] for problem in result["problems"])


def test_train_head_works_with_the_media_deleted_and_writes_the_whole_report(
    clips: Path, store: Path, tmp_path: Path
) -> None:
    media = shutil.copytree(clips.parent, tmp_path / "media")
    copy = tmp_path / "f.zarr"
    assert cuebank("extract", *TINY, "--clips", media / clips.name, "--store", copy).returncode == 0
    shutil.rmtree(media)
    out = tmp_path / "report"
    done = cuebank(
        "train-head", "--task", "engagement", "--store", copy, "--out", out, "--folds", 3, "--epochs", 2, "--json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["task"] == "engagement"
    assert result["n"] == 12
    assert len(result["metrics"]["ccc"]["per_fold"]) == 3
    assert json.loads((out / "report.json").read_text()) == result
    for name in ("report.md", "predictions.csv", "learning_curves.png", "predictions.png"):
        assert (out / name).stat().st_size > 0
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {"clip_id", "entity_id", "fold", "label", "prediction"} <= rows[0].keys()


def test_predict_applies_a_head_to_another_store_and_refuses_other_features(
    clips: Path, store: Path, trained: Path, tmp_path: Path
) -> None:
    done = cuebank("predict", trained, "--store", store, "--out", tmp_path / "p.csv")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 13
    other = tmp_path / "other.zarr"
    words = ("--backbone", "hubert-tiny", "--weights", "random", "--seed", "8")
    assert cuebank("extract", *words, "--clips", clips, "--store", other).returncode == 0
    refused = cuebank("predict", trained, "--store", other, "--out", tmp_path / "q.csv")
    assert refused.returncode == 1
    assert not (tmp_path / "q.csv").exists()
    assert FEATURES in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("extract", "--backbone", "hubrt", "--clips", "CLIPS", "--store", "OUT"), 1, "hubert"),
        (("extract", *TINY, "--clips", "missing.csv", "--store", "OUT"), 1, "missing.csv"),
        (("extract", *TINY, "--clips", "CLIPS", "--store", "OUT", "--layer", "99"), 1, "99"),
        (("extract", "--backbone", "hubert-tiny", "--clips", "CLIPS", "--store", "OUT"), 1, "--weights"),
        (("extract", *TINY, "--clips", "CLIPS"), 2, "--store"),
        (("extract", *TINY, "--clips", "CLIPS", "--store", "OUT", "--device", "toaster"), 1, "toaster"),
        (("train-head", "--task", "engagment", "--store", "STORE"), 1, "engagement"),
        (("train-head", "--task", "engagement", "--store", "OUT"), 1, "OUT"),
        (("train-head", "--task", "engagement", "--store", "STORE", "--input", "audio"), 2, "NAME=VALUE"),
        (("train-head", "--task", "engagement", "--store", "STORE", "--target", "anger"), 1, "anger"),
        (("train-head", "--task", "engagement", "--store", "STORE", "--set", "hiden_size=3"), 1, "hidden_size"),
        (("train-head", "--task", "engagement", "--store", "STORE", "--folds", "9"), 1, "group"),
        (("predict", "nowhere", "--store", "STORE", "--out", "OUT"), 1, "nowhere"),
        (("store", "info", "nowhere.zarr"), 1, "nowhere.zarr"),
        (("store", "ls", "STORE", "--feature-set", "hubert-tiny.random-8@last"), 1, FEATURES),
        (("store", "verify", "nowhere.zarr"), 1, "nowhere.zarr"),
    ],
    ids=lambda v: " ".join(v[:6:1]) if isinstance(v, tuple) else "",
)
def test_a_mistake_gets_a_clear_message_the_right_exit_code_and_writes_nothing(
    words: tuple[str, ...], code: int, expected: str, clips: Path, store: Path, tmp_path: Path
) -> None:
    known = {"CLIPS": str(clips), "STORE": str(store), "OUT": str(tmp_path / "OUT")}
    done = cuebank(*(known.get(word, word) for word in words), cwd=tmp_path, env={"HF_HUB_OFFLINE": "1"})
    assert (done.returncode, expected in done.stderr) == (code, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_commits_what_is_finished_and_says_how_to_go_on(clips: Path, tmp_path: Path) -> None:
    media = sorted(clips.parent.rglob("*.mp4"))
    table = tmp_path / "clips.csv"
    # A start of its own for each clip: clips that share a stretch would share the work and be done too soon.
    rows = (f"c{i},{media[i % len(media)]},{i / 1e5}\n" for i in range(3000))
    table.write_text("clip_id,path,start\n" + "".join(rows))
    store = tmp_path / "f.zarr"
    running = subprocess.Popen(
        [CUEBANK, "extract", *TINY, "--clips", table, "--store", store, "--commit-every", "0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(store.glob("hubert*/segments/*-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert "The same command goes on" in out + err
    result = json.loads(cuebank("store", "verify", store, "--json").stdout)
    assert result["ok"]
    assert 0 < result["series"] < 3000


def test_a_missing_extra_answers_with_the_line_that_installs_it(clips: Path, tmp_path: Path) -> None:
    block = tmp_path / "block"
    block.mkdir()
    (block / "sitecustomize.py").write_text("import sys\nsys.modules['transformers'] = None\n")
    done = cuebank("extract", *TINY, "--clips", clips, "--store", tmp_path / "f.zarr", env={"PYTHONPATH": str(block)})
    assert done.returncode == 1
    assert 'pip install "cuebank[hf]"' in done.stderr
    assert not (tmp_path / "f.zarr").exists()


def test_listings_are_tables_for_people_and_json_for_programs() -> None:
    for command, name in (("backbones", "hubert-base"), ("tasks", "engagement"), ("heads", "mlp")):
        assert name in cuebank(command).stdout
        assert name in [item["name"] for item in json.loads(cuebank(command, "--json").stdout)]


@pytest.fixture
def tiny_demo(tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    return lambda: cuebank("demo", "--out", tmp_path / "out", "--backbone", "hubert-tiny")


def test_demo_goes_the_whole_way_and_says_that_its_score_means_nothing(
    tiny_demo: Callable[[], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = tiny_demo()
    assert done.returncode == 0, done.stderr
    assert "says nothing about engagement" in done.stdout
    assert (tmp_path / "out" / "report" / "predictions.png").stat().st_size > 0
    (tmp_path / "out" / ".cuebank-demo").unlink()
    refused = tiny_demo()
    assert refused.returncode == 1
    assert "--out" in refused.stderr
