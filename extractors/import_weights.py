"""Turn an original checkpoint into a folder that `--weights` takes: the library behind `cuebank import-weights`.

The folder holds `model.safetensors`, which nothing can run a program from, and `card.json`: where the tensors are from,
both checksums, which of our tensors is which of the original's, and what was left out. Features are those of the
original to the last bit; recipes then state the checksum of `model.safetensors`.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..store.errors import BadInput, NotFound
from ..store.files import write_file
from ..store.keys import slug
from . import registry
from .base import Card, ExtractorSettings
from .checkpoint import sha256_file
from .errors import WeightsError
from .imported import CARD, FORMAT, TENSORS, Imported, read_card
from .new_folder import check_free, new_folder
from .weights import LocatedWeights, locate

SHOWN = 5  # names that a report for a terminal lists
_UNTOLD = ("model", "pytorch_model")  # what transformers calls every file
_LICENCE = re.compile(r"^license:[ \t]*[\"']?([\w.+-]+)", re.MULTILINE)


@dataclass(frozen=True)
class ImportReport:
    """What became of an import.

    Args:
        backbone: name of the card.
        folder: what was written.
        source: file name of the original.
        original_sha256: of that file. sha256: of `model.safetensors`.
        tensors, parameters: how many were taken. renamed: tensors that have another name in the original.
        left_out: tensors of the original that the network does not use.
        licence: as far as it is known.
    """

    backbone: str
    folder: Path
    source: str
    original_sha256: str
    sha256: str
    tensors: int
    parameters: int
    renamed: int
    left_out: tuple[str, ...]
    licence: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "folder": str(self.folder), "left_out": list(self.left_out)}

    def to_text(self) -> str:
        """Return lines for a terminal."""
        more = ", …" if len(self.left_out) > SHOWN else ""
        unused = f": {', '.join(self.left_out[:SHOWN])}{more}" if self.left_out else ""
        return "\n".join(
            [
                f"{self.source} as {self.backbone}: {self.tensors} tensors, {self.parameters:,} numbers; "
                f"{self.renamed} renamed, {len(self.left_out)} not used{unused}",
                f"sha256 of the original {self.original_sha256}",
                f"sha256 of {TENSORS} {self.sha256}",
                f"Licence: {self.licence or 'not stated; say it with --licence'}",
                f"Use it: cuebank extract --backbone {self.backbone} --weights {self.folder} "
                "--clips clips.csv --store features.zarr",
            ]
        )


def import_weights(
    file: str | Path,
    backbone: str,
    *,
    out: str | Path | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Import an original checkpoint for one backbone.

    Args:
        file: the checkpoint, or the folder of a transformers model.
        backbone: name of a card or a family.
        out: folder to make; None: in the working folder, named after the original.
        licence: of the weights; None: what the `README.md` of a transformers folder says.
        overwrite: replace a folder that an earlier import wrote.

    Raises:
        NotFound: for an unknown backbone, or a file that is not there.
        BadInput: if this backbone has no weights that can be imported.
        WeightsError: if the file is unsafe, damaged, or does not fit; with the difference.
        Conflict: if the folder is there already.
    """
    card = registry.card(backbone)
    reader = importer(card)
    source = existing(file)
    target = Path(out) if out is not None else Path(default_name(source))
    check_free(target, replaceable(target, overwrite))
    located = locate(card, ExtractorSettings(weights=str(source)))
    if licence is None and located.folder is not None:
        licence = stated_licence(located.folder)
    imported = reader(card, located)
    with new_folder(target, replaceable(target, overwrite)) as folder:
        report = write_weights(folder, card, imported, located, licence=licence)
    return ImportReport(**{**asdict(report), "folder": target})


def importer(card: Card) -> Any:
    """Return the family's function `import_checkpoint`.

    Raises:
        BadInput: if it has none; the message lists the cards that have.
    """
    found = getattr(registry.family(card.name), "import_checkpoint", None)
    if found is None:
        known = [one.name for one in registry.cards() if hasattr(registry.family(one.name), "import_checkpoint")]
        raise BadInput(
            f"A checkpoint was to be imported as `{card.name}`.",
            "This backbone has no weights that could be imported.",
            f"Use one of: {', '.join(known)}.",
        )
    return found


