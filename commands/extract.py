"""`cuebank extract`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from .terminal import DEVICE, FAILED, INTERRUPTED, JSON, PATH, STORE, THREADS, Bar


@click.command()
@click.option(
    "--backbone", "backbones", required=True, multiple=True, help="Card name; `cuebank backbones` lists them."
)
@click.option("--clips", required=True, type=PATH, help="Clips table (CSV: clip_id, path, …).")
@STORE
@click.option(
    "--weights", help="Hub id, folder, checkpoint file, or `random`.  [default: the card's published weights]"
)
@click.option("--seed", default=0, show_default=True, help="Seed of `--weights random`.")
@click.option("--layer", "layers", multiple=True, help="Block 1…n or `last`; may be repeated.  [default: last]")
@click.option(
    "--pooling",
    type=click.Choice(["none", "mean"]),
    default="none",
    show_default=True,
    help="Over valid rows.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Of the forward.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="As stored.",
)
@click.option(
    "--codec",
    type=click.Choice(["none", "zstd", "blosc"]),
    default="none",
    show_default=True,
    help="Lossless compression of new feature sets; without it, they are memory-mapped.",
)
@click.option("--keep-last", "keep_last_s", type=float, help="Use only the last so many seconds of each clip's sound.")
@click.option("--overwrite", is_flag=True, help="Make series anew that are in the store already.")
@click.option("--decode-workers", type=click.IntRange(0), default=1, show_default=True, help="0: in this process.")
@click.option("--commit-every", "commit_every_s", type=float, default=5.0, show_default=True, help="Seconds.")
@click.option("--dry-run", is_flag=True, help="Count clips, hours and bytes, estimate the time, write nothing.")
@DEVICE
@THREADS
@JSON
def extract(as_json: bool, **options: Any) -> None:
    """Run frozen backbones over the clips of a table and keep their features in a store.

    Series that the store has already are skipped. A clip that fails is recorded with its reason and tried again by
    the next run; the exit code is then 1.

    \b
    Example:
      cuebank extract --backbone hubert --clips clips.csv --store features.zarr
    """
    from ..extractors.runner import extract as run

    options["layers"] = options["layers"] or ("last",)
    report = run(progress=Bar(quiet=as_json), **options)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        click.echo(report.to_text())
    sys.exit(INTERRUPTED if report.interrupted else FAILED if report.failed else 0)
