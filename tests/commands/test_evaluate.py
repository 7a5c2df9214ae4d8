"""`cuebank evaluate` as a user meets it: what it prints and writes, exit codes, nothing heavy loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cuebank.cli import main
from cuebank.commands.evaluate import FORMS
from cuebank.trainers import evaluate as library

ROWS = "name,who,truth,guess\n" + "".join(f"n{i},w{i % 4},{i % 5},{i % 5 + i % 2 * 0.5}\n" for i in range(20))


@pytest.fixture
def cuebank():
    def run(*words, code: int = 0):
        done = CliRunner().invoke(main, ["evaluate", *map(str, words)])
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(ROWS)
    return path


def test_any_csv_is_scored_by_its_named_columns_and_written(cuebank, table, tmp_path):
    words = [table, "--id", "name", "--prediction", "guess", "--target", "truth", "--group", "who", "--metric", "mae"]
    assert "MAE 0.250" in " ".join(cuebank(*words).stdout.split())
    content = json.loads(cuebank(*words, "--json", "--out", tmp_path / "out", "--resamples", 20).stdout)
    assert content["metrics"]["mae"]["pooled"] == pytest.approx(0.25)
    assert (content["n"], content["groups"], content["grouped_by"]) == (20, 4, "who")
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == content
    assert f"Result: {tmp_path / 'out'}" in cuebank(*words, "--out", tmp_path / "out").stdout


def test_a_comparison_is_printed_with_its_p_values(cuebank, table, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(ROWS.replace(".5\n", ".9\n"))
    words = ["--id", "name", "--prediction", "guess", "--target", "truth", "--metric", "mae", "--against", other]
    text = cuebank(table, *words).stdout
    assert "p (bootstrap)" in text
    assert text.splitlines()[-1].startswith("Note: ")
    content = json.loads(cuebank(table, *words, "--json", "--seed", 3).stdout)
    assert content["against"]["metrics"]["mae"]["difference"] == pytest.approx(-0.2)


@pytest.mark.golden("asd_map")
def test_an_active_speaker_pair_prints_the_official_line(cuebank, golden_case):
    stem = golden_case.path.parent / f"{golden_case.name}_noties_{golden_case.letter}"
    words = [f"{stem}_pred.csv", "--truth", f"{stem}_gt.csv", "--format", "ava"]
    assert cuebank(*words).stdout.splitlines()[0] == golden_case.json()["cases"]["noties"]["printed"]
    content = json.loads(cuebank(*words, "--json").stdout)
    assert content["ava"]["all"]["percent"] == pytest.approx(golden_case.json()["cases"]["noties"]["value_percent"])
    cuebank(f"{stem}_gt.csv", "--truth", f"{stem}_gt.csv", "--format", "ava", code=1)


@pytest.mark.golden("asd_map")
def test_lists_of_videos_are_scored_together(cuebank, golden_case, tmp_path):
    stem = golden_case.path.parent / f"{golden_case.name}_noties_{golden_case.letter}"
    words = [f"{stem}_pred.csv", "--truth", f"{stem}_gt.csv", "--json", "--resamples", 0]
    videos = list(json.loads(cuebank(*words).stdout)["ava"]["videos"])
    (tmp_path / "all.txt").write_text("\n".join(videos) + "\n")
    parts = json.loads(cuebank(*words, "--videos", f"all={tmp_path / 'all.txt'}").stdout)["ava"]
    assert parts["parts"]["all"] == parts["all"]
    (tmp_path / "bad.txt").write_text("a,b\n")
    assert "line 1: a, b" in cuebank(*words, "--videos", f"bad={tmp_path / 'bad.txt'}", code=1).stderr
    cuebank(*words, "--videos", "no-equals-sign", code=2)


def test_bad_rows_end_with_one_message_their_lines_and_exit_code_1(cuebank, table, tmp_path):
    table.write_text(ROWS.replace("n7,w3,2,2.5", "n7,w3,2,nan"))
    done = cuebank(table, "--id", "name", "--prediction", "guess", "--target", "truth", "--metric", "mae", code=1)
    assert "line 9: 'nan'" in done.stderr
    assert done.stdout == ""
    assert "no such file" in cuebank(tmp_path / "none.csv", code=1).stderr
    assert "--prediction COLUMN" in cuebank(table, code=1).stderr


def test_wrong_usage_ends_with_exit_code_2(cuebank, table):
    for words in (["--format", "ava"], ["--format", "xml"], ["--resamples", "-1"], []):
        cuebank(*([table, *words] if words else []), code=2)


def test_the_forms_of_the_command_are_those_of_the_library():
    assert FORMS == library.FORMS


def test_scoring_loads_neither_torch_nor_the_store_nor_scikit_learn(table):
    words = ["evaluate", str(table), "--id", "name", "--prediction", "guess", "--target", "truth"]
    code = (
        "import sys; from cuebank.cli import main; main(sys.argv[1:], standalone_mode=False); "
        "print(*{'torch', 'sklearn', 'scipy', 'zarr', 'h5py', 'matplotlib'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
