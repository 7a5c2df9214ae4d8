"""`cuebank store compact` and `cuebank store drop`: give space back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..store.printable import printable
from .terminal import FAILED, JSON, PATH, table

if TYPE_CHECKING:
    from ..store import FeatureStore, Key

WAIT = click.option(
    "--wait", "wait_s", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to wait for others."
)


@click.command("compact")
@click.argument("path", type=PATH)
@click.option(
    "--feature-set", "feature_sets", multiple=True, metavar="NAME", help="Only this one; may be given several times."
)
@WAIT
@JSON
def store_compact(path: Path, feature_sets: tuple[str, ...], wait_s: float, as_json: bool) -> None:
    """Merge small segments, leave out what was written over, and give the space back. Others may read and write.

    A compacted store opens quickly, however many runs wrote it. An HDF5 store becomes one self-contained file.

    \b
    Example:
      cuebank store compact features.zarr
    """
    from ..store.compact import compact

    with _existing(path) as features:
        done = compact(features, feature_sets or None, wait_s)
    if as_json:
        click.echo(json.dumps(done))
    else:
        columns = ("segments_before", "segments_after", "bytes_before", "bytes_after")
        rows = [[name, *(f"{one[column]:,}" for column in columns)] for name, one in done["feature_sets"].items()]
        table(["feature set", *(column.replace("_", " ") for column in columns)], rows)
        _say_what_waits(done["waiting_bytes"])
        for problem in done["problems"]:
            click.echo(f"{printable(problem['feature_set'])}: left as it is: {printable(problem['problem'])}", err=True)
    sys.exit(FAILED if done["problems"] else 0)


@click.command("drop")
@click.argument("path", type=PATH)
@click.option(
    "--feature-set", "feature_sets", multiple=True, metavar="NAME", help="From this one only; may be repeated."
)
@click.option("--clip", "clips", multiple=True, metavar="ID", help="All series of this clip; may be repeated.")
@click.option("--group", "groups", multiple=True, metavar="ID", help="All clips of this group of the clips table.")
@click.option("--entity", "entities", multiple=True, metavar="ID", help="Of these clips only this entity.")
@click.option("--whole", is_flag=True, help="The whole of the named feature sets; their names are free then.")
@WAIT
@JSON
def store_drop(path: Path, as_json: bool, **options: Any) -> None:
    """Remove series, or whole feature sets, and give the space back.

    Nothing of what is removed stays on the disk once nobody else has the store open, older versions included. The
    clips table is not changed.

    \b
    Example:
      cuebank store drop features.zarr --clip s01/clip0007
      cuebank store drop features.zarr --feature-set hubert-base.random-0@last --whole
    """
    chosen = bool(options["clips"] or options["groups"])
    if options["whole"] == chosen:
        raise click.UsageError("Say what to remove: --clip or --group, or --feature-set with --whole.")
    if options["whole"] and not options["feature_sets"]:
        raise click.UsageError("--whole needs the names of the feature sets: --feature-set.")
    if options["whole"] and options["entities"]:
        raise click.UsageError("--entity goes with --clip or --group, not with --whole.")
    with _existing(path) as features:
        done = _drop(features, **options)
    if as_json:
        click.echo(json.dumps({"dropped": done, "waiting_bytes": sum(one["waiting_bytes"] for one in done)}))
        return
    for one in done:
        click.echo(f"{printable(one['feature_set'])}: {one['series']:,} series removed")
    _say_what_waits(sum(one["waiting_bytes"] for one in done))


def _drop(
    features: FeatureStore,
    feature_sets: tuple[str, ...],
    clips: tuple[str, ...],
    groups: tuple[str, ...],
    entities: tuple[str, ...],
    whole: bool,
    wait_s: float,
) -> list[dict[str, Any]]:
    from ..store.drop import drop, keys_of
    from ..store.errors import CuebankError, NotFound

    names = list(dict.fromkeys(feature_sets)) or features.feature_sets()
    if whole:
        for name in names:
            features.spec(name)  # all of them are there before any is removed
        return [drop(features, name, None, wait_s) for name in names]
    wanted: dict[str, list[Key]] = {
        name: keys_of(features, name, clips=clips, groups=groups, entities=entities) for name in names
    }
    found = {key.clip_id for keys in wanted.values() for key in keys}
    missed = sorted(set(clips) - found)
    if missed or not found:
        of = f" for entity {', '.join(entities)}" if entities else ""
        raise NotFound(
            f"Series of {', '.join([*clips, *groups])} were to be removed from {features.path}.",
            f"There is none of {', '.join(missed or groups)}{of} in {len(names)} feature sets.",
            "Nothing was removed. Run `cuebank store ls` to see what there is.",
        )
    done: list[dict[str, Any]] = []
    try:
        for name, keys in wanted.items():
            if keys:
                done.append(drop(features, name, keys, wait_s))
    except CuebankError:
        for one in done:
            click.echo(
                f"Removed before the failure: {one['series']:,} series of {printable(one['feature_set'])}", err=True
            )
        raise
    return done


def _existing(path: Path) -> FeatureStore:
    """Open a store for writing; a mistyped path must not make an empty one."""
    from ..store import FeatureStore

    FeatureStore.open(path).close()
    return FeatureStore.open(path, "a")


def _say_what_waits(waiting: int) -> None:
    if waiting:
        click.echo(
            f"{waiting:,} bytes of rows lie on the disk until the other processes have closed the store; "
            "run `cuebank store compact` then."
        )
