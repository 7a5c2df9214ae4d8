"""The result of scoring a predictions file: JSON, text for a terminal, Markdown, pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..store.printable import printable
from .atomic import make_folder, write_atomic
from .ava import AvaScore
from .intervals import Score, interval_note
from .metrics import metric
from .paired import Paired
from .report_text import escaped, interval, number, table

FORMAT = 1
# Groups, videos or outputs shown on a terminal; all are in the JSON.
MOST_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How predictions score.

    Args:
        predictions, truth: paths of the files; truth is None where the predictions file has it.
        form: `csv`, `ava` or `muse-reaction`.
        task: name of the task, or None.
        n: number of scored rows.
        groups: how many groups were resampled. grouped: the column that they come from; None for no column.
        seeds: as they are called; one empty name where there are none.
        fold_names: likewise.
        metrics: name -> score.
        per_output: output -> metric -> pooled score, averaged over seeds; None undefined.
        per_group: group -> `n` and metric -> score, likewise; empty where there is no column of groups.
        tables: name -> a table (confusion matrices) as nested lists, with what is needed to read it.
        ava: the score by the official protocol, its `videos` and `parts`; empty for other forms.
        against: path of the other predictions, or None. paired: metric -> paired tests against it.
        notes: sentences that a reader must not miss.
        pictures: file name -> function that draws it.
    """

    predictions: str
    truth: str | None
    form: str
    task: str | None
    n: int
    groups: int
    grouped: str | None
    seeds: Sequence[str]
    fold_names: Sequence[str]
    metrics: Mapping[str, Score]
    per_output: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    per_group: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)
    ava: Mapping[str, Any] = field(default_factory=dict)
    against: str | None = None
    paired: Mapping[str, Paired] = field(default_factory=dict)
    notes: Sequence[str] = ()
    pictures: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)

    def all_notes(self) -> list[str]:
        """Return the notes, the one about few groups, and the remarks of scores and tests, each once."""
        few = [interval_note(self.groups)] if any(one.pooled_low is not None for one in self.metrics.values()) else []
        scores = [f"{metric(name).title}: {reason}" for name, one in self.metrics.items() for reason in one.reasons]
        tests = [f"{metric(name).title}, compared: {why}" for name, one in self.paired.items() for why in one.reasons]
        return [note for note in dict.fromkeys([*self.notes, *few, *scores, *tests]) if note]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what is undefined is null, and a note says why."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "predictions": self.predictions,
            "truth": self.truth,
            "form": self.form,
            "task": self.task,
            "n": self.n,
            "groups": self.groups,
            "grouped_by": self.grouped,
            "seeds": list(self.seeds),
            "folds": list(self.fold_names),
            "metrics": {name: one.to_json() for name, one in self.metrics.items()},
        }
        for name, part in (("per_output", self.per_output), ("per_group", self.per_group), ("tables", self.tables)):
            if part:
                content[name] = part
        if self.ava:
            content["ava"] = {
                name: one.to_json() if isinstance(one, AvaScore) else {key: part.to_json() for key, part in one.items()}
                for name, one in self.ava.items()
            }
        if self.against is not None:
            tests = {name: one.to_json() for name, one in self.paired.items()}
            content["against"] = {"predictions": self.against, "metrics": tests}
        content["notes"] = self.all_notes()
        return content

    def _tables(self) -> list[tuple[str, list[list[str]]]]:
        """Headings and cells of what is shown, not escaped."""
        several = len(self.fold_names) > 1
        rows = [["", *(["mean over folds", "95 % interval"] if several else []), "pooled", "95 % interval"]]
        for name, one in self.metrics.items():
            folds = [number(one.mean), interval(one.low, one.high)] if several else []
            rows.append([metric(name).title, *folds, number(one.pooled), interval(one.pooled_low, one.pooled_high)])
        shown = [("Scores", rows)]
        for title, parts in (("Outputs", self.per_output), ("Groups", self.per_group)):
            if parts:
                names = list(next(iter(parts.values())))
                heads = ["", *(name if name == "n" else metric(name).title for name in names)]
                cells = [
                    [part, *(str(one[name]) if name == "n" else number(one[name]) for name in names)]
                    for part, one in parts.items()
                ]
                shown.append((title, [heads, *cells]))
        for title, name in (("Sub-categories", "parts"), ("Videos", "videos")):
            if self.ava.get(name):
                heads = ["", "mAP (AVA)", "over tie orders", "rows", "positives"]
                cells = [
                    [part, number(one.score), interval(one.low, one.high), str(one.rows), str(one.positives)]
                    for part, one in self.ava[name].items()
                ]
                shown.append((title, [heads, *cells]))
        if self.paired:
            heads = ["", "this", "other", "difference", "95 % interval", "p (bootstrap)", "p (swaps)", "better"]
            better = {"first": "this", "second": "other", None: "neither"}
            cells = [
                [
                    metric(name).title,
                    *(number(value) for value in (one.first, one.second, one.difference)),
                    interval(one.low, one.high),
                    *("none" if p is None else f"{p:.3g}" for p in (one.p_bootstrap, one.p_permutation)),
                    better[one.better],
                ]
                for name, one in self.paired.items()
            ]
            shown.append((f"Against {self.against}", [heads, *cells]))
        return shown

    def _summary(self) -> str:
        seeds = f", {len(self.seeds)} seeds" if len(self.seeds) > 1 else ""
        folds = f", {len(self.fold_names)} folds" if len(self.fold_names) > 1 else ""
        return f"n = {self.n} rows of {self.groups} groups{folds}{seeds}"

    def _official(self) -> str | None:
        """The line that the official tool of AVA prints."""
        whole = self.ava.get("all")
        return f"average precision: {100 * whole.score:.2f}%" if whole is not None else None

    def to_text(self) -> str:
        """Return aligned tables for a terminal, with the notes below."""
        official = self._official()
        lines = [*([official] if official else []), f"{printable(self.predictions)}: {self._summary()}"]
        for title, rows in self._tables():
            widths = [max(len(printable(cells[i])) for cells in rows[: MOST_SHOWN + 1]) for i in range(len(rows[0]))]
            lines += [] if title == "Scores" else ["", printable(title)]
            for cells in rows[: MOST_SHOWN + 1]:
                padded = [printable(cell).ljust(width) for cell, width in zip(cells, widths, strict=True)]
                lines.append("  ".join(padded).rstrip())
            if len(rows) > MOST_SHOWN + 1:
                lines.append(f"… and {len(rows) - MOST_SHOWN - 1} more (--json or --out has all)")
        notes = [f"Note: {printable(note)}" for note in self.all_notes()]
        return "\n".join([*lines, *([""] if notes else []), *notes])

    def to_markdown(self) -> str:
        """Return the whole result as a Markdown document; everything from data is escaped."""
        official = self._official()
        lines = [f"# Scores of {escaped(self.predictions)}", "", f"{self._summary()}.", ""]
        lines += [f"{official} (as the official tool prints it)", ""] if official else []
        for title, rows in self._tables():
            cells = table([[escaped(cell) for cell in row] for row in rows])
            lines += [*([] if title == "Scores" else [f"## {escaped(title)}", ""]), *cells, ""]
        lines += [f"![{escaped(Path(name).stem)}]({name})\n" for name in self.pictures]
        notes = self.all_notes()
        lines += ["## Notes", "", *(f"- {escaped(note)}" for note in notes), ""] if notes else []
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write evaluation.json, evaluation.md and the pictures; each file appears whole or not at all.

        Args:
            folder: is created; files of other names in it are left alone.

        Raises:
            BadInput: the folder's name belongs to a file.
        """
        make_folder(folder)
        for name, drawn in self.pictures.items():
            write_atomic(folder / name, drawn())
        write_atomic(folder / "evaluation.md", self.to_markdown())
        content = json.dumps(self.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomic(folder / "evaluation.json", content + "\n")
