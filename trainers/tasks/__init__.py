"""Tasks: what is predicted from which features, and how it is judged. One small file each; the list of files is
the list.

A file declares `TASK`, a `Task`; its name with dashes is the task's name. Files whose name starts with `_` are
no tasks. A user's own task is a TOML file, see `_toml`.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from ...store.errors import NotFound, nearest
from ._base import Task

__all__ = ["Task", "names", "task", "tasks"]


def names() -> list[str]:
    """Return the names of all tasks, sorted.

    Example:
        >>> names()[:4]
        ['asd', 'emotion-crema-d', 'emotion-kemdy', 'engagement']
    """
    files = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(stem.replace("_", "-") for stem in files if not stem.startswith("_"))


def task(name: str) -> Task:
    """Return one task, by its name or the path of a TOML file (a name that ends with `.toml`).

    Raises:
        NotFound: if there is no such task; the nearest names are said.
        BadInput: if the file is not one of a task.

    Example:
        >>> task("engagement").loss
        'ccc'
    """
    if name.endswith(".toml"):
        from ._toml import read_task

        return read_task(Path(name), task)
    if name not in names():
        raise NotFound(f"A task called `{name}` was asked for.", "There is no such task.", nearest(name, names()))
    found: Task = importlib.import_module(f".{name.replace('-', '_')}", __name__).TASK
    return found


def tasks() -> list[Task]:
    """Return all tasks, by name."""
    return [task(name) for name in names()]
