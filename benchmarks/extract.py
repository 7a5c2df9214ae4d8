"""How much of an extraction is spent in the models: the whole command against the bare forward passes.

    python benchmarks/extract.py [--backbone NAME]... [--clips 12] [--seconds 6] [--rounds 3] [--loop] [--bf16] [--json]

Everything runs in fresh processes, in turns, on the same films (480 x 360 at 25 frames a second with stereo sound at
44.1 kHz, lengths ±40 % around `--seconds`, seeded) with the same number of threads and the same random weights.

- *command*: `cuebank extract … --json` from its start to its exit, less the time until its models are loaded (the Unix
  time at which it began with the first clip is in its report). Decoding, pooling, storing and the last commit count.
- *forwards*: the bare forwards of the same networks over inputs in memory; loading, decoding, preparing and storing do
  not count.
- *loop* (`--loop`, once): how published scripts go about it; see `forwards.py`. Without start-up, too.
- *bf16* (`--bf16`, once): the command with `--precision bf16`, its speed, and how far its features are from those in
  fp32: the largest difference, and the root of the mean square of all, as shares of the same measure of the fp32 ones.

Without `--backbone`: HuBERT, I3D and ViT, each alone and then all three in one command. Targets: ratio of medians at
most 1.15 alone, 1.2 for several. The result goes to `benchmarks/results/extract_<precision>_<device>.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from films import make_clips
from machine import finish, footer, in_fresh_process, machine_with_torch

from cuebank.store import FeatureStore

USUAL = ("hubert-base", "i3d", "vit-base-patch16-224-in21k")
ALONE, TOGETHER = 1.15, 1.2


def run_command(table: Path, store: Path, backbones: Sequence[str], options: argparse.Namespace) -> dict[str, float]:
    """Time one whole `cuebank extract`."""
    command = [sys.executable, "-m", "cuebank", "extract", "--weights", "random", "--clips", str(table)]
    command += [word for name in backbones for word in ("--backbone", name)]
    command += ["--store", str(store), "--precision", options.precision, "--device", options.device, "--json"]
    if options.threads:
        command += ["--threads", str(options.threads)]
    started = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ended = time.time()
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    report = json.loads(done.stdout)
    if report["done"] != options.clips:
        sys.exit(f"Only {report['done']} of {options.clips} clips were extracted: {report['failed'][:1]}")
    began = report["timings"]["began_at"]
    return {
        "startup_s": began - started,
        "work_s": ended - began,
        "in_model_s": report["timings"]["model_s"],
    }


def beside(what: str, table: Path, backbones: Sequence[str], options: argparse.Namespace) -> dict[str, float]:
    """Time `forwards` or `loop` in a process of its own."""
    script = str(Path(__file__).with_name("forwards.py"))
    seconds: dict[str, float] = in_fresh_process(
        script, what, table, options.precision, options.device, options.threads, *backbones
    )
    return seconds


def measure_one(folder: Path, table: Path, backbones: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Compare the command for some backbones with their forwards, in turns."""
    commands, forwards = [], []
    for number in range(options.rounds):
        forwards.append(sum(beside("forwards", table, backbones, options).values()))
        store = folder / f"{'-'.join(backbones)}-{number}.zarr"
        commands.append(run_command(table, store, backbones, options))
        print(
            f"{' + '.join(backbones)}, round {number + 1} of {options.rounds}: command {commands[-1]['work_s']:.2f} s "
            f"after {commands[-1]['startup_s']:.2f} s of start-up, forwards {forwards[-1]:.2f} s",
            file=sys.stderr,
        )
    work, forward = statistics.median(one["work_s"] for one in commands), statistics.median(forwards)
    result: dict[str, Any] = {
        "backbones": list(backbones),
        "command_s": round(work, 3),
        "forwards_s": round(forward, 3),
        "ratio": round(work / forward, 4),
        "target": ALONE if len(backbones) == 1 else TOGETHER,
        "startup_s": round(statistics.median(one["startup_s"] for one in commands), 3),
        "in_model_s": round(statistics.median(one["in_model_s"] for one in commands), 3),
        "all_command_s": [round(one["work_s"], 3) for one in commands],
        "all_forwards_s": [round(one, 3) for one in forwards],
    }
    if options.loop:
        result["loop_s"] = round(sum(beside("loop", table, backbones, options).values()), 3)
    if options.bf16 and len(backbones) == 1:
        other = argparse.Namespace(**{**vars(options), "precision": "bf16"})
        bf16 = run_command(table, folder / f"{backbones[0]}-bf16.zarr", backbones, other)
        result["bf16"] = {
            "command_s": round(bf16["work_s"], 3),
            **difference(store, folder / f"{backbones[0]}-bf16.zarr"),
        }
    return result


