"""A quick mark of what a feature set holds: two marks are equal if the same keys have the same rows.

It is made of the keys, row counts and checksums in the segments' indexes; no row is read. For a proof of equality
across stores there is `content_hash`, which reads everything.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from .keys import encode_key

if TYPE_CHECKING:
    from .feature_store import FeatureStore


def content_mark(store: FeatureStore, feature_set: str) -> str:
    """Return the mark of a feature set, 32 hex digits; order and number of writes and the container do not matter.

    Args:
        store: an open store.
        feature_set: name.

    Raises:
        NotFound: if there is no such feature set.
        Corrupt: if the index of a segment is damaged.
    """
    committed = store._committed(feature_set)
    entries = []
    for one in store.series(feature_set):
        _, place = committed.locate(one.clip_id, one.entity_id)
        clip, entity = encode_key(one.clip_id, one.entity_id)
        numbers = (len(clip), len(entity), place.stop - place.start, place.checksum)
        entries.append(b"".join(number.to_bytes(8, "little") for number in numbers) + clip + entity)
    digest = blake2b(digest_size=16)
    for entry in sorted(entries):
        digest.update(entry)
    return digest.hexdigest()
