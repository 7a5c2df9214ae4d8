"""Writing a segment as a folder: rows stream into raw files of the writing area, then one rename makes it visible."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import crc32c, create_file, render_json, sync, sync_tree, write_all, write_file
from . import zarr_metadata as metadata
from .zarr_segment import generation, segment_names


class SegmentFolderWriter:
    """Streams rows into a folder of the writing area, then makes it a complete segment.

    Args:
        folder: an empty folder in the writing area.
        target: the folder in which the segment shall be seen.
        dim: columns of `values`, D.
        dtype: type of `values`.
    """

    def __init__(self, folder: Path, target: Path, dim: int, dtype: np.dtype[Any]) -> None:
        self.folder = folder
        self.target = target
        self.dim = dim
        self.dtype = dtype
        self._name = ""
        self._files: dict[str, int] = {}
        for name in metadata.ROW_ARRAYS:
            (folder / name).mkdir()
            self._files[name] = create_file(folder / name / ("0.0" if name == "values" else "0"))

    def put(self, row: int, values: np.ndarray, times: np.ndarray, valid: np.ndarray) -> None:
        """Write rows from number `row` on, over whatever an interrupted call may have left there."""
        for name, rows, row_bytes in (
            ("values", values, self.dim * self.dtype.itemsize),
            ("times", times, 8),
            ("valid", valid, 1),
        ):
            os.lseek(self._files[name], row * row_bytes, os.SEEK_SET)
            write_all(self._files[name], rows)

    def finish(self, rows: int, index: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
        """Cut the segment to `rows`, add the index arrays and all metadata, return when all is on the disk."""
        if self._published:
            return
        members = {}
        for name in metadata.ROW_ARRAYS:
            members[name] = metadata.row_array(name, rows, self.dim, metadata.row_dtype(name, self.dtype))
            self._finish_rows(name, members[name], rows)
        for name in metadata.INDEX_ARRAYS:
            members[name] = metadata.index_array(name, len(index[name]))
            (self.folder / name).mkdir(exist_ok=True)
            if len(index[name]):
                write_file(self.folder / name / "0", index[name])
        for name, document in members.items():
            write_file(self.folder / name / "zarr.json", render_json(document))
        own = {
            "format": metadata.FORMAT,
            "kind": "segment",
            "series": len(index["status"]),
            "rows": rows,
            "checksums": {name: crc32c(index[name]) for name in metadata.INDEX_ARRAYS},
            **attributes,
        }
        self._document = render_json(metadata.group(own, members))
        write_file(self.folder / "zarr.json", self._document)
        sync_tree(self.folder)

    def _finish_rows(self, name: str, document: dict[str, Any], rows: int) -> None:
        fd = self._files[name]
        if not rows:  # Zarr writes no chunk where there is nothing
            (self.folder / name / metadata.chunk_name(document)).unlink(missing_ok=True)
            return
        size = rows * np.dtype(document["data_type"]).itemsize * (self.dim if name == "values" else 1)
        os.ftruncate(fd, size)
        os.lseek(fd, size, os.SEEK_SET)
        write_all(fd, metadata.shard_tail(document, rows))

    def publish(self) -> str:
        """Make the finished segment visible as the newest one, durably; return its name."""
        if not self._published:
            # A Lamport clock: everything that was visible when this commit was made is older than it.
            newest = max((generation(name) or 0 for name in segment_names(self.target)), default=0)
            self._name = f"{newest + 1:08d}-{secrets.token_hex(6)}-{crc32c(self._document):08x}"
            self.folder.rename(self.target / self._name)
        sync(self.target)
        self.discard()
        return self._name

    @property
    def _published(self) -> bool:
        """Whether the segment is in its place already: a commit that was interrupted is being repeated then."""
        return bool(self._name) and (self.target / self._name).is_dir()

    def discard(self) -> None:
        """Close what is open; the files are removed with the writing area."""
        while self._files:
            os.close(self._files.popitem()[1])
