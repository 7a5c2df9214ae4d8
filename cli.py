"""The `cuebank` command: a thin shell over the library.

Each command parses its options, calls one library function of the same verb and prints the result.
Everything heavy is imported inside the commands, so that `cuebank --help` answers at once.
"""

from __future__ import annotations

import atexit
import gc
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

# Exit codes: 1 what was asked could not be done in full, 2 wrong usage (click's), 130 interrupted (128 + SIGINT).
FAILED, INTERRUPTED = 1, 130
PATH = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, for programs.")
DEVICE = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
THREADS = click.option("--threads", type=click.IntRange(1), help="CPU threads of torch.  [default: torch's choice]")
STORE = click.option("--store", required=True, type=PATH, help="The feature store, e.g. features.zarr.")


class Shell(click.Group):
    """A group whose commands turn cuebank's errors into one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command; print a `CuebankError` without a traceback and exit with 1."""
        from cuebank.store.errors import CuebankError

        try:
            return super().invoke(ctx)
        except CuebankError as error:
            _fail(str(error), FAILED)
        except OSError as error:  # a full disk, no permission: nothing that a traceback would explain
            where = f" ({error.filename})" if error.filename else ""
            _fail(f"The system refused: {error.strerror or error}{where}. What was committed is safe.", FAILED)
        except KeyboardInterrupt:
            _fail("Interrupted. What was committed is safe; the same command goes on from there.", INTERRUPTED)


@click.group(cls=Shell, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="cuebank", prog_name="cuebank")
def main() -> None:
    """Run frozen backbones once over clips, keep the features in a store, train small heads from it in seconds."""
    # At exit Python would look for garbage among the many thousand objects of torch and transformers: 1 s for nothing.
    atexit.register(gc.freeze)


@main.command()
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
    from cuebank.extractors.runner import extract as run

    options["layers"] = options["layers"] or ("last",)
    report = run(progress=_Bar(quiet=as_json), **options)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        click.echo(report.to_text())
    sys.exit(INTERRUPTED if report.interrupted else FAILED if report.failed else 0)


@main.command("train-head")
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
    help="`sempi`: exactly as published, defects included.",
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
@click.option("--validation-fraction", type=float, default=0.2, show_default=True, help="Of the training groups.")
@click.option("--normalise", type=click.Choice(["none", "standard"]), default="none", show_default=True)
@click.option("--openface-norm", type=PATH, help="Fixed min_vec/max_vec (.npz).  [default: fitted on training rows]")
@DEVICE
@THREADS
@JSON
def train_head(as_json: bool, **options: Any) -> None:
    """Train a head on stored features, fold by fold, and write a report. No media are read.

    \b
    Example:
      cuebank train-head --task engagement --store features.zarr
    """
    from cuebank.trainers.train_head import train_head as run

    options["out"] = options["out"] or Path("heads") / options["task"]
    options["inputs"] = _pairs(options["inputs"], "--input") or None
    options["settings"] = _pairs(options["settings"], "--set")
    options["seeds"] = options["seeds"] or (0,)
    report = run(progress=_Bar(quiet=as_json), **options)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        click.echo(report.to_text())
        click.echo(f"Report: {options['out']}")


@main.command()
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
    from cuebank.trainers.predict import predict as run

    result = run(head, store, out, device=device)
    click.echo(json.dumps(result.to_json()) if as_json else result.to_text())
    sys.exit(FAILED if result.missing else 0)


@main.group()
def store() -> None:
    """Look into a feature store, list its series, check it."""


@store.command("info")
@click.argument("path", type=PATH)
@JSON
def store_info(path: Path, as_json: bool) -> None:
    """Show the feature sets of a store: sizes, rates, coverage, recipe.

    \b
    Example:
      cuebank store info features.zarr
    """
    from cuebank.store import FeatureStore

    with FeatureStore.open(path) as features:
        info = features.info()
    if as_json:
        click.echo(json.dumps(info))
        return
    columns = ("kind", "series", "clips", "failed", "rows", "dim", "dtype", "rate_hz", "bytes")
    rows = [[name, *(_cell(one.get(c)) for c in columns)] for name, one in info["feature_sets"].items()]
    _table(["feature set", *columns], rows)
    for name, one in info["feature_sets"].items():
        click.echo(f"\n{_safe(name)}\n  fingerprint {one['fingerprint']}\n  recipe {json.dumps(one['recipe'])}")


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
    from cuebank.store import FeatureStore

    with FeatureStore.open(path) as features:
        for name in [feature_set] if feature_set else features.feature_sets():
            for one in features.series(name):
                _row(as_json, feature_set=name, clip_id=one.clip_id, entity_id=one.entity_id, rows=one.rows)
            for bad in features.failures(name):
                _row(as_json, feature_set=name, clip_id=bad.clip_id, entity_id=bad.entity_id, failed=bad.reason)


