"""`cuebank import-labels`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .terminal import JSON, PATH, STORE


@click.command("import-labels")
@click.argument("file", type=PATH)
@click.option("--as", "name", required=True, metavar="NAME", help="Name of the label set, e.g. kemdy.emotion.")
@STORE
@click.option("--clips", type=PATH, help="Clips table with groups and folds, kept in the store.  [default: the newest]")
@click.option("--column", "columns", multiple=True, help="Label column to take; may be repeated.  [default: all]")
@click.option(
    "--classes",
    multiple=True,
    metavar="COLUMN=NAME,NAME",
    help="Classes of a column in the order of their ids.  [default: as they sort]",
)
@click.option("--overwrite", is_flag=True, help="Replace series that the label set has already.")
@JSON
def import_labels(
    file: Path,
    name: str,
    store: Path,
    clips: Path | None,
    columns: tuple[str, ...],
    classes: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Keep labels on their own clock in the store: a CSV with clip_id, entity_id, time_s and label columns.

    Names become class ids, empty cells rows without a label. `train-head` finds them by their columns.

    \b
    Example:
      cuebank import-labels emotions.csv --as kemdy.emotion --store features.zarr
    """
    from ..store import ClipsTable, FeatureStore
    from ..store.import_labels import import_labels as run
    from ..store.import_labels import parse_classes

    table = None if clips is None else ClipsTable.read_csv(clips, check_media=False)
    given = parse_classes(classes) or None
    with FeatureStore.open(store, "a") as opened:
        found = run(file, name, opened, clips=table, columns=columns or None, classes=given, overwrite=overwrite)
    click.echo(json.dumps(found.to_json()) if as_json else found.to_text())
