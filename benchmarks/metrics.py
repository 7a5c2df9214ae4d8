"""How long it takes to score active-speaker predictions of UniTalk's size, beside the protocol written plainly.

    python benchmarks/metrics.py [--rows 4000000] [--plain-rows 400000] [--rounds 3] [--json]

Two made-up CSV files in UniTalk's form: tracks of 80 faces at 25 Hz, 25 videos, scores with two to six decimals (so
that some are tied), predictions in random order.

- *command*: a whole `cuebank evaluate … --format ava` in a fresh process: start-up, reading both files, matching rows,
  boxes, the score with its bounds over tie orders, and the score of each video. Wall time and the most memory that the
  process ever had; the median time and the largest memory of the rounds.
- *without pyarrow*: the same, as where the extra `table` is not installed.
- *plain*: the protocol as it reads, with Python's csv module and dictionaries, no library, once. It runs on a part of
  the rows and is **extrapolated** to all (it is linear but for a sort, so this flatters it). It has neither bounds nor
  videos. Both must give the same score on that part.

Targets on 2 cores: under 10 s and 2 GB. The result goes to `benchmarks/results/metrics_cpu.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import finish, footer, machine

TARGET_S, TARGET_MIB = 10.0, 2000 * 1e6 / 2**20
TRACK, VIDEOS = 80, 25
HEADER = "video_id,frame_timestamp,entity_box_x1,entity_box_y1,entity_box_x2,entity_box_y2,label,entity_id"
COMMAND = "import sys; from cuebank.cli import main; main(sys.argv[1:])"
WITHOUT = "import sys; sys.modules['pyarrow'] = None; from cuebank.cli import main; main(sys.argv[1:])"
PLAIN = """
import csv, sys
def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = {}
        for row in csv.DictReader(file):
            uid = f"{float(row['frame_timestamp'])}:{row['entity_id']}"
            if uid in rows:
                sys.exit(f"{uid} is there twice")
            box = [float(row[f"entity_box_{corner}"]) for corner in ("x1", "y1", "x2", "y2")]
            rows[uid] = box, row["label"], float(row.get("score") or 0)
    return rows
found, known = read(sys.argv[1]), read(sys.argv[2])
if len(found) != len(known):
    sys.exit("not the same number of unique rows")
joined = []
for uid, (box, label, _) in known.items():
    if uid in found:
        other, _, score = found[uid]
        if any(abs(a - b) > 1e-9 for a, b in zip(box, other)):
            sys.exit(f"boxes differ at {uid}")
        joined.append((score, label == "SPEAKING_AUDIBLE"))
joined.sort(key=lambda row: -row[0])
positives, hits, precision, recall = sum(y for _, y in joined), 0, [0.0], [0.0]
for i, (_, y) in enumerate(joined):
    hits += y
    precision.append(hits / (i + 1))
    recall.append(hits / positives)
precision.append(0.0); recall.append(1.0)
for i in reversed(range(len(precision) - 1)):
    precision[i] = max(precision[i], precision[i + 1])
