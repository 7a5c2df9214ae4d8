"""`cuebank store export` and `cuebank store hash`: take features elsewhere, and prove that they are the same there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..store.printable import printable
from .terminal import JSON, PATH, Bar, row

FEATURE_SET = click.option(
    "--feature-set", "feature_sets", multiple=True, metavar="NAME", help="Only this one; may be given several times."
)


@click.command("export")
@click.argument("path", type=PATH)
@click.argument("out", type=PATH)
@click.option(
    "--to",
    "kind",
    type=click.Choice(["zarr", "hdf5", "npy", "parquet"]),
    help="Another store (zarr, hdf5), or a folder of .npy or Parquet files.  [default: by the suffix of OUT]",
)
@FEATURE_SET
@JSON
def store_export(path: Path, out: Path, kind: str | None, feature_sets: tuple[str, ...], as_json: bool) -> None:
    """Copy feature sets into a new store or into plain files, with clips table and failures. Nothing is overwritten.

    \b
    Example:
      cuebank store export features.zarr shared.zarr --feature-set hubert-base.ls960@last
      cuebank store export features.zarr tables --to parquet
    """
    from ..store import FeatureStore
    from ..store.each_series import chosen
    from ..store.export import SUFFIXES, export, kind_of

    kind = kind or kind_of(out)
    if kind is None:
        raise click.UsageError(f"The name {str(out)!r} ends with none of {', '.join(SUFFIXES)}; give --to.")
    with FeatureStore.open(path) as features:
        names = chosen(features, feature_sets or None)
        bar = Bar(quiet=as_json)
        bar.start(sum(len(features.series(name)) for name in names), "series", "export")
        try:
            done = export(features, out, kind, names, lambda series: bar.advance(steps=series))
        finally:
            bar.close()
    if as_json:
        click.echo(json.dumps(done))
        return
    for name, one in done["feature_sets"].items():
        click.echo(f"{printable(name)}: {one['series']:,} series, {one['rows']:,} rows, {one['failed']:,} failures")
    click.echo(f"{printable(done['out'])}: {done['bytes']:,} bytes ({kind}).")


@click.command("hash")
@click.argument("path", type=PATH)
@FEATURE_SET
@click.option("--series", "each", is_flag=True, help="Also the hash of each series.")
@JSON
def store_hash(path: Path, feature_sets: tuple[str, ...], each: bool, as_json: bool) -> None:
    """Print a hash of what each feature set holds; equal for equal features, in whatever form or order they are stored.

    With --series and --json, one object a line for each series comes before the object with the feature sets.

    \b
    Example:
      cuebank store hash features.zarr
    """
    from ..store import FeatureStore
    from ..store.content_hash import feature_set_hash
    from ..store.each_series import chosen

    found: dict[str, dict[str, Any]] = {}
    with FeatureStore.open(path) as features:
        names = chosen(features, feature_sets or None)
        bar = Bar(quiet=as_json or each)
        bar.start(sum(len(features.series(name)) for name in names), "series", "hash")
        try:
            for name in names:

                def note(key: tuple[str, str | None], rows: int, digest: str, name: str = name) -> None:
                    bar.advance()
                    if each:
                        row(as_json, feature_set=name, clip_id=key[0], entity_id=key[1], rows=rows, hash=digest)

                digest = feature_set_hash(features, name, note)
                found[name] = {
                    "series": len(features.series(name)),
                    "fingerprint": features.spec(name).fingerprint,
                    "hash": digest,
                }
        finally:
            bar.close()
    if as_json:
        click.echo(json.dumps({"feature_sets": found}))
        return
    for name, one in found.items():
        click.echo(f"{printable(name)}\t{one['hash']}")
