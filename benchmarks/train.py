"""How long it takes to train SEMPI's head from stored features, beside what it would take without a store.

    python benchmarks/train.py [--clips 3505] [--epochs 30] [--rounds 3] [--batch-sizes 8 64] [--json]

The head is that of SEMPI's published command (hidden 32, tanh, OpenFace 329 -> 64, fusion of 2,624) on frozen
features of all four inputs (1024 + 768 + 768 + 329, pooled, synthetic, seeded), 14 groups, 5 folds, without
early stopping.

- *command*: a whole `cuebank train-head` in a fresh process: start-up, reading, training, scores with intervals,
  report, pictures. Batch sizes take turns; medians of the rounds.
- *plain loop*: the same folds one after another with `loop.train_alone`, the readable reference, as
  `torch.optim.AdamW` is usually used. Measured for 1 and for 3 epochs after a warm-up; the difference is
  **extrapolated** to all epochs. Training only.
- *backbones each epoch*: HuBERT-base (random weights: the time is the same) over one batch of clips of 8.75 s,
  measured once and **extrapolated** to every clip that every epoch of every fold looks at. It is a lower bound:
  the video and text backbones, decoding, and the head itself are left out.

Targets on 2 cores: under 20 s at the published batch size 8, under 8 s at 64. The result goes to
`benchmarks/results/train_<device>.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import finish, footer, machine_with_torch

TARGETS = {8: 20.0, 64: 8.0}
DIMS = {
    "i3d.k400+mean": 1024,
    "hubert-base.ls960@last+mean": 768,
    "roberta-base.base+mean": 768,
    "openface.2+mean": 329,
}
GROUPS, FOLDS = 14, 5
CLIP_S = 8.75  # mean length of the published clips
# The plain loop, timed inside its process: training only, two numbers of epochs.
PLAIN = """
import sys, time
from cuebank.trainers.train_head import train_head
for epochs in (1, 1, 3):
    started = time.perf_counter()
    train_head("engagement", sys.argv[1], epochs=epochs, batch_size=int(sys.argv[2]), patience=0, fused=False,
               threads=int(sys.argv[3]) or None, device=sys.argv[4])
    print(time.perf_counter() - started)
