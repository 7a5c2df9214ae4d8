"""Lossless compression of row chunks: what Zarr calls a codec and HDF5 a filter, one frame a chunk.

A frame is read into a buffer of the size that its chunk must have, so a hostile one can neither grow beyond it nor be
believed about anything. Compression runs on the calling thread: several threads inside Blosc write the blocks of a
frame in the order in which they get done, and equal chunks would not have equal bytes.

Source: RFC 8878 (Zstandard frames); the header of C-Blosc 1 (`README_HEADER.rst`); the registered HDF5 filters 32001
and 32015; the `zstd` and `blosc` codecs of Zarr v3. The compressors themselves are numcodecs', which zarr needs anyway.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import BadInput
from .files import corrupt
from .recipe import CODECS

__all__ = ["CODECS", "decode", "encode", "hdf5_filter", "zarr_codec"]

ZSTD_LEVEL = 3  # zstd's own default; higher levels gain under 1 % on features, and cost several times the time
BLOSC_LEVEL = 5  # likewise Blosc's
BLOSC_SHUFFLE = 1  # by bytes: exponents beside exponents, mantissas beside mantissas
MAX_BLOSC_BYTES = 2**31 - 1 - 16  # what the 32-bit sizes of its header leave for the data

HDF5_BLOSC, HDF5_ZSTD = 32001, 32015  # ids in the HDF Group's register of filters
_BLOSC_FILTER_VERSION, _BLOSC_FORMAT_VERSION, _BLOSC_ZSTD_COMPRESSOR = 2, 2, 5
_BLOSC_HEADER_BYTES, _BLOSC_STORED, _BLOSC_ZSTD_FORMAT = 16, 0x02, 4
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def encode(codec: str, data: bytes | np.ndarray, itemsize: int) -> bytes:
    """Return one chunk as the frame of a codec; equal chunks give equal frames.

    Args:
        codec: one of `CODECS`; `none` returns the bytes as they are.
        data: the chunk, C-contiguous.
        itemsize: bytes of one number: 1, 2, 4 or 8. Blosc sorts the bytes by their place in the number.

    Raises:
        BadInput: for an unknown codec, or a chunk that is no whole number of items or too large for the codec.

    Example:
        >>> chunk = np.arange(1000, dtype="<i8")
        >>> frame = encode("blosc", chunk, 8)
        >>> len(frame) < chunk.nbytes, (decode("blosc", frame, chunk.nbytes, 8, "A chunk").view("<i8") == chunk).all()
        (True, True)
    """
    _check(codec, itemsize)
    raw = _as_bytes(data)
    if len(raw) % itemsize or (codec == "blosc" and len(raw) > MAX_BLOSC_BYTES):
        raise BadInput(
            f"A chunk of {len(raw)} bytes was to be compressed by {codec}, in numbers of {itemsize} bytes.",
            f"It must be whole numbers, and at most {MAX_BLOSC_BYTES} bytes.",
            "Use smaller chunks.",
        )
    if codec == "none" or not len(raw):
        return raw.tobytes()
    if codec == "zstd":
        from numcodecs.zstd import compress

        return bytes(compress(raw, ZSTD_LEVEL))
    # The itemsize travels with the array's type: older numcodecs take it from nowhere else.
    return bytes(_blosc().compress(raw.view(f"<u{itemsize}"), b"zstd", BLOSC_LEVEL, BLOSC_SHUFFLE, 0))


def decode(codec: str, data: bytes | np.ndarray, size: int, itemsize: int, where: str) -> np.ndarray:
    """Return the chunk that a frame holds.

    Args:
        codec: one of `CODECS`.
        data: the frame; untrusted.
        size: bytes of the chunk, which the caller knows from elsewhere; no more are ever written.
        itemsize: bytes of one number, as for `encode`.
        where: what is read, in words, for the error.

    Returns:
        (size,) uint8. With `none` it is a view of `data`, else new and writable.

    Raises:
        Corrupt: if this is no frame of this codec, or its chunk is of another size.
        BadInput: for an unknown codec.
    """
    _check(codec, itemsize)
    raw = _as_bytes(data)
    if codec == "none" or not size:
        if len(raw) != size:
            raise corrupt(where, f"It has {len(raw)} bytes where {size} are expected.")
        return raw
    problem = _zstd_problem(raw, size) if codec == "zstd" else _blosc_problem(raw, size, itemsize)
    if problem:
        raise corrupt(where, f"{problem} where a {codec} frame of {size} bytes is expected.")
    out = np.empty(size, np.uint8)
    if codec == "zstd":
        from numcodecs.zstd import decompress
    else:
        decompress = _blosc().decompress
    try:
        decompress(raw, out)
    except (RuntimeError, ValueError) as error:  # all that numcodecs raises for a bad frame
        raise corrupt(where, f"It does not decompress ({error}).") from error
    return out


def zarr_codec(codec: str, itemsize: int) -> dict[str, Any]:
    """Return the Zarr v3 metadata of a codec, as it stands in the list `codecs` of an array.

    Raises:
        BadInput: for `none`, which has none, or an unknown codec.

    Example:
        >>> zarr_codec("zstd", 2)
        {'name': 'zstd', 'configuration': {'level': 3, 'checksum': False}}
    """
    _check(codec, itemsize, compressing=True)
    if codec == "zstd":
        return {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}
    settings = {"cname": "zstd", "clevel": BLOSC_LEVEL, "shuffle": "shuffle", "typesize": itemsize, "blocksize": 0}
    return {"name": "blosc", "configuration": settings}


def hdf5_filter(codec: str, itemsize: int, chunk_bytes: int) -> tuple[int, tuple[int, ...]]:
    """Return the HDF5 filter of a codec, for `create_dataset(compression=…, compression_opts=…)`.

    Args:
        codec: `zstd` or `blosc`.
        itemsize: bytes of one number.
        chunk_bytes: bytes of one whole chunk.

    Returns:
        The filter's registered id and its options.

    Raises:
        BadInput: for `none`, which has none, or an unknown codec.

    Example:
        >>> hdf5_filter("blosc", 2, 65536)
        (32001, (2, 2, 2, 65536, 5, 1, 5))
    """
    _check(codec, itemsize, compressing=True)
    if codec == "zstd":
        return HDF5_ZSTD, (ZSTD_LEVEL,)
    versions = (_BLOSC_FILTER_VERSION, _BLOSC_FORMAT_VERSION)
    return HDF5_BLOSC, (*versions, itemsize, chunk_bytes, BLOSC_LEVEL, BLOSC_SHUFFLE, _BLOSC_ZSTD_COMPRESSOR)


def _check(codec: str, itemsize: int, compressing: bool = False) -> None:
    known = CODECS[1:] if compressing else CODECS
    if codec not in known:
        raise BadInput("A codec was named.", f"It is {codec!r}.", f"Use one of {known}.")
    if itemsize not in (1, 2, 4, 8):
        raise BadInput("Numbers were to be compressed.", f"They have {itemsize} bytes each.", "Use 1, 2, 4 or 8.")


def _as_bytes(data: bytes | np.ndarray) -> np.ndarray:
    """Return a view of the data as (bytes,) uint8."""
    return data.reshape(-1).view(np.uint8) if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)


def _blosc() -> Any:
    """Return numcodecs' blosc, with its inner threads off, as zarr turns them off when it is imported."""
    from numcodecs import blosc

    blosc.use_threads = False
    return blosc


