"""What an extraction did: done, skipped, failed with reasons; as an object, as JSON and as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ..store.printable import printable

MAX_SHOWN = 20  # failures in the text; the JSON has them all


class Progress(Protocol):
    """What wants to know how far a run is; the command line draws a bar with it."""

    def start(self, total: int, unit: str, what: str) -> None:
        """The work begins: `total` units."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """`steps` units are finished, well or badly."""

    def close(self) -> None:
        """There will be no more."""


class Failed(NamedTuple):
    """A series that could not be made, and why."""

    clip_id: str
    entity_id: str | None
    reason: str


@dataclass(frozen=True)
class Estimate:
    """What a run would do.

    Args:
        clips: series keys to be made. hours: of media. rows: of all feature sets. bytes: to be stored.
        seconds: of computing, from one short forward of the loaded model.
        measured: how that was measured, in words.
    """

    clips: int
    hours: float
    rows: int
    bytes: int
    seconds: float
    measured: str


@dataclass(frozen=True)
class ExtractReport:
    """The outcome of `extract`.

    Args:
        store: path of the store, as it was given.
        feature_sets: names of the feature sets that were asked for.
        done: keys (clip, entity) that were made and are committed.
        skipped: keys that were complete before.
        failed: keys without series, each with its reason; recorded in the store too. In a dry run: what cannot be read.
        seconds: wall time of the whole call.
        interrupted: whether Ctrl-C ended the run; what was finished is committed.
        left: keys that were not looked at because of that.
        estimate: of a dry run; nothing was written then.
        timings: `load_s` until the models were loaded, `model_s` inside them, `began_at` Unix time of the first clip.
    """

    store: str
    feature_sets: list[str]
    done: int
    skipped: int
    failed: list[Failed]
    seconds: float
    interrupted: bool = False
    left: int = 0
    estimate: Estimate | None = None
    timings: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "done": self.done,
            "skipped": self.skipped,
            "failed": [failure._asdict() for failure in self.failed],
            "store": self.store,
            "feature_sets": self.feature_sets,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "left": self.left,
            "timings": self.timings,
            **({} if self.estimate is None else {"dry_run": vars(self.estimate)}),
        }

    def to_text(self) -> str:
        """Return a closing table for people. Control characters of ids are shown escaped."""
        lines = [f"Feature sets: {', '.join(self.feature_sets)}", f"Store:        {self.store}"]
        if self.estimate is not None:
            one = self.estimate
            lines += [
                f"To do:        {one.clips} clips ({self.skipped} are there already), {one.hours:.2f} h of media",
                f"To store:     {one.rows:,} rows, {_size(one.bytes)}",
                f"Time:         about {_duration(one.seconds)} ({one.measured})",
                "This was a dry run: nothing was written.",
            ]
        else:
            lines += [
                f"Done:         {self.done}",
                f"Skipped:      {self.skipped} (there already)",
                f"Failed:       {len(self.failed)}",
                f"Time:         {_duration(self.seconds)}",
            ]
        for failure in self.failed[:MAX_SHOWN]:
            entity = "" if failure.entity_id is None else f" / {failure.entity_id}"
            lines.append(printable(f"  {failure.clip_id}{entity}: {failure.reason}"))
        if len(self.failed) > MAX_SHOWN:
            lines.append(f"  and {len(self.failed) - MAX_SHOWN} more: cuebank store ls {self.store}")
        if self.interrupted:
            lines.append(f"Interrupted with {self.left} clips left. The same command goes on from there.")
        elif self.failed and self.estimate is None:
            lines.append("The same command tries what failed again.")
        return "\n".join(lines)


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
