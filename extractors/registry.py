"""Which backbones there are: every file of `backbones/` that does not start with `_` is a family.

A family's file has `CARDS`, a tuple of `Card`, and `load(card, settings)`, which returns an `Extractor`; importing it
must not import torch. Two more places are looked at, so that a family need not be part of this package: modules that
an installed package names in its entry points of the group `cuebank.backbones`, and a Python file whose path is given
where a backbone's name is asked for (`./mine.py`, or `./mine.py:card` where it has several).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from ..store.errors import BadInput, NotFound, nearest
from . import backbones
from .base import Card, Extractor, ExtractorSettings
from .hub import at_hand

ENTRY_POINTS = "cuebank.backbones"
_LOOKS_LIKE_A_PATH = re.compile(r"[/\\]|^[.~]|\.(pt|pth|bin|ckpt|safetensors|onnx)$", re.IGNORECASE)
_PYTHON_FILE = re.compile(r"(.+\.py)(?::([\w.-]+))?", re.DOTALL)
_files: dict[Path, ModuleType] = {}  # families that were named by their file, for as long as this process lives


@lru_cache(maxsize=1)
def _families() -> dict[str, tuple[Card, ModuleType]]:
    """All cards by name, with the module that loads them."""
    found: dict[str, tuple[Card, ModuleType]] = {}
    for module in (*_modules(), *_files.values()):
        for item in module.CARDS:
            if item.name in found:
                raise BadInput(
                    f"Two backbones are called `{item.name}`.",
                    f"One is in {found[item.name][1].__name__}, one in {module.__name__}.",
                    "Rename one of them.",
                )
            found[item.name] = (item, module)
    return found


def _modules() -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(backbones.__path__):
        if not info.name.startswith("_"):
            yield importlib.import_module(f".{info.name}", backbones.__name__)
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            module = entry.load()
        except (ImportError, AttributeError) as error:
            raise BadInput(
                f"The installed package {entry.dist.name if entry.dist else ''} has backbones in `{entry.value}`.",
                f"They cannot be imported: {error}.",
                "Mend or uninstall that package.",
            ) from error
        yield _checked(module, entry.value)


def _checked(module: ModuleType, where: str) -> ModuleType:
    good = isinstance(getattr(module, "CARDS", None), tuple) and callable(getattr(module, "load", None))
    if not good or not all(isinstance(item, Card) for item in module.CARDS):
        raise BadInput(
            f"Backbones were looked for in {where}.",
            "It has no tuple CARDS of `cuebank.extractors.Card`, or no function load(card, settings).",
            "Add what is missing; README.md shows a whole one.",
        )
    return module


def _from_file(path: Path, wanted: str | None) -> str:
    """Take in the cards of a Python file; return the name of the one that is meant."""
    path = path.expanduser().resolve()
    if path not in _files:
        if not path.is_file():
            raise NotFound(f"The backbone `{path}` was asked for.", "There is no such file.", "Check the path.")
        spec = importlib.util.spec_from_file_location(f"cuebank_backbone_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise BadInput(f"The backbone `{path}` was asked for.", "It is no Python file.", "Check the path.")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _files[path] = _checked(module, f"`{path}`")
        _families.cache_clear()
    names = [item.name for item in _files[path].CARDS]
    default = next((item.name for item in _files[path].CARDS if item.default), names[0] if names else "")
    chosen = default if wanted is None else wanted
    if chosen not in names:
        raise NotFound(
            f"The backbone `{chosen}` of `{path}` was asked for.", "It is not there.", nearest(chosen, names)
        )
    return chosen


def cards() -> list[Card]:
    """Return the cards of all backbones, sorted by name.

    Example:
        >>> "hubert-base" in [card.name for card in cards()]
        True
    """
    return [item for _, (item, _) in sorted(_families().items())]


def card(name: str) -> Card:
    """Return the card of this name; a family's name means its default card, a Python file's path the card in it.

    Raises:
        BadInput: if the name looks like a path of weights, or a Python file has no backbone.
        NotFound: if there is none; the message has the nearest names.

    Example:
        >>> card("hubert").name
        'hubert-base'
    """
    if matched := _PYTHON_FILE.fullmatch(name):
        name = _from_file(Path(matched[1]), matched[2])
    known = _families()
    if name in known:
        return known[name][0]
    for item, _ in known.values():
        if item.default and item.family == name:
            return item
    if _LOOKS_LIKE_A_PATH.search(name):
        published = [item for item, _ in known.values() if item.default and item.weights]
        named = [item.name for item in published if item.family in name.lower()]
        like = (named or [item.name for item in published] or ["NAME"])[0]
        raise BadInput(
            f"The backbone `{name}` was asked for.",
            "That looks like a path or a hub id, which says nothing of the network it belongs to.",
            f"Use --backbone {like} for the published weights, or --backbone {like} --weights {name} for these.",
        )
    families = {item.family for item, _ in known.values()}
    raise NotFound(
        f"The backbone `{name}` was asked for.", "There is none of that name.", nearest(name, [*families, *known])
    )


def family(name: str) -> ModuleType:
    """Return the module of the family that a card belongs to; arguments and errors as those of `card`."""
    return _families()[card(name).name][1]


def weights_at_hand(card: Card) -> str:
    """Say whether a card's weights are on this machine, in a word or two for a list. Nothing is looked up elsewhere."""
    if card.weights is None:
        if card.input in ("audio", "table") and not card.layers:
            return "none needed"
        return "random only" if card.tiny else "by file"
    found = at_hand(card.weights, card.revision)
    return "unknown" if found is None else "yes" if found else "no"


def load(name: str, settings: ExtractorSettings) -> Extractor:
    """Load a backbone with its weights.

    Args:
        name: of a card or a family, or the path of a Python file.
        settings: weights, layers and the rest.

    Raises:
        NotFound, BadInput: for an unknown name, layer or device.
        WeightsError: if the weights cannot be had, or do not fit.
        MissingExtra: if a package that this backbone needs is not installed.
    """
    chosen = card(name)
    settings.check_pooling(chosen)
    extractor: Extractor = _families()[chosen.name][1].load(chosen, settings)
    return extractor
