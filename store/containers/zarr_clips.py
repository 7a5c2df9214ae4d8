"""Versions of the clips table as Zarr groups, one array for each column."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..clips_table import COLUMNS, Clip, ClipsTable
from ..errors import BadInput, Corrupt, NotFound, nearest
from ..files import corrupt, parse_json, read_bytes, real_folders, render_json, write_new
from ..segments import check_texts, pack_texts
from ..writing_area import WritingArea
from . import zarr_metadata as metadata
from .zarr import ZarrContainer

MAX_CLIPS = 2**24
MAX_COLUMN_BYTES = 2**28
_VERSION = re.compile(r"([0-9]{8,18})-([0-9a-f]{12})")
_NUMBERS = {"number": np.dtype("<f8"), "integer": np.dtype("<i8")}


def versions(container: ZarrContainer) -> list[str]:
    """Return all versions of the clips table, from the oldest to the newest."""
    matches = [_VERSION.fullmatch(folder) for folder in real_folders(container.path / "clips")]
    return [match[0] for match in sorted((m for m in matches if m), key=lambda m: (int(m[1]), m[0]))]


def write_clips(container: ZarrContainer, area: WritingArea, table: ClipsTable) -> str:
    """Keep a table as the newest version, unless it is that already; return the version."""
    files = version_files(table)
    digest, known = content_digest(files), versions(container)
    if known and known[-1].endswith("-" + digest):
        return known[-1]
    number = 1 + (int(known[-1].split("-")[0]) if known else 0)
    folder = area.new_folder()
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        write_new(path, data)
    version = f"{number:08d}-{digest}"
    # If it is there already, another process has just written the same table.
    container.publish(folder, container.path / "clips" / version)
    return version


def content_digest(files: dict[str, bytes]) -> str:
    """Return the first 12 hex digits of a sha256 over names, sizes and contents of files, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode("ascii"))
        digest.update(files[name])
    return digest.hexdigest()[:12]


def version_files(table: ClipsTable) -> dict[str, bytes]:
    """Return all files of a version: path inside its folder -> content."""
    whole = all(isinstance(clip.fold, int) for clip in table if clip.fold is not None)
    kinds = (
        dict.fromkeys(COLUMNS, "text") | {"start": "number", "end": "number"} | ({"fold": "integer"} if whole else {})
    )
    columns = [
        ("field", name, kinds[name], [getattr(clip, name) for clip in table])
        for name in COLUMNS
        if name in ("clip_id", "path") or any(getattr(clip, name) is not None for clip in table)
    ]
    columns += [
        ("label", name, kind, [clip.labels.get(name) for clip in table]) for name, kind in table.label_columns.items()
    ]
    arrays: dict[str, tuple[np.ndarray, str]] = {}
    listed = []
    for i, (role, name, kind, values) in enumerate(columns):
        listed.append({"array": f"column_{i}", "name": name, "role": role, "kind": kind})
        arrays |= _column_arrays(f"column_{i}", kind, values)
    members = {name: metadata.array(data.shape, data.dtype, (dimension,)) for name, (data, dimension) in arrays.items()}
    own = {"format": metadata.FORMAT, "kind": "clips-version", "clips": len(table), "columns": listed}
    files = {"zarr.json": render_json(metadata.group(own, members))}
    for name, (data, _) in arrays.items():
        files[f"{name}/zarr.json"] = render_json(members[name])
        if data.size:
            files[f"{name}/0"] = data.tobytes()
    return files


def _column_arrays(name: str, kind: str, values: Sequence[Any]) -> dict[str, tuple[np.ndarray, str]]:
    """Return array name -> (array, dimension). `_present` tells what is missing from what is zero or empty."""
    arrays: dict[str, tuple[np.ndarray, str]] = {
        f"{name}_present": (np.array([value is not None for value in values], bool), "clip")
    }
    if kind == "text":
        texts = ["" if value is None else str(value) for value in values]
        data, offsets = pack_texts([text.encode("utf-8", "surrogateescape") for text in texts])
        arrays |= {name: (data, f"{name}_byte"), f"{name}_offsets": (offsets, f"{name}_bound")}
    else:
        arrays[name] = (np.array([value or 0 for value in values], _NUMBERS[kind]), "clip")
    return arrays


def read_clips(container: ZarrContainer, version: str | None) -> ClipsTable:
    """Return a version of the clips table, the newest if none is named.

    Raises:
        NotFound: if there is none.
        Corrupt: if it is damaged.
    """
    known = versions(container)
    if not known:
        raise NotFound(
            f"The clips table of {container.path} was asked for.", "It has none.", "Run `cuebank extract` with one."
        )
    if version is not None and version not in known:
        raise NotFound(
            f"Version `{version}` of the clips table was asked for.", nearest(version, known), "Ask for one of these."
        )
    version = version or known[-1]
    where = f"Version `{version}` of the clips table"
    files = read_version_files(container.path / "clips" / version, where)
    if content_digest(files) != version.split("-")[1]:
        raise corrupt(where, "Its content does not agree with the checksum in its name.")
    try:
        return _table(files, where)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        if isinstance(error, Corrupt):
            raise
        raise corrupt(where, f"It is not a clips table: {error}.") from error


def read_version_files(folder: Path, where: str) -> dict[str, bytes]:
    """Return all files of a version: path inside its folder -> content."""
    files = {"zarr.json": read_bytes(folder / "zarr.json", where)}
    for name in real_folders(folder):
        for path in sorted((folder / name).iterdir()):
            files[f"{name}/{path.name}"] = read_bytes(path, where, limit=MAX_COLUMN_BYTES)
    return files


def _table(files: dict[str, bytes], where: str) -> ClipsTable:
    own = parse_json(files["zarr.json"], where)["attributes"]["cuebank"]
    count, listed = own["clips"], own["columns"]
    if type(count) is not int or not 0 <= count <= MAX_CLIPS or own["kind"] != "clips-version":
        raise corrupt(where, "It does not say how many clips it has.")
    fields: dict[str, list[Any]] = {}
    labels: dict[str, list[Any]] = {}
    kinds: dict[str, str] = {}
    for column in listed:
        values = _column(files, column["array"], column["kind"], count, where)
        if column["role"] == "label":
            labels[column["name"]], kinds[column["name"]] = values, column["kind"]
        elif column["name"] in COLUMNS:
            fields[column["name"]] = values
    fields["path"] = [Path(text) for text in fields["path"]]
    return ClipsTable(
        (
            Clip(
                **{name: values[i] for name, values in fields.items()},
                labels={name: values[i] for name, values in labels.items()},
            )
            for i in range(count)
        ),
        kinds,
    )


def _column(files: dict[str, bytes], array: str, kind: str, count: int, where: str) -> list[Any]:
    """Return the values of a column, None where there is none."""
    present = np.frombuffer(files.get(f"{array}_present/0", b""), bool)
    values: list[Any]
    if kind == "text":
        data, offsets = files.get(f"{array}/0", b""), np.frombuffer(files[f"{array}_offsets/0"], "<i8")
        check_texts(data, offsets, where)
        values = [data[a:b].decode("utf-8") for a, b in zip(offsets, offsets[1:], strict=False)]
    else:
        values = np.frombuffer(files.get(f"{array}/0", b""), _NUMBERS[kind]).tolist()
    if not len(values) == len(present) == count:
        raise BadInput("A column was read.", f"It has {len(values)} values, not {count}.", "Restore the store.")
    return [value if there else None for value, there in zip(values, present.tolist(), strict=True)]