print(sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall))))
"""


def make_files(folder: Path, rows: int, name: str) -> tuple[Path, Path]:
    """Write predictions and ground truth of so many rows; return their paths."""
    rng = np.random.default_rng(0)
    tracks = rows // TRACK
    start = rng.integers(0, 50_000, size=tracks)
    boxes = rng.random((tracks * TRACK, 4)).round(6)
    speaking = rng.random(tracks * TRACK) < 0.4
    scores = np.clip(0.3 * speaking + 0.7 * rng.random(tracks * TRACK), 0, 1)
    decimals = rng.integers(2, 7, size=tracks * TRACK)
    lines = []
    for track in range(tracks):
        video = f"video{track * VIDEOS // tracks:06d}"
        for k in range(TRACK):
            row = track * TRACK + k
            box = ",".join(f"{value:.6f}" for value in boxes[row])
            lines.append(f"{video},{(start[track] + 4 * k) / 100:.2f},{box},%s,{video}:{track}")
    truth, predictions = folder / f"{name}_truth.csv", folder / f"{name}_predictions.csv"
    with truth.open("w", encoding="utf-8") as file:
        file.write(f"{HEADER},label_id,instance_id\n")
        for line, on in zip(lines, speaking, strict=True):
            label = "SPEAKING_AUDIBLE" if on else "NOT_SPEAKING"
            file.write(f"{line % label},{int(on)},{line.rsplit(',', 1)[1]}:0\n")
    with predictions.open("w", encoding="utf-8") as file:
        file.write(f"{HEADER},score\n")
        for row in rng.permutation(len(lines)):
            file.write(f"{lines[row] % 'SPEAKING_AUDIBLE'},{scores[row]:.{decimals[row]}f}\n")
    return predictions, truth


def run_fresh(code: str, *words: object) -> tuple[dict[str, float], str]:
    """Run Python code in a fresh process; return wall and CPU seconds, the most memory in MiB, and what it printed."""
    with tempfile.TemporaryFile() as out:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{words} ended with {process.returncode}")
        out.seek(0)
        used = {"s": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024}
        return used, out.read().decode()


def score(code: str, files: tuple[Path, Path]) -> tuple[dict[str, float], dict[str, Any]]:
    """Run the command on a pair of files; return what it used, and the official score with its bounds."""
    predictions, truth = files
    words = ["evaluate", predictions, "--truth", truth, "--format", "ava", "--resamples", 0, "--json"]
    used, text = run_fresh(code, *words)
    return used, json.loads(text)["ava"]["all"]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything and put the numbers together."""
    about = machine("numpy", "pyarrow", "click")
    with tempfile.TemporaryDirectory() as name:
        whole = make_files(Path(name), options.rows, "whole")
        part = make_files(Path(name), options.plain_rows, "part")
        for path in (*whole, *part):
            path.read_bytes()  # into the page cache
        rounds = []
        for number in range(options.rounds):
            rounds.append(score(COMMAND, whole))
            print(f"round {number + 1} of {options.rounds}: {rounds[-1][0]['s']:.2f} s", file=sys.stderr)
        without, slow = score(WITHOUT, whole)
        plain, text = run_fresh(PLAIN, *part)
        _, same = score(COMMAND, part)
    fast = rounds[0][1]
    if abs(float(text) - same["map_ava"]) > 1e-12 or slow != fast:
        sys.exit(f"The scores differ: plain {text.strip()}, cuebank {same}; without pyarrow {slow}, with {fast}")
    times = fast["rows"] / same["rows"]
    used = {name: [one[name] for one, _ in rounds] for name in rounds[0][0]}
    return {
        "benchmark": "metrics",
        "rows": fast["rows"],
        "rounds": options.rounds,
        "command_s": round(statistics.median(used["s"]), 2),
        "all_command_s": [round(one, 2) for one in used["s"]],
        "command_cpu_s": round(statistics.median(used["cpu_s"]), 2),
        "target_s": TARGET_S,
        "command_mib": round(max(used["mib"])),
        "target_mib": round(TARGET_MIB),
        "without_pyarrow_s": round(without["s"], 2),
        "without_pyarrow_cpu_s": round(without["cpu_s"], 2),
        "without_pyarrow_mib": round(without["mib"]),
        "plain_rows": same["rows"],
        "plain_s": round(plain["s"], 2),
        "plain_mib": round(plain["mib"]),
        "plain_s_extrapolated": round(plain["s"] * times, 1),
        "plain_cpu_s_extrapolated": round(plain["cpu_s"] * times, 1),
        "plain_mib_extrapolated": round(plain["mib"] * times),
        "map_ava": fast,
        **about,
    }


def to_text(result: dict[str, Any]) -> str:
    """A table for people."""
    missed = result["command_s"] > result["target_s"] or result["command_mib"] > result["target_mib"]
    score = result["map_ava"]
    rows = [
        ("cuebank evaluate", "command", "", "MISSED" if missed else ""),
        ("  without pyarrow", "without_pyarrow", "", ""),
        ("plain, no bounds *", "plain", "_extrapolated", ""),
    ]
    lines = [f"{result['rows']:,} rows, two CSV files to the score with its tie bounds, whole command"]
    lines.append(f"  {'':<20} {'wall':>10} {'CPU':>10} {'memory':>11}")
    for name, key, end, mark in rows:
        wall, cpu, memory = (result[f"{key}_{what}{end}"] for what in ("s", "cpu_s", "mib"))
        lines.append(f"  {name:<20} {wall:>8.2f} s {cpu:>8.2f} s {memory:>7} MiB  {mark}".rstrip())
    lines.append(f"  {'target':<20} {result['target_s']:>8.2f} s {'':>10} {result['target_mib']:>7} MiB")
    lines.append(f"  * extrapolated from {result['plain_rows']:,} rows: {result['plain_s']:.2f} s; equal scores there")
    low, high = score["lowest_tie_order"], score["highest_tie_order"]
    lines.append(f"  mAP {score['map_ava']:.6f}, over tie orders {low:.6f} to {high:.6f}")
    lines.append(f"  {footer(result)}")
    return "\n".join(lines)


def main() -> None:
    """Parse the options, measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--plain-rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-save", action="store_true", help="do not write to benchmarks/results")
    options = parser.parse_args()
    result = measure(options)
    finish(result, to_text(result), "metrics_cpu", options.json, not options.no_save)


if __name__ == "__main__":
    main()
