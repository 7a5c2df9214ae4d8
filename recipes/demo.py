"""The main job on media that cuebank makes itself: clips → HuBERT features → store → engagement head → report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..store.errors import Conflict

# 54 clips, 2 minutes of sound: a base-sized model takes about a minute for them on 2 cores.
MEETINGS, PARTICIPANTS, CLIPS, DURATION_S = 6, 3, 3, 2.5
FOLDS = 3  # two meetings each
INTERRUPTED = 130  # exit code: 128 + SIGINT
MARK = ".cuebank-demo"  # only a folder with this file is ever made anew


def demo(
    out: Path,
    backbone: str,
    weights: str,
    seed: int,
    device: str,
    progress: Callable[[], Any],
    echo: Callable[[str], None],
) -> int:
    """Make clips, extract, train, report.

    Args:
        out: folder to write; replaced if an earlier demo made it.
        backbone: card of an audio backbone.
        weights: as for `extract`; `random` by default.
        seed: of the media and of random weights.
        device: `cpu` or `cuda`.
        progress: makes a progress bar for each step that takes time.
        echo: prints a line.

    Returns:
        The exit code: 0, 1 if a clip failed, 130 after Ctrl-C.

    Raises:
        Conflict: if `out` exists and is not the output of an earlier demo.
    """
    from ..extractors.media.synthetic import make_meetings
    from ..extractors.runner import extract
    from ..trainers.train_head import train_head

    started = time.monotonic()
    _fresh_folder(out)
    echo(f"1. Clips: {MEETINGS} meetings, {PARTICIPANTS} participants each, {CLIPS} clips of {DURATION_S:g} s each.")
    clips = make_meetings(
        out / "media",
        meetings=MEETINGS,
        participants=PARTICIPANTS,
        clips_per_participant=CLIPS,
        duration_s=DURATION_S,
        seed=seed,
    )
    echo(f"2. Features: {backbone}, weights {weights}.")
    store = out / "features.zarr"
    extraction = extract(
        (backbone,), clips, store, weights=weights, seed=seed, pooling="none", device=device, progress=progress()
    )
    echo(extraction.to_text())
    if extraction.interrupted:
        return INTERRUPTED
    echo("3. Head: engagement, folds that never split a meeting.")
    report = train_head("engagement", store, out=out / "report", folds=FOLDS, device=device, progress=progress())
    echo(report.to_text())
    echo(f"Report: {out / 'report'} (report.json, report.md, predictions.csv, predictions.png, learning_curves.png)")
    echo(f"Store: {store} (try: cuebank store info {store})")
    if weights == "random":
        echo("The weights are random: this score says nothing about engagement. Real ones: cuebank demo --weights ID.")
    else:
        echo("The clips are synthetic: this score says nothing about engagement of real people.")
    echo(f"Done in {time.monotonic() - started:.0f} s.")
    return 1 if extraction.failed else 0


def _fresh_folder(out: Path) -> None:
    """Make `out` anew; refuse to touch a folder that no demo made."""
    if out.exists():
        if not (out / MARK).is_file():
            raise Conflict(
                f"The demo was to write to `{out}`.",
                "That exists already and was not made by the demo.",
                "Choose another folder with --out.",
            )
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / MARK).touch()
