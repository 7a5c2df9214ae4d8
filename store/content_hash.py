"""Hashes of what is stored, not of how: two stores hold the same features if and only if the hashes are equal.

A hash does not depend on segments, container, codec, compaction, or the order and number of writes; it changes with
any byte of any row, time, flag or key. Recorded failures are no content. Checksums in the store's own index prove that
single series are as they were written; these hashes compare whole stores, in different places and of different forms.

The hash of a series is BLAKE2b-256 over a line of ASCII, `cuebank-series 1 <dtype> <dim> <rows>` with a newline, then
the bytes of `values`, `times` and `valid` (little-endian, C order; `valid` one byte a row). Of a text set, <dtype> is
`text`, <dim> is 1, `values` are the sizes of the texts in bytes as int64, and the UTF-8 of all texts comes last.

The hash of a feature set is BLAKE2b-256 over a line `cuebank-feature-set 1 <fingerprint> <series>` with a newline, then
the sorted digests of its entries. The digest of an entry is BLAKE2b-256 over the length of clip_id as 8 bytes
little-endian, clip_id, the length of entity_id likewise, entity_id (no bytes for the whole clip), and the 32 bytes of
the series' hash.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from .each_series import each_series
from .errors import BadInput
from .keys import Key, encode_key
from .series import Series
from .text_rows import check_text_series

if TYPE_CHECKING:
    from .feature_store import FeatureStore

VERSION = 1  # of the canonical form; raised if a hash of the same content ever changes
DIGEST_BYTES = 32
_GROW = 2**14  # room for so many digests is made at first, and doubled from then on


def series_hash(spec_dtype: str, dim: int, series: Series) -> str:
    """Return the hash of a series.

    Args:
        spec_dtype: numpy name of the stored type of `values`, e.g. `float16`.
        dim: D.
        series: `.values` (T, D) of that type, or (T,) texts, `.times` (T,) float64 s, `.valid` (T,) bool, as a store
            returns them.

    Returns:
        64 hex digits.

    Raises:
        BadInput: if the arrays have other shapes or types.

    Example:
        >>> series = Series(np.ones((1, 2), np.float16), np.zeros(1), np.ones(1, bool))
        >>> series_hash("float16", 2, series)[:16]
        'cbb30304ddbd4a16'
    """
    rows, text = len(series.values), b""
    if series.values.dtype == object:
        series, text = check_text_series("A series that was to be hashed", *series)
        kind = "text"
    else:
        kind = spec_dtype
    wanted = (((rows, dim), spec_dtype), ((rows,), "float64"), ((rows,), "bool"))
    if tuple((array.shape, array.dtype.name) for array in series) != wanted:
        found = ", ".join(f"{array.shape} {array.dtype.name}" for array in series)
        raise BadInput(
            f"A series of {dim} {spec_dtype} values a row was to be hashed.",
            f"Its values, times and flags are {found}.",
            "Give them as `FeatureStore.read` returns them.",
        )
    digest = blake2b(f"cuebank-series {VERSION} {kind} {dim} {rows}\n".encode("ascii"), digest_size=DIGEST_BYTES)
    for array in series:
        # Zero-copy for what a store returns: little-endian rows one after the other.
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        digest.update(little.reshape(-1).view(np.uint8).data)
    digest.update(text)
    return digest.hexdigest()


def feature_set_hash(store: FeatureStore, name: str, note: Callable[[Key, int, str], None] | None = None) -> str:
    """Return the hash of all series of a feature set. Rows are read one series at a time; 32 bytes of each are kept.

    Args:
        store: an open store.
        name: of the feature set.
        note: called for each series, in order of commit, with its key, its rows and its hash.

    Returns:
        64 hex digits.

    Raises:
        NotFound: if there is no such feature set.
        Corrupt: if a series is damaged, or may lie in a segment that cannot be read.
    """
    spec, count = store.spec(name), 0
    digests = np.empty((_GROW, DIGEST_BYTES), np.uint8)
    for key, series in each_series(store, name):
        found = series_hash(spec.dtype, spec.dim, series)
        if note is not None:
            note(key, len(series.values), found)
        if count == len(digests):
            digests = np.concatenate([digests, np.empty_like(digests)])
        digests[count] = np.frombuffer(_entry(key, bytes.fromhex(found)), np.uint8)
        count += 1
    digests = digests[:count]
    # Strings of bytes without their final zeros sort like the strings themselves, if all are of one length.
    digests.view(f"S{DIGEST_BYTES}").sort(axis=0)
    header = f"cuebank-feature-set {VERSION} {spec.fingerprint} {count}\n".encode("ascii")
    whole = blake2b(header, digest_size=DIGEST_BYTES)
    whole.update(digests.reshape(-1).data)
    return whole.hexdigest()


def _entry(key: Key, found: bytes) -> bytes:
    digest = blake2b(digest_size=DIGEST_BYTES)
    for part in encode_key(*key):
        digest.update(len(part).to_bytes(8, "little") + part)
    digest.update(found)
    return digest.digest()
