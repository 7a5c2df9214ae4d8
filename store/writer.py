"""What one process has written and not yet committed."""

from __future__ import annotations

import threading
from pathlib import Path

from .containers.base import Container
from .errors import BadInput
from .recipe import FeatureSpec
from .segments import PendingSegment
from .series import Series
from .writing_area import WritingArea

EncodedKey = tuple[bytes, bytes]


class StoreWriter:
    """Collects series into segments, one for each feature set, and commits them.

    Interrupting any method (Ctrl-C) leaves a state from which it can be called again.

    Args:
        path: resolved path of the store.
        writable: whether the store was opened for writing.
    """

    def __init__(self, path: Path, writable: bool) -> None:
        self._path = path
        self.writable = writable
        self._area: WritingArea | None = None
        self._pending: dict[str, tuple[FeatureSpec, list[PendingSegment]]] = {}
        self._failed: OSError | None = None
        self._closed = False
        self._lock = threading.RLock()

    def area(self) -> WritingArea:
        """Return this writer's corner of the writing area, made at the first call.

        Raises:
            BadInput: if the store was opened for reading, or by the process of which this one is a fork.
        """
        asked = f"Something was to be written to {self._path}."
        if not self.writable:
            raise BadInput(asked, "It is open for reading.", 'Open it with mode "a".')
        with self._lock:
            if self._closed:
                raise BadInput(asked, "It was closed.", "Open it again.")
            if self._area is None:
                self._area = WritingArea(self._path)
        if not self._area.mine:
            raise BadInput(asked, "This process is a fork of the one that opened it.", "Open it again in this process.")
        return self._area

    def add(self, container: Container, spec: FeatureSpec, key: EncodedKey, series: Series, text: bytes = b"") -> None:
        """Add a checked series, with the texts of its rows if it has some.

        One whose key is pending already goes into a newer segment, so the later one wins.
        """
        self.area()
        with self._lock:
            segments = self._segments(spec)
            if segments and not segments[-1].sealed and not segments[-1].has_room(text):
                self._finish(segments[-1], spec)  # still pending, but its texts are on the disk, not in memory
            if not segments or segments[-1].sealed or key in segments[-1].series:
                segments.append(PendingSegment(container.new_segment(spec), spec.is_text))
            segments[-1].add(key, series, text)

    def _finish(self, segment: PendingSegment, spec: FeatureSpec) -> None:
        try:
            segment.finish(spec.fingerprint)
        except OSError as error:
            self._failed = error
            raise

    def add_failure(self, container: Container, spec: FeatureSpec, key: EncodedKey, reason: str) -> None:
        """Note why a key has no series; beside a series of that key, in whichever segment, it means nothing."""
        self.area()
        with self._lock:
            segments = self._segments(spec)
            if not segments or segments[-1].sealed:
                segments.append(PendingSegment(container.new_segment(spec), spec.is_text))
            segments[-1].add_failure(key, reason)

    def _segments(self, spec: FeatureSpec) -> list[PendingSegment]:
        return self._pending.setdefault(spec.name, (spec, []))[1]

    @property
    def series(self) -> int:
        """Number of series and failures that are pending."""
        with self._lock:
            return sum(len(s.series) + len(s.failures) for _, segments in self._pending.values() for s in segments)

    @property
    def bytes(self) -> int:
        """Bytes of rows that are pending."""
        with self._lock:
            return sum(segment.bytes for _, segments in self._pending.values() for segment in segments)

    def commit(self) -> None:
        """Make everything pending durable and visible; nothing is pending after `close`.

        Raises:
            OSError: if the disk failed. What the kernel could not write, a second fsync does not report, so nothing
                more can be committed by this object then.
        """
        with self._lock:
            if self._failed is not None:
                raise self._failed
            try:
                for spec, segments in self._pending.values():
                    for segment in segments:
                        segment.finish(spec.fingerprint)
                for name in list(self._pending):
                    segments = self._pending[name][1]
                    while segments:
                        segments[0].writer.publish()
                        segments.pop(0)
                    del self._pending[name]
            except OSError as error:
                self._failed = error
                raise

    @property
    def at_work(self) -> bool:
        """Whether something was written, or was about to be, by this process."""
        return self._area is not None and self._area.mine

    def forget(self, feature_set: str) -> None:
        """Drop what is pending of a feature set."""
        with self._lock:
            for segment in self._pending.pop(feature_set, (None, []))[1]:
                segment.writer.discard()

    def close(self) -> None:
        """Drop what is pending and leave the writing area."""
        with self._lock:
            self._closed = True
            for _, segments in self._pending.values():
                for segment in segments:
                    segment.writer.discard()
            self._pending = {}
            if self._area is not None:
                self._area.close()
                self._area = None
