"""`cuebank backbones`, `tasks`, `heads`: what there is."""

from __future__ import annotations

import json

import click

from .terminal import JSON, listing


@click.command()
@click.option("--check", metavar="NAME", help="Check that a backbone (or a Python file with one) keeps the contract.")
@JSON
def backbones(check: str | None, as_json: bool) -> None:
    """List the backbones: what they look at, dims, rate, licence, and whether their weights are on this machine.

    With --check, try one of them on made-up media instead, with random weights: what is wrong is told.

    \b
    Example:
      cuebank backbones
      cuebank backbones --check ./mine.py
    """
    if check is not None:
        from ..extractors.contract import check_backbone

        passed = check_backbone(check, lambda name: None if as_json else click.echo(f"{name}: ok"))
        if as_json:
            click.echo(json.dumps({"ok": True, "checks": passed}))
        return
    from ..extractors.registry import cards, weights_at_hand

    listing(
        [{**card.to_json(), "at_hand": weights_at_hand(card)} for card in cards()],
        ("name", "input", "dim", "layers", "rate_hz", "row_rate_hz", "weights", "licence", "at_hand"),
        as_json,
    )


@click.command()
@JSON
def tasks(as_json: bool) -> None:
    """List the tasks that heads can be trained for.

    \b
    Example:
      cuebank tasks
    """
    from ..trainers.tasks import tasks as known

    listing(
        [task.to_json() for task in known()],
        ("name", "version", "unit", "kind", "head", "loss", "metric", "target"),
        as_json,
    )


@click.command()
@click.option("--settings", is_flag=True, help="A line for each setting.")
@JSON
def heads(settings: bool, as_json: bool) -> None:
    """List the heads; with --settings, what can be set (--set NAME=VALUE) and the usual values.

    \b
    Example:
      cuebank heads
      cuebank heads --settings
    """
    from ..trainers.heads import heads as known

    found = [head.to_json() for head in known()]
    if as_json or not settings:
        listing(found, ("name", "takes", "title"), as_json)
        return
    rows = [
        {"head": head["name"], "setting": name, "default": "" if default is None else str(default)}
        for head in found
        for name, default in head["settings"].items()
    ]
    listing(rows, ("head", "setting", "default"), False)
