"""`cuebank import-weights`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .terminal import JSON, PATH


@click.command("import-weights")
@click.argument("file", type=PATH)
@click.option("--as", "backbone", required=True, metavar="CARD", help="Card or family; `cuebank backbones` lists them.")
@click.option("--out", type=PATH, help="Folder to make.  [default: NAME-imported, after the file]")
@click.option("--licence", help="Of the weights, for the card.  [default: what a model's README.md states]")
@click.option("--overwrite", is_flag=True, help="Replace a folder that an earlier import wrote.")
@JSON
def import_weights(
    file: Path, backbone: str, out: Path | None, licence: str | None, overwrite: bool, as_json: bool
) -> None:
    """Turn an original checkpoint (fairseq, OpenAI, transformers, …) into a folder that `extract --weights` takes.

    Nothing in the file is run. Names and shapes must match exactly; if not, the difference is shown. The folder gets
    model.safetensors and card.json: both checksums, what was renamed, and what was left out.

    \b
    Example:
      cuebank import-weights hubert_base_ls960.pt --as hubert-base --out hubert-ls960
    """
    from ..extractors.import_weights import import_weights as run

    report = run(file, backbone, out=out, licence=licence, overwrite=overwrite)
    click.echo(json.dumps(report.to_json()) if as_json else report.to_text())
