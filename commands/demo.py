"""`cuebank demo`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .terminal import DEVICE, PATH, Bar


@click.command()
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
    from ..recipes.demo import demo as run

    sys.exit(run(progress=Bar, echo=click.echo, **options))
