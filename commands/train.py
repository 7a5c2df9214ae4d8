"""`cuebank train-head` and `cuebank predict`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from .terminal import DEVICE, FAILED, JSON, PATH, STORE, Bar, pairs


@click.command("train-head")
@click.option("--task", required=True, help="`cuebank tasks` lists them.")
@STORE
@click.option("--out", type=PATH, help="Folder of the report.  [default: heads/<task>]")
@click.option("--input", "inputs", multiple=True, metavar="ROLE=FEATURE_SET", help="E.g. audio=hubert-base.ls960@last.")
@click.option("--head", help="`cuebank heads` lists them.  [default: the task's]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the head, e.g. hidden_size=64.",
)
@click.option("--target", help="Label column.  [default: the task's]")
@click.option("--loss", help="ccc, mse, mae, ce or focal.  [default: the task's]")
@click.option(
    "--protocol",
    default="default",
    show_default=True,
    help="How to split: see the README; `sempi` is as published, defects included.",
)
@click.option("--folds", type=click.IntRange(2), help="Unless the table has its own.  [default: the task's]")
@click.option("--seed", "seeds", type=int, multiple=True, help="May be repeated.  [default: 0]")
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option("--lr", type=float, default=3e-4, show_default=True, help="Learning rate of AdamW.")
@click.option("--lr-decay", type=float, default=1.0, show_default=True, help="Factor on it after each epoch.")
@click.option("--weight-decay", type=float, default=0.01, show_default=True)
@click.option("--clip-norm", type=float, default=0.1, show_default=True, help="Largest norm of the gradient.")
@click.option("--patience", type=click.IntRange(0), default=10, show_default=True, help="Epochs; 0: no early stopping.")
@click.option("--sampler", help="shuffled or balanced.  [default: the task's]")
@click.option("--classes", type=click.IntRange(2, 3), help="For engagement-class: how many to derive from a score.")
@click.option(
    "--validation-fraction",
    type=float,
    default=0.2,
    show_default=True,
    help="Of the training rows.",
)
@click.option("--normalise", type=click.Choice(["none", "standard"]), default="none", show_default=True)
@click.option("--openface-norm", help="Fixed min_vec/max_vec (.npz), or none.  [default: fitted on training rows]")
@click.option("--clips", type=PATH, help="Table with labels, groups, folds.  [default: the newest in the store]")
@DEVICE
@click.option(
    "--threads", type=click.IntRange(1, 512), help="CPU threads of torch.  [default: as many as a step is worth]"
)
@JSON
def train_head(as_json: bool, **options: Any) -> None:
    """Train a head on stored features, fold by fold, and write a report. No media are read.

    \b
    Example:
      cuebank train-head --task engagement --store features.zarr
    """
    from ..trainers.train_head import train_head as run

    options["out"] = options["out"] or Path("heads") / options["task"]
    options["inputs"] = pairs(options["inputs"], "--input") or None
    options["settings"] = pairs(options["settings"], "--set")
    options["seeds"] = options["seeds"] or (0,)
    report = run(progress=Bar(quiet=as_json), **options)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        click.echo(report.to_text())
        click.echo(f"Report: {options['out']}")


@click.command()
@click.argument("head", type=PATH)
@STORE
@click.option("--out", required=True, type=PATH, help="CSV to write.")
@DEVICE
@JSON
def predict(head: Path, store: Path, out: Path, device: str, as_json: bool) -> None:
    """Apply a trained head (the folder that train-head wrote) to the clips of any store.

    \b
    Example:
      cuebank predict heads/engagement --store other.zarr --out predictions.csv
    """
    from ..trainers.predict import predict as run

    result = run(head, store, out, device=device)
    click.echo(json.dumps(result.to_json()) if as_json else result.to_text())
    sys.exit(FAILED if result.missing else 0)
