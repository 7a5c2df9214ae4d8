"""Labels from a CSV file into a label set of the store: a feature set of kind `label`.

Its recipe has one step, `{"step": "labels", "columns": names, "classes": {column: names by id}}`; rows without a label
are not valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .clips_table import ClipsTable
from .errors import BadInput, Conflict, NotFound, nearest
from .feature_store import FeatureStore
from .keys import Key
from .label_csv import Labels, Problems, by_series, read_labels
from .recipe import FeatureSpec, Recipe

STEP = "labels"  # the step of the recipe that names columns and classes


@dataclass(frozen=True)
class Imported:
    """What became of an import.

    Args:
        feature_set: name of the label set.
        series: label series that were written.
        rows: of these; `unlabelled` of them have no label.
        classes: column -> names by class id, of columns of names.
        notes: sentences for the reader.
    """

    feature_set: str
    series: int
    rows: int
    unlabelled: int
    classes: Mapping[str, Sequence[str]]
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "feature_set": self.feature_set,
            "series": self.series,
            "rows": self.rows,
            "unlabelled": self.unlabelled,
            "classes": {name: list(names) for name, names in self.classes.items()},
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """Return lines for a terminal."""
        lines = [f"`{self.feature_set}`: {self.series} series, {self.rows} rows, {self.unlabelled} without a label."]
        lines += [f"Classes of {name}: {', '.join(names)}" for name, names in self.classes.items()]
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def import_labels(
    path: str | Path,
    name: str,
    store: FeatureStore,
    *,
    clips: ClipsTable | None = None,
    columns: Sequence[str] | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    overwrite: bool = False,
) -> Imported:
    """Read a CSV file of labels and commit them as a label set.

    Args:
        path: of the file, in UTF-8, with a header. Rows may be in any order.
        name: of the feature set; one that exists, with the same columns and classes, gets further series.
        store: open for writing.
        clips: the table that knows the clips; it becomes the store's newest. None: the newest in the store, if any.
        columns: the label columns to take, in this order; None: all.
        classes: column -> names by class id; other names are refused.
        overwrite: replace series that are in the label set already.

    Raises:
        NotFound: if there is no such file, or no such column.
        BadInput: with all problems of the file: cells that are no times or labels, a moment of one entity twice, clips
            that the table does not know, rows with some labels but not all.
        Conflict: if the label set exists with other columns or classes, or has some of the series already.
    """
    path = Path(path)
    problems = Problems(path)
    there = store.spec(name) if name in store.feature_sets() else None
    known = {} if there is None else _classes_of(there)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            read = read_labels(file, columns, classes, known, problems)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFound(f"The labels in {path} were read.", "There is no such file.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise BadInput(
            f"The labels in {path} were read.", f"They are not UTF-8: {error}.", "Save the file as UTF-8."
        ) from error
    _check_clips(read, clips if clips is not None else _newest(store), problems)
    order, starts = by_series(read, problems)
    problems.raise_if_any()
    spec = _spec(name, read, path)
    store.create(spec)  # a Conflict says in which columns or classes it differs
    _check_present(store, name, read.keys, overwrite)
    if clips is not None:
        store.write_clips(clips)
    values, labelled = read.values[order], read.labelled[order]
    values[~labelled] = 0.0
    times = read.times[order]
    for i, key in enumerate(read.keys):
        rows = slice(starts[i], starts[i + 1])
        store.write(name, *key, values[rows], times[rows], labelled[rows])
    store.commit()
    return Imported(
        feature_set=name,
        series=len(read.keys),
        rows=len(times),
        unlabelled=int((~labelled).sum()),
        classes=read.classes,
        notes=read.notes,
    )


def _newest(store: FeatureStore) -> ClipsTable | None:
    """Return the newest clips table of the store, if it has one."""
    return store.clips() if store.clips_versions() else None


def _check_clips(read: Labels, table: ClipsTable | None, problems: Problems) -> None:
    """Refuse clips that the table does not know; entities need not be in it."""
    if table is None:
        return
    known = {clip.clip_id for clip in table}
    told = set()
    for key, line in zip(read.keys, read.first_lines, strict=True):
        if key.clip_id not in known and key.clip_id not in told:
            told.add(key.clip_id)
            few = sorted(known)[:5000]
            problems.add(line, f"the clips table has no clip {key.clip_id[:60]!r}. {nearest(key.clip_id, few)}")


def _classes_of(spec: FeatureSpec) -> dict[str, list[str]]:
    """Return the classes of an existing label set."""
    for step in spec.recipe.preprocessing:
        if step.get("step") == STEP:
            return {str(name): list(map(str, names)) for name, names in dict(step.get("classes", {})).items()}
    return {}


def _spec(name: str, read: Labels, path: Path) -> FeatureSpec:
    """Describe the label set. The file's name is recorded, not hashed: labels of further clips may come from others."""
    step: dict[str, Any] = {"step": STEP, "columns": list(read.names), "classes": dict(read.classes)}
    recipe = Recipe("labels", {"source": path.name}, preprocessing=(step,))
    return FeatureSpec(name, "label", len(read.names), "float32", recipe, scope="entity")


def _check_present(store: FeatureStore, name: str, keys: Sequence[Key], overwrite: bool) -> None:
    missing = set(store.missing(name, keys))
    present = [key for key in keys if key not in missing]
    if present and not overwrite:
        raise Conflict(
            f"Labels of {len(keys)} series were to be added to `{name}`.",
            f"It has {len(present)} of them already (first: {tuple(present[0])}).",
            "Add --overwrite to replace them, or choose another name with --as.",
        )


def parse_classes(items: Sequence[str]) -> dict[str, list[str]]:
    """Return classes by column from words like `emotion=calm,happy`.

    Raises:
        BadInput: if a word is no such thing, or a name is there twice.
    """
    found: dict[str, list[str]] = {}
    for item in items:
        column, _, names = item.partition("=")
        listed = [name.strip() for name in names.split(",")]
        if not column or not all(listed) or len(set(listed)) < len(listed) or column in found:
            raise BadInput(
                f"Classes were given as {item!r}.",
                "That is not a column and different names.",
                "Give COLUMN=NAME,NAME,…, once for each column.",
            )
        found[column] = listed
    return found