@store.command("verify")
@click.argument("path", type=PATH)
@JSON
def store_verify(path: Path, as_json: bool) -> None:
    """Check every series of a store: checksums, counts, NaN and Inf, times, fingerprints. Exit code 1 if any is bad.

    \b
    Example:
      cuebank store verify features.zarr
    """
    from cuebank.store.verify import verify

    result = verify(path)
    if as_json:
        click.echo(json.dumps(result))
    else:
        for problem in result["problems"]:
            where = [problem[k] for k in ("feature_set", "clip_id", "entity_id") if problem.get(k) is not None]
            click.echo(f"{' / '.join(map(_safe, where)) or 'store'}: {_safe(problem['problem'])}")
        click.echo(f"{result['series']} series, {len(result['problems'])} problems.")
    sys.exit(0 if result["ok"] else FAILED)


@main.command()
@JSON
def backbones(as_json: bool) -> None:
    """List the backbones: weights, licence, rate, dims.

    \b
    Example:
      cuebank backbones
    """
    from cuebank.extractors.registry import cards

    _listing(
        [card.to_json() for card in cards()],
        ("name", "input", "dim", "layers", "rate_hz", "weights", "licence"),
        as_json,
    )


@main.command()
@JSON
def tasks(as_json: bool) -> None:
    """List the tasks that heads can be trained for.

    \b
    Example:
      cuebank tasks
    """
    from cuebank.trainers.tasks import tasks as known

    _listing(
        [task.to_json() for task in known()],
        ("name", "version", "target", "kind", "head", "loss", "metric"),
        as_json,
    )


@main.command()
@JSON
def heads(as_json: bool) -> None:
    """List the heads and their settings.

    \b
    Example:
      cuebank heads
    """
    from cuebank.trainers.heads import heads as known

    _listing([head.to_json() for head in known()], ("name", "title", "settings"), as_json)


@main.command()
@click.option("--out", type=PATH, default=Path("demo-output"), show_default=True, help="Folder to write; made anew.")
@click.option("--backbone", default="hubert-base", show_default=True)
@click.option(
    "--weights", default="random", show_default=True, help="E.g. a hub id or a checkpoint, for real features."
)
@click.option("--seed", default=0, show_default=True)
@DEVICE
def demo(**options: Any) -> None:
    """Go the whole way on media that cuebank makes itself: clips, HuBERT features, store, engagement head, report.

    \b
    Example:
      cuebank demo --out demo-output
    """
    from cuebank.recipes.demo import demo as run

    sys.exit(run(progress=_Bar, echo=click.echo, **options))


class _Bar:
    """A progress bar with rate and time left, on stderr; made on the first report of progress."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.bar = quiet, None

    def start(self, total: int, unit: str, what: str) -> None:
        """Show an empty bar of `total` units."""
        if not self.quiet:
            from tqdm import tqdm

            self.bar = tqdm(total=total, unit=unit, desc=what, file=sys.stderr, dynamic_ncols=True)

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Move on by `steps` units and show `note` behind the bar."""
        if self.bar is not None:
            self.bar.set_postfix_str(_safe(note)[:40], refresh=False)
            self.bar.update(steps)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


def _pairs(items: tuple[str, ...], option: str) -> dict[str, str]:
    """Turn NAME=VALUE words into a dict; a word without `=` is wrong usage."""
    pairs = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {item!r} is not NAME=VALUE.")
        pairs[name] = value
    return pairs


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _safe(text: str) -> str:
    """Make text from data harmless on a terminal: control characters are shown escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def _row(as_json: bool, **fields: Any) -> None:
    if as_json:
        click.echo(json.dumps(fields))
    else:
        click.echo("\t".join(_safe(_cell(value)) for value in fields.values()))


def _table(header: list[str], rows: list[list[str]]) -> None:
    cells = [header, *([_safe(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _listing(items: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(items))
    else:
        _table(list(columns), [[_cell(item.get(column)) for column in columns] for item in items])


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"cuebank: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
