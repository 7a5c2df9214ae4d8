"""The zarr.json documents of the store: which arrays a segment has, and the Zarr v3 metadata of each.

Source: the Zarr v3 core specification and its `sharding_indexed` codec; ragged rows follow the CF conventions
("contiguous ragged array"). Only core data types; ids and text are uint8 UTF-8 plus int64 offsets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codecs import zarr_codec
from ..files import crc32c

FORMAT = 2  # what is written
READABLE = (1, 2)
# Of text sets' segments: who knows only format 2 must not take sizes for features, nor merge them without texts.
TEXT_FORMAT = 3
TARGET_CHUNK_BYTES = 2**20  # of the inner chunks of row arrays; what a remote reader fetches at once

ROW_ARRAYS = ("values", "times", "valid")
SERIES_ARRAYS = {"row_size": "int64", "crc32c": "uint32", "status": "uint8", "key_hash": "uint64"}
ID_ARRAYS = ("clip_id", "entity_id", "reason")
TEXT = "text"  # of text sets: the texts of each series. Their bytes are proven by the checksums of the series
TEXT_ARRAYS = (*ID_ARRAYS, TEXT)
INDEX_ARRAYS = (*SERIES_ARRAYS, *(name + suffix for name in ID_ARRAYS for suffix in ("", "_offsets")))
# Of a merged index. `segment` is a number in its list of segments, `position` and `row_start` are places in that one.
MERGED_ARRAYS = {
    **SERIES_ARRAYS,
    "segment": "uint32",
    "position": "uint32",
    "row_start": "int64",
    **dict.fromkeys(("clip_id", "entity_id"), "uint8"),
    **dict.fromkeys(("clip_id_offsets", "entity_id_offsets"), "int64"),
}


def group(attributes: dict[str, Any], members: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a group's metadata; with `members`, those of its arrays are consolidated into it."""
    document: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": {"cuebank": attributes}}
    if members is not None:
        document["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": members}
    return document


def plain_group(kind: str, format_: int = FORMAT) -> dict[str, Any]:
    """Return the metadata of a group that says only what it is: `store`, `clips`, `segments` or `index`."""
    return group({"format": format_, "kind": kind})


def chunk_rows(rows: int, row_bytes: int, codec: str = "none") -> int:
    """Return the rows of an inner chunk: about 1 MiB, shared out evenly so that the last one is hardly padded.

    A quarter of that if it is compressed, since whoever wants one row must unpack all of them.
    """
    target = TARGET_CHUNK_BYTES if codec == "none" else TARGET_CHUNK_BYTES // 4
    count = -(-rows // max(1, target // row_bytes))
    return -(-rows // count) if count else 1


def array(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    dimensions: tuple[str, ...],
    inner_rows: int | None = None,
    attributes: dict[str, Any] | None = None,
    codec: str = "none",
) -> dict[str, Any]:
    """Return an array's metadata.

    Args:
        shape: the array's shape.
        dtype: its type; stored little-endian.
        dimensions: one name for each dimension.
        inner_rows: rows of each inner chunk of one shard that holds the whole array; None for one plain chunk.
        attributes: the array's own attributes.
        codec: of the inner chunks.
    """
    raw: dict[str, Any] = {"name": "bytes"}
    if dtype.itemsize > 1:
        raw["configuration"] = {"endian": "little"}
    chunk = [max(1, size) for size in shape]
    codecs = [raw]
    if inner_rows is not None:
        chunk[0] = max(1, -(-shape[0] // inner_rows)) * inner_rows
        sharding = {
            "chunk_shape": [inner_rows, *chunk[1:]],
            "codecs": [raw] if codec == "none" else [raw, zarr_codec(codec, dtype.itemsize)],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    fill: Any = {"b": False, "f": 0.0}.get(dtype.kind, 0)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        # Flat names ("0.0", not "c/0/0"): two folders fewer to make and to sync for each array.
        "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
        "fill_value": fill,
        "codecs": codecs,
        "dimension_names": list(dimensions),
        "attributes": attributes or {},
    }


def row_array(
    name: str, rows: int, dim: int, dtype: np.dtype[Any], inner_rows: int | None = None, codec: str = "none"
) -> dict[str, Any]:
    """Return the metadata of `values`, `times` or `valid`; `inner_rows` as chosen by `chunk_rows` unless given."""
    attributes = {"units": "s"} if name == "times" else None
    if name == "values":
        inner_rows = inner_rows or chunk_rows(rows, dim * dtype.itemsize, codec)
        return array((rows, dim), dtype, ("row", "dim"), inner_rows, attributes, codec)
    return array((rows,), dtype, ("row",), inner_rows or chunk_rows(rows, dtype.itemsize), attributes)


def segment_arrays(is_text: bool) -> tuple[str, ...]:
    """Return the names of the index arrays of a segment."""
    return (*INDEX_ARRAYS, TEXT, f"{TEXT}_offsets") if is_text else INDEX_ARRAYS


def segment_formats(is_text: bool) -> tuple[int, ...]:
    """Return the formats that a segment can be of."""
    return (TEXT_FORMAT,) if is_text else READABLE


def index_array(name: str, size: int) -> dict[str, Any]:
    """Return the metadata of one of `segment_arrays` or `MERGED_ARRAYS` with `size` elements."""
    dtype, dimension = index_dtype(name), "series"
    if name.removesuffix("_offsets") in TEXT_ARRAYS:
        dimension = name.removesuffix("_offsets") + ("_bound" if name.endswith("_offsets") else "_byte")
    attributes = {"sample_dimension": "row"} if name == "row_size" else None
    return array((size,), dtype, (dimension,), attributes=attributes)


def index_dtype(name: str) -> np.dtype[Any]:
    """Return the type of one of `segment_arrays` or `MERGED_ARRAYS`."""
    return np.dtype(MERGED_ARRAYS.get(name) or ("int64" if name.endswith("_offsets") else "uint8"))


def index_size(name: str, series: int) -> int | None:
    """Return how many elements an index array has in a bundle of so many series; None for the bytes of texts."""
    if name in TEXT_ARRAYS:
        return None
    return series + name.endswith("_offsets")


def row_dtype(name: str, values_dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of one of `ROW_ARRAYS`."""
    return {"values": values_dtype, "times": np.dtype("float64"), "valid": np.dtype("bool")}[name]


def chunk_name(document: dict[str, Any]) -> str:
    """Return the file name of an array's only chunk."""
    return ".".join("0" for _ in document["shape"])


def shard_layout(document: dict[str, Any]) -> tuple[int, int, int]:
    """Return (rows of an inner chunk, number of inner chunks, bytes of an inner chunk) of a row array's metadata."""
    inner = document["codecs"][0]["configuration"]["chunk_shape"]
    chunk_bytes = np.dtype(document["data_type"]).itemsize
    for size in inner:
        chunk_bytes *= size
    return inner[0], -(-document["shape"][0] // inner[0]), chunk_bytes


def shard_tail(document: dict[str, Any], rows: int) -> bytes:
    """Return what follows the rows in a shard: the padding of the last inner chunk, the shard index, its crc32c."""
    inner, count, chunk_bytes = shard_layout(document)
    entries = np.empty((count, 2), "<u8")
    entries[:, 0] = np.arange(count, dtype="<u8") * np.uint64(chunk_bytes)
    entries[:, 1] = chunk_bytes
    index = entries.tobytes()
    padding = bytes((inner * count - rows) * (chunk_bytes // inner))
    return padding + index + crc32c(index).to_bytes(4, "little")
