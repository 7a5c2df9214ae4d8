"""What `cuebank store info` says about a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import Corrupt

if TYPE_CHECKING:
    from .feature_store import FeatureStore


def store_info(store: FeatureStore) -> dict[str, Any]:
    """Return format, clips version and feature sets of a store as plain JSON values.

    `bytes` is what the feature set takes on the disk, `rate_hz` a number or None, `coverage` the share of the clips of
    the newest clips table (more than 1 if there are series of others); `broken_segments` counts those whose index
    cannot be read (`cuebank store verify` says why), `replaced_segments` those that the next `compact` gives back.
    """
    container = store._container
    clips = container.clips_versions()
    try:
        in_table = len({clip.clip_id for clip in store.clips()}) if clips else None
    except Corrupt:
        in_table = None  # `cuebank store verify` says what is wrong with the table
    sets = {}
    for name in store.feature_sets():
        committed = store._committed(name)
        spec, cover = committed.spec, store._coverage(name)
        broken = [one for one in committed.broken if one in committed.visible]
        sets[name] = {
            "kind": spec.kind,
            "scope": spec.scope,
            "series": cover.series,
            "clips": cover.clips,
            "rows": cover.rows,
            "failed": cover.failed,
            "coverage": round(cover.clips / in_table, 4) if in_table else None,
            "dim": spec.dim,
            "dtype": spec.dtype,
            "bytes": container.size(name),
            "rate_hz": None if spec.timebase is None else float(spec.timebase.rate_hz),
            "timebase": None if spec.timebase is None else spec.timebase.to_json(),
            "fingerprint": spec.fingerprint,
            "codec": spec.codec,
            "segments": len(committed.visible) - len(broken),
            "replaced_segments": len(committed.replaced),
            "broken_segments": len(broken),
            "recipe": spec.recipe.to_json(),
        }
    return {"format": container.format, "clips_version": clips[-1] if clips else None, "feature_sets": sets}
