"""A store as HDF5: files in a folder beside a file of links while it grows, one self-contained file when it is folded.

Every file appears by the rename of a finished and synced one. h5py alone opens all of it; nothing here reads by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadInput
from ..files import crc32c, folder_bytes, sync
from ..keys import quote_name, unquote_name
from ..recipe import FeatureSpec
from ..writing_area import WritingArea
from . import hdf5_clips, hdf5_fold, zarr_clips
from . import zarr_metadata as metadata
from .description import feature_set_attributes, parse_feature_set
from .hdf5_check import check_store
from .hdf5_file import Stored
from .hdf5_fold import publish_file
from .hdf5_links import digest, listing, read_links, write_links
from .hdf5_opening import is_store
from .hdf5_packed import CLIPS, PARTS, STORE, bundle_path, write_single
from .hdf5_segment import IndexBundle, SegmentBundle
from .hdf5_segment_writer import SegmentFileWriter
from .hdf5_shelf import PACKED, SET_FILE, STORE_FILE, SUFFIX, Shelf
from .names import next_stem
from .publishing import empty, publish_folder

if TYPE_CHECKING:
    from ..clips_table import ClipsTable


class Hdf5Container:
    """The groups, segments and clips tables of one store; see `base.Container`.

    Args:
        path: resolved path of the store.
        area: gives the writing area when something is to be written.
    """

    format = metadata.FORMAT

    def __init__(self, path: Path, area: Callable[[], WritingArea]) -> None:
        self.path = path
        self.shelf = Shelf(path)
        self._area = area
        self._fingerprint: tuple[FeatureSpec | None, str] = (
            None,
            "",
        )  # of the last one: segments are opened by thousands

    def exists(self) -> bool:
        """Return whether there is a store at the path.

        Raises:
            NotFound: if something else is there, or only the links of a store.
            BadInput: if it is an HDF5 file of something else, or of a newer cuebank.
            Corrupt: if a file is damaged on which all of it depends.
        """
        return is_store(self.shelf)

    def create(self) -> None:
        """Make an empty store at the path, unless another process has just done so."""
        folder = self._area().new_folder()
        write_single(folder / STORE_FILE, dict(STORE), {})
        (folder / CLIPS).mkdir()
        (folder / PACKED).mkdir()
        publish_folder(folder, self.shelf.root)
        self.settled()

    def prepare_to_write(self) -> None:
        """Turn a store that is one file into the form of a folder, in which that file is the first part.

        Raises:
            BadInput: if the file system has no hard links, or the file beside the folder is not ours.
        """
        if not self.shelf.is_folder():
            hdf5_fold.unfold(self.shelf, self._area())

    def lock_folder(self) -> Path | None:
        """Return the folder on which readers hold a shared lock; None for a single file, which stays when mapped."""
        return self.shelf.root if self.shelf.is_folder() else None

    def feature_sets(self) -> list[str]:
        """Return the names of all feature sets, sorted."""
        return sorted(unquote_name(quoted) for quoted in self.shelf.quoted_sets())

    def has(self, name: str) -> bool:
        """Return whether a feature set exists."""
        quoted = quote_name(name)
        folder = self.shelf.root / quoted
        if folder.is_dir() and not folder.is_symlink():
            return True
        return any(quoted in packed.described for packed in self.shelf.packed())

    def add_feature_set(self, spec: FeatureSpec) -> bool:
        """Make a feature set; return False if one of this name is there already. It is durable either way."""
        if self.has(spec.name):
            self._writable()
            sync(self.shelf.root)  # its maker may not have come so far yet, and we are about to rely on it
            return False
        return self._add_folder(spec)

    def _add_folder(self, spec: FeatureSpec) -> bool:
        self._writable()
        folder = self._area().new_folder()
        write_single(folder / SET_FILE, feature_set_attributes(spec), {})
        for part in PARTS:
            (folder / part).mkdir()
        return publish_folder(folder, self.shelf.root / quote_name(spec.name))

    def spec(self, name: str) -> FeatureSpec:
        """Return the description of a feature set.

        Raises:
            Corrupt: if it is damaged.
        """
        where = f"Feature set `{name}`"
        file, path = self.shelf.open_set(quote_name(name), where)
        return parse_feature_set(name, {"attributes": {"cuebank": Stored(file, path, where).attributes}}, where)

    def segments(self, name: str) -> list[str]:
        """Return the names of all segments of a feature set, in order of rank, replaced ones too."""
        return self.shelf.names(quote_name(name), "segments")

    def has_segment(self, name: str, segment: str) -> bool:
        """Return whether a segment is there (another process may have removed it)."""
        return self.shelf.has(quote_name(name), "segments", segment)

    def open_segment(self, spec: FeatureSpec, segment: str) -> SegmentBundle:
        """Open a committed segment.

        Raises:
            Corrupt: if it is damaged.
        """
        where = f"Segment `{segment}` of feature set `{spec.name}`"
        file, path = self.shelf.open(quote_name(spec.name), "segments", segment, where)
        if self._fingerprint[0] is not spec:
            self._fingerprint = spec, spec.fingerprint
        return SegmentBundle(file, path, segment, spec, self._fingerprint[1], where)

    def new_segment(self, spec: FeatureSpec) -> SegmentFileWriter:
        """Begin a segment in the writing area."""
        return SegmentFileWriter(
            self._area().new_folder(),
            self._part(spec, "segments"),
            lambda: self.segments(spec.name),
            spec.dim,
            np.dtype(spec.dtype),
            spec.codec,
        )

    def indexes(self, name: str) -> list[str]:
        """Return the names of the merged indexes of a feature set, from the oldest to the newest."""
        return self.shelf.names(quote_name(name), "index")

    def open_index(self, spec: FeatureSpec, index: str) -> IndexBundle:
        """Open a merged index.

        Raises:
            Corrupt: if it is damaged.
        """
        where = f"Merged index `{index}` of feature set `{spec.name}`"
        file, path = self.shelf.open(quote_name(spec.name), "index", index, where)
        return IndexBundle(file, path, index, "index", where)

    def write_index(self, spec: FeatureSpec, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> str:
        """Write a merged index, durably, as the newest one; return its name."""
        target = self._part(spec, "index")
        path = self._area().new_folder() / "index.h5"
        checksums = {name: crc32c(array) for name, array in arrays.items()}
        own = {**attributes, "kind": "index", "format": metadata.FORMAT, "checksums": checksums}
        checksum = write_single(path, own, dict(arrays))
        name = f"{next_stem(self.indexes(spec.name))}{checksum:08x}"
        publish_file(path, target / (name + SUFFIX))
        return name

    def _part(self, spec: FeatureSpec, part: str) -> Path:
        """Return the folder for new files of a feature set; one that came in a packed file gets its folder now."""
        folder = self.shelf.root / quote_name(spec.name) / part
        self._writable()
        if not folder.is_dir() and not self._add_folder(spec):
            # Empty folders get lost where a store is copied by a program that knows only files.
            folder.mkdir(exist_ok=True)
            sync(folder.parent)
        return folder

    def _writable(self) -> None:
        if not self.shelf.is_folder():
            raise BadInput(
                f"Something was to be written to {self.path}.",
                "It was folded into one file since it was opened.",
                "Open it again.",
            )

    def remove(self, name: str, segments: Sequence[str], indexes: Sequence[str]) -> int:
        """Take segments and merged indexes out of sight, then give their bytes back; return those."""
        self._writable()
        quoted, trash = quote_name(name), self._area().new_folder()
        wanted = [("index", one) for one in indexes] + [("segments", one) for one in segments]
        given = hdf5_fold.remove_packed(self.shelf, self._area(), {bundle_path(quoted, *one) for one in wanted})
        for part in dict.fromkeys(part for part, _ in wanted):
            for one in (one for its, one in wanted if its == part):
                path = Path(self.shelf.single(quoted, part, one))
                if path.exists():
                    path.rename(trash / f"{part}.{one}")
            if (self.shelf.root / quoted / part).is_dir():
                sync(self.shelf.root / quoted / part)
        return given + empty(trash)

    def remove_feature_set(self, name: str) -> int:
        """Take a feature set out of sight, then give its bytes back; return those.

        What lies in packed files goes first: were this interrupted, nothing old would come to light again.
        """
        self._writable()
        quoted, trash = quote_name(name), self._area().new_folder()
        there = {
            path
            for packed in self.shelf.packed()
            for path in packed.bundles
            if path == quoted or path.startswith(quoted + "/")
        }
        given = hdf5_fold.remove_packed(self.shelf, self._area(), there)
        if (self.shelf.root / quoted).is_dir():
            (self.shelf.root / quoted).rename(trash / "feature-set")
            sync(self.shelf.root)
        return given + empty(trash)

    def settled(self) -> None:
        """Bring the file of links up to date, if the store is a folder.

        Whoever puts a file in place looks once more afterwards, so that the last one shows everything.
        """
        while self.shelf.is_folder():
            found = listing(self.shelf)
            there = read_links(self.path)
            if there is not None and there.digest == digest(found):
                return
            path = self._area().new_folder() / "links.h5"
            write_links(path, self.shelf, found)
            sync(path)
            path.rename(self.path)  # not synced: were it lost, older links would be there, and made anew

    def fold(self) -> bool:
        """Under the exclusive lock: make the store one self-contained file; return whether it was a folder before."""
        if not self.shelf.is_folder():
            return False
        hdf5_fold.fold(self.shelf, self._area())
        return True

    def size(self, name: str) -> int:
        """Return the bytes that a feature set takes on the disk."""
        quoted = quote_name(name)
        packed = sum(
            Stored(file, path, f"Feature set `{name}`").size()
            for file in self.shelf.packed()
            for path in file.bundles
            if path == quoted or path.startswith(quoted + "/")
        )
        return packed + folder_bytes(self.shelf.root / quoted)

    def clips_versions(self) -> list[str]:
        """Return all versions of the clips table, from the oldest to the newest."""
        return zarr_clips.by_age(self.shelf.clips())

    def write_clips(self, table: ClipsTable) -> str:
        """Keep a table as the newest version, unless it is that already; return the version."""
        self._writable()
        own, arrays = zarr_clips.version_arrays(table)
        known = self.clips_versions()
        version = zarr_clips.next_version(zarr_clips.files_of(own, arrays), known)
        if version not in known:
            path = self._area().new_folder() / "version.h5"
            write_single(path, own, arrays)
            # If the name is taken by now, another process has just written the same table.
            publish_file(path, self.shelf.root / CLIPS / (version + SUFFIX))
            self.settled()
        return version

    def read_clips(self, version: str) -> ClipsTable:
        """Return a version of the clips table.

        Raises:
            Corrupt: if it is damaged.
        """
        where = f"Version `{version}` of the clips table"
        return hdf5_clips.read(*self.shelf.open_clips(version, where), version, where)

    def check(self) -> Iterator[tuple[str | None, str]]:
        """Yield (feature set or None, what is wrong) of everything but segments and indexes."""
        yield from check_store(self.shelf, self.spec)
