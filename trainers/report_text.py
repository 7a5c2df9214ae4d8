"""A report as text: a Markdown document, a Markdown row, a table for the terminal. Works on the report's JSON
values.

Names and ids come from data: they are escaped, so that none can break a table, start a heading or smuggle in
HTML or terminal control characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..store.printable import printable
from .metrics import metric

Json = Mapping[str, Any]
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]#|~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def escaped(text: Any) -> str:
    r"""Return text for a Markdown line or table cell.

    Example:
        >>> escaped("a|b<c>")
        'a\\|b&lt;c&gt;'
    """
    return printable(text).translate(_MARKDOWN)


def number(value: float | None) -> str:
    """Return a score with three decimals (three digits where it is small), or `undefined`.

    Example:
        >>> number(0.4544), number(0.000123), number(None)
        ('0.454', '0.000123', 'undefined')
    """
    if value is None:
        return "undefined"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.1 else f"{value:#.3g}"


def interval(low: float | None, high: float | None) -> str:
    """Return `low to high`, or `none`."""
    return "none" if low is None or high is None else f"{number(low)} to {number(high)}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return Markdown table lines; the first row is the heading, all cells are escaped already."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return [lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]]


def _scores(report: Json) -> list[tuple[str, Json]]:
    """Title and score of each metric."""
    return [(metric(name).title, score) for name, score in report["metrics"].items()]


def header(report: Json) -> str:
    """Return the two lines above `row`."""
    titles = [f"{title} [95 %]" for title, _ in _scores(report)]
    return "\n".join(table([["task", "head", "inputs", "protocol", *titles, "n", "groups", "seeds", "seconds"]]))


def row(report: Json) -> str:
    """Return the report as one Markdown table row: mean over folds and its interval for each metric."""
    cells = [escaped(report["task"]), escaped(report["head"])]
    cells += [", ".join(escaped(name) for name in report["inputs"].values())]
    cells += [escaped(report["protocol"])]
    cells += [f"{number(one['mean'])} [{interval(one['low'], one['high'])}]" for _, one in _scores(report)]
    cells += [str(report["n"]), str(report["groups"]), str(len(report["seeds"])), f"{report['seconds']:.1f}"]
    return table([cells])[0]


def _per_fold(report: Json) -> list[list[str]]:
    """Rows of the table of folds."""
    scores = _scores(report)
    rows = [["fold", "train", "validation", "test", "test groups", *(title for title, _ in scores)]]
    for i, split in enumerate(report["splits"]):
        counts = [str(split["rows"][part]) for part in ("train", "validation", "test")]
        values = [number(score["per_fold"][i]) for _, score in scores]
        rows.append([escaped(split["name"]), *counts, str(split["groups"]["test"]), *values])
    return rows


def document(report: Json, pictures: Sequence[str] = ()) -> str:
    """Return the whole report as a Markdown document.

    Args:
        report: `Report.to_json()`.
        pictures: names of picture files beside the document.
    """
    lines = [f"# {escaped(report['task'])}: {escaped(report['head'])}", ""]
    rows = [["metric", "mean over folds", "95 % interval", "pooled", "95 % interval"]]
    for title, score in _scores(report):
        bounds = interval(score["low"], score["high"]), interval(score["pooled_low"], score["pooled_high"])
        rows.append([title, number(score["mean"]), bounds[0], number(score["pooled"]), bounds[1]])
    lines += [*table(rows), ""]
    wide = report.get("intervals_widened", 1)
    said = "intervals resample groups"
    said += f", made {number(wide)} times as wide: folds share training rows, groups are few" if wide > 1 else ""
    lines += [f"n = {report['n']} predictions of {report['groups']} groups; {said}.", ""]
    if report["warnings"]:
        lines += ["## Warnings", "", *(f"- {escaped(text)}" for text in report["warnings"]), ""]
    if safeguards(report):
        lines += ["## Checks", "", *(f"- {escaped(text)}" for text in safeguards(report)), ""]
    for name, scores in report.get("per_output", {}).items():
        each = [[escaped(output), number(score)] for output, score in scores.items()]
        lines += ["## Outputs", "", *table([["output", f"{metric(name).title}, pooled"], *each]), ""]
    lines += [line for name in pictures for line in (f"![{name.removesuffix('.png').replace('_', ' ')}]({name})", "")]
    lines += ["## Folds", "", *table(_per_fold(report)), ""]
    lines += ["## How", ""]
    facts = {
        "Target": report["target"],
        "Protocol": f"{report['protocol']}, selection on {report['selection']}",
        "Seeds": ", ".join(map(str, report["seeds"])),
        "Wall time": f"{report['seconds']:.1f} s",
    }
    lines += [f"- {name}: {escaped(value)}" for name, value in facts.items()]
    for role, feature_set in report["inputs"].items():
        fingerprint = report["fingerprints"].get(feature_set, "unknown")
        lines.append(f"- Input {escaped(role)}: {escaped(feature_set)}, fingerprint {escaped(fingerprint)}")
    for heading, settings in (
        ("Head", report["head_config"]),
        ("Training", report["training"]),
        ("Environment", report["environment"]),
    ):
        named = ", ".join(f"{escaped(name)} {escaped(value)}" for name, value in settings.items())
        lines.append(f"- {heading}: {named}")
    return "\n".join(lines) + "\n"


def safeguards(report: Json) -> list[str]:
    """Return what was checked, and the control on shuffled labels, one sentence each; see `checks` and `control`."""
    said = [
        f"{'ok' if check['ok'] else 'FOUND'}, {check['name']}: {check['said']}" for check in report.get("checks", ())
    ]
    control = report.get("control")
    return said if control is None else [*said, f"{'ok' if control['ok'] else 'FOUND'}, control: {control['said']}"]


def terminal(report: Json) -> str:
    """Return the scores as aligned columns, with the warnings below."""
    rows = [["", "mean", "95 % interval", "pooled", "per fold"]]
    for title, score in _scores(report):
        folds = score["per_fold"][:10]
        more = " …" if len(score["per_fold"]) > 10 else ""
        rows.append(
            [
                title,
                number(score["mean"]),
                interval(score["low"], score["high"]),
                number(score["pooled"]),
                " ".join(map(number, folds)) + more,
            ]
        )
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    inputs = ", ".join(printable(name) for name in report["inputs"].values())
    lines = [f"{printable(report['task'])}: {printable(report['head'])} on {inputs}"]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows
    ]
    seeds = "1 seed" if len(report["seeds"]) == 1 else f"{len(report['seeds'])} seeds"
    counts = f"n = {report['n']}, {report['groups']} groups, {len(report['splits'])} folds, {seeds}"
    lines.append(f"{counts}, {report['seconds']:.1f} s")
    lines += [f"Check {printable(text)}" for text in safeguards(report)]
    lines += [f"Warning: {printable(text)}" for text in report["warnings"]]
    return "\n".join(lines)
