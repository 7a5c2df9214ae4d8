"""Where weights come from: random, a file, a folder, or the hub; and what that is called in recipes and names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store.keys import slug
from .base import Card, ExtractorSettings
from .checkpoint import sha256_file
from .errors import WeightsError
from .hub import fetch
from .imported import CARD, read_card
from .random_weights import RULE

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # of a transformers folder, the better one first
_FILE_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w.-]+))?")
_MAX_TAG = 80  # letters of a weights tag; the whole name of a feature set must fit into a folder's name


@dataclass(frozen=True)
class LocatedWeights:
    """Weights that are at hand.

    Args:
        source: what to call them in recipes and messages; never a path.
        tag: what to call them in names of feature sets.
        licence: as far as it is known.
        file: the file that has the tensors; None for random weights.
        folder: the transformers folder that the file belongs to, or None.
        seed: of random weights, else None.
        sha256: that the file must have, where a card says so.
    """

    source: str
    tag: str
    licence: str
    file: Path | None = None
    folder: Path | None = None
    seed: int | None = None
    sha256: str | None = None

    def recipe(self) -> dict[str, Any]:
        """Return what a recipe says of the weights; reads the whole file for its sha256.

        Raises:
            WeightsError: if it is not the file that a card speaks of.
        """
        if self.file is None:
            return {"source": self.source, "seed": self.seed, "rule": RULE, "sha256": None, "licence": self.licence}
        digest = sha256_file(self.file)
        if self.sha256 not in (None, digest):
            raise WeightsError(
                f"The weights `{self.file.name}` of {self.source} were to be loaded.",
                f"They are not those that {CARD} beside them speaks of: its sha256 is another.",
                "Import the original checkpoint again.",
            )
        return {"source": self.source, "sha256": digest, "licence": self.licence}

    def config(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the transformers folder, or None where there is none.

        Raises:
            WeightsError: if it is not JSON.
        """
        path = None if self.folder is None else self.folder / name
        if path is None or not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WeightsError(f"`{name}` of {self.source} was to be read.", f"{error}.", "Fetch it again.") from error
        return content if isinstance(content, dict) else {}


def locate(card: Card, settings: ExtractorSettings) -> LocatedWeights:
    """Find the weights that the settings name, on this machine or on the hub.

    Args:
        card: of the backbone; its own published weights are meant where the settings name none.
        settings: `weights` and `seed` are looked at.

    Raises:
        WeightsError: if they cannot be had; the message says what to download and where to put it.
    """
    wanted = settings.weights
    if wanted == "random":
        return LocatedWeights("random", f"random-{settings.seed}", "none needed", seed=settings.seed)
    if wanted is None:
        if card.weights is None:
            raise WeightsError(
                f"The weights of {card.name} were asked for.",
                "None are published: it is a small variant for tests and demonstrations.",
                "Add --weights random.",
            )
        wanted = f"{card.weights}@{card.revision}"
    path = Path(wanted).expanduser()
    if path.is_dir():
        return _in_folder(path, f"{slug(path.resolve().name)}", path.resolve().name, "not stated")
    if path.is_file():
        return LocatedWeights(path.name, slug(path.stem)[:_MAX_TAG], "not stated", file=path)
    match = _HUB_ID.fullmatch(wanted)
    if match and not wanted.lower().endswith(_FILE_ENDINGS):
        return _on_hub(card, match[1], match[2])
    raise WeightsError(
        f"The weights `{wanted}` were asked for.",
        "There is no such file or folder, and it is no hub id.",
        "Give a file, a folder, a hub id such as owner/name, or random.",
    )


def _on_hub(card: Card, name: str, revision: str | None) -> LocatedWeights:
    folder, commit = fetch(name, revision, card.name)
    own = name == card.weights and commit == card.revision
    tag = card.tag if own else slug(name.split("/")[1]) + (f"-{slug(revision)[:8]}" if revision else "")
    return _in_folder(folder, tag, f"{name}@{commit}", card.licence if own else "see the hub")


def _in_folder(folder: Path, tag: str, source: str, licence: str) -> LocatedWeights:
    imported = read_card(folder)
    if imported is not None and (file := folder / WEIGHT_FILES[0]).is_file():
        said = imported.get("licence") or licence
        name, tag, digest = imported["source"], slug(imported["tag"])[:_MAX_TAG], imported["sha256"]
        return LocatedWeights(name, tag, said, file, folder, sha256=digest)
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return LocatedWeights(f"{source}/{name}", tag[:_MAX_TAG], licence, folder / name, folder)
    others = sorted(p.name for p in folder.iterdir() if p.name.lower().endswith((*_FILE_ENDINGS, ".index.json")))
    raise WeightsError(
        f"The weights in the folder `{folder.name}` were asked for.",
        f"It has neither {' nor '.join(WEIGHT_FILES)}; it has {', '.join(others[:5]) or 'no file of weights'}.",
        "Give a folder that transformers saved in one piece, or name the file itself.",
    )
