"""A life of a store in a few steps, and what it must show before, during and after each of them.

`faults.py` breaks the disk under it, `power_cut.py` cuts the power. Each step is promised once it has returned. Until
then each *part* of the store (a feature set, the clips table) shows what was promised before, or what the step makes
of it: nothing else, and never something in between.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, NotFound, Recipe
from cuebank.store.verify import verify

X, Y = SETS = ("demo.x", "demo.y")
SPECS = {
    X: FeatureSpec(X, "numeric", 2, "float16", Recipe("demo", {"source": "none"})),
    Y: FeatureSpec(Y, "text", 1, "int64", Recipe("demo", {"source": "none"})),
}
KEYS = [("clip 0", "left"), ("clip 1", None), ("clip 2", "left"), ("clip 3", None), ("clip 4", None)]
FAILED = ("bad", None)
TABLES = [ClipsTable([Clip(f"clip {i}", Path(f"/media/{i}.wav"), labels={"x": i + n})], {"x": "number"})
          for i, n in ((0, 1), (1, 2))]  # fmt: skip

State = dict[str, Any]  # part -> what it shows
Call = Callable[[FeatureStore], object]


class Step(NamedTuple):
    """Calls on the store, and what it shows once the last one has returned."""

    calls: list[Call]
    shows: State


class Broken(Exception):
    """A law of the store does not hold."""


def has(verb: str) -> bool:
    """Return whether this version of the store can `compact` or `drop`."""
    return importlib.util.find_spec(f"cuebank.store.{verb}") is not None


def rows(feature_set: str, key: int, version: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of a version of a series: each number of it is `10 * key + version`, each text begins with it."""
    spec, count = SPECS[feature_set], 3 + key
    if spec.is_text:
        values = np.array([f"{10 * key + version} \u00e9{'e' * row}" for row in range(count)], object)
    else:
        values = np.full((count, spec.dim), 10 * key + version, spec.dtype)
    return values, np.arange(float(count)), np.ones(count, bool)


def version_of(feature_set: str, key: int, values: np.ndarray) -> int:
    """Return which version of a series these values are of."""
    first = values[0].split()[0] if SPECS[feature_set].is_text else values[0, 0]
    return int(first) - 10 * key


def written(feature_set: str, **versions: int) -> list[Call]:
    """Return calls that write versions of series, named `k<number>`."""
    return [
        lambda store, k=int(name[1:]), v=version: store.write(feature_set, *KEYS[k], *rows(feature_set, k, v))
        for name, version in versions.items()
    ]


def write_table(number: int) -> Call:
    """Return the call that adds one of the tables, unless it is there: a store keeps every version."""
    return lambda store: len(store.clips_versions()) > number or store.write_clips(TABLES[number])


def drop_from(feature_set: str, *keys: int) -> Call:
    """Return the call that drops some series of a feature set, or all of it."""

    def call(store: FeatureStore) -> None:
        from cuebank.store.drop import drop

        drop(store, feature_set, keys=[KEYS[key] for key in keys] or None)

    return call


def compact_all(store: FeatureStore) -> None:
    from cuebank.store.compact import compact

    compact(store)


def steps() -> list[Step]:
    """Return the steps; the first one is to do nothing."""
    shown: State = {X: None, Y: None, "clips": 0}
    made = [Step([], copy.deepcopy(shown))]

    def step(*calls: Call, **parts: Any) -> None:
        shown.update({name.replace("_", "."): part for name, part in parts.items()})
        made.append(Step(list(calls), copy.deepcopy(shown)))

    def series(failed: bool = False, **versions: int) -> dict[str, Any]:
        return {"series": {int(name[1:]): version for name, version in versions.items()}, "failed": failed}

    step(lambda s: s.create(SPECS[X]), demo_x=series())
    step(lambda s: s.create(SPECS[Y]), demo_y=series())
    step(write_table(0), clips=1)
    first = {"k0": 1, "k1": 1, "k2": 1}
    step(
        *written(X, **first), *written(Y, **first), lambda s: s.commit(),
        demo_x=series(**first), demo_y=series(**first),
    )  # fmt: skip
    second = first | {"k1": 2, "k3": 2}
    step(
        *written(X, k1=2, k3=2), *written(Y, k1=2, k3=2), lambda s: s.record_failure(X, *FAILED, "no sound"),
        lambda s: s.commit(), demo_x=series(True, **second), demo_y=series(**second),
    )  # fmt: skip
    if has("compact"):
        step(compact_all)
    if has("drop"):
        del second["k0"]
        step(drop_from(X, 0), demo_x=series(True, **second))
    third = second | {"k2": 3, "k4": 3}
    step(*written(X, k2=3, k4=3), lambda s: s.commit(), demo_x=series(True, **third))
    step(write_table(1), clips=2)
    if has("drop"):
        del third["k2"]  # of which two versions lie in two segments
        step(drop_from(X, 2), demo_x=series(True, **third))
        step(drop_from(Y), demo_y=None)
    return made


