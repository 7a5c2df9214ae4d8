"""How much of an extraction is spent in the model: the whole command against the bare forward passes.

    python benchmarks/extract.py [--backbone hubert-base] [--clips 24] [--seconds 8] [--rounds 3] [--json]

Both rivals run in fresh processes, in turns, on the same clips (stereo WAV at 44.1 kHz, lengths ±40 % around
`--seconds`, seeded noise) with the same number of threads and the same random weights.

- *command*: `cuebank extract … --json` from its start to its exit, less the time until its model is loaded (the Unix
  time at which it began with the first clip is in its report). Decoding, pooling, storing and the last commit count.
- *forward*: the sum of the bare forwards of the same network over the decoded waveforms in memory, after one warm-up
  pass; loading, decoding and storing do not count.

Target: ratio of medians at most 1.15 on CPU. The result goes to `benchmarks/results/extract_<precision>_<device>.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
from machine import finish, footer, machine_with_torch

TARGET = 1.15
FILE_RATE_HZ = 44_100


def make_clips(folder: Path, count: int, seconds: float) -> tuple[Path, float]:
    """Write the media and their table; return the table and the total length in seconds."""
    rng = np.random.default_rng(0)
    lines, total = ["clip_id,path"], 0
    for i in range(count):
        samples = round(seconds * rng.uniform(0.6, 1.4) * FILE_RATE_HZ)
        with wave.open(str(folder / f"{i:04d}.wav"), "wb") as file:
            file.setparams((2, 2, FILE_RATE_HZ, 0, "NONE", ""))
            file.writeframes((3000 * rng.standard_normal((samples, 2))).astype("<i2").tobytes())
        lines.append(f"{i:04d},{i:04d}.wav")
        total += samples
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "clips.csv", total / FILE_RATE_HZ


def run_command(table: Path, store: Path, options: argparse.Namespace) -> dict[str, float]:
    """Time one whole `cuebank extract`."""
    command = [sys.executable, "-m", "cuebank", "extract", "--backbone", options.backbone, "--weights", "random"]
    command += ["--clips", str(table), "--store", str(store), "--precision", options.precision]
    command += ["--device", options.device, "--json"]
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
        "whole_s": ended - started,
        "startup_s": began - started,
        "work_s": ended - began,
        "in_model_s": report["timings"]["model_s"],
    }


def run_forward(table: Path, options: argparse.Namespace) -> float:
    """Time the bare forwards in a process of their own."""
    command = [sys.executable, __file__, "--forward-only", str(table), "--backbone", options.backbone]
    command += ["--precision", options.precision, "--device", options.device, "--threads", str(options.threads or 0)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The bare forwards ended with {done.returncode}:\n{done.stderr}")
    return float(done.stdout)


def forward_only(table: Path, options: argparse.Namespace) -> float:
    """Seconds of bare forwards over all clips of the table, decoded beforehand."""
    import torch

    from cuebank.extractors import ExtractorSettings, load
    from cuebank.extractors.media import decode_audio
    from cuebank.extractors.networks import speech
    from cuebank.store import ClipsTable

    if options.threads:
        torch.set_num_threads(options.threads)
    settings = ExtractorSettings(weights="random", precision=options.precision, device=options.device)
    extractor: Any = load(options.backbone, settings)
    network, device = extractor._network, torch.device(options.device)
    waves = []
    for clip in ClipsTable.read_csv(table):
        wave_ = torch.from_numpy(decode_audio(clip.path, extractor.needs.sound_hz).samples.copy())
        waves.append((speech.normalise(wave_) if extractor._normalise else wave_)[None].to(device))

    def forward(wave_: Any) -> None:
        speech.hidden(network, wave_, [None])
        if device.type == "cuda":
            torch.cuda.synchronize()

    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"),
    ):
        forward(waves[0])
        started = time.perf_counter()
        for wave_ in waves:
            forward(wave_)
        return time.perf_counter() - started


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run both rivals in turns and compare their medians."""
    about = machine_with_torch(options.threads, options.device, "transformers", "numpy", "av", "zarr")
    commands, forwards = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table, total_s = make_clips(folder, options.clips, options.seconds)
        for number in range(options.rounds):
            forwards.append(run_forward(table, options))
            commands.append(run_command(table, folder / f"{number}.zarr", options))
            print(
                f"round {number + 1} of {options.rounds}: command {commands[-1]['work_s']:.2f} s after "
                f"{commands[-1]['startup_s']:.2f} s of start-up, forward {forwards[-1]:.2f} s",
                file=sys.stderr,
            )
    work = statistics.median(one["work_s"] for one in commands)
    forward = statistics.median(forwards)
    return {
        "benchmark": "extract",
        "backbone": options.backbone,
        "precision": options.precision,
        "n_clips": options.clips,
        "media_s": round(total_s, 2),
        "rounds": options.rounds,
        "command_s": round(work, 3),
        "forward_s": round(forward, 3),
        "ratio": round(work / forward, 4),
        "target": TARGET,
        "startup_s": round(statistics.median(one["startup_s"] for one in commands), 3),
        "in_model_s": round(statistics.median(one["in_model_s"] for one in commands), 3),
        "times_real_time": round(total_s / work, 2),
        "all_command_s": [round(one["work_s"], 3) for one in commands],
        "all_forward_s": [round(one, 3) for one in forwards],
        **about,
    }


def to_text(result: dict[str, Any]) -> str:
    """A table for people."""
    rows = [
        ("start-up (until the model is loaded)", result["startup_s"], ""),
        ("command, without start-up", result["command_s"], f"{result['times_real_time']:.1f} × real time"),
        ("  of which inside the model", result["in_model_s"], ""),
        ("bare forwards", result["forward_s"], ""),
    ]
    head = f"{result['backbone']}, {result['precision']}, {result['n_clips']} clips, {result['media_s']:.0f} s of sound"
    lines = [head, *(f"  {name:38} {seconds:8.2f} s  {note}" for name, seconds, note in rows)]
    verdict = "met" if result["ratio"] <= TARGET else "MISSED"
    lines.append(f"  ratio {result['ratio']:.3f} (target at most {TARGET}: {verdict}), median of {result['rounds']}")
    lines.append(f"  {footer(result)}")
    return "\n".join(lines)


def main() -> None:
    """Parse the options, measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="hubert-base")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-save", action="store_true", help="do not write to benchmarks/results")
    parser.add_argument("--forward-only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.forward_only:
        print(forward_only(options.forward_only, options))
        return
    result = measure(options)
    name = f"extract_{options.precision}_{options.device.replace(':', '-')}"
    finish(result, to_text(result), name, options.json, not options.no_save)


if __name__ == "__main__":
    main()