def difference(one: Path, other: Path) -> dict[str, float]:
    """Say how far the features of a store are from those of the first."""
    largest, farthest, square, off = 0.0, 0.0, 0.0, 0.0
    with FeatureStore.open(one) as fp32, FeatureStore.open(other) as bf16:
        for name in fp32.feature_sets():
            for clip_id, entity_id, _ in fp32.series(name):
                a, b = (store.read(name, clip_id, entity_id).values.astype(np.float64) for store in (fp32, bf16))
                largest, farthest = max(largest, np.abs(a).max()), max(farthest, np.abs(a - b).max())
                square, off = square + (a**2).sum(), off + ((a - b) ** 2).sum()
    return {"largest_difference": round(farthest / largest, 6), "rms_difference": round((off / square) ** 0.5, 6)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all comparisons."""
    about = machine_with_torch(options.threads, options.device, "transformers", "numpy", "av", "zarr")
    asked = [[name] for name in options.backbone or USUAL]
    if len(asked) > 1:
        asked.append([name for (name,) in asked])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table, total_s = make_clips(folder, options.clips, options.seconds)
        made = [measure_one(folder, table, backbones, options) for backbones in asked]
    return {
        "benchmark": "extract",
        "precision": options.precision,
        "n_clips": options.clips,
        "media_s": round(total_s, 2),
        "rounds": options.rounds,
        "commands": made,
        **about,
    }


def to_text(result: dict[str, Any]) -> str:
    """A table for people."""
    lines = [
        f"{result['precision']}, {result['n_clips']} films, {result['media_s']:.0f} s, medians of {result['rounds']}",
        f"  {'seconds':<34} {'start-up':>9} {'command':>9} {'in models':>9} {'forwards':>9} {'ratio':>7}  at most",
    ]
    for one in result["commands"]:
        verdict = "" if one["ratio"] <= one["target"] else "  MISSED"
        lines.append(
            f"  {' + '.join(name.split('-')[0] for name in one['backbones']):<34} {one['startup_s']:>9.2f} "
            f"{one['command_s']:>9.2f} {one['in_model_s']:>9.2f} {one['forwards_s']:>9.2f} {one['ratio']:>7.3f} "
            f"{one['target']:>8}{verdict}"
        )
        if "loop_s" in one:
            lines.append(
                f"    a plain loop over clips: {one['loop_s']:.2f} s, {one['loop_s'] / one['command_s']:.2f} x"
            )
        if "bf16" in one:
            bf16 = one["bf16"]
            lines.append(
                f"    bf16: {bf16['command_s']:.2f} s; differs from fp32 by {bf16['largest_difference']:.2%} of the "
                f"largest value at most, {bf16['rms_difference']:.2%} in the mean square"
            )
    return "\n".join([*lines, f"  {footer(result)}"])


def main() -> None:
    """Parse the options, measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", action="append", help="repeatable; several are measured together, too")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--loop", action="store_true", help="time the plain loop over clips, too")
    parser.add_argument("--bf16", action="store_true", help="compare with bf16, too")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-save", action="store_true", help="do not write to benchmarks/results")
    options = parser.parse_args()
    result = measure(options)
    name = f"extract_{options.precision}_{options.device.replace(':', '-')}"
    finish(result, to_text(result), name, options.json, not options.no_save)


if __name__ == "__main__":
    main()
