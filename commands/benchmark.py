"""`cuebank benchmark`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from .terminal import DEVICE, FAILED, JSON, PATH, STORE, Bar, pairs
from .train import CONTROL, MEMORY


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Turn `0,1,2` into numbers; anything else is wrong usage."""
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no list of whole numbers, such as 0,1,2.") from error


@click.command()
@click.option("--task", required=True, help="`cuebank tasks` lists them; or a TOML file of your own.")
@STORE
@click.option("--out", type=PATH, help="Folder of the leaderboard.  [default: benchmarks/<task>]")
@click.option(
    "--heads", default="", help="Names with commas between them; `cuebank heads` lists them.  [default: the task's]"
)
@click.option(
    "--features",
    multiple=True,
    metavar="NAME[,NAME]",
    help="A mix of feature sets; may be repeated. ROLE=NAME where roles are not clear.  [default: those that fit the "
    "task]",
)
@click.option("--seeds", default="0", show_default=True, callback=_numbers, help="With commas between them.")
@click.option("--set", "settings", multiple=True, metavar="HEAD.NAME=VALUE", help="A setting of a head.")
@click.option("--target", help="Label column, or several with commas between them.  [default: the task's]")
@click.option("--labels", help="Label set, for tasks that predict rows.")
@click.option("--loss", help="ccc, mse, mae, ce or focal.  [default: the task's]")
@click.option("--protocol", help="How to split; see train-head.")
@click.option("--folds", type=click.IntRange(2), help="Unless the table has its own.  [default: the task's]")
@click.option("--epochs", type=click.IntRange(1), help="[default: the task's, else 30]")
@click.option("--batch-size", type=click.IntRange(1), help="[default: the task's, else 8]")
@click.option("--lr", type=float, help="[default: the task's, else 3e-4]")
@click.option("--patience", type=click.IntRange(0), help="[default: the task's, else 10]")
@click.option("--normalise", type=click.Choice(["none", "standard"]), help="[default: the task's, else none]")
@click.option("--classes", type=click.IntRange(2, 3), help="For engagement-class: how many to derive from a score.")
@click.option("--clips", type=PATH, help="Table with labels, groups, folds.  [default: the newest in the store]")
@CONTROL
@MEMORY
@DEVICE
@click.option("--threads", type=click.IntRange(1, 512), help="CPU threads of torch.")
@JSON
def benchmark(heads: str, settings: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Train every head on every feature mix under every seed, and write a leaderboard.

    Each cell is kept as soon as it is trained: run the same command again to go on, or with more heads, features or
    seeds to train only what is new. Exit code 1 if a cell failed; it is tried again the next time.

    \b
    Example:
      cuebank benchmark --task engagement --heads linear,mlp --features hubert-base.ls960@last \\
        --features hubert-base.ls960@last,i3d.k400 --seeds 0,1,2 --store features.zarr
    """
    from ..trainers.benchmark import benchmark as run

    out = options.pop("out") or Path("benchmarks") / Path(options["task"]).name.removesuffix(".toml")
    options["target"] = _words(options["target"]) if options["target"] else None
    chosen: dict[str, dict[str, str]] = {}
    for name, value in pairs(settings, "--set").items():
        head, dot, setting = name.partition(".")
        if not (dot and setting):
            raise click.UsageError(f"--set {name}={value} is not HEAD.NAME=VALUE.")
        chosen.setdefault(head, {})[setting] = value
    found = run(out=out, heads=_words(heads), settings=chosen, progress=Bar(quiet=as_json), **options)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        click.echo(found.to_text())
        click.echo(f"Leaderboard: {out}")
    sys.exit(FAILED if found.failed else 0)
