"""A grid of heads, feature mixes and seeds, each cell a training run, and the leaderboard of it.

A cell is kept as soon as it is trained: killed and run again, the grid goes on with the cell that was running. A cell
is trained again if anything changed that decides its result: the task, the clips table, the fingerprint or the content
of a feature set, a setting, or cuebank itself. One that fails is recorded with its reason, and the grid goes on.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from .. import __version__
from ..store import BadInput, ClipsTable, FeatureStore
from ..store.content_mark import content_mark
from ..store.errors import CuebankError
from . import heads as all_heads
from . import tasks
from .atomic import make_folder
from .benchmark_cells import Cell, Ended, read_done, write_done, write_failed
from .choices import check_choices, choose_inputs
from .fitting import Progress
from .label_series import choose_labels
from .leaderboard import Leaderboard, leaderboard
from .options import configure
from .tasks import Task
from .tasks._base import matches
from .train_head import table_of, train_head

CELLS = "cells"  # the folder of the cells' files


def benchmark(
    task: str | Task,
    store: str | os.PathLike[str] | FeatureStore,
    *,
    out: Path,
    heads: Sequence[str] = (),
    features: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    clips: str | os.PathLike[str] | ClipsTable | None = None,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Leaderboard:
    """Train every head on every feature mix under every seed, and write who does best.

    Args:
        task: a task, its name, or the path of a TOML file with one.
        store: a store, or its path.
        out: folder for the leaderboard and the cells.
        heads: names; none: the task's.
        features: mixes, each the names of feature sets with commas between them; a name's role is the one of the task
            that it fits, else its backbone; `ROLE=NAME` says it. None: the inputs that fit the task.
        seeds: each its own run.
        settings: head -> settings of it, by name.
        clips: as for `train_head`.
        device: torch's name of it.
        threads: CPU threads; they change the time, and rounding, but not whether a cell is trained again.
        progress: told of each cell.
        options: further arguments of `train_head`, for all cells.

    Returns:
        The leaderboard, as written to `out`.

    Raises:
        NotFound: an unknown task, head, setting or feature set, before anything is trained.
        BadInput: likewise for choices that do not fit; not what only single cells cannot do.
    """
    chosen = task if isinstance(task, Task) else tasks.task(task)
    check_choices(options.get("normalise") or chosen.normalise, seeds)
    names = tuple(dict.fromkeys(heads or (chosen.head,)))
    given = _checked_settings(chosen, names, settings or {})
    table = table_of(clips)
    opened = store if isinstance(store, FeatureStore) else FeatureStore.open(store)
    try:
        mixes = [mix_of(chosen, opened, words) for words in dict.fromkeys(features)] or [
            choose_inputs(chosen, opened, None)
        ]
        folder = out / CELLS
        make_folder(folder)
        common = _common(chosen, opened, table, device, options)
        marks = {name: content_mark(opened, name) for name in {name for mix in mixes for name in mix.values()}}
        grid = [
            Cell(
                head,
                mix,
                seed,
                _key({**common, "head": head, "settings": given[head], "seed": seed}, opened, mix, marks),
            )
            for head in names
            for mix in mixes
            for seed in seeds
        ]
        ended = []
        if progress is not None:
            progress.start(len(grid), "cell", f"{len(names)} heads, {len(mixes)} mixes, {len(seeds)} seeds")
        try:
            for cell in grid:
                done = read_done(folder, cell)
                if done is None:
                    done = _run(chosen, opened, cell, given[cell.head], folder, table, device, threads, options)
                ended.append(done)
                if progress is not None:
                    progress.advance(cell.said())
        finally:
            if progress is not None:
                progress.close()
    finally:
        if opened is not store:
            opened.close()
    found = leaderboard(chosen, ended)
    found.write(out)
    return found


def mix_of(task: Task, store: FeatureStore, words: str) -> dict[str, str]:
    """Return role -> feature set of a mix.

    Args:
        task: whose roles are given by patterns.
        store: that has the feature sets.
        words: `NAME[,NAME]`, each also `ROLE=NAME`.

    Raises:
        NotFound: a feature set does not exist.
        BadInput: there is no name, or two names have one role.
    """
    mix: dict[str, str] = {}
    known = set(store.feature_sets())  # a name may itself hold a comma or a `=`
    for word in [words] if words in known else [part.strip() for part in words.split(",")]:
        role, equals, name = ("", "", word) if word in known else word.partition("=")
        if not equals:
            name = word
            fitting = [one for one, patterns in task.inputs.items() if any(matches(word, each) for each in patterns)]
            role = fitting[0] if fitting else word.split(".")[0].lower()
        if not name or role in mix:
            raise BadInput(
                f"The feature mix `{words}` was asked for.",
                f"`{mix[role]}` and `{name}` both are the input {role}." if name else "One of its names is empty.",
                "Name a role for each: --features audio=NAME,audio2=NAME",
            )
        store.spec(name)
        mix[role] = name
    return choose_inputs(task, store, mix)


def _checked_settings(
    task: Task, names: Sequence[str], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the settings of each head that were asked for, proven to exist."""
    unknown = settings.keys() - set(names)
    if unknown:
        raise BadInput(
            f"Settings of the head `{sorted(unknown)[0]}` were given.",
            f"The heads of this benchmark are {', '.join(names)}.",
            "Write --set HEAD.NAME=VALUE with one of them, or add the head to --heads.",
        )
    for name in names:
        card = all_heads.head(name)
        own = task.head_settings if name == task.head else {}
        configure(card.config, {**own, **settings.get(name, {})}, f"Head `{name}`")
    return {name: dict(settings.get(name, {})) for name in names}


