"""`cuebank extract`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from .terminal import FAILED, INTERRUPTED, JSON, PATH, STORE, THREADS, Bar


@click.command()
@click.option(
    "--backbone", "backbones", required=True, multiple=True, help="Card name; `cuebank backbones` lists them."
)
@click.option("--clips", required=True, type=PATH, help="Clips table (CSV: clip_id, path, …).")
@STORE
@click.option(
    "--weights",
    multiple=True,
    help="Hub id, folder, checkpoint file, or `random`; BACKBONE=… for one of several.  "
    "[default: the card's published weights]",
)
@click.option("--seed", default=0, show_default=True, help="Seed of `--weights random`.")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    help="Block 1…n or `last`; may be repeated; BACKBONE=… for one of several.  [default: last]",
)
@click.option(
    "--pooling",
    multiple=True,
    help="`none`, `mean` over valid rows, or what the card lists; BACKBONE=… for one of several.  [default: none]",
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
@click.option("--rate", "rate_hz", help="Pictures per second, e.g. 25 or 30000/1001.  [default: the card's]")
@click.option("--slots", type=click.IntRange(1), help="So many pictures spread over each clip, instead of a rate.")
@click.option(
    "--slot-rule",
    type=click.Choice(["even", "viper", "sempi"]),
    default="even",
    show_default=True,
    help="How they are spread.",
)
@click.option(
    "--stride", "stride_s", type=float, help="Seconds between windows of pictures.  [default: the backbone's]"
)
@click.option("--window", type=click.IntRange(1), help="Pictures in each window.  [default: the backbone's]")
@click.option("--prompts", type=PATH, help="Text file, one prompt a line, for clip-prompts.  [default: 53 about faces]")
@click.option(
    "--text",
    help="Where roberta finds texts: `txt` (the file called like the medium, with .txt), `sempi` (its first line, "
    "which may be empty), `column:NAME` of the clips table, or `stored:FEATURE_SET` (transcripts, chosen prompts: what "
    "is in the store).  [default: txt]",
)
@click.option("--keep-last", "keep_last_s", type=float, help="Use only the last so many seconds of each clip's sound.")
@click.option("--overwrite", is_flag=True, help="Make series anew that are in the store already.")
@click.option("--decode-workers", type=click.IntRange(0), default=1, show_default=True, help="0: in this process.")
@click.option("--commit-every", "commit_every_s", type=float, default=5.0, show_default=True, help="Seconds.")
@click.option("--dry-run", is_flag=True, help="Count clips, hours and bytes, estimate the time, write nothing.")
@click.option(
    "--device", multiple=True, default=("cpu",), show_default=True, help="cpu, cuda or cuda:N; several share the clips."
)
@THREADS
@JSON
def extract(as_json: bool, **options: Any) -> None:
    """Run frozen backbones over the clips of a table and keep their features in a store.

    Series that the store has already are skipped. A clip that fails is recorded with its reason and tried again by
    the next run; the exit code is then 1.

    \b
    Example:
      cuebank extract --backbone hubert --clips clips.csv --store features.zarr
      cuebank extract --backbone hubert --backbone vit --layer hubert=9 --clips clips.csv --store features.zarr
    """
    from ..extractors.runner import extract as run

    names = options["backbones"]
    layers = by_backbone(options["layers"], names)
    options["layers"] = {name: values or ["last"] for name, values in layers.items()}
    options["pooling"] = _single(by_backbone(options["pooling"], names), "--pooling", "none")
    weights = _single(by_backbone(options["weights"], names), "--weights", None)
    shared = set(weights.values()) if not any("=" in item for item in options["weights"]) else set()
    options["weights"] = shared.pop() if len(shared) == 1 else weights
    report = run(progress=Bar(quiet=as_json), **options)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        click.echo(report.to_text())
    sys.exit(INTERRUPTED if report.interrupted else FAILED if report.failed else 0)


def by_backbone(given: tuple[str, ...], names: tuple[str, ...]) -> dict[str, list[str]]:
    """Return what was given for each backbone: for it alone as NAME=VALUE, else for all."""
    own: dict[str, list[str]] = {name: [] for name in names}
    common = []
    for item in given:
        name, equals, value = item.partition("=")
        if equals and name in own:
            own[name].append(value)
        else:
            common.append(item)
    return {name: values or common for name, values in own.items()}


def _single(given: dict[str, list[str]], option: str, default: str | None) -> dict[str, Any]:
    """Return the one value of each backbone."""
    if crowded := next((name for name, values in given.items() if len(values) > 1), None):
        raise click.UsageError(f"{option} was given {len(given[crowded])} times for {crowded}.")
    return {name: values[0] if values else default for name, values in given.items()}
