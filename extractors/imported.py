"""Weights that `import-weights` took out of an original checkpoint, and the folder they lie in.

A family whose original checkpoints can be imported has, in its file, a function
`import_checkpoint(card, located) -> Imported`. It reads strictly: every tensor that the network needs, in its shape,
and no other but those that are known to be of no use. What it returns becomes a folder that `--weights` takes:
`model.safetensors`, `card.json`, and files of the original that the family's `load` looks at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import WeightsError

if TYPE_CHECKING:
    from .weights import LocatedWeights

TENSORS, CARD = "model.safetensors", "card.json"
FORMAT = "cuebank-weights-1"


class Imported(NamedTuple):
    """What a family took out of an original checkpoint.

    tensors: float32, by the names of our network. names: our name -> the original's; both parts where one tensor was
    made of two. left_out: tensors of the original that the network does not use. settings: what the original says
    beside its tensors, as JSON values; `load` finds them with `settings_of`. files: further files of the folder, by
    name, as they are (configuration, a tokenizer).
    """

    tensors: Mapping[str, Any]
    names: Mapping[str, str]
    left_out: tuple[str, ...] = ()
    settings: Mapping[str, Any] = {}
    files: Mapping[str, bytes] = {}


def read_card(folder: Path) -> dict[str, Any] | None:
    """Return the card of a folder that `import-weights` wrote; None if it is another folder.

    Raises:
        WeightsError: if the card is damaged.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    asked = f"Imported weights were to be read from the folder `{folder.name}`."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(asked, f"Its {CARD} cannot be read: {error}.", "Import the checkpoint again.") from error
    if not isinstance(content, dict) or not str(content.get("format", "")).startswith("cuebank-weights-"):
        return None  # a card of somebody else's
    if content["format"] != FORMAT:
        raise WeightsError(
            asked, f"Its format is {content['format']}, and this version reads {FORMAT}.", "Update cuebank."
        )
    texts = [content.get(name) for name in ("source", "tag", "sha256")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(content.get("settings"), dict):
        raise WeightsError(asked, f"Its {CARD} lacks source, tag, sha256 or settings.", "Import the checkpoint again.")
    return content


def settings_of(located: LocatedWeights) -> dict[str, Any]:
    """Return the `settings` of imported weights; empty for weights that were not imported.

    Raises:
        WeightsError: if the folder's card is damaged.
    """
    card = None if located.folder is None else read_card(located.folder)
    return {} if card is None else dict(card["settings"])


def files_of(located: LocatedWeights, *names: str) -> dict[str, bytes]:
    """Return those of the named files that lie in the folder of weights, for `Imported.files`."""
    folder = located.folder
    return {name: (folder / name).read_bytes() for name in names if folder and (folder / name).is_file()}
