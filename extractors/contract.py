"""What every backbone must do, as checks that anybody can run on a backbone of their own: `check_backbone`.

A check runs a loaded backbone on noise, or on a made-up clip with a flash and a click, and says what is wrong in the
first thing that is. They are the tests of the backbones that come with this package, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..store.clips_table import Clip
from ..store.errors import CuebankError
from ..store.recipe import FeatureSpec
from .base import Card, Extractor, ExtractorSettings, Rows
from .contract_media import TEXT_COLUMN, Medium, feed, lengths, noise, same_bits, span
from .media.audio import Audio
from .registry import card, load

RATES = ("24000/1001", "25", "30000/1001", "30", "50", "variable")
EPS_S = 1e-6


class ContractError(CuebankError):
    """A backbone does not do what every backbone must."""

    code = "contract"


@dataclass(frozen=True)
class Subject:
    """A backbone that is checked.

    Args:
        name: of its card, or the path of its file.
        settings: for every load; weights are random unless it says otherwise.
    """

    name: str
    settings: dict[str, Any]

    @property
    def card(self) -> Card:
        """The card."""
        return card(self.name)

    def make(self, **more: Any) -> Extractor:
        """Load it."""
        text = {"text": f"column:{TEXT_COLUMN}"} if self.card.input == "text" else {}
        return load(self.name, ExtractorSettings(**{"weights": "random", **text, **self.settings, **more}))

    def layers(self) -> tuple[str, ...]:
        """Two layers, or the one output of a backbone that has none to choose from."""
        return ("1", "last") if self.card.layers > 1 else ("last",)

    def require(self, good: bool, asked: str, found: str) -> None:
        """Raise unless `good`."""
        if not good:
            raise ContractError(f"{self.name}: {asked}", found, "See the protocol in cuebank.extractors.base.")


def check_backbone(name: str, report: Callable[[str], None] = lambda check: None, **settings: Any) -> list[str]:
    """Check that a backbone keeps the contract.

    Args:
        name: of a card or family, or the path of a Python file with a backbone; best a small card.
        report: told the name of each check that is passed.
        settings: of `ExtractorSettings`, for every load; weights are random unless given.

    Returns:
        The names of the checks.

    Raises:
        ContractError: saying what is wrong.
        NotFound, BadInput, WeightsError: if it cannot be loaded.
    """
    subject = Subject(name, settings)
    for check in CHECKS:
        CHECKS[check](subject)
        report(check)
    return list(CHECKS)


def _check_shapes(subject: Subject) -> None:
    layers = subject.layers()
    extractor = subject.make(layers=layers)
    asked = "Rows of the shape, type and number that its specs state were asked for."
    subject.require(len(extractor.specs) == len(layers), asked, f"It has {len(extractor.specs)} specs.")
    subject.require(extractor.specs[-1].dim > 0, asked, "A spec states no columns.")
    for seconds in lengths(extractor):
        medium = noise(extractor, seconds)
        if medium is None:
            return
        made = feed(extractor, medium)
        subject.require(len(made) == len(layers), asked, f"It gave {len(made)} times rows.")
        for spec, rows in zip(extractor.specs, made, strict=True):
            found = f"{spec.name}: values {rows.values.shape} {rows.values.dtype}, times {rows.times.shape} "
            found += f"{rows.times.dtype}, valid {rows.valid.shape} {rows.valid.dtype} of {seconds} s."
            count = len(rows.times)
            shape, kind = ((count,), object) if spec.is_text else ((count, spec.dim), np.float32)
            subject.require(rows.values.shape == shape and rows.valid.shape == (count,), asked, found)
            types = rows.values.dtype, rows.times.dtype, rows.valid.dtype
            subject.require(types == (kind, np.float64, bool), asked, found)
            good = (
                all(isinstance(text, str) for text in rows.values) if spec.is_text else np.isfinite(rows.values).all()
            )
            subject.require(bool(good and rows.valid.all()), asked, "Some are not finite, or no texts.")
            expected = _expected_count(subject, extractor, spec, rows, medium)
            subject.require(expected is None or count >= expected[0], asked, f"{found} {expected} were due.")
            subject.require(expected is None or expected[1] == expected[0], asked, f"{found} {expected} were due.")


def _expected_count(
    subject: Subject, extractor: Extractor, spec: FeatureSpec, rows: Rows, medium: Medium
) -> tuple[int, int] | None:
    """How many whole windows there must be, and how many there are; recipes may fill up windows at the ends."""
    if spec.timebase is None:
        return None
    begin, end = span(extractor, medium)
    due = spec.timebase.count(end - begin)
    if subject.card.layers:
        return due, len(rows.times)
    half = float(spec.timebase.window_s) / 2
    return due, int(((rows.times - half > begin - 1e-9) & (rows.times + half < end + 1e-9)).sum())


def _check_dim(subject: Subject) -> None:
    extractor = subject.make()
    found = f"The card says {subject.card.dim}, the spec {extractor.specs[0].dim}."
    default = not subject.settings.get("layers") and subject.settings.get("pooling", "none") in ("none", "mean")
    subject.require(not default or extractor.specs[0].dim == subject.card.dim, "Its width was compared.", found)


def _check_times(subject: Subject) -> None:
    extractor = subject.make()
    asked = "Times of rows were compared with the stream's."
    for start_s in (0.0, 2.48):
        medium = noise(extractor, lengths(extractor)[-1], start_s=start_s)
        if medium is None:
            return
        rows, spec = feed(extractor, medium)[0], extractor.specs[0]
        begin, end = span(extractor, medium)
        found = f"They go from {rows.times[0]:.4f} to {rows.times[-1]:.4f} s; the stream from {begin:.4f} to {end:.4f}."
        subject.require(bool((np.diff(rows.times) > 0).all() or spec.timebase is None), asked, "They do not rise.")
        subject.require(rows.times[0] >= begin - EPS_S and rows.times[-1] <= end + EPS_S, asked, found)
        if spec.timebase is not None:
            due = begin + spec.timebase.centers(len(rows.times))
            subject.require(bool(np.abs(rows.times - due).max() < EPS_S), asked, "They do not follow the timebase.")


def _check_alone(subject: Subject) -> None:
    extractor, company = subject.make(), subject.make()
    one, other = noise(extractor, lengths(extractor)[1], 1), noise(extractor, lengths(extractor)[2], 2)
    if one is None or other is None:
        return
    asked = "A clip was computed alone, in company and again."
    alone = feed(extractor, one)
    nothing = not "".join(alone[0].values) if extractor.specs[0].is_text else np.abs(alone[0].values).max() <= 0
    subject.require(not nothing, asked, "All values are 0, or empty.")
    feed(company, other)
    for _ in range(2):
        again = feed(company, one)
        same = all(same_bits(a, b) for a, b in zip(alone, again, strict=True))
        subject.require(same, asked, "Its rows are not the same bits.")
    different = feed(company, other)[0].values
    unlike = different.shape != alone[0].values.shape or not np.array_equal(different, alone[0].values)
    subject.require(unlike, asked, "Another clip gives the same rows: it does not look at the medium.")


def _check_blocks(subject: Subject) -> None:
    """The cut into blocks, and where samples lie in memory, must not matter."""
    extractor = subject.make()
    medium = noise(extractor, lengths(extractor)[1])
    if medium is None:
        return
    expected = feed(extractor, medium)[0]
    asked = "The same clip was given in other blocks, or at another place in memory."
    if isinstance(medium, list):
        for sizes in ((1,), (32,), (3, 7, 16)):
            found = f"Blocks of {sizes} give other bits."
            subject.require(same_bits(expected, feed(extractor, medium, sizes)[0]), asked, found)
        return
    if not isinstance(medium, Audio):
        return
    for offset in range(1, 5):
        shifted = np.zeros(len(medium.samples) + 8, np.float32)[offset:][: len(medium.samples)]
        shifted[:] = medium.samples
        shifted.flags.writeable = False
        moved = feed(extractor, Audio(shifted, medium.rate_hz, 0.0))[0]
        subject.require(same_bits(expected, moved), asked, f"Shifted by {offset} samples it gives other bits.")


def _check_gradients(subject: Subject) -> None:
    import torch

    extractor = subject.make()
    medium = noise(extractor, lengths(extractor)[1])
    if medium is None:
        return
    with torch.enable_grad():
        rows = feed(extractor, medium)[0]
        subject.require(torch.is_grad_enabled(), "Rows were computed.", "It switched gradients off for everybody.")
    subject.require(type(rows.values) is np.ndarray, "Rows were computed.", "They are no numpy arrays.")


def _check_specs(subject: Subject) -> None:
    asked = "What its feature sets say of themselves was read."
    layers = subject.layers()
    extractor = subject.make(seed=5, layers=layers, precision="bf16", dtype="float32")
    weightless = not subject.card.layers
    for spec, layer in zip(extractor.specs, layers, strict=True):
        recipe = spec.recipe
        subject.require(recipe.backbone == subject.card.name, asked, f"The backbone is `{recipe.backbone}`.")
        subject.require(spec.name.startswith(f"{subject.card.name}."), asked, f"The name is `{spec.name}`.")
        subject.require(weightless or recipe.layer == layer, asked, f"The layer is `{recipe.layer}`, not `{layer}`.")
        subject.require(weightless or recipe.precision == "bf16", asked, "bf16 is not recorded.")
        subject.require(weightless or "random-5" in spec.name, asked, f"The name `{spec.name}` hides random weights.")
        subject.require(spec.is_text or spec.dtype == "float32", asked, f"The type is {spec.dtype}.")
        subject.require(spec == FeatureSpec.from_json(spec.to_json()), asked, "It does not come back from JSON.")
    prints = {spec.fingerprint for spec in extractor.specs}
    subject.require(len(prints) == len(layers), asked, "Two layers have one fingerprint.")
    other = subject.make(seed=6, layers=layers, precision="bf16", dtype="float32")
    same = {spec.fingerprint for spec in other.specs} & prints
    subject.require(weightless or not same, asked, "Other weights have the same fingerprint.")


def _check_holes(subject: Subject) -> None:
    extractor, spec = subject.make(), subject.make().specs[0]
    medium = noise(extractor, 2.4)
    # What is said has no clock: its rows may all be in the hole.
    if medium is None or isinstance(medium, Clip) or spec.is_text:
        return
    asked = "A medium with a hole from 1.0 to 1.5 s was given."
    if isinstance(medium, Audio):
        rows = feed(extractor, Audio(medium.samples, medium.rate_hz, 0.0, ((1.0, 1.5),)))[0]
    else:
        holed = [b._replace(valid=b.valid & ((b.times < 1.0) | (b.times >= 1.5))) for b in medium]
        rows = feed(extractor, holed)[0]
    if spec.timebase is None:
        subject.require(bool(rows.valid.any()), asked, "No row is left.")
        return
    half = float(spec.timebase.window_s) / 2
    clear = (rows.times + half <= 1.0 - EPS_S) | (rows.times - half >= 1.5 + EPS_S)
    inside = (rows.times + half > 1.0 + EPS_S) & (rows.times - half < 1.5 - EPS_S)
    subject.require(bool(rows.valid[clear].all()), asked, "Rows that do not touch it are not valid.")
    within = inside & (rows.times >= 1.0) & (rows.times < 1.5)
    subject.require(not rows.valid[within].any(), asked, "Rows within it are valid.")


def _check_event(subject: Subject) -> None:
    """Rows that see an event must say when it was, at every frame rate."""
    from .contract_event import event_error

    for rate in RATES:
        told = event_error(subject.make(), rate)
        if told is None:
            return
        subject.require(
            told.found is not None and abs(told.found - told.due) <= told.tolerance_s + EPS_S,
            f"A flash and a click at {told.due:.3f} s were shown at {rate} frames a second.",
            f"Its rows say {'nothing' if told.found is None else f'{told.found:.3f} s'} (± {told.tolerance_s:.3f} s).",
        )


CHECKS: dict[str, Callable[[Subject], None]] = {
    "shapes": _check_shapes,
    "width": _check_dim,
    "times": _check_times,
    "alone": _check_alone,
    "blocks": _check_blocks,
    "gradients": _check_gradients,
    "specs": _check_specs,
    "holes": _check_holes,
    "event": _check_event,
}
