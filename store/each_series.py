"""All series of a feature set, one after the other, for what must not leave one out: exports and hashes.

Elsewhere a segment that cannot be read hides its series, and only a look at one of those says so. A copy that lacks
them, or a hash over the rest, would be wrong without a word; here it is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .files import corrupt
from .keys import Key
from .series import Series

if TYPE_CHECKING:
    from .feature_store import FeatureStore


def each_series(store: FeatureStore, feature_set: str) -> Iterator[tuple[Key, Series]]:
    """Yield every committed series of a feature set with its key, in order of commit.

    Args:
        store: an open store.
        feature_set: name.

    Yields:
        The key, and rows as `FeatureStore.read` returns them: views, proven by their checksum.

    Raises:
        NotFound: if there is no such feature set.
        Corrupt: if any series is damaged, or may lie in a segment that cannot be read. What was yielded before that is
            not all there is.
    """
    _refuse_hidden(store, feature_set)
    for one in store.series(feature_set):
        yield Key(one.clip_id, one.entity_id), store.read(feature_set, one.clip_id, one.entity_id)
    _refuse_hidden(store, feature_set)  # damage may have come to light only when the ids were looked at


def chosen(store: FeatureStore, feature_sets: Sequence[str] | None) -> list[str]:
    """Return the names of some feature sets, each once, in their order; of all of them, sorted, if None are named.

    Raises:
        NotFound: if one does not exist, with the nearest names.
    """
    if feature_sets is None:
        return store.feature_sets()
    for name in feature_sets:
        store.spec(name)
    return list(dict.fromkeys(feature_sets))


def _refuse_hidden(store: FeatureStore, feature_set: str) -> None:
    len(store.series(feature_set))  # looks at the disk, if nobody has yet
    broken = store._committed(feature_set).broken
    # A merged index may be broken too; then the segments are read one by one, and nothing is hidden.
    hidden = sorted(broken.keys() & set(store._container.segments(feature_set)))
    if hidden:
        found = broken[hidden[0]].found
        raise corrupt(
            f"Feature set `{feature_set}` as a whole",
            f"{len(hidden)} of its segments cannot be read (the first: `{hidden[0]}`). {found}",
        )
