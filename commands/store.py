"""`cuebank store`: look into a store, check it; what changes or copies it is in files of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..store.printable import printable
from . import store_change, store_export
from .terminal import FAILED, JSON, PATH, cell, row, table


@click.group()
def store() -> None:
    """Look into a feature store, check it, give space back, copy it."""


@store.command("info")
@click.argument("path", type=PATH)
@JSON
def store_info(path: Path, as_json: bool) -> None:
    """Show the feature sets of a store: sizes, rates, coverage, recipe.

    \b
    Example:
      cuebank store info features.zarr
    """
    from ..store import FeatureStore

    with FeatureStore.open(path) as features:
        info = features.info()
    if as_json:
        click.echo(json.dumps(info))
        return
    columns = ("kind", "series", "clips", "coverage", "failed", "rows", "dim", "dtype", "rate_hz", "bytes")
    rows = [[name, *(cell(one.get(c)) for c in columns)] for name, one in info["feature_sets"].items()]
    table(["feature set", *columns], rows)
    for name, one in info["feature_sets"].items():
        click.echo(f"\n{printable(name)}\n  fingerprint {one['fingerprint']}\n  recipe {json.dumps(one['recipe'])}")


@store.command("ls")
@click.argument("path", type=PATH)
@click.option("--feature-set", help="Only this one.")
@JSON
def store_ls(path: Path, feature_set: str | None, as_json: bool) -> None:
    """List the series of a store, and the recorded failures with their reasons.

    \b
    Example:
      cuebank store ls features.zarr --feature-set hubert-base.ls960@last
    """
    from ..store import FeatureStore

    with FeatureStore.open(path) as features:
        for name in [feature_set] if feature_set else features.feature_sets():
            for one in features.series(name):
                row(as_json, feature_set=name, clip_id=one.clip_id, entity_id=one.entity_id, rows=one.rows)
            for bad in features.failures(name):
                row(as_json, feature_set=name, clip_id=bad.clip_id, entity_id=bad.entity_id, failed=bad.reason)


@store.command("verify")
@click.argument("path", type=PATH)
@JSON
def store_verify(path: Path, as_json: bool) -> None:
    """Check every series of a store: checksums, counts, NaN and Inf, times, fingerprints. Exit code 1 if any is bad.

    \b
    Example:
      cuebank store verify features.zarr
    """
    from ..store.verify import verify

    result = verify(path)
    if as_json:
        click.echo(json.dumps(result))
    else:
        for problem in result["problems"]:
            where = [problem[k] for k in ("feature_set", "clip_id", "entity_id") if problem.get(k) is not None]
            click.echo(f"{' / '.join(map(printable, where)) or 'store'}: {printable(problem['problem'])}")
        click.echo(f"{result['series']} series, {len(result['problems'])} problems.")
    sys.exit(0 if result["ok"] else FAILED)


store.add_command(store_change.store_compact)
store.add_command(store_change.store_drop)
store.add_command(store_export.store_export)
store.add_command(store_export.store_hash)
