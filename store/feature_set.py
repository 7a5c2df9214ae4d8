"""The committed part of one feature set, as last seen on the disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence

from .containers.base import Container
from .errors import Corrupt, NotFound, nearest
from .files import corrupt
from .index import KeyIndex
from .keys import encode_key
from .recipe import FeatureSpec
from .segments import OK, Segment
from .series import Series, SeriesInfo

NEAREST_AMONG = 5000  # similar ids are looked for among so many at most: an error must not take seconds


class MapBudget:
    """Bounds how many segments are mapped at once: each mapping holds three file descriptors."""

    def __init__(self) -> None:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit = max(8, min(4096, soft // 8))
        self._mapped: deque[Segment] = deque()

    def map(self, segment: Segment) -> None:
        """Map a segment, and let go of the one mapped longest ago if there are too many."""
        segment.map()
        self._mapped.append(segment)
        if len(self._mapped) > self.limit:
            self._mapped.popleft().unmap()


class SeriesList(Sequence[SeriesInfo]):
    """All committed series of a feature set in order of commit; each item is made when asked for."""

    def __init__(self, index: KeyIndex) -> None:
        self._index = index

    def __len__(self) -> int:
        return self._index.series_count

    def __getitem__(self, i):  # type: ignore[no-untyped-def]  # the two overloads of Sequence add nothing here
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        segment, position = self._index.series_at(i % len(self))
        return SeriesInfo(*segment.key(position), int(segment.row_size[position]))

    def __iter__(self) -> Iterator[SeriesInfo]:
        return (self[i] for i in range(len(self)))


class CommittedSet:
    """Reads one feature set.

    Args:
        container: the store's container.
        spec: the feature set.
        budget: shared by all feature sets of the store.
    """

    def __init__(self, container: Container, spec: FeatureSpec, budget: MapBudget) -> None:
        self.spec = spec
        self.broken: dict[str, Corrupt] = {}
        self._container = container
        self._budget = budget
        self._segments: dict[str, Segment] = {}
        self._index: KeyIndex | None = None
        self._stale = True
        self._lock = threading.RLock()

    def refresh(self) -> None:
        """Look at the disk again when next asked."""
        self._stale = True

    @property
    def index(self) -> KeyIndex:
        """Which series a key means, over all segments that can be read."""
        index = self._index
        if self._stale or index is None:
            with self._lock:
                self._stale = False  # before looking: what is committed from here on makes it stale again
                try:
                    index = self._load()
                except BaseException:
                    self._stale = True
                    raise
        return index

    def _load(self) -> KeyIndex:
        names = self._container.segments(self.spec.name)
        if self._index is not None and set(names) == self._segments.keys() | self.broken.keys():
            return self._index
        segments: dict[str, Segment] = {}
        self.broken = {}
        for name in names:
            try:
                segments[name] = self._segments.get(name) or self._open(name)
            except Corrupt as error:
                if self._container.has_segment(self.spec.name, name):
                    self.broken[name] = error  # else it was removed while we looked
        self._segments = segments
        self._index = KeyIndex(list(segments.values()))
        return self._index

    def _open(self, name: str) -> Segment:
        return Segment(self._container.open_segment(self.spec, name))

    def series(self) -> SeriesList:
        """Return all committed series."""
        return SeriesList(self.index)

    def read(self, clip_id: str, entity_id: str | None) -> Series:
        """Return all rows of a series.

        Raises:
            NotFound: if there is no such series; with the reason if it failed.
            Corrupt: if it is damaged, or may lie in a segment whose index is.
        """
        place = self.index.find(*encode_key(clip_id, entity_id))
        if place is None or place[0].status[place[1]] != OK:
            raise self._absent(clip_id, entity_id, place)
        segment, position = place
        if not segment.mapped:
            self._budget.map(segment)
        return segment.read(position)

    def _absent(self, clip_id: str, entity_id: str | None, place: tuple[Segment, int] | None) -> Exception:
        name = self.spec.name
        asked = f"No series of feature set `{name}` for clip {clip_id!r}"
        asked += "." if entity_id is None else f", entity {entity_id!r}."
        if self.broken:
            listed = ", ".join(f"`{segment}`" for segment in list(self.broken)[:3])
            return corrupt(
                f"A series of feature set `{name}` for {(clip_id, entity_id)!r}",
                f"It is not in any readable segment, and {len(self.broken)} cannot be read ({listed}).",
            )
        again = f"Run `cuebank extract` for `{name}` again."
        if place is not None:
            return NotFound(asked, f"Its extraction failed: {place[0].reason(place[1])}.", again)
        keys = [(item.clip_id, item.entity_id) for item in self.series()[:NEAREST_AMONG]]
        entities = [entity for clip, entity in keys if clip == clip_id]
        if entities:
            shown = ", ".join("the whole clip" if entity is None else repr(entity) for entity in entities[:8])
            return NotFound(asked, f"This clip has series for: {shown}.", "Ask for one of these.")
        return NotFound(
            asked, f"It has {len(self.series())} series. {nearest(clip_id, sorted({clip for clip, _ in keys}))}", again
        )
