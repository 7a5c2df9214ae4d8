"""Prove a store: every byte of it that means something is checked, and what is wrong is listed with its series.

Nothing is repaired. A damaged store never makes `verify` fail; only a path that holds no store does. It may run while
others write: it looks at what is committed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .containers import zarr_metadata as metadata
from .containers.zarr_clips import read_clips, version_files, versions
from .containers.zarr_segment import SegmentFolder, generation, shard_tail
from .errors import BadInput, CuebankError
from .feature_store import FeatureStore
from .files import crc32c, read_bytes, render_json
from .keys import RESERVED_FOLDERS, hash_key, unquote_name
from .recipe import FeatureSpec
from .segments import FAILED, Segment, check_texts
from .series import finite
from .writing_area import area_of

Problem = dict[str, Any]


def verify(store_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Check a store completely.

    Args:
        store_path: the store's folder.

    Returns:
        `{"ok": bool, "series": live series, "problems": [{"feature_set", "clip_id", "entity_id", "problem"}],
        "notes": [text]}`; the fields of a problem that do not apply are None. Notes are no damage: unfinished work of
        other writers, or what a dead one left.

    Raises:
        NotFound: if there is no store.
        BadInput: if the path holds something else.
    """
    problems: list[Problem] = []
    store = FeatureStore(Path(os.path.realpath(store_path)), "r")
    try:
        store = FeatureStore.open(store_path)
    except CuebankError as error:
        if error.code != "corrupt":
            raise
        problems.append(_problem(None, f"{error.asked} {error.found}"))
    problems += _check_top(store.path)
    series = 0
    for name in store.feature_sets():
        found, count = _check_feature_set(store, name)
        problems += found
        series += count
    problems += _check_clips(store)
    return {"ok": not problems, "series": series, "problems": problems, "notes": _notes(store.path)}


def _problem(feature_set: str | None, text: str, key: tuple[str | None, str | None] = (None, None)) -> Problem:
    return {"feature_set": feature_set, "clip_id": key[0], "entity_id": key[1], "problem": text}


def _check_top(path: Path) -> Iterator[Problem]:
    """Check the store's own metadata, and that it holds nothing else than feature sets and clips."""
    yield from _check_file(path / "zarr.json", render_json(metadata.STORE_GROUP), None, "the store")
    yield from _check_file(path / "clips" / "zarr.json", render_json(metadata.CLIPS_GROUP), None, "the clips group")
    for entry in sorted(path.iterdir()):
        if entry.name in RESERVED_FOLDERS:
            continue
        try:
            unquote_name(entry.name)
            strange = entry.is_symlink() or not entry.is_dir()
        except BadInput:
            strange = True
        if strange:
            yield _problem(None, f"`{entry.name}` in the store's folder is not a feature set.")


def _check_file(path: Path, expected: bytes, feature_set: str | None, what: str) -> Iterator[Problem]:
    """Compare a metadata file with the only content it may have."""
    try:
        if read_bytes(path, what) != expected:
            yield _problem(feature_set, f"The {path.name} of {what} is not as it was written.")
    except (CuebankError, OSError) as error:
        yield _problem(feature_set, _said(error))


def _said(error: Exception) -> str:
    return f"{error.asked} {error.found}" if isinstance(error, CuebankError) else str(error)


def _check_feature_set(store: FeatureStore, name: str) -> tuple[list[Problem], int]:
    """Return what is wrong with a feature set, and how many live series it has."""
    container = store._container
    folder = container.segments_folder(name)
    try:
        spec = store.spec(name)
    except (CuebankError, OSError) as error:
        return [_problem(name, _said(error))], 0
    from .containers.zarr import feature_set_attributes

    own = render_json(metadata.group(feature_set_attributes(spec)))
    problems = [*_check_file(folder.parent / "zarr.json", own, name, f"feature set `{name}`")]
    problems += _check_file(folder / "zarr.json", render_json(metadata.SEGMENTS_GROUP), name, "the segments group")
    problems += _check_names(folder.parent, {"zarr.json", "segments"}, name)
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if entry.name != "zarr.json" and (generation(entry.name) is None or entry.is_symlink()):
            problems.append(_problem(name, f"`{entry.name}` among the segments is not a segment."))
    for segment in container.segments(name):
        try:
            problems += _check_segment(container.open_segment(spec, segment), spec)
        except (CuebankError, OSError) as error:
            problems.append(_problem(name, _said(error)))
    return problems, len(store.series(name))


