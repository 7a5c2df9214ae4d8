"""`cuebank evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .terminal import JSON, PATH, pairs

FORMS = ("auto", "csv", "ava", "muse-reaction")


@click.command()
@click.argument("predictions", type=PATH)
@click.option("--truth", type=PATH, help="CSV with the targets.  [default: the predictions file has them]")
@click.option("--task", help="Whose metrics and target to take; `cuebank tasks` lists them.")
@click.option("--metric", "metrics", multiple=True, help="May be repeated.  [default: the task's, or by what is there]")
@click.option("--format", "form", type=click.Choice(FORMS), default="auto", show_default=True, help="By the columns.")
@click.option("--id", "ids", multiple=True, help="Column that names a row; may be repeated.  [default: clip_id, …]")
@click.option("--prediction", "predicted", multiple=True, help="Column; one for each output.  [default: prediction]")
@click.option("--target", "targets", multiple=True, help="Column; one for each output.  [default: label]")
@click.option("--group", help="Column of the units that intervals and tests resample.  [default: group_id]")
@click.option("--positive", help="The class that counts as positive, for AP, ROC AUC, map_ava.")
@click.option("--split", help="Score this split of the truth only; each of its rows must be predicted.")
@click.option("--videos", multiple=True, metavar="NAME=FILE", help="For ava: a list of video ids to score together.")
@click.option("--against", type=PATH, help="Other predictions for the same rows, for paired tests.")
@click.option("--resamples", type=click.IntRange(0), help="Of intervals and tests; 0: none.  [default: 1000]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the resamples.")
@click.option("--out", type=PATH, help="Folder for evaluation.json, evaluation.md and pictures.")
@JSON
def evaluate(predictions: Path, videos: tuple[str, ...], out: Path | None, as_json: bool, **options: Any) -> None:
    """Score a predictions file: one that cuebank wrote, any CSV with named columns, or an AVA or MuSe-Reaction file.

    \b
    Example:
      cuebank evaluate heads/engagement/predictions.csv
      cuebank evaluate val_res.csv --format ava --truth val_orig.csv
      cuebank evaluate mine.csv --id name --prediction guess --target score --truth labels.csv --group speaker
    """
    from ..trainers.evaluate import evaluate as run
    from ..trainers.scored_columns import Columns

    if options["form"] in ("ava", "muse-reaction") and options["truth"] is None:
        raise click.UsageError(f"--format {options['form']} needs --truth.")
    columns = Columns(
        ids=options.pop("ids"),
        predictions=options.pop("predicted"),
        targets=options.pop("targets"),
        group=options.pop("group"),
        split=options.pop("split"),
        positive=options.pop("positive"),
    )
    lists = pairs(videos, "--videos")
    result = run(predictions, columns=columns, parts=_video_lists(lists) if lists else None, **options)
    if out is not None:
        result.write(out)
    if as_json:
        click.echo(json.dumps(result.to_json(), allow_nan=False))
    else:
        click.echo(result.to_text())
        if out is not None:
            click.echo(f"Result: {out}")


def _video_lists(files: dict[str, str]) -> dict[str, list[str]]:
    """Read lists of video ids, one a line, without header."""
    from ..trainers.ava import read_video_list

    return {name: read_video_list(Path(path)) for name, path in files.items()}