def _zstd_problem(raw: np.ndarray, size: int) -> str | None:
    """Return what is wrong with a frame's header, or None; RFC 8878, section 3.1.1.1.

    numcodecs accepts a frame whose content is smaller than the buffer, and one that does not say how large it is.
    """
    head = raw[:14].tobytes()
    if head[:4] != _ZSTD_MAGIC or len(head) < 5:
        return "It begins otherwise"
    descriptor = head[4]
    single_segment = descriptor & 0x20
    begin = 5 + (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor & 3]  # after window size and dictionary id
    width = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    if not width or len(head) < begin + width:
        return "It does not say its size"
    found = int.from_bytes(head[begin : begin + width], "little") + (256 if width == 2 else 0)
    return None if found == size else f"It says {found} bytes"


def _blosc_problem(raw: np.ndarray, size: int, itemsize: int) -> str | None:
    """Return what is wrong with a frame's header, or None.

    C-Blosc is not told how long the frame is; it believes the header, and so must be shown only one that is true. Of
    its compressors only zstd gets untrusted bytes.
    """
    if len(raw) < _BLOSC_HEADER_BYTES:
        return f"It has {len(raw)} bytes"
    version, _, flags, typesize = raw[:4].tolist()
    found, block, length = np.frombuffer(raw[4:16].tobytes(), "<u4").tolist()
    if (found, length) != (size, len(raw)):
        return f"It says {found} bytes in {length} of {len(raw)}"
    if version != _BLOSC_FORMAT_VERSION or typesize != itemsize or not 0 < block <= size:
        return f"It says format {version}, numbers of {typesize} bytes, blocks of {block}"
    if flags >> 5 != _BLOSC_ZSTD_FORMAT and not flags & _BLOSC_STORED:
        return f"It says compressor {flags >> 5}"
    return None