def existing(file: str | Path) -> Path:
    """Return the absolute path of a checkpoint.

    Raises:
        NotFound: if it is not there; nothing is looked up on the hub.
    """
    path = Path(file).expanduser().absolute()
    if not path.exists():
        raise NotFound(
            f"The checkpoint `{file}` was to be imported.",
            "There is no such file or folder.",
            "Check the path; models of the hub need no import: give their id to `cuebank extract --weights`.",
        )
    return path


def default_name(source: Path) -> str:
    """Return the name of the folder for a checkpoint.

    Example:
        >>> default_name(Path("/x/rgb_imagenet.pt")), default_name(Path("/x/hubert/pytorch_model.bin"))
        ('rgb_imagenet-imported', 'hubert-imported')
    """
    return f"{original_tag(source)}-imported"


def original_tag(source: Path) -> str:
    """Return what features of a checkpoint are called: its name, or its folder's where its own says nothing."""
    if source.is_dir() or source.stem in _UNTOLD:
        return slug(source.name if source.is_dir() else source.parent.name)
    return slug(source.stem)


def replaceable(target: Path, overwrite: bool) -> frozenset[str] | None:
    """Return the names in a folder that an earlier import wrote; empty: none did; None: they are to be kept."""
    if not overwrite:
        return None
    card = read_card(target) if target.is_dir() else None
    return frozenset() if card is None else frozenset(str(name) for name in card.get("files", ()))


def stated_licence(folder: Path) -> str | None:
    """Return the licence that the head of a model's `README.md` on the hub states, or None.

    Example:
        >>> stated_licence(Path("no such folder")) is None
        True
    """
    path = folder / "README.md"
    if not path.is_file():
        return None
    head = path.read_text(encoding="utf-8", errors="replace")[:20_000].split("---")
    found = _LICENCE.search(head[1]) if len(head) > 2 and not head[0].strip() else None
    return found[1] if found else None


def save(tensors: Mapping[str, Any], path: Path) -> None:
    """Write tensors as a safetensors file.

    Raises:
        WeightsError: if the disk does not take them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    write_file(path, b"")
    usual = path.stat().st_mode  # the library makes files that only their owner may read
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
        path.chmod(usual)
    except SafetensorError as error:  # the library's name for errors of the disk, too
        count = sum(tensor.nbytes for tensor in tensors.values())
        raise WeightsError(
            f"{count:,} bytes of tensors were to be written.", f"That failed: {error}.", "Make room on the disk."
        ) from error


def write_weights(
    folder: Path,
    card: Card,
    imported: Imported,
    located: LocatedWeights,
    *,
    licence: str | None,
    original: Mapping[str, Any] | None = None,
    tag: str | None = None,
) -> ImportReport:
    """Write tensors and their card into a folder; the same tensors always give the same bytes.

    Args:
        folder: empty.
        card: of the backbone.
        imported: what the family took.
        located: where it was taken from.
        licence: as far as it is known.
        original: `file`, `sha256` and perhaps `part` of the original, where it is not the located file itself.
        tag: what the weights are called in names of feature sets; None: as those of the original.
    """
    file = located.file
    if file is None:
        raise BadInput(f"Weights for {card.name} were to be imported.", "They are random.", "Give a file.")
    original = original or {"file": file.name, "sha256": sha256_file(file), "bytes": file.stat().st_size}
    tensors = {name: tensor.contiguous() for name, tensor in imported.tensors.items()}
    save(tensors, folder / TENSORS)
    for name, content in imported.files.items():
        write_file(folder / name, content)
    digest = sha256_file(folder / TENSORS)
    renamed = {ours: theirs for ours, theirs in imported.names.items() if ours != theirs}
    parameters = sum(tensor.numel() for tensor in tensors.values())
    page = {
        "format": FORMAT,
        "backbone": card.name,
        "tag": tag or original_tag(located.folder if located.folder is not None else file),
        "source": f"{original['file']}, imported",
        "sha256": digest,
        "original": dict(original),
        "licence": licence,
        "settings": dict(imported.settings),
        "files": sorted([CARD, TENSORS, *imported.files]),
        "tensors": len(tensors),
        "parameters": parameters,
        "renamed": renamed,
        "left_out": list(imported.left_out),
        "cuebank": __version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    write_file(folder / CARD, (json.dumps(page, indent=1) + "\n").encode())
    return ImportReport(
        backbone=card.name,
        folder=folder,
        source=str(original["file"]),
        original_sha256=str(original["sha256"]),
        sha256=digest,
        tensors=len(tensors),
        parameters=parameters,
        renamed=len(renamed),
        left_out=tuple(imported.left_out),
        licence=licence,
    )