"""


def make_store(path: Path, clips: int) -> None:
    """Fill a store with pooled features of a planted signal."""
    from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, Recipe

    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((clips, 4)).astype(np.float32)
    score = 0.4 * np.tanh(hidden.sum(1) / 2)
    ids = [f"meeting{i % GROUPS:02d}/clip{i:04d}" for i in range(clips)]
    with FeatureStore.open(path, "a") as store:
        for name, dim in DIMS.items():
            store.create(
                FeatureSpec(name, "numeric", dim, "float32", Recipe(name.split(".")[0], {"source": "synthetic"}))
            )
            values = hidden @ rng.standard_normal((4, dim)).astype(np.float32)
            values += 2 * rng.standard_normal((clips, dim), dtype=np.float32)
            for clip_id, row in zip(ids, values, strict=True):
                store.write(name, clip_id, None, row[None], [CLIP_S / 2], [True])
        rows = [
            Clip(clip_id, Path("deleted.mp4"), group_id=clip_id.split("/")[0], labels={"engagement": float(label)})
            for clip_id, label in zip(ids, score, strict=True)
        ]
        store.write_clips(ClipsTable(rows, {"engagement": "number"}))
        store.commit()


def run_command(store: Path, out: Path, batch_size: int, options: argparse.Namespace) -> tuple[float, dict[str, Any]]:
    """Time one whole `cuebank train-head`; return seconds and its report."""
    command = [sys.executable, "-m", "cuebank", "train-head", "--task", "engagement", "--store", str(store)]
    command += ["--out", str(out), "--epochs", str(options.epochs), "--patience", "0", "--folds", str(FOLDS)]
    command += ["--batch-size", str(batch_size), "--device", options.device, "--json"]
    if options.threads:
        command += ["--threads", str(options.threads)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return seconds, json.loads(done.stdout)


def plain_loop(store: Path, batch_size: int, options: argparse.Namespace) -> float:
    """Return the extrapolated seconds of the plain loop over all epochs and folds."""
    words = [str(store), str(batch_size), str(options.threads or 0), options.device]
    done = subprocess.run([sys.executable, "-c", PLAIN, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The plain loop ended with {done.returncode}:\n{done.stderr}")
    _, one, three = map(float, done.stdout.split())  # the first call also imports the optimiser's machinery
    return one + (options.epochs - 1) * (three - one) / 2


def backbone_batch(options: argparse.Namespace, clips: int = 8) -> float:
    """Return the seconds of HuBERT-base over one batch of clips, after a warm-up."""
    import torch

    from cuebank.extractors import ExtractorSettings, load
    from cuebank.extractors.media.audio import Audio

    if options.threads:
        torch.set_num_threads(options.threads)
    extractor = load("hubert-base", ExtractorSettings(weights="random", device=options.device))
    rng = np.random.default_rng(0)
    sounds = [
        Audio(rng.standard_normal(round(CLIP_S * 16_000)).astype(np.float32) * 0.1, 16_000, 0.0, ())
        for _ in range(clips)
    ]
    extractor.extract(sounds[0])
    started = time.perf_counter()
    for sound in sounds:
        extractor.extract(sound)
    return (time.perf_counter() - started) / clips


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything and put the numbers together."""
    about = machine_with_torch(options.threads, options.device, "numpy", "matplotlib")
    seconds: dict[int, list[float]] = {size: [] for size in options.batch_sizes}
    reports: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "features.zarr"
        make_store(store, options.clips)
        for number in range(options.rounds):
            for size in options.batch_sizes:
                spent, reports[size] = run_command(store, Path(name) / "out", size, options)
                seconds[size].append(spent)
                print(f"round {number + 1} of {options.rounds}: batch {size}: {spent:.2f} s", file=sys.stderr)
        plain = {size: plain_loop(store, size, options) for size in options.batch_sizes}
    splits = reports[options.batch_sizes[0]]["splits"]
    looked_at = options.epochs * sum(split["rows"]["train"] + split["rows"]["validation"] for split in splits)
    per_clip = backbone_batch(options)
    results = []
    for size in options.batch_sizes:
        median = statistics.median(seconds[size])
        results.append(
            {
                "batch_size": size,
                "command_s": round(median, 2),
                "all_command_s": [round(one, 2) for one in seconds[size]],
                "target_s": TARGETS.get(size),
                "training_s": reports[size]["seconds"],
                "plain_loop_s_extrapolated": round(plain[size], 1),
                "times_faster_than_backbones_each_epoch": round(per_clip * looked_at / median),
                "parameters": reports[size]["parameters"],
                "ccc": round(reports[size]["metrics"]["ccc"]["mean"], 4),
            }
        )
    return {
        "benchmark": "train",
        "n_clips": options.clips,
        "folds": FOLDS,
        "epochs": options.epochs,
        "rounds": options.rounds,
        "results": results,
        "backbone_s_per_clip": round(per_clip, 4),
        "clips_looked_at": looked_at,
        "backbones_each_epoch_s_extrapolated": round(per_clip * looked_at),
        **about,
    }


def to_text(result: dict[str, Any]) -> str:
    """A table for people."""
    lines = [f"{result['n_clips']} clips, {result['folds']} folds x {result['epochs']} epochs, whole command, medians"]
    lines.append(f"  {'batch':>6} {'command':>10} {'target':>8} {'plain loop*':>13} {'backbones each epoch**':>24}")
    hours = result["backbones_each_epoch_s_extrapolated"] / 3600
    for one in result["results"]:
        target = f"{one['target_s']:.0f} s" if one["target_s"] else ""
        missed = one["target_s"] and one["command_s"] > one["target_s"]
        rival = f"{hours:.0f} h, {one['times_faster_than_backbones_each_epoch']:,} x"
        lines.append(
            f"  {one['batch_size']:>6} {one['command_s']:>8.2f} s {target:>8} "
            f"{one['plain_loop_s_extrapolated']:>11.1f} s "
            f"{rival:>24}{'  MISSED' if missed else ''}"
        )
    lines.append("  *  training only, extrapolated from 1 and 3 epochs")
    lines.append(
        f"  ** extrapolated: HuBERT-base took {result['backbone_s_per_clip']:.3f} s a clip, "
        f"{result['clips_looked_at']:,} clips are looked at; video, text, decoding left out"
    )
    lines.append(f"  {footer(result)}")
    return "\n".join(lines)


def main() -> None:
    """Parse the options, measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=3505)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-save", action="store_true", help="do not write to benchmarks/results")
    options = parser.parse_args()
    result = measure(options)
    name = f"train_{options.device.replace(':', '-')}"
    finish(result, to_text(result), name, options.json, not options.no_save)


if __name__ == "__main__":
    main()