def _common(
    task: Task, store: FeatureStore, table: ClipsTable | None, device: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what decides the results of all cells alike, as plain JSON values."""
    said = sorted((name, value) for name, value in options.items() if value is not None)
    found: dict[str, Any] = {
        "cuebank": __version__,
        "task": json.loads(json.dumps(dataclasses.asdict(task), default=str, sort_keys=True)),
        "options": json.loads(json.dumps(said, default=str)),
        "device": device.split(":")[0],
    }
    if table is None:
        store.clips()  # a store without one says so here
        found["clips"] = store.clips_versions()[-1]
    else:
        found["clips"] = sha256(
            json.dumps([dataclasses.asdict(clip) for clip in table], default=str).encode()
        ).hexdigest()
    if task.unit == "row":
        target = options.get("target")
        columns = choose_labels(task, store, options.get("labels"), (target,) if isinstance(target, str) else target)
        spec = columns.spec
        found["labels"] = [spec.name, spec.fingerprint, content_mark(store, spec.name)]
    return found


def _key(what: Mapping[str, Any], store: FeatureStore, mix: Mapping[str, str], marks: Mapping[str, str]) -> str:
    inputs = [[role, name, store.spec(name).fingerprint, marks[name]] for role, name in mix.items()]
    content = {**what, "inputs": inputs, "files": _files(what["settings"])}
    return sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _files(settings: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Return name, size and time of change of the files that settings name, such as start weights."""
    found = []
    for value in settings.values():
        path = Path(value) if isinstance(value, str) and value else None
        if path is not None and path.exists():
            parts = sorted(path.rglob("*")) if path.is_dir() else [path]
            found += [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in parts if one.is_file()]
    return found


def _run(
    task: Task,
    store: FeatureStore,
    cell: Cell,
    settings: Mapping[str, Any],
    folder: Path,
    table: ClipsTable | None,
    device: str,
    threads: int | None,
    options: Mapping[str, Any],
) -> Ended:
    """Train one cell and write it, or why it failed."""
    try:
        report = train_head(
            task,
            store,
            inputs=cell.inputs,
            head=cell.head,
            settings=settings,
            seeds=(cell.seed,),
            clips=table,
            device=device,
            threads=threads,
            **options,
        )
    except (CuebankError, RuntimeError, MemoryError) as error:  # torch raises RuntimeError, e.g. without GPU memory
        return write_failed(folder, cell, str(error) or type(error).__name__)
    return write_done(folder, cell, report)
