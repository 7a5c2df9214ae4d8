"""What an extraction has to do: which clips lack which feature sets, each stretch of media once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..store.clips_table import Clip, ClipsTable
from ..store.errors import Conflict
from ..store.feature_store import FeatureStore
from ..store.keys import Key
from ..store.recipe import FeatureSpec


@dataclass(frozen=True)
class Unit:
    """A stretch of media and the series to be made from it; needs nothing of the process that planned it.

    Args:
        path: the media file.
        start_s, end_s: the stretch in it; None: from its start, to its end.
        wanted: names of the missing feature sets of each key; several keys where entities share the stretch.
        clips: the rows of the table for these keys.
    """

    path: Path
    start_s: float | None
    end_s: float | None
    wanted: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    clips: dict[Key, Clip] = field(default_factory=dict)

    def feature_sets(self) -> set[str]:
        """Return the names of all feature sets that any key lacks."""
        return {name for names in self.wanted.values() for name in names}


@dataclass(frozen=True)
class Plan:
    """units: what there is to do, in the order of the table. skipped: keys that lack nothing."""

    units: list[Unit]
    skipped: int

    @property
    def keys(self) -> int:
        """Number of keys that lack something."""
        return sum(len(unit.wanted) for unit in self.units)


def refuse_conflicts(store: FeatureStore, specs: Sequence[FeatureSpec]) -> None:
    """Check that no feature set is there under another recipe, before anything is written.

    Raises:
        Conflict: listing the differences of the first one that is.
    """
    there = set(store.feature_sets())
    for spec in specs:
        stored = store.spec(spec.name) if spec.name in there else spec
        if stored.fingerprint != spec.fingerprint:
            lines = "\n".join(f"  {line}" for line in stored.difference(spec))
            raise Conflict(
                f"Feature set `{spec.name}` was to be extracted into {store.path}.",
                f"It is there with another recipe (stored -> asked for):\n{lines}\n",
                "Use the stored recipe, or another store; `cuebank store info` shows the whole recipe.",
            )


def refuse_changed_clips(store: FeatureStore, table: ClipsTable, specs: Sequence[FeatureSpec]) -> None:
    """Check that no clip means another stretch of media than when its series were made: they would be skipped.

    Media may have moved: of a path, only the file's own name counts.

    Raises:
        Conflict: naming the first clips that do.
    """
    before: dict[Key, Clip] = {}
    for version in reversed(store.clips_versions()):  # newest first: the last table that knew a clip counts
        for clip in store.clips(version):
            before.setdefault(clip.key, clip)
    known = [clip for clip in table if clip.key in before]
    changed = [clip.key for clip in known if _stretch(clip) != _stretch(before[clip.key])]
    lacking = [set(store.missing(spec.name, changed)) for spec in specs] if changed else []
    changed = [key for key in changed if any(key not in missing for missing in lacking)]
    if changed:
        shown = ", ".join(repr(key.clip_id) for key in changed[:5])
        raise Conflict(
            f"{len(changed)} clips that have series in {store.path} were given again: {shown}.",
            "Their path, start or end is now another one, so their series are of another stretch of media.",
            "Add --overwrite to make all series of this table anew, or use another clip_id or another store.",
        )


def _stretch(clip: Clip) -> tuple[str, float | None, float | None]:
    return clip.path.name, clip.start or None, clip.end  # a start of 0 is no start


def make_plan(table: ClipsTable, specs: Sequence[FeatureSpec], store: FeatureStore | None, overwrite: bool) -> Plan:
    """Compare the table with what is committed.

    Args:
        table: the clips.
        specs: feature sets that every clip shall have.
        store: where they may be already; None: nowhere.
        overwrite: make everything anew.
    """
    keys = [clip.key for clip in table]
    there = set() if store is None or overwrite else set(store.feature_sets())
    missing = {
        spec.name: set(store.missing(spec.name, keys) if store is not None and spec.name in there else keys)
        for spec in specs
    }
    units: dict[tuple[Path, float | None, float | None], Unit] = {}
    skipped = 0
    for clip in table:
        wanted = tuple(name for name, lacking in missing.items() if clip.key in lacking)
        if not wanted:
            skipped += 1
            continue
        place = (clip.path, clip.start, clip.end)
        unit = units.setdefault(place, Unit(*place))
        unit.wanted[clip.key] = wanted
        unit.clips[clip.key] = clip
    return Plan(list(units.values()), skipped)
