"""What was chosen for an extraction: for all backbones, or by name for one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from ..store.errors import BadInput
from .registry import card

T = TypeVar("T")


def names_of(backbones: str | Sequence[str]) -> list[str]:
    """Return the names of the cards that are meant, each once.

    Raises:
        BadInput: if there is none, or one twice. NotFound: for an unknown one.
    """
    names = [card(name).name for name in ([backbones] if isinstance(backbones, str) else backbones)]
    if not names or len(set(names)) != len(names):
        raise BadInput(
            f"The backbones {', '.join(names) or '(none)'} were asked for.",
            "At least one is needed, each of them once.",
            "Name each with --backbone; `cuebank backbones` lists them.",
        )
    return names


def check_pace(decode_workers: int, commit_every_s: float) -> None:
    """Check what is not checked elsewhere.

    Raises:
        BadInput: for a negative number.
    """
    if decode_workers < 0 or not commit_every_s >= 0:
        raise BadInput(
            f"{decode_workers} decode workers and a commit every {commit_every_s} s were asked for.",
            "Neither can be negative.",
            "Use 0 or more.",
        )


def devices_of(device: str | Sequence[str]) -> list[str]:
    """Return the devices, each once.

    Raises:
        BadInput: if there is none, or one twice.
    """
    devices = [device] if isinstance(device, str) else list(device)
    if not devices or len(set(devices)) != len(devices):
        raise BadInput(
            f"The devices {', '.join(devices) or '(none)'} were given.",
            "At least one is needed, each of them once.",
            "Use e.g. cpu, or cuda:0 and cuda:1.",
        )
    return devices


def weights_of(name: str, names: list[str], weights: str | Mapping[str, str] | None) -> str | None:
    """Return the weights for one backbone.

    Raises:
        BadInput: if one file of weights was given for several, or some for a backbone that was not asked for.
    """
    if isinstance(weights, str) and weights != "random" and len(names) > 1:
        raise BadInput(
            f"The weights `{weights}` were given for {len(names)} backbones.",
            "They belong to one network only.",
            "Extract one backbone at a time, or give weights by name.",
        )
    return by_name(name, names, weights, None)


def by_name(name: str, names: list[str], given: T | Mapping[str, T], default: T) -> T:
    """Return what was given for all backbones, or for the one of this name.

    Raises:
        BadInput: if something was given for a backbone that was not asked for. NotFound: for an unknown one.
    """
    if not isinstance(given, Mapping):
        return given
    chosen = {card(one).name: value for one, value in given.items()}
    if unknown := set(chosen) - set(names):
        raise BadInput(
            f"Something was given for {', '.join(sorted(unknown))}.",
            f"The backbones asked for are {', '.join(names)}.",
            "Give it by these names.",
        )
    return chosen.get(name, default)
