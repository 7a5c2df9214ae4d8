"""A feature set as one Parquet file: a line for each row of each series.

Columns: `clip_id` text, `entity_id` text (null for the whole clip), `time_s` float64, `valid` bool, and `values`, lists
of D numbers of the stored type; of a text set, `text` in its place. The rows of a series stand together, in order of
time, and the series in the order of `index.csv`, which also names those without rows. The file's metadata hold the
feature set's description as `cuebank`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .errors import MissingExtra
from .export_files import RowWriter, Written
from .keys import Key, quote_name
from .recipe import FeatureSpec
from .series import Series

ROW_GROUP_BYTES = 64 * 2**20  # uncompressed; what a reader must hold at least, and what is held while writing
ROW_GROUP_PIECES = 2**14  # of as many series at most: pieces of a single row cost more than their bytes while they wait
_FLAG_AND_TIME_BYTES = 9

Piece = tuple[Key, Series]  # rows of one series that go into one row group


def write_parquet() -> RowWriter:
    """Return the function that writes feature sets, if pyarrow is there.

    Raises:
        MissingExtra: if it is not.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("The export to Parquet", "table", "pyarrow") from error

    def write(folder: Path, spec: FeatureSpec, series: Iterable[tuple[Key, Series]]) -> Iterator[Written]:
        name = f"{quote_name(spec.name)}.parquet"
        schema = _schema(pyarrow, spec)
        # Ids repeat row after row; values hardly ever do.
        options = {"compression": "zstd", "use_dictionary": ["clip_id", "entity_id"]}
        with pyarrow.parquet.ParquetWriter(folder / name, schema, **options) as writer:
            group: list[Piece] = []
            held = 0
            for key, one in series:
                for size, piece in _pieces(spec, key, one):
                    if group and (held + size > ROW_GROUP_BYTES or len(group) == ROW_GROUP_PIECES):
                        writer.write_table(_table(pyarrow, schema, group), row_group_size=ROW_GROUP_BYTES)
                        group, held = [], 0
                    group.append((key, piece))
                    held += size
                yield Written(key, len(one.values), name)
            if group:
                writer.write_table(_table(pyarrow, schema, group), row_group_size=ROW_GROUP_BYTES)

    return write


def _schema(pyarrow: Any, spec: FeatureSpec) -> Any:
    text, numbers = pyarrow.string(), pyarrow.list_(pyarrow.from_numpy_dtype(spec.dtype), spec.dim)
    rows = ("text", text) if spec.is_text else ("values", numbers)
    fields = [
        pyarrow.field("clip_id", text, nullable=False),
        pyarrow.field("entity_id", text),
        pyarrow.field("time_s", pyarrow.float64(), nullable=False),
        pyarrow.field("valid", pyarrow.bool_(), nullable=False),
        pyarrow.field(*rows, nullable=False),
    ]
    return pyarrow.schema(fields, metadata={"cuebank": json.dumps(spec.to_json(), sort_keys=True)})


def _pieces(spec: FeatureSpec, key: Key, one: Series) -> Iterator[tuple[int, Series]]:
    """Yield (bytes, rows) of a series, cut where it alone would be more than a row group."""
    id_bytes = sum(len(text.encode("utf-8")) for text in key if text is not None)
    row_bytes = spec.dim * np.dtype(spec.dtype).itemsize + _FLAG_AND_TIME_BYTES + id_bytes
    sizes = [len(text.encode("utf-8")) for text in one.values] if spec.is_text else 0
    ends = np.cumsum(np.zeros(len(one.values), np.int64) + row_bytes + sizes)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + ROW_GROUP_BYTES, "right")))
        yield int(ends[stop - 1]) - before, Series(*(array[start:stop] for array in one))
        start = stop


def _table(pyarrow: Any, schema: Any, group: list[Piece]) -> Any:
    """Return pieces one after the other as an Arrow table."""
    owners = pyarrow.array(np.repeat(np.arange(len(group)), [len(piece.values) for _, piece in group]))
    ids = zip(*(key for key, _ in group), strict=True)
    values, times, valid = (np.concatenate(arrays) for arrays in zip(*(piece for _, piece in group), strict=True))
    columns = [
        *(pyarrow.array(texts, pyarrow.string()).take(owners) for texts in ids),
        pyarrow.array(times),
        pyarrow.array(valid),
        pyarrow.array(values, pyarrow.string())
        if values.dtype == object
        else pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.reshape(-1)), values.shape[1]),
    ]
    return pyarrow.Table.from_arrays(columns, schema=schema)
