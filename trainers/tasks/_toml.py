"""A user's own task: one small TOML file with the fields of `Task`.

Example (`valence.toml`, used as `--task valence.toml`)::

    target = "valence"
    kind = "regression"
    metric = "ccc"

    [inputs]
    audio = "hubert*"

Everything else has a default: unit `clip`, head `mlp` (`plain-mlp` where a row is predicted), the loss and the metrics
of the kind. `like = "engagement"` takes all that is not said from a task that there is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ...store.errors import BadInput, CuebankError, NotFound, nearest
from ._base import Task

UNITS, KINDS = ("clip", "row"), ("regression", "classes")
MOST_CLASSES = 1000
_LOSS = {"regression": "ccc", "classes": "ce"}
_METRICS = {
    "regression": ("ccc", "pearson", "r2", "mse", "mae"),
    "classes": ("macro_f1", "balanced_accuracy", "accuracy"),
}


def read_task(path: Path, known: Callable[[str], Task]) -> Task:
    """Read a task.

    Args:
        path: of the file.
        known: gives the task that `like` names.

    Raises:
        NotFound: if there is no such file, or no task of the name.
        BadInput: if it is no TOML, or has a key that no task has, or a value of another type; all are said at once.
    """
    asked = f"The task in `{path}` was read."
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFound(asked, "There is no such file.", "Check the path of --task.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(asked, f"It is not TOML: {error}.", "Mend it.") from error
    wrong: list[str] = []
    names = ["like", *(field.name for field in fields(Task))]
    for key in content:
        if key not in names:
            wrong.append(f"the key `{key}` is unknown. {nearest(key, names)}")
    values = {key: _checked(key, value, wrong) for key, value in content.items() if key in names}
    if wrong:
        _refuse(asked, wrong)
    base = values.pop("like", None)
    if base is not None:
        task = replace(known(base), name=path.stem, version=1)
    else:
        if "target" not in values:
            _refuse(asked, ["the key `target` is missing: which label column, or columns, are predicted"])
        task = _plain(path.stem, values)
    if "metric" in values and "metrics" not in values:
        values["metrics"] = (values["metric"], *(name for name in task.metrics if name != values["metric"]))
    if "metrics" in values and "metric" not in values:
        values["metric"] = values["metrics"][0]
    task = replace(task, **values)
    _check_metrics(task, asked)
    return task


def _plain(name: str, values: Mapping[str, Any]) -> Task:
    """Return the task of defaults for what is given."""
    kind, unit = values.get("kind", "regression"), values.get("unit", "clip")
    return Task(
        name=name,
        version=1,
        title="",
        target=values["target"],
        unit=unit,
        kind=kind,
        inputs={},
        extract={},
        head="mlp" if unit == "clip" else "plain-mlp",
        loss=_LOSS[kind],
        metric=_METRICS[kind][0],
        metrics=_METRICS[kind],
        classes=tuple(range(2, MOST_CLASSES + 1)) if kind == "classes" else (),
    )


def _check_metrics(task: Task, asked: str) -> None:
    """Refuse metrics that are not of the task's kind."""
    from ..metrics import metric

    fitting = ("classes", "scores") if task.kind == "classes" else ("regression",)
    wrong = []
    for name in task.metrics:
        try:
            kind = metric(name).kind
        except CuebankError as error:
            wrong.append(f"metric `{name}`: {error.found} {error.todo}")
            continue
        if kind not in fitting:
            wrong.append(f"metric `{name}` is for {kind}, the task is {task.kind}")
    if wrong:
        _refuse(asked, wrong)


def _refuse(asked: str, wrong: list[str]) -> None:
    listed = "\n".join(f"  {problem}" for problem in wrong)
    raise BadInput(asked, f"It has {len(wrong)} problem{'s'[: len(wrong) - 1]}:\n{listed}\n", "Mend it.")


def _checked(key: str, value: Any, wrong: list[str]) -> Any:
    """Return a value as `Task` has it; what is of another type is noted in `wrong`."""
    said = _TYPES[key]
    try:
        return _READERS[said](value)
    except (TypeError, ValueError):
        wrong.append(f"`{key}` is {value!r}; it is {said}")
        return None


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError
    return value


def _one_of(*known: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in known:
            raise ValueError
        return str(value)

    return read


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TypeError
    return value


def _words(value: Any) -> tuple[str, ...]:
    found = tuple(map(_word, [value] if isinstance(value, str) else value))
    if not found or len(set(found)) < len(found):
        raise ValueError
    return found


def _target(value: Any) -> str | tuple[str, ...]:
    found = _words(value)
    return found[0] if len(found) == 1 else found


def _patterns(value: Any) -> dict[str, tuple[str, ...]]:
    return {_word(role): _words(patterns) for role, patterns in value.items()} if isinstance(value, dict) else _fail()


def _texts(value: Any) -> dict[str, str]:
    return {_word(name): _word(text) for name, text in value.items()} if isinstance(value, dict) else _fail()


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else _fail()


def _classes(value: Any) -> tuple[int, ...]:
    found = tuple(map(_count, [value] if isinstance(value, int) else value))
    if min(found) < 2:
        raise ValueError
    return found


def _range(value: Any) -> tuple[float, float]:
    low, high = map(float, value)
    if not low < high:
        raise ValueError
    return low, high


def _fail() -> Any:
    raise TypeError


_READERS: dict[str, Callable[[Any], Any]] = {
    "text": _word,
    "text, or a list of different texts": _words,
    "one column, or a list of columns": _target,
    "clip or row": _one_of(*UNITS),
    "regression or classes": _one_of(*KINDS),
    "nearest, mean or linear": _one_of("nearest", "mean", "linear"),
    "none or standard": _one_of("none", "standard"),
    "a whole number from 1": _count,
    "a whole number from 2, or a list of them": _classes,
    "the lowest and the highest number": _range,
    "a table of patterns by role": _patterns,
    "a table of texts by role": _texts,
    "a table": _table,
}
_TYPES = {
    **dict.fromkeys(
        ("like", "name", "title", "head", "loss", "sampler", "metric", "protocol", "positive", "rate"), "text"
    ),
    "target": "one column, or a list of columns",
    "unit": "clip or row",
    "kind": "regression or classes",
    "align": "nearest, mean or linear",
    "normalise": "none or standard",
    **dict.fromkeys(("version", "folds", "window_rows"), "a whole number from 1"),
    "classes": "a whole number from 2, or a list of them",
    "score_range": "the lowest and the highest number",
    "inputs": "a table of patterns by role",
    "extract": "a table of texts by role",
    **dict.fromkeys(("head_settings", "training"), "a table"),
    **dict.fromkeys(("labels", "metrics"), "text, or a list of different texts"),
}
