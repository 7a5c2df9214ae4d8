"""A leaderboard as text: Markdown, CSV, a page of HTML, a table for the terminal. Works on its JSON values.

Names come from data and are escaped everywhere: Markdown as in `report_text`; HTML by the standard library; in CSV,
text that a spreadsheet would take for a formula gets an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..store.printable import printable
from .metrics import metric
from .report_text import escaped, interval, number
from .report_text import table as markdown_table

Json = Mapping[str, Any]
BAR = 220  # px, width of the picture of an interval
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .35rem .6rem; }
th { border-bottom: 2px solid #888; } td { border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.best td { background: #eef6fb; } small { color: #555; } svg { display: block; }
"""


def document(board: Json) -> str:
    """Return the leaderboard as a Markdown document."""
    lines = [f"# Benchmark: {escaped(board['task'])}", ""]
    head, *rows = _rows(board)
    lines += [*markdown_table([head, *[[escaped(cell) for cell in cells] for cells in rows]]), ""]
    others = [name for name in board["metrics"] if name != board["metric"]]
    if others and board["entries"]:
        heading = ["#", "head", "inputs", *(metric(name).title for name in others)]
        cells = [[*_who(one), *(_score(one["metrics"][name]) for name in others)] for one in board["entries"]]
        lines += ["## Other metrics", "", *markdown_table([heading, *[[escaped(c) for c in row] for row in cells]]), ""]
    for name, texts in _sections(board):
        lines += [f"## {name}", "", *(f"- {escaped(text)}" for text in texts), ""]
    return "\n".join(lines)


def terminal(board: Json) -> str:
    """Return aligned columns, with failures and notes below."""
    rows = [[printable(cell) for cell in cells] for cells in _rows(board)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    lines = [f"Benchmark: {printable(board['task'])}"]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows
    ]
    for heading, texts in _sections(board):
        lines += [f"{heading}: {printable(text)}" for text in texts]
    return "\n".join(lines)


