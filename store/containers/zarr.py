"""A store as a folder: plain Zarr v3 groups, made and read as raw files.

The folder of the store never holds anything unfinished: every group is built in the writing area and renamed to its
place, complete and synced. zarr-python and tensorstore open all of it; nothing here needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadInput, CuebankError, NotFound
from ..files import (
    crc32c,
    folder_bytes,
    parse_json,
    read_bytes,
    real_folders,
    render_json,
    sync,
    write_file,
)
from ..keys import RESERVED_FOLDERS, quote_name, unquote_name
from ..recipe import FeatureSpec
from ..writing_area import WritingArea
from . import zarr_clips
from . import zarr_metadata as metadata
from .description import feature_set_attributes, parse_feature_set
from .names import next_stem
from .publishing import empty, publish_folder
from .zarr_bundle import IndexFolder, bundle_names, write_bundle
from .zarr_check import differences, strange_names
from .zarr_segment import SegmentFolder
from .zarr_segment_writer import SegmentFolderWriter

if TYPE_CHECKING:
    from ..clips_table import ClipsTable


class ZarrContainer:
    """The groups, segments and clips tables of one store; see `base.Container`.

    Args:
        path: resolved path of the store's folder.
        area: gives the writing area when something is to be written.
    """

    def __init__(self, path: Path, area: Callable[[], WritingArea]) -> None:
        self.path = path
        self.format = metadata.FORMAT
        self._area = area

    def exists(self) -> bool:
        """Return whether there is a store at the path.

        Raises:
            NotFound: if something else is there.
            BadInput: if it is a Zarr hierarchy of something else, or of a newer cuebank.
            Corrupt: if the store's own zarr.json is damaged.
        """
        where = f"The store {self.path}"
        try:
            names = [path.name for path in self.path.iterdir()]
        except FileNotFoundError:
            return False
        except NotADirectoryError as error:
            raise NotFound(f"{where} was opened.", "It is a file.", "Give the folder of a store.") from error
        if not names:
            return False
        if "zarr.json" not in names:
            raise NotFound(
                f"{where} was opened.",
                "The folder is there, but it is not a store: it has no zarr.json.",
                "Give the folder of a store, or a new name to make one.",
            )
        document = parse_json(read_bytes(self.path / "zarr.json", where), where)
        attributes = document.get("attributes")
        own = attributes.get("cuebank") if isinstance(attributes, dict) else None
        if not isinstance(own, dict) or own.get("kind") != "store":
            raise BadInput(f"{where} was opened.", "It is Zarr, but not a cuebank store.", "Give another path.")
        if own.get("format") not in metadata.READABLE:
            raise BadInput(
                f"{where} was opened.",
                f"Its format is {str(own.get('format'))[:20]}; this cuebank knows {metadata.READABLE}.",
                "Install the cuebank that wrote it, or a newer one.",
            )
        self.format = own["format"]
        return True

    def create(self) -> None:
        """Make an empty store at the path, unless another process has just done so."""
        folder = self._area().new_folder()
        write_file(folder / "zarr.json", render_json(metadata.plain_group("store")))
        (folder / "clips").mkdir()
        write_file(folder / "clips" / "zarr.json", render_json(metadata.plain_group("clips")))
        publish_folder(folder, self.path)

    def prepare_to_write(self) -> None:
        """Nothing is to be prepared: a folder is always ready."""

    def lock_folder(self) -> Path:
        """Return the folder on which readers hold a shared lock: that of the store."""
        return self.path

    def feature_sets(self) -> list[str]:
        """Return the names of all feature sets, sorted."""
        names = []
        for folder in real_folders(self.path):
            if folder in RESERVED_FOLDERS:
                continue
            try:
                names.append(unquote_name(folder))
            except BadInput:
                continue  # not a feature set of ours; `store verify` says so
        return sorted(names)

    def has(self, name: str) -> bool:
        """Return whether a feature set exists."""
        folder = self.path / quote_name(name)
        return folder.is_dir() and not folder.is_symlink()

    def add_feature_set(self, spec: FeatureSpec) -> bool:
        """Make a feature set; return False if one of this name is there already. It is durable either way."""
        if self.has(spec.name):
            sync(self.path)  # its maker may not have come so far yet, and we are about to rely on it
            return False
        folder = self._area().new_folder()
        write_file(folder / "zarr.json", render_json(metadata.group(feature_set_attributes(spec))))
        (folder / "segments").mkdir()
        write_file(folder / "segments" / "zarr.json", render_json(metadata.plain_group("segments")))
        return publish_folder(folder, self.path / quote_name(spec.name))

    def spec(self, name: str) -> FeatureSpec:
        """Return the description of a feature set.

        Raises:
            Corrupt: if it is damaged.
        """
        where = f"Feature set `{name}`"
        data = read_bytes(self.path / quote_name(name) / "zarr.json", where)
        return parse_feature_set(name, parse_json(data, where), where)

    def segments(self, name: str) -> list[str]:
        """Return the names of all segments of a feature set, in order of rank, replaced ones too."""
        return bundle_names(self._folder(name, "segments"))

    def has_segment(self, name: str, segment: str) -> bool:
        """Return whether a segment is there (another process may have removed it)."""
        return (self._folder(name, "segments") / segment).is_dir()

    def open_segment(self, spec: FeatureSpec, segment: str) -> SegmentFolder:
        """Open a committed segment.

        Raises:
            Corrupt: if its metadata are damaged.
        """
        folder = f"{self._folder(spec.name, 'segments')}/{segment}"
        where = f"Segment `{segment}` of feature set `{spec.name}`"
        return SegmentFolder(folder, spec.dim, np.dtype(spec.dtype), spec.fingerprint, where, spec.is_text)

    def new_segment(self, spec: FeatureSpec) -> SegmentFolderWriter:
        """Begin a segment in the writing area."""
        target = self._folder(spec.name, "segments")
        return SegmentFolderWriter(self._area().new_folder(), target, spec.dim, np.dtype(spec.dtype), spec.codec)

    def indexes(self, name: str) -> list[str]:
        """Return the names of the merged indexes of a feature set, from the oldest to the newest."""
        return bundle_names(self._folder(name, "index"))

    def open_index(self, spec: FeatureSpec, index: str) -> IndexFolder:
        """Open a merged index.

        Raises:
            Corrupt: if its metadata are damaged.
        """
        where = f"Merged index `{index}` of feature set `{spec.name}`"
        return IndexFolder(f"{self._folder(spec.name, 'index')}/{index}", "index", where)

    def write_index(self, spec: FeatureSpec, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> str:
        """Write a merged index, durably, as the newest one; return its name."""
        target = self._folder(spec.name, "index")
        if not target.is_dir():
            group = self._area().new_folder()
            write_file(group / "zarr.json", render_json(metadata.plain_group("index")))
            publish_folder(group, target)
        folder = self._area().new_folder()
        data = write_bundle(folder, {**attributes, "kind": "index"}, arrays, {})
        name = f"{next_stem(bundle_names(target))}{crc32c(data):08x}"
        publish_folder(folder, target / name)
        return name

    def remove(self, name: str, segments: Sequence[str], indexes: Sequence[str]) -> int:
        """Take segments and merged indexes out of sight, then give their bytes back; return those."""
        trash = self._area().new_folder()
        for folder, names in (("index", indexes), ("segments", segments)):
            for one in names:
                (self._folder(name, folder) / one).rename(trash / f"{folder}.{one}")
            if names:
                sync(self._folder(name, folder))
        return empty(trash)

    def remove_feature_set(self, name: str) -> int:
        """Take a feature set out of sight in one step, then give its bytes back; return those."""
        trash = self._area().new_folder()
        (self.path / quote_name(name)).rename(trash / "feature-set")
        sync(self.path)
        return empty(trash)

    def settled(self) -> None:
        """Nothing is derived: the folders are all there is."""

    def fold(self) -> bool:
        """A folder is self-contained as it is."""
        return False

    def size(self, name: str) -> int:
        """Return the bytes that a feature set takes on the disk."""
        return folder_bytes(self.path / quote_name(name))

    def _folder(self, name: str, part: str) -> Path:
        return self.path / quote_name(name) / part

    def clips_versions(self) -> list[str]:
        """Return all versions of the clips table, from the oldest to the newest."""
        return zarr_clips.versions(self.path / "clips")

    def write_clips(self, table: ClipsTable) -> str:
        """Keep a table as the newest version, unless it is that already; return the version."""
        files, known = zarr_clips.version_files(table), self.clips_versions()
        version = zarr_clips.next_version(files, known)
        if version not in known:
            folder = self._area().new_folder()
            zarr_clips.write_files(folder, files)
            # If the name is taken by now, another process has just written the same table.
            publish_folder(folder, self.path / "clips" / version)
        return version

    def read_clips(self, version: str) -> ClipsTable:
        """Return a version of the clips table.

        Raises:
            Corrupt: if it is damaged.
        """
        return zarr_clips.read(self.path / "clips" / version, f"Version `{version}` of the clips table")

    def check(self) -> Iterator[tuple[str | None, str]]:
        """Yield (feature set or None, what is wrong) of everything but the segments."""
        for path, kind in ((self.path, "store"), (self.path / "clips", "clips")):
            for text in _check_group(path, kind):
                yield None, text
        names = {quote_name(name) for name in self.feature_sets()}
        for text in strange_names(self.path, names | set(RESERVED_FOLDERS)):
            yield None, text
        for text in strange_names(self.path / "clips", {"zarr.json", *self.clips_versions()}):
            yield None, text
        for version in self.clips_versions():
            for text in zarr_clips.check(self.path / "clips" / version, f"version `{version}` of the clips table"):
                yield None, text
        for name in self.feature_sets():
            for text in self._check_feature_set(name):
                yield name, text

    def _check_feature_set(self, name: str) -> Iterator[str]:
        folder = self.path / quote_name(name)
        try:
            document = parse_json(read_bytes(folder / "zarr.json", f"Feature set `{name}`"), f"Feature set `{name}`")
            spec = parse_feature_set(name, document, f"Feature set `{name}`")
            own = feature_set_attributes(spec, document["attributes"]["cuebank"]["format"])
        except CuebankError as error:
            yield f"{error.asked} {error.found}"
            return
        yield from differences(folder / "zarr.json", render_json(metadata.group(own)), f"feature set `{name}`")
        parts = ["segments", *(["index"] if (folder / "index").exists() else [])]
        yield from strange_names(folder, {"zarr.json", *parts})
        for part in parts:
            yield from _check_group(folder / part, part)
            yield from strange_names(folder / part, {"zarr.json", *bundle_names(folder / part)})


def _check_group(folder: Path, kind: str) -> Iterator[str]:
    """Yield what is wrong with a group that says only what it is."""
    if folder.is_symlink():
        yield f"`{folder.name}` is a link."
        return
    found = [
        list(differences(folder / "zarr.json", render_json(metadata.plain_group(kind, version)), f"`{folder.name}`"))
        for version in metadata.READABLE
    ]
    if all(found):
        yield from found[-1]
