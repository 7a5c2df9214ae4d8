"""`cuebank train-head` and `cuebank predict`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from .terminal import DEVICE, FAILED, JSON, PATH, STORE, Bar, pairs

MEMORY = click.option(
    "--memory",
    type=click.FloatRange(0),
    help="GiB that rows of features may take; more are streamed from the store.  [default: half of what is free]",
)

CONTROL = click.option(
    "--control/--no-control",
    default=True,
    show_default=True,
    help="Train once more, briefly, on shuffled labels: its score must be one of chance.",
)


@click.command("train-head")
@click.option("--task", required=True, help="`cuebank tasks` lists them; or a TOML file of your own.")
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
@click.option("--target", help="Label column, or several with commas between them.  [default: the task's]")
@click.option("--labels", help="Label set, for tasks that predict rows.  [default: the only one with the target]")
@click.option("--loss", help="ccc, mse, mae, ce or focal.  [default: the task's]")
@click.option(
    "--protocol",
    help="How to split: see the README; `sempi` is as published, defects included.  [default: the task's, else the "
    "table's folds or split, else groups]",
)
@click.option("--folds", type=click.IntRange(2), help="Unless the table has its own.  [default: the task's]")
@click.option("--seed", "seeds", type=int, multiple=True, help="May be repeated.  [default: 0]")
@click.option("--epochs", type=click.IntRange(1), help="[default: the task's, else 30]")
@click.option("--batch-size", type=click.IntRange(1), help="Items of a step.  [default: the task's, else 8]")
@click.option("--lr", type=float, help="Learning rate of the first epoch.  [default: the task's, else 3e-4]")
@click.option("--lr-decay", type=float, help="Factor on it, by the schedule.  [default: the task's, else 1]")
@click.option("--schedule", help="decay (each epoch), step or cosine.  [default: the task's, else decay]")
@click.option("--schedule-epochs", type=click.IntRange(1), help="Between steps, or of half a cosine.")
@click.option("--schedule-start", type=click.IntRange(0), help="Epochs before the first step.")
@click.option("--optimizer", help="adamw or adam.  [default: the task's, else adamw]")
@click.option("--weight-decay", type=float, help="[default: the task's, else 0.01]")
@click.option("--clip-norm", type=float, help="Largest norm of the gradient, 0: any.  [default: the task's, else 0.1]")
@click.option(
    "--patience", type=click.IntRange(0), help="Epochs; 0: no early stopping.  [default: the task's, else 10]"
)
@click.option("--sampler", help="shuffled or balanced.  [default: the task's]")
@click.option(
    "--window-rows",
    type=click.IntRange(0),
    help="Rows of the windows that long series are cut into for training; 0: not at all.  [default: the task's]",
)
@click.option("--classes", type=click.IntRange(2, 3), help="For engagement-class: how many to derive from a score.")
@click.option(
    "--validation-fraction",
    type=float,
    default=0.2,
    show_default=True,
    help="Of the training rows.",
)
@click.option("--normalise", type=click.Choice(["none", "standard"]), help="[default: the task's, else none]")
@click.option("--openface-norm", help="Fixed min_vec/max_vec (.npz), or none.  [default: fitted on training rows]")
@click.option("--clips", type=PATH, help="Table with labels, groups, folds.  [default: the newest in the store]")
@CONTROL
@MEMORY
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
      cuebank train-head --task emotion-kemdy --store features.zarr --head plain-mlp
    """
    from ..trainers.train_head import train_head as run

    options["out"] = options["out"] or Path("heads") / Path(options["task"]).name.removesuffix(".toml")
    options["target"] = [name.strip() for name in options["target"].split(",")] if options["target"] else None
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
@click.option(
    "--clock",
    metavar="FEATURE_SET",
    help="Whose rows to predict, for heads that predict rows.  [default: the label set they were trained on, else the "
    "first input]",
)
@MEMORY
@DEVICE
@JSON
def predict(
    head: Path, store: Path, out: Path, clock: str | None, memory: float | None, device: str, as_json: bool
) -> None:
    """Apply a trained head (the folder that train-head wrote) to the clips of any store.

    \b
    Example:
      cuebank predict heads/engagement --store other.zarr --out predictions.csv
    """
    from ..trainers.predict import predict as run

    result = run(head, store, out, clock=clock, memory=memory, device=device)
    click.echo(json.dumps(result.to_json()) if as_json else result.to_text())
    sys.exit(FAILED if result.missing else 0)