STEPS = steps()


def run(path: Path, promise: Callable[[], object], again: bool = False, tidy: bool = True) -> None:
    """Live through all steps.

    Args:
        path: of the store.
        promise: called after each step.
        again: whether a call that Ctrl-C interrupts is made once more.
        tidy: whether the store is closed when a call fails.
    """
    store = _call(lambda: FeatureStore.open(path, "a"), again)
    done = False
    try:
        for step in STEPS:
            for call in step.calls:
                _call(lambda call=call: call(store), again)
            promise()
        done = True
    finally:
        if done or tidy:
            _call(store.close, again)


def _call(function: Callable[[], Any], again: bool) -> Any:
    try:
        return function()
    except KeyboardInterrupt:
        if not again:
            raise
        with contextlib.suppress(NotFound):  # an interrupted drop may have done its work
            return function()


def state(path: Path) -> State:
    """Return what the store shows; every series must be a complete, known one."""
    try:
        store = FeatureStore.open(path)
    except NotFound:
        return STEPS[0].shows
    with store:
        versions = store.clips_versions()
        if [store.clips(version) for version in versions] != TABLES[: len(versions)]:
            raise Broken(f"the clips tables are not what was written: {versions}")
        names = store.feature_sets()
        return {name: _shown(store, name) if name in names else None for name in SETS} | {"clips": len(versions)}


def _shown(store: FeatureStore, name: str) -> dict[str, Any]:
    series = {}
    for clip_id, entity_id, count in store.series(name):
        key, found = KEYS.index((clip_id, entity_id)), store.read(name, clip_id, entity_id)
        version = version_of(name, key, found.values)
        for mine, wanted in zip(found, rows(name, key, version), strict=True):
            if not np.array_equal(mine, wanted) or len(mine) != count:
                raise Broken(f"series {KEYS[key]} of {name} is not what was written")
        series[key] = version
    failed = [(failure.clip_id, failure.entity_id, failure.reason) for failure in store.failures(name)]
    if failed not in ([], [(*FAILED, "no sound")]):
        raise Broken(f"failures of {name} are {failed}")
    return {"series": series, "failed": bool(failed)}


def check(path: Path, promised: int) -> None:
    """Raise Broken unless the store shows what so many steps promise, or the one under way too, and is sound."""
    shown, before, after = state(path), STEPS[promised - 1].shows, STEPS[min(promised, len(STEPS) - 1)].shows
    for part, found in shown.items():
        if found not in (before[part], after[part]):
            raise Broken(f"{part} shows {found}, not {before[part]} or {after[part]}")
    with contextlib.suppress(NotFound):  # there may be no store yet; if there had to be one, that was said above
        report = verify(path)
        if not report["ok"]:
            raise Broken(f"verify says {report}")


def complete(path: Path) -> None:
    """Run all steps once more, and raise Broken unless that leaves what they promise and nothing else."""
    run(path, lambda: None)
    if state(path) != STEPS[-1].shows:
        raise Broken(f"a second run leaves {state(path)}")
    report = verify(path)
    if not report["ok"] or report["notes"]:
        raise Broken(f"after a second run verify says {report}")
    left = {one.name for one in path.parent.iterdir()} - {path.name, f"{path.name}.segments"}
    if left:
        raise Broken(f"left over beside the store: {sorted(left)}")
