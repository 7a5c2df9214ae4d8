"""The committed part of one feature set, as last seen on the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import TypeVar

from .containers.base import Container
from .errors import Corrupt, NotFound, nearest
from .files import corrupt
from .index import Found, KeyIndex, live_key
from .keys import decode_key, encode_key
from .recipe import FeatureSpec
from .segments import OK, Place, Segment
from .series import Failure, SeriesInfo
from .tables import MergedTable, SegmentTable

Answer = TypeVar("Answer")
NEAREST_AMONG = 5000  # similar ids are looked for among so many at most: an error must not take seconds


class MapBudget:
    """Bounds how many segments are mapped at once: each takes up to four mappings, of which Linux allows 65,530."""

    def __init__(self) -> None:
        self.limit = 15_000
        self.dropped = 0  # how many were let go of so far
        self._mapped: dict[int, Segment] = {}
        self._lock = threading.Lock()

    def map(self, segment: Segment) -> None:
        """Map a segment, and let go of the one mapped longest ago if there are too many."""
        segment.map()
        with self._lock:
            self._mapped[id(segment)] = segment
            if len(self._mapped) > self.limit:
                self._mapped.pop(next(iter(self._mapped))).unmap()
                self.dropped += 1

    def forget(self, segments: Sequence[Segment]) -> None:
        """Let go of segments that do not count any more, so that the disk gets their bytes back."""
        with self._lock:
            for segment in segments:
                segment.unmap()
                # It need not be among them: mapped past the budget, or an interrupt came between.
                self._mapped.pop(id(segment), None)


class SeriesList(Sequence[SeriesInfo]):
    """All committed series of a feature set in order of commit; each item is made when asked for."""

    def __init__(self, index: KeyIndex, with_ids: Callable[[], KeyIndex]) -> None:
        self._index, self._with_ids = index, with_ids
        self._looked = False

    def __len__(self) -> int:
        return self._index.series_count

    def __getitem__(self, i):  # type: ignore[no-untyped-def]  # the two overloads of Sequence add nothing here
        self._look()
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        table, entry = found = self._index.series_at(i % len(self))
        return SeriesInfo(*live_key(found), int(table.row_sizes[entry]))

    def __iter__(self) -> Iterator[SeriesInfo]:
        self._look()
        return (self[i] for i in range(len(self)))

    def _look(self) -> None:
        """Before the first item is taken: look at the ids of all. There are fewer then if some cannot be read."""
        if not self._looked:
            self._index, self._looked = self._with_ids(), True


class CommittedSet:
    """Reads one feature set.

    Args:
        container: the store's container.
        spec: the feature set.
        budget: shared by all feature sets of the store.
        trust_indexes: whether merged indexes are believed; what is removed for good is decided without them.
    """

    def __init__(self, container: Container, spec: FeatureSpec, budget: MapBudget, trust_indexes: bool = True) -> None:
        self.spec = spec
        self.rate_hz = None if spec.timebase is None else float(spec.timebase.rate_hz)
        self.broken: dict[str, Corrupt] = {}  # segments and merged indexes that cannot be read
        self.unopened: set[str] = set()  # segments of which we do not even know what they stand in place of
        self.visible: list[str] = []  # segments that count, in order of rank
        self.replaced: list[str] = []  # segments that others have replaced, and that lie there still
        self._container = container
        self._budget = budget
        self._trust_indexes = trust_indexes
        self._segments: dict[str, Segment] = {}
        self._merged: MergedTable | None = None
        self._index: KeyIndex | None = None
        self._seen: tuple[list[str], list[str]] | None = None
        self._unreadable: dict[str, Corrupt] = {}  # whose ids turned out to be damaged
        # Two numbers, not a flag: what makes it stale while it is being loaded must not be overlooked.
        self._numbers = count(1)
        self._wanted, self._loaded = 0, -1
        self._lock = threading.RLock()

    def refresh(self) -> None:
        """Look at the disk again when next asked."""
        self._wanted = next(self._numbers)

    def from_segments_alone(self) -> CommittedSet:
        """Return the same feature set as its segments tell it, whatever a merged index says."""
        return CommittedSet(self._container, self.spec, self._budget, trust_indexes=False)

    def let_go(self) -> None:
        """Unmap everything: it will not be read any more."""
        self._budget.forget(list(self._segments.values()))

    @property
    def merged(self) -> MergedTable | None:
        """The merged index that is in use."""
        return self.index.merged

    @property
    def index(self) -> KeyIndex:
        """Which series a key means, over all segments that can be read."""
        index = self._index
        if self._loaded != self._wanted or index is None:
            with self._lock:
                wanted = self._wanted  # before looking: what is committed from here on asks for another look
                index = self._load()
                self._loaded = wanted
        return index

    def _load(self) -> KeyIndex:
        names, indexes = self._container.segments(self.spec.name), self._container.indexes(self.spec.name)
        if self._index is not None and self._seen == (names, indexes):
            return self._index
        self.broken, self.unopened = {}, set()
        merged = self._usable(names, indexes)
        if merged is not None:
            fresh, hidden = self._open(names, {*merged.names, *merged.replaced})
            if hidden.isdisjoint(merged.names):
                hidden = hidden | merged.replaced
            else:  # a newer segment stands in place of one that it covers: an index for it is being written
                merged = None
        if merged is None:
            fresh, hidden = self._open(names, set())
        fresh = {name: segment for name, segment in fresh.items() if name not in hidden}
        self.broken = {name: error for name, error in self.broken.items() if name not in hidden}
        self.unopened -= hidden
        self.visible = [name for name in names if name not in hidden]
        self.replaced = [name for name in names if name in hidden]
        visible = set(self.visible)
        self._budget.forget([one for name, one in self._segments.items() if name not in visible])
        self._segments = {name: one for name, one in self._segments.items() if name in visible}
        table = self._table(fresh)
        self._merged = merged
        try:
            self._index = KeyIndex(merged, table)
        except Corrupt as error:  # ids that both have were compared
            if merged is None or not self._leave_out_damaged():
                raise error
            return self._load()
        self._seen = (names, indexes)
        return self._index

    def _usable(self, names: list[str], indexes: list[str]) -> MergedTable | None:
        """Return the newest merged index that covers nothing which is not there."""
        if not self._trust_indexes:
            return None
        there = set(names)
        for index in reversed(indexes):
            if index in self._unreadable:
                self.broken[index] = self._unreadable[index]
                continue
            if self._merged is not None and self._merged.file.name == index:
                merged = self._merged
            else:
                try:
                    merged = MergedTable(self._container.open_index(self.spec, index))
                except Corrupt as error:
                    self.broken[index] = error  # the segments themselves say the same, only slower
                    continue
            if there.issuperset(merged.names):
                return merged
        return None

    def _open(self, names: list[str], known: set[str]) -> tuple[dict[str, Segment], set[str]]:
        """Open the segments that are not known; return them, and the names of those that they stand in place of."""
        opened: dict[str, Segment] = {}
        hidden: set[str] = set()
        for name in names:
            if name in known:
                continue
            try:
                segment = opened[name] = self._segments[name] = self._segments.get(name) or self._segment(name)
            except Corrupt as error:
                if self._container.has_segment(self.spec.name, name):
                    self.broken[name] = error  # else it was removed while we looked
                    self.unopened.add(name)
                continue
            hidden.update(segment.file.replaces)
        return opened, hidden

    def _segment(self, name: str) -> Segment:
        return Segment(self._container.open_segment(self.spec, name))

    def _table(self, fresh: dict[str, Segment]) -> SegmentTable:
        """Put segments together; one whose index is damaged is left out, and said to be broken."""
        good = {}
        for name, segment in fresh.items():
            error = self._unreadable.get(name) or _damage(segment, ids=False)
            if error is None:
                good[name] = segment
            else:
                self.broken[name] = error
        return SegmentTable(good)

    def ask(self, question: Callable[[KeyIndex], Answer]) -> Answer:
        """Return what the index answers, leaving out what turns out to be damaged when its ids are looked at."""
        while True:
            try:
                return question(self.index)
            except Corrupt:
                if not self._leave_out_damaged():
                    raise

    def _leave_out_damaged(self) -> bool:
        """Find segments, or a merged index, whose ids cannot be read; return whether there are any."""
        with self._lock:
            before = len(self._unreadable)
            for name, segment in self._segments.items():
                error = _damage(segment, ids=True)
                if error is not None:
                    self._unreadable[name] = error
            if self._merged is not None:
                try:
                    self._merged.prove()
                except Corrupt as error:
                    self._unreadable[self._merged.file.name] = error
            self._seen = None
            self.refresh()
            return len(self._unreadable) > before

    def _with_ids(self) -> KeyIndex:
        """Return the index, once all ids have been looked at."""

        def look(index: KeyIndex) -> KeyIndex:
            index.prove()
            return index

        return self.ask(look)

    def segment(self, name: str) -> Segment:
        """Return a visible segment, opened when it is first asked for.

        Raises:
            Corrupt: if it is damaged.
        """
        found = self._segments.get(name)
        if found is None:
            found = self._segments[name] = self._segment(name)
        return found

    def open_all(self) -> None:
        """Open all visible segments; those that cannot be opened are in `unopened` and `broken` then."""
        for name in self.visible:
            try:
                self.segment(name)
            except Corrupt as error:
                self.broken[name] = error
                self.unopened.add(name)

    def damaged(self) -> Corrupt | None:
        """Return why one of the visible segments cannot be read, None if all can."""
        self._with_ids()
        return next((self.broken[name] for name in self.visible if name in self.broken), None)

    def is_sound(self) -> bool:
        """Return whether all that is visible can be opened and its ids be read."""
        self.open_all()
        return not self.unopened and all(_damage(self.segment(name), ids=True) is None for name in self.visible)

    def series(self) -> SeriesList:
        """Return all committed series."""
        return SeriesList(self.index, self._with_ids)

    def failures(self) -> list[Failure]:
        """Return the live failures with their reasons."""
        listed = []
        for table, entry in self._with_ids().failures():
            segment = self.segment(table.names[int(table.numbers[entry])])
            listed.append(Failure(*live_key((table, entry)), _reason(segment, int(table.positions[entry]))))
        return listed

    def locate(self, clip_id: str, entity_id: str | None) -> tuple[Segment, Place]:
        """Return the segment of a series, mapped, and where in it the series lies.

        Raises:
            NotFound: if there is no such series; with the reason if it failed.
            Corrupt: if it may lie in a segment whose index is damaged.
        """
        clip, entity = encode_key(clip_id, entity_id)
        found = self.ask(lambda index: index.find(clip, entity))
        if found is None or found[0].status[found[1]] != OK:
            raise self._absent(clip_id, entity_id, found)
        table, entry = found
        segment = self.segment(table.names[int(table.numbers[entry])])
        if not segment.mapped:
            self._budget.map(segment)
        place = table.place(entry, decode_key(clip, entity))
        if place.stop > segment.file.rows or place.position >= len(segment):
            raise corrupt(segment.file.where, f"Series {tuple(place.key)!r} is said to lie outside of it.")
        return segment, place

    def _absent(self, clip_id: str, entity_id: str | None, found: Found | None) -> Exception:
        name = self.spec.name
        asked = f"No series of feature set `{name}` for clip {clip_id!r}"
        asked += "." if entity_id is None else f", entity {entity_id!r}."
        broken = [one for one in self.broken if one in self.visible]
        if broken:
            listed = ", ".join(f"`{segment}`" for segment in broken[:3])
            return corrupt(
                f"A series of feature set `{name}` for {(clip_id, entity_id)!r}",
                f"It is not in any readable segment, and {len(broken)} cannot be read ({listed}).",
            )
        again = f"Run `cuebank extract` for `{name}` again."
        if found is not None:
            table, entry = found
            segment = self.segment(table.names[int(table.numbers[entry])])
            reason = _reason(segment, int(table.positions[entry]))
            return NotFound(asked, f"Its extraction failed: {reason}.", again)
        keys = [(item.clip_id, item.entity_id) for item in self.series()[:NEAREST_AMONG]]
        entities = [entity for clip, entity in keys if clip == clip_id]
        if entities:
            shown = ", ".join("the whole clip" if entity is None else repr(entity) for entity in entities[:8])
            return NotFound(asked, f"This clip has series for: {shown}.", "Ask for one of these.")
        return NotFound(
            asked, f"It has {len(self.series())} series. {nearest(clip_id, sorted({clip for clip, _ in keys}))}", again
        )


def _damage(segment: Segment, ids: bool) -> Corrupt | None:
    """Return what is wrong with the index of a segment, or None."""
    try:
        segment.starts, segment.key_hash  # noqa: B018 (looking is checking)
        if ids:
            segment.texts("clip_id"), segment.texts("entity_id")
    except Corrupt as error:
        return error
    return None


def _reason(segment: Segment, position: int) -> str:
    """Return why a series failed."""
    if position >= len(segment):
        raise corrupt(segment.file.where, f"Failure {position} is said to lie outside of it.")
    return segment.reason(position)