def table(board: Json) -> str:
    r"""Return the leaderboard as CSV with full precision: a line for each entry, then one for each failed cell.

    Columns: `rank, head, inputs, seeds, n, groups`, `<metric>, <metric>_low, <metric>_high` each, `difference,
    difference_low, difference_high, p, p_bootstrap, p_holm` against the best, `seconds, parameters, control_ok,
    controls, failed`.
    Lines end with \n; what is undefined is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [end for name in board["metrics"] for end in (name, f"{name}_low", f"{name}_high")]
    versus = {"difference": "difference", "difference_low": "low", "difference_high": "high"}
    versus |= {"p": "p_permutation", "p_bootstrap": "p_bootstrap", "p_holm": "p_holm"}
    first = ["rank", "head", "inputs", "seeds", "n", "groups"]
    last = ["seconds", "parameters", "control_ok", "controls", "failed"]
    writer.writerow([*first, *names, *versus, *last])
    for one in board["entries"]:
        scores = [one["metrics"][name][part] for name in board["metrics"] for part in ("mean", "low", "high")]
        test = one["versus_best"] or {}
        writer.writerow(
            [
                one["rank"],
                _plain(one["head"]),
                _plain(_inputs(one)),
                " ".join(map(str, one["seeds"])),
                one["n"],
                one["groups"],
                *map(_digits, scores),
                *(_digits(test.get(part)) for part in versus.values()),
                one["seconds"],
                one["parameters"],
                one["control"]["ok"],
                one["control"]["of"],
                "",
            ]
        )
    for one in board["failed"]:
        empty = [""] * (len(names) + len(versus) + 2 + 4)
        writer.writerow(["", _plain(one["head"]), _plain(_inputs(one)), one["seed"], *empty, _plain(one["reason"])])
    return text.getvalue()


def page(board: Json) -> str:
    """Return one HTML page that needs nothing else: no script, no picture, no font from elsewhere."""
    title = f"Benchmark: {_html(board['task'])}"
    head, *rows = _rows(board)
    scale = _scale(board)
    cells = "".join(f"<th>{_html(cell)}</th>" for cell in [*head, "interval"])
    body = []
    for one, row in zip(board["entries"], rows, strict=True):
        marked = ' class="best"' if one["rank"] == 1 else ""
        tds = [f"<td{' class=number' if i not in (1, 2) else ''}>{_html(cell)}</td>" for i, cell in enumerate(row)]
        body.append(f"<tr{marked}>{''.join(tds)}<td>{_bar(one['metrics'][board['metric']], scale)}</td></tr>")
    sections = "".join(
        f"<h2>{_html(heading)}</h2><ul>{''.join(f'<li>{_html(text)}</li>' for text in texts)}</ul>"
        for heading, texts in _sections(board)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        f"<table><thead><tr>{cells}</tr></thead>\n<tbody>\n{chr(10).join(body)}\n</tbody></table>\n"
        f"<p><small>{_html(metric(board['metric']).title)}: mean over folds and seeds; intervals of 95 % resample "
        "whole groups; p by permuting groups between an entry and the best.</small></p>\n"
        f"{sections}\n</body></html>\n"
    )


def _rows(board: Json) -> list[list[str]]:
    """Return heading and entries, not escaped."""
    title = metric(board["metric"]).title
    rows = [["#", "head", "inputs", title, "95 %", "− best", "p", "p (Holm)", "seeds", "n", "time", "parameters"]]
    for one in board["entries"]:
        score, test = one["metrics"][board["metric"]], one["versus_best"]
        against = ["", "", ""]
        if test is not None:
            against = [number(test["difference"]), _p(test["p_permutation"]), _p(test["p_holm"])]
        rows.append(
            [
                *_who(one),
                number(score["mean"]),
                interval(score["low"], score["high"]),
                *against,
                str(len(one["seeds"])),
                str(one["n"]),
                f"{one['seconds']:.1f} s",
                f"{one['parameters']:,}",
            ]
        )
    return rows


def _sections(board: Json) -> list[tuple[str, list[str]]]:
    """Return what stands below the table: failures, controls, notes and warnings."""
    failed = [f"{one['head']} on {_inputs(one)}, seed {one['seed']}: {one['reason']}" for one in board["failed"]]
    alarms = [
        f"{one['head']} on {_inputs(one)}: in {one['control']['of'] - one['control']['ok']} of {one['control']['of']} "
        "cells shuffled labels were predicted better than chance"
        for one in board["entries"]
        if one["control"]["ok"] < one["control"]["of"]
    ]
    controls = sum(one["control"]["of"] for one in board["entries"])
    if controls and not alarms:
        alarms = [f"Shuffled labels were predicted no better than chance in all {controls} cells."]
    untested = [
        f"{one['head']} on {_inputs(one)}: no test. {one['no_test']}" for one in board["entries"] if one["no_test"]
    ]
    by_text: dict[str, list[str]] = {}
    for one in board["entries"]:
        for text in one["warnings"]:
            by_text.setdefault(text, []).append(f"{one['head']} on {_inputs(one)}")
    warned = [
        text if len(who) == len(board["entries"]) else f"{'; '.join(who)}: {text}" for text, who in by_text.items()
    ]
    sections = [("Failed", failed), ("Control", alarms), ("Note", [*board["notes"], *untested]), ("Warning", warned)]
    return [(heading, texts) for heading, texts in sections if texts]


def _who(one: Json) -> list[str]:
    return [str(one["rank"]), one["head"], _inputs(one)]


def _inputs(one: Json) -> str:
    return ", ".join(one["inputs"].values())


def _score(score: Json) -> str:
    return f"{number(score['mean'])} [{interval(score['low'], score['high'])}]"


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _digits(value: float | None) -> str:
    return "" if value is None else repr(value)


def _plain(text: str) -> str:
    """Return text for a cell of a spreadsheet."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _html(text: Any) -> str:
    return escape(printable(text), quote=True)


def _scale(board: Json) -> tuple[float, float]:
    """Return the lowest and highest number of all intervals."""
    scores: Sequence[Json] = [one["metrics"][board["metric"]] for one in board["entries"]]
    found = [score[part] for score in scores for part in ("mean", "low", "high") if score[part] is not None]
    return (min(found), max(found)) if found else (0.0, 1.0)


def _bar(score: Json, scale: tuple[float, float]) -> str:
    """Draw an interval as a line and its mean as a dot, on one scale for all entries."""
    if score["mean"] is None:
        return ""
    low, high = scale
    width = (high - low) or 1.0

    def place(value: float) -> str:
        return f"{8 + (BAR - 16) * (value - low) / width:.1f}"

    line = ""
    if score["low"] is not None:
        ends = f'x1="{place(score["low"])}" x2="{place(score["high"])}"'
        line = f'<line {ends} y1="9" y2="9" stroke="#0072B2" stroke-width="3"/>'
    said = _html(f"{number(score['mean'])}, {interval(score['low'], score['high'])}")
    return (
        f'<svg width="{BAR}" height="18" role="img" aria-label="{said}">{line}'
        f'<circle cx="{place(score["mean"])}" cy="9" r="5" fill="#D55E00"/></svg>'
    )
