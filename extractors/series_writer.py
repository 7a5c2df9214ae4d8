"""Write finished series in a thread of their own, so that a slow disk never holds up the model.

Only this thread touches the store while it runs. What is handed over is durable once `finish` has returned, or with the
next commit in between: the first comes early, so that even a short run leaves something, the others at a steady pace.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

from ..store.errors import BadInput, CuebankError
from ..store.feature_store import FeatureStore
from ..store.keys import Key
from .base import Rows
from .report import Failed
from .unit import Outcome

FIRST_COMMIT_S = 1.0
COMMIT_BYTES = 64 << 20
WAITING_BYTES = 256 << 20  # that may wait for the disk


class _Job(NamedTuple):
    feature_set: str
    key: Key
    outcome: Outcome

    @property
    def size(self) -> int:
        return sum(array.nbytes for array in self.outcome) if isinstance(self.outcome, Rows) else 0


class SeriesWriter:
    """Puts series and failures into a store that is open for writing, and commits them.

    Args:
        store: nobody else may use it until `finish` has returned.
        commit_every_s: seconds between commits, >= 0.
    """

    def __init__(self, store: FeatureStore, commit_every_s: float) -> None:
        self._store = store
        self._every_s = commit_every_s
        self._due = time.monotonic() + min(FIRST_COMMIT_S, commit_every_s)
        self._jobs: deque[_Job] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ending = False
        self._error: Exception | None = None
        self._refused: list[Failed] = []
        self._thread = threading.Thread(target=self._run, name="series writer", daemon=True)
        self._thread.start()

    def put(self, feature_set: str, key: Key, outcome: Outcome) -> None:
        """Hand over a series, or the reason why there is none; waits only if very much is waiting already.

        Raises:
            CuebankError: if the disk failed.
        """
        job = _Job(feature_set, key, outcome)
        with self._changed:
            self._changed.wait_for(lambda: self._error or not self._jobs or self._bytes + job.size <= WAITING_BYTES)
            self._raise_error()
            self._jobs.append(job)
            self._bytes += job.size
            self._changed.notify_all()

    def finish(self) -> list[Failed]:
        """Write and commit all that was handed over; return what the store refused, recorded as failures.

        Raises:
            CuebankError: if the disk failed.
        """
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        try:
            self._thread.join()
        except KeyboardInterrupt:  # once: the last commit is soon through; a second Ctrl-C gives it up
            self._thread.join()
        self._raise_error()
        return self._refused

    def _raise_error(self) -> None:
        if isinstance(self._error, OSError):
            raise CuebankError(
                f"Features were to be written to {self._store.path}.",
                f"The disk failed: {self._error.strerror or self._error}.",
                "Make room or mend it, then run the same command again: what was committed is safe.",
            ) from self._error
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._over():
                job = self._next()
                if job is not None:
                    self._write(job)
                if time.monotonic() >= self._due or self._store.pending_bytes >= COMMIT_BYTES:
                    self._store.commit()
                    self._due = time.monotonic() + self._every_s
            self._store.commit()
        # Carried over to whoever hands over the next series, or waits for the end.
        except Exception as error:  # noqa: BLE001
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _over(self) -> bool:
        with self._changed:
            return self._ending and not self._jobs

    def _next(self) -> _Job | None:
        """Wait for a series; None at the end, or when a commit is due before one comes."""
        with self._changed:
            patience = max(0.0, self._due - time.monotonic()) if self._store.pending_series else None
            if not self._changed.wait_for(lambda: self._jobs or self._ending, patience) or not self._jobs:
                return None
            job = self._jobs.popleft()
            self._bytes -= job.size
            self._changed.notify_all()
            return job

    def _write(self, job: _Job) -> None:
        if isinstance(job.outcome, str):
            self._store.record_failure(job.feature_set, *job.key, job.outcome)
            return
        try:
            self._store.write(job.feature_set, *job.key, *job.outcome)
        except BadInput as error:
            self._store.record_failure(job.feature_set, *job.key, str(error))
            self._refused.append(Failed(*job.key, str(error)))
