"""`cuebank import-weights`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from .terminal import JSON, PATH, pairs

SEMPI = "sempi"


@click.command("import-weights")
@click.argument("file", type=PATH)
@click.option(
    "--as",
    "backbone",
    required=True,
    metavar="CARD",
    help="Card or family (`cuebank backbones` lists them), or sempi: a whole fusion checkpoint.",
)
@click.option("--out", type=PATH, help="Folder to make.  [default: NAME-imported, after the file]")
@click.option("--licence", help="Of the weights, for the card.  [default: what a model's README.md states]")
@click.option("--overwrite", is_flag=True, help="Replace a folder that an earlier import wrote.")
@click.option("--no-head", is_flag=True, help="sempi: only the backbones.")
@click.option("--openface-norm", type=PATH, help="sempi: its fixed min_vec/max_vec (.npz).")
@click.option(
    "--tokenizer", type=PATH, help="sempi: folder with RoBERTa's tokenizer.  [default: the published one, if cached]"
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="sempi: an option that it was trained with (ablation, activation_fn, expnum, openfacefeat).",
)
@JSON
def import_weights(
    file: Path,
    backbone: str,
    out: Path | None,
    licence: str | None,
    overwrite: bool,
    as_json: bool,
    **sempi: Any,
) -> None:
    """Turn an original checkpoint (fairseq, OpenAI, transformers, …) into a folder that `extract --weights` takes.

    Nothing in the file is run. Names and shapes must match exactly; if not, the difference is shown. The folder gets
    model.safetensors and card.json: both checksums, what was renamed, and what was left out. Of a SEMPI fusion
    checkpoint each backbone gets such a folder, and the head one that `cuebank predict` takes.

    \b
    Example:
      cuebank import-weights hubert_base_ls960.pt --as hubert-base --out hubert-ls960
      cuebank import-weights fold0.pt --as sempi --openface-norm norm.npz --tokenizer roberta-base
    """
    common: dict[str, Any] = {"out": out, "licence": licence, "overwrite": overwrite}
    report: Any
    if backbone == SEMPI:
        report = _sempi(file, common, **sempi)
    else:
        if given := [name for name, value in sempi.items() if value]:
            option = given[0].replace("settings", "set").replace("_", "-")
            raise click.UsageError(f"--{option} is for --as {SEMPI} only.")
        from ..extractors.import_weights import import_weights as run

        report = run(file, backbone, **common)
    click.echo(json.dumps(report.to_json()) if as_json else report.to_text())


def _sempi(
    file: Path,
    common: Mapping[str, Any],
    no_head: bool,
    openface_norm: Path | None,
    tokenizer: Path | None,
    settings: tuple[str, ...],
) -> Any:
    options = pairs(settings, "--set")
    if no_head and (options or openface_norm):
        raise click.UsageError("--no-head leaves nothing to do for --set and --openface-norm.")
    from ..extractors.import_sempi import import_sempi

    def write_head(
        folder: Path, tensors: Mapping[str, Any], dims: Mapping[str, int], describe: Callable[[str], Any]
    ) -> tuple[tuple[str, ...], list[str]]:
        from ..trainers.import_head import import_head

        saved, notes = import_head(tensors, dims, describe, options=options, openface_norm=openface_norm)
        saved.write(folder)
        return tuple(saved.inputs), notes

    return import_sempi(file, tokenizer=tokenizer, write_head=None if no_head else write_head, **common)
