"""Take a SEMPI fusion checkpoint apart: a folder of weights for each of its backbones, and what its head looks at.

Source: SEMPI engagement baseline (ICMI 2024), its own checkpoint: a bare state dict of the whole model. The backbones
are partly fine-tuned together with the head, so that its features are those of these weights, not of the published
ones. The head itself is made elsewhere (`trainers.import_head`): it is given here as tensors, with a description of
the feature sets that it expects.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import shlex
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..store.errors import NotFound
from ..store.files import write_file
from ..store.keys import slug
from ..store.recipe import FeatureSpec
from . import registry
from .base import Card, ExtractorSettings
from .checkpoint import sha256_file
from .errors import WeightsError
from .hub import at_hand, fetch
from .import_weights import ImportReport, default_name, existing, importer, replaceable, save, write_weights
from .imported import CARD, FORMAT
from .new_folder import check_free, new_folder
from .sempi_checkpoint import PARTS, read_fusion
from .weights import LocatedWeights

NAME = "sempi"
HEAD = "head"  # folder of the head
TOKENIZERS = ("tokenizer.json", "vocab.json", "merges.txt")
_COMMON: dict[str, Any] = {"dtype": "float32"}  # as the original computes; a store of pooled rows is small anyway


OPENFACE = ExtractorSettings(layers=("all",), pooling="mean-all")

Describe = Callable[[str], FeatureSpec]
# Makes the head's folder. It gets the folder; the head's tensors, by their original names; the width of the features of
# each role that it may look at; and what describes the feature set of a role. It gives the roles that the head does
# look at, and what is to be said about it.
WriteHead = Callable[[Path, Mapping[str, Any], Mapping[str, int], Describe], tuple[tuple[str, ...], list[str]]]


@dataclass(frozen=True)
class SempiReport:
    """What became of a fusion checkpoint.

    Args:
        folder: what was written; a folder for each role, and `head`.
        source: file name of the original. original_sha256: of that file.
        parts: by role; their folders are inside `folder`.
        inputs: by role, the feature sets that the head looks at; empty where there is no head.
        extract: the command that makes them.
        notes: sentences for the reader.
    """

    folder: Path
    source: str
    original_sha256: str
    parts: Mapping[str, ImportReport]
    inputs: Mapping[str, str]
    extract: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        parts = {role: report.to_json() for role, report in self.parts.items()}
        rest = {"folder": str(self.folder), "parts": parts, "notes": list(self.notes), "inputs": dict(self.inputs)}
        return {**rest, "source": self.source, "original_sha256": self.original_sha256, "extract": self.extract}

    def to_text(self) -> str:
        """Return lines for a terminal."""
        lines = [f"{self.source}, sha256 {self.original_sha256}"]
        for role, report in self.parts.items():
            lines.append(f"{role}: {report.backbone}, {report.parameters:,} numbers: {report.folder}")
        if self.inputs:
            lines.append(f"head: looks at {', '.join(self.inputs.values())}: {self.folder / HEAD}")
        lines += [f"Note: {note}" for note in self.notes]
        lines.append(f"Extract its features: {self.extract}")
        if self.inputs:
            lines.append(
                f"Then: cuebank predict {shlex.quote(str(self.folder / HEAD))} --store features.zarr "
                "--out predictions.csv"
            )
        return "\n".join(lines)


def import_sempi(
    file: str | Path,
    *,
    out: str | Path | None = None,
    licence: str | None = None,
    tokenizer: str | Path | None = None,
    overwrite: bool = False,
    write_head: WriteHead | None = None,
) -> SempiReport:
    """Import a fusion checkpoint: its backbones, each into a folder of its own, and its head.

    Args:
        file: the checkpoint.
        out: folder to make; None: in the working folder, named after the original.
        licence: of the weights.
        tokenizer: folder with RoBERTa's tokenizer, which the checkpoint has not.
        overwrite: replace a folder that an earlier import wrote.
        write_head: makes the head's folder; None: the head is left out.

    Raises:
        NotFound: if the file, or a family that it needs, is not there.
        WeightsError: if it is unsafe, damaged, or no fusion checkpoint; with the difference.
        Conflict: if the folder is there already.
        CuebankError: what `write_head` raises.
    """
    source = existing(file)
    target = Path(out) if out is not None else Path(default_name(source))
    check_free(target, replaceable(target, overwrite))
    parts, head, unused = read_fusion(source)
    origin: dict[str, Any] = {"file": source.name, "sha256": sha256_file(source), "bytes": source.stat().st_size}
    with new_folder(target, replaceable(target, overwrite)) as folder:
        reports = {role: _import_part(role, tensors, folder, origin, licence) for role, tensors in parts.items()}
        words = _tokenizer(tokenizer, reports["text"].backbone)
        _add_files(folder / "text", words)
        specs: dict[str, FeatureSpec] = {}
        used, notes = tuple(PARTS), ["The head was left out."]
        if write_head is not None:

            def describe(role: str) -> FeatureSpec:
                if role == "text" and not words:
                    raise _no_tokenizer()
                backbone = reports[role].backbone if role in reports else role
                specs[role] = _spec(backbone, role, folder)
                return specs[role]

            dims = {role: registry.card(report.backbone).dim for role, report in reports.items()}
            dims["openface"] = registry.card("openface").dim
            used, notes = write_head(folder / HEAD, head, dims, describe)
        if not words:
            notes = [*notes, f"The text part lacks its tokenizer: copy {TOKENIZERS[0]} of roberta-base beside it."]
        command = _command({role: report.backbone for role, report in reports.items()}, target, used)
        _write_card(folder, origin, licence, unused, {"inputs": specs, "extract": command, "notes": notes})
    moved = {role: dataclasses.replace(report, folder=target / role) for role, report in reports.items()}
    names = {role: spec.name for role, spec in specs.items()}
    return SempiReport(target, source.name, origin["sha256"], moved, names, command, tuple(notes))


def _import_part(
    role: str, tensors: Mapping[str, Any], folder: Path, origin: Mapping[str, Any], licence: str | None
) -> ImportReport:
    """Import one backbone by the first card of its family that the tensors fit."""
    part = PARTS[role]
    tag = f"{slug(Path(origin['file']).stem)}-{role}"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        # Families read files: the part becomes one, under the names that its own published files have.
        file = Path(scratch) / "part.safetensors"
        save({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, file)
        located = LocatedWeights(f"{origin['file']} ({part.prefix}*)", tag, licence or "not stated", file=file)
        card, imported = _fitting(part.family, located)
        (folder / role).mkdir()
        origin = {**origin, "part": f"{part.prefix}*"}
        return write_weights(folder / role, card, imported, located, licence=licence, original=origin, tag=tag)


def _fitting(family: str, located: LocatedWeights) -> tuple[Card, Any]:
    cards = sorted((card for card in registry.cards() if card.family == family), key=lambda card: not card.default)
    if not cards:
        raise NotFound(f"`{located.source}` was to be imported.", f"No backbone is of the family {family}.", "Update.")
    refusals = []
    for card in cards:
        try:
            return card, importer(card)(card, located)
        except WeightsError as error:
            refusals.append(error)
    raise refusals[0]


def _tokenizer(folder: str | Path | None, backbone: str) -> dict[str, bytes]:
    """The files of a tokenizer: those in a folder, or of the published model if it is on this machine."""
    card = registry.card(backbone)
    if folder is None and card.weights is not None and at_hand(card.weights, card.revision):
        folder, _ = fetch(card.weights, card.revision, backbone)
    if folder is None:
        return {}
    found = {name: path.read_bytes() for name in TOKENIZERS if (path := Path(folder).expanduser() / name).is_file()}
    if not found:
        raise NotFound(
            f"RoBERTa's tokenizer was to be taken from `{folder}`.",
            f"There is none of {', '.join(TOKENIZERS)}.",
            "Give the folder of a transformers model, e.g. of roberta-base, with --tokenizer.",
        )
    return found


def _no_tokenizer() -> WeightsError:
    return WeightsError(
        "The head of the checkpoint looks at text.",
        "RoBERTa's tokenizer, without which no text can be read, is not part of the checkpoint, and not on this "
        "machine.",
        "Give the folder of roberta-base (tokenizer.json is enough) with --tokenizer, or add --no-head.",
    )


def _add_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put further files beside weights, and on their card."""
    for name, content in files.items():
        write_file(folder / name, content)
    card = json.loads((folder / CARD).read_bytes())
    card["files"] = sorted({*card["files"], *files})
    write_file(folder / CARD, (json.dumps(card, indent=1) + "\n").encode())


