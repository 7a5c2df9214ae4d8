"""`cuebank backbones`, `tasks`, `heads`: what there is."""

from __future__ import annotations

import click

from .terminal import JSON, listing


@click.command()
@JSON
def backbones(as_json: bool) -> None:
    """List the backbones: what they look at, dims, rate, licence, and whether their weights are on this machine.

    \b
    Example:
      cuebank backbones
    """
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
        ("name", "version", "target", "kind", "head", "loss", "metric"),
        as_json,
    )


@click.command()
@JSON
def heads(as_json: bool) -> None:
    """List the heads and their settings.

    \b
    Example:
      cuebank heads
    """
    from ..trainers.heads import heads as known

    listing([head.to_json() for head in known()], ("name", "title", "settings"), as_json)
