"""Clips that are in a store twice under different names: the same rows, byte for byte, in every feature set looked at.

A copy of a clip on the other side of a split lets a head answer by memory. The checksums in the segments' indexes say
at once which series may be equal; only those are read, and the hashes of their content (see `content_hash`) decide.
The same recording in another encoding has other features, and is not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .content_hash import series_hash
from .keys import Key

if TYPE_CHECKING:
    from .feature_store import FeatureStore

Places = Mapping[str, Sequence[Key | None]]


def find_duplicates(store: FeatureStore, places: Places) -> list[list[int]]:
    """Return which of N items have the same content.

    Args:
        store: an open store.
        places: feature set -> the key of the series of each item, (N,); None where it has none.

    Returns:
        Numbers of the items that are equal to each other, two or more together, each list ascending, in order of their
        first. Series without rows count as none; items without any series are equal to nothing.

    Raises:
        NotFound: if there is no such feature set or series.
        Corrupt: if a series that had to be read is damaged.
    """
    marks = {name: _marks(store, name, keys) for name, keys in places.items()}
    items = range(len(next(iter(places.values()), ())))
    # Items that have the very same series, not copies of it, are as equal as copies are.
    likely = _together((tuple(marks[name][i] for name in places), i) for i in items)
    found: list[list[int]] = []
    for some in likely:
        found += _together((_content(store, places, i), i) for i in some)
    return sorted(found)


def _marks(store: FeatureStore, name: str, keys: Sequence[Key | None]) -> list[tuple[int, int] | None]:
    """Return rows and checksum of each series, None for those without rows."""
    committed, marks = store._committed(name), []
    for key in keys:
        place = None if key is None else committed.locate(*key)[1]
        marks.append(None if place is None or place.stop == place.start else (place.stop - place.start, place.checksum))
    return marks


def _content(store: FeatureStore, places: Places, item: int) -> tuple[str | None, ...]:
    """Return the hash of each series of an item."""
    hashes: list[str | None] = []
    for name, keys in places.items():
        key, spec = keys[item], store.spec(name)
        series = None if key is None else store.read(name, *key)
        empty = series is None or not len(series.times)
        hashes.append(None if empty or series is None else series_hash(spec.dtype, spec.dim, series))
    return tuple(hashes)


def _together(marked: Iterable[tuple[tuple[object, ...], int]]) -> list[list[int]]:
    """Return the items of each mark that two or more have; marks that are None throughout are nobody's."""
    by_mark: dict[tuple[object, ...], list[int]] = {}
    for mark, item in marked:
        if any(part is not None for part in mark):
            by_mark.setdefault(mark, []).append(item)
    return [items for items in by_mark.values() if len(items) > 1]