def _check_names(folder: Path, expected: set[str], feature_set: str | None) -> Iterator[Problem]:
    for name in sorted(set(os.listdir(folder)) - expected):
        yield _problem(feature_set, f"`{name}` in `{folder.name}` does not belong there.")


def _check_segment(file: SegmentFolder, spec: FeatureSpec) -> Iterator[Problem]:
    """Check a segment whose metadata agree with the checksum in its name."""
    yield from _check_names(file.folder, {"zarr.json", *file.members}, spec.name)
    for name, document in file.members.items():
        where = f"array `{name}` of segment `{file.folder.name}`"
        yield from _check_file(file.folder / name / "zarr.json", render_json(document), spec.name, where)
        chunk = {metadata.chunk_name(document)} if document["shape"][0] else set()
        if (file.folder / name).is_dir():
            yield from _check_names(file.folder / name, {"zarr.json"} | chunk, spec.name)
    segment = Segment(file, (0, ""))
    yield from _check_index(segment, spec.name)
    try:
        segment.map()
    except CuebankError as error:
        yield _problem(spec.name, _said(error))
        return
    for name in metadata.ROW_ARRAYS:
        yield from _check_tail(file, name, spec.name)
    checksums = np.frombuffer(file.index("crc32c"), "<u4")
    for position in range(len(segment)):
        text = _row_problem(segment, position, int(checksums[position]))
        if text:
            place = f" (segment `{file.folder.name}`)"
            yield _problem(spec.name, text + place, segment.key(position))


def _check_index(segment: Segment, feature_set: str) -> Iterator[Problem]:
    """Check what reading one series does not need: hashes, duplicates, and the reasons of failures."""
    seen = set()
    for position in range(len(segment)):
        clip, entity = key = segment.encoded_key(position)
        if int(segment.key_hash[position]) != hash_key(clip, entity):
            yield _problem(feature_set, "The hash of its key is wrong.", segment.key(position))
        if key in seen:
            yield _problem(feature_set, f"It is twice in {segment.file.where}.", segment.key(position))
        seen.add(key)
    try:
        offsets = np.frombuffer(segment.file.index("reason_offsets"), "<i8")
        check_texts(segment.file.index("reason"), offsets, f"{segment.file.where}, array `reason`")
    except CuebankError as error:
        yield _problem(feature_set, _said(error))


def _check_tail(file: SegmentFolder, name: str, feature_set: str) -> Iterator[Problem]:
    """Check what follows the rows in a shard file: other readers find the rows by it."""
    if not file.rows:
        return
    document = file.members[name]
    expected = shard_tail(document, file.rows)
    path = file.folder / name / metadata.chunk_name(document)
    with path.open("rb") as shard:
        shard.seek(-len(expected), os.SEEK_END)
        if shard.read() != expected:
            yield _problem(feature_set, f"The shard index of `{name}` of segment `{file.folder.name}` is damaged.")


def _row_problem(segment: Segment, position: int, checksum: int) -> str | None:
    """Return what is wrong with the rows of a series."""
    if segment.status[position] == FAILED:
        return None
    values, times, valid = segment.rows(position)
    if crc32c(values, times, valid) != checksum:
        return "Its rows do not agree with their checksum."
    if not np.isfinite(times).all() or (times[1:] < times[:-1]).any():
        return "Its times are not finite, or they decrease."
    if values.dtype.kind == "f":
        good = finite(values)
        if good is not True and not good[valid].all():
            return "A valid row has a value that is NaN or infinite."
    return None


def _check_clips(store: FeatureStore) -> Iterator[Problem]:
    folder = store.path / "clips"
    known = versions(store._container)
    if folder.is_dir():
        yield from _check_names(folder, {"zarr.json", *known}, None)
    for version in known:
        try:
            table = read_clips(store._container, version)
        except (CuebankError, OSError) as error:
            yield _problem(None, _said(error))
            continue
        for name, data in version_files(table).items():
            yield from _check_file(folder / version / name, data, None, f"version `{version}` of the clips table")


def _notes(path: Path) -> list[str]:
    area = area_of(path)
    if not area.is_dir():
        return []
    return [
        f"`{area.name}` holds unfinished work: of writers at work now, or left by dead ones; it is no part of the store."
    ]
