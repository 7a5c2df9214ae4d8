"""Makes damaged parts of a Zarr store look as if they had been written so: what a hostile writer would do.

Checksums are no secret. With them made anew, the checks behind the checksums have to hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import mutations
from patient import Patient

from cuebank.store import FeatureSpec
from cuebank.store.files import crc32c


def text_of(document: Any) -> bytes:
    """Return JSON as cuebank writes it, of numbers too that it would not write."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def seal(patient: Patient) -> None:
    """Make all checksums anew that the last changes have broken."""
    for name in {part_of(name) for name in patient.touched} - {""}:
        path = patient.inside / name
        described = path / "zarr.json"
        if path.is_symlink() or described.is_symlink() or not described.is_file():
            continue
        if name.split("/")[-2] == "clips":
            rename(patient, name, path.name.split("-")[0] + "-" + digest(path))
        elif name.split("/")[-2] in ("segments", "index"):
            rename(patient, name, f"{path.name[:-8]}{seal_bundle(path):08x}")
        else:
            seal_feature_set(described)


def part_of(name: str) -> str:
    """Return which part of the store a file belongs to that has checksums of its own; nothing if there is none."""
    parts = name.split("/")
    if len(parts) > 3 and parts[2] in ("segments", "index"):
        return "/".join(parts[:4])
    if len(parts) > 2 and parts[1] == "clips":
        return "/".join(parts[:3])
    return "/".join(parts[:2]) if len(parts) == 3 and parts[2] == "zarr.json" else ""


def rename(patient: Patient, name: str, last: str) -> None:
    """Give a folder the name that belongs to its content."""
    old, new = patient.touch(name), patient.touch(mutations.beside(name, last))
    if old != new:
        if new.exists():
            mutations.clear(new)
        old.rename(new)


def beginning(path: Path) -> bytes:
    """Return the bytes of a file, unless it has been inflated."""
    with path.open("rb") as file:
        return file.read(2**20)


def load(path: Path) -> dict[str, Any] | None:
    """Return cuebank's own attributes in a document, and nothing if there are none."""
    try:
        document = json.loads(beginning(path))
        return document if isinstance(document["attributes"]["cuebank"], dict) else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def seal_bundle(folder: Path) -> int:
    """Make the checksums of index arrays anew; return that of the metadata."""
    document = load(folder / "zarr.json")
    if document is not None:
        sums = document["attributes"]["cuebank"].get("checksums")
        for name in sums if isinstance(sums, dict) else ():
            if (folder / name / "0").is_file() and not name.startswith((".", "/")):
                sums[name] = crc32c(beginning(folder / name / "0"))
        (folder / "zarr.json").write_bytes(text_of(document))
    return crc32c(beginning(folder / "zarr.json"))


def seal_feature_set(path: Path) -> None:
    """Make checksum and fingerprint of a description anew."""
    document = load(path)
    if document is None:
        return
    seal_description(document["attributes"]["cuebank"])
    path.write_bytes(text_of(document))


def seal_description(own: dict[str, Any]) -> None:
    """Make checksum and fingerprint in the attributes of a feature set anew."""
    described = own.get("spec")
    if described is not None:
        with contextlib.suppress(Exception):  # any nonsense may be there, and may stay
            described["fingerprint"] = FeatureSpec.from_json(described).fingerprint
        own["crc32c"] = crc32c(text_of(described))


def digest(folder: Path) -> str:
    """Return what the name of a version of the clips table ends with."""
    found = hashlib.sha256()
    for path in sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        data = beginning(folder / path)
        found.update(f"{path} {len(data)}\n".encode() + data)
    return found.hexdigest()[:12]
