"""What the commands share: options, exit codes, the progress bar, tables, text that is safe on a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from ..store.printable import printable

# Exit codes: 1 what was asked could not be done in full, 2 wrong usage (click's), 130 interrupted (128 + SIGINT).
FAILED, INTERRUPTED = 1, 130
PATH = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, for programs.")
DEVICE = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
THREADS = click.option(
    "--threads", type=click.IntRange(1, 512), help="CPU threads of torch.  [default: torch's choice]"
)
STORE = click.option("--store", required=True, type=PATH, help="The feature store, e.g. features.zarr.")


class Bar:
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
            self.bar.set_postfix_str(printable(note)[:40], refresh=False)
            self.bar.update(steps)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


def pairs(items: tuple[str, ...], option: str) -> dict[str, str]:
    """Turn NAME=VALUE words into a dict; a word without `=` is wrong usage."""
    pairs = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {item!r} is not NAME=VALUE.")
        pairs[name] = value
    return pairs


def cell(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def row(as_json: bool, **fields: Any) -> None:
    if as_json:
        click.echo(json.dumps(fields))
    else:
        click.echo("\t".join(printable(cell(value)) for value in fields.values()))


def table(header: list[str], rows: list[list[str]]) -> None:
    cells = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def listing(items: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(items))
    else:
        table(list(columns), [[cell(item.get(column)) for column in columns] for item in items])


def fail(message: str, code: int) -> NoReturn:
    lines = [printable(line) for line in f"cuebank: {message}".splitlines()]
    click.echo("\n".join(lines), err=True)
    sys.exit(code)