def _spec(backbone: str, role: str, folder: Path) -> FeatureSpec:
    """The feature set that extraction makes for a role, as the backbone describes it itself."""
    settings = OPENFACE
    if role in PARTS:
        settings = ExtractorSettings(**{**_COMMON, **PARTS[role].settings, "weights": str(folder / role)})
    return registry.load(backbone, settings).specs[0]


def _command(backbones: Mapping[str, str], target: Path, used: tuple[str, ...]) -> str:
    """The command that extracts what the head looks at."""
    names = {**backbones, "openface": "openface"}
    words = ["cuebank", "extract"]
    for role in used:
        words += ["--backbone", names[role]]
    for role in used:
        if role in PARTS:
            words += ["--weights", f"{names[role]}={target / role}"]
    for role in used:
        pooling = PARTS[role].settings.get("pooling") if role in PARTS else OPENFACE.pooling
        words += ["--pooling", f"{names[role]}={pooling}"] if pooling else []
    words += ["--layer", "openface=all"] if "openface" in used else []
    words += ["--slots", "16", "--slot-rule", "sempi"] if "video" in used else []
    words += ["--keep-last", "10"] if "audio" in used else []
    words += ["--text", "sempi"] if "text" in used else []
    words += ["--dtype", str(_COMMON["dtype"]), "--clips", "clips.csv", "--store", "features.zarr"]
    return shlex.join(words)


def _write_card(
    folder: Path, origin: Mapping[str, Any], licence: str | None, unused: list[str], more: Mapping[str, Any]
) -> None:
    made = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    content = {
        "format": FORMAT,
        "backbone": NAME,
        "tag": slug(Path(origin["file"]).stem),
        "source": origin["file"],
        "sha256": origin["sha256"],
        "original": dict(origin),
        "licence": licence,
        "settings": {},
        "files": sorted([CARD, *made]),
        "left_out": unused,
        **more,
        "inputs": {role: spec.to_json() for role, spec in more["inputs"].items()},
        "cuebank": __version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    write_file(folder / CARD, (json.dumps(content, indent=1) + "\n").encode())
