"""Versions of the clips table as Zarr groups, one array for each column."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..clips_table import COLUMNS, Clip, ClipsTable
from ..errors import BadInput, CuebankError
from ..files import corrupt, parse_json, read_bytes, real_folders, render_json, write_file
from ..texts import check_texts, pack_texts
from . import zarr_metadata as metadata
from .zarr_check import strange_names

MAX_CLIPS = 2**24
MAX_COLUMN_BYTES = 2**28
_VERSION = re.compile(r"([0-9]{8,18})-([0-9a-f]{12})")
_NUMBERS = {"number": np.dtype("<f8"), "integer": np.dtype("<i8")}


def versions(folder: Path) -> list[str]:
    """Return the names of all versions in a folder, from the oldest to the newest."""
    return by_age(real_folders(folder))


def by_age(names: Iterable[str]) -> list[str]:
    """Return those of some names that versions can have, from the oldest to the newest."""
    matches = [_VERSION.fullmatch(name) for name in names]
    return [match[0] for match in sorted((m for m in matches if m), key=lambda m: (int(m[1]), m[0]))]


def next_version(files: dict[str, bytes], known: list[str]) -> str:
    """Return the name of a version with these files: the newest one if it is equal, else a new name."""
    digest = content_digest(files)
    if known and known[-1].endswith(f"-{digest}"):
        return known[-1]
    return f"{1 + (int(known[-1].split('-')[0]) if known else 0):08d}-{digest}"


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Create the files of a version in an empty folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        write_file(path, data)


def content_digest(files: dict[str, bytes]) -> str:
    """Return the first 12 hex digits of a sha256 over names, sizes and contents of files, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode("ascii"))
        digest.update(files[name])
    return digest.hexdigest()[:12]


def version_files(table: ClipsTable, format_: int = metadata.FORMAT) -> dict[str, bytes]:
    """Return all files of a version: path inside its folder -> content."""
    return files_of(*version_arrays(table, format_))


def version_arrays(table: ClipsTable, format_: int = metadata.FORMAT) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the attributes of a version, and its arrays by their names."""
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
    arrays: dict[str, np.ndarray] = {}
    listed = []
    for i, (role, name, kind, values) in enumerate(columns):
        listed.append({"array": f"column_{i}", "name": name, "role": role, "kind": kind})
        arrays |= _column_arrays(f"column_{i}", kind, values)
    return {"format": format_, "kind": "clips-version", "clips": len(table), "columns": listed}, arrays


def files_of(own: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Return all files of a version: path inside its folder -> content.

    Their digest names a version in every container, so that a table has the same name wherever it lies.
    """
    texts = {column["array"] for column in own["columns"] if column["kind"] == "text"}
    members = {
        name: metadata.array(data.shape, data.dtype, (_dimension(name, texts),)) for name, data in arrays.items()
    }
    files = {"zarr.json": render_json(metadata.group(dict(own), members))}
    for name, data in arrays.items():
        files[f"{name}/zarr.json"] = render_json(members[name])
        if data.size:
            files[f"{name}/0"] = data.tobytes()
    return files


def _dimension(name: str, texts: set[str]) -> str:
    """Return the name of the dimension of an array; `texts` are the columns that are texts."""
    if name in texts:
        return f"{name}_byte"
    return f"{name.removesuffix('_offsets')}_bound" if name.endswith("_offsets") else "clip"


def _column_arrays(name: str, kind: str, values: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the arrays of a column. `_present` tells what is missing from what is zero or empty."""
    arrays = {f"{name}_present": np.array([value is not None for value in values], bool)}
    if kind == "text":
        texts = ["" if value is None else str(value) for value in values]
        arrays[name], arrays[f"{name}_offsets"] = pack_texts([text.encode("utf-8") for text in texts])
    else:
        arrays[name] = np.array([value or 0 for value in values], _NUMBERS[kind])
    return arrays


def read(folder: Path, where: str) -> ClipsTable:
    """Return the clips table in a version's folder.

    Raises:
        Corrupt: naming `where`, if it is damaged.
    """
    files = read_files(folder, where)
    if content_digest(files) != folder.name.split("-")[1]:
        raise corrupt(where, "Its content does not agree with the checksum in its name.")
    try:
        own = parse_json(files["zarr.json"], where)["attributes"]["cuebank"]
        if own["format"] not in metadata.READABLE:
            raise corrupt(where, "It is of another format.")
    except (KeyError, TypeError) as error:
        raise corrupt(where, f"It is not a clips table: {error}.") from error
    return table_of(own, lambda name: files.get(f"{name}/0", b""), where)


def table_of(own: Any, content: Callable[[str], bytes], where: str) -> ClipsTable:
    """Return the clips table of a version.

    Args:
        own: its attributes.
        content: returns the bytes of an array by its name.
        where: the version in words, for errors.

    Raises:
        Corrupt: if this is no clips table.
    """
    try:
        return _table(own, content, where)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        if isinstance(error, CuebankError) and not isinstance(error, BadInput):
            raise
        raise corrupt(where, f"It is not a clips table: {error}.") from error


def check(folder: Path, where: str) -> Iterator[str]:
    """Yield what is wrong with a version."""
    try:
        table = read(folder, where)
    except CuebankError as error:
        yield f"{error.asked} {error.found}"
        return
    found = read_files(folder, where)
    files = version_files(table, parse_json(found["zarr.json"], where)["attributes"]["cuebank"]["format"])
    yield from strange_names(folder, {name.split("/")[0] for name in files})
    if files != found:
        yield f"The files of {where} are not those that cuebank writes for its content."


def read_files(folder: Path, where: str) -> dict[str, bytes]:
    """Return all files of a version: path inside its folder -> content."""
    files = {"zarr.json": read_bytes(folder / "zarr.json", where)}
    for name in real_folders(folder):
        for path in sorted((folder / name).iterdir()):
            files[f"{name}/{path.name}"] = read_bytes(path, where, limit=MAX_COLUMN_BYTES)
    return files


def _table(own: Any, content: Callable[[str], bytes], where: str) -> ClipsTable:
    count, listed = own["clips"], own["columns"]
    if type(count) is not int or not 0 <= count <= MAX_CLIPS or own["kind"] != "clips-version":
        raise corrupt(where, "It does not say how many clips it has.")
    fields: dict[str, list[Any]] = {}
    labels: dict[str, list[Any]] = {}
    kinds: dict[str, str] = {}
    for column in listed:
        values = _column(content, column["array"], column["kind"], count, where)
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


def _column(content: Callable[[str], bytes], array: str, kind: str, count: int, where: str) -> list[Any]:
    """Return the values of a column, None where there is none."""
    present = np.frombuffer(content(f"{array}_present"), bool)
    values: list[Any]
    if kind == "text":
        data, offsets = content(array), np.frombuffer(content(f"{array}_offsets"), "<i8")
        check_texts(data, offsets, where)
        values = [data[a:b].decode("utf-8") for a, b in pairwise(offsets)]
    else:
        values = np.frombuffer(content(array), _NUMBERS[kind]).tolist()
    if not len(values) == len(present) == count:
        raise corrupt(where, f"A column has {len(values)} values, not {count}.")
    return [value if there else None for value, there in zip(values, present.tolist(), strict=True)]
