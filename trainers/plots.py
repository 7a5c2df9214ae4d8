"""Pictures of a report: learning curves, predicted against true, confusion matrix. PNG, drawn without a
display.

Uses matplotlib's objects, not pyplot: nothing global is changed, and importing this module imports none of
it. Colours are those of Okabe and Ito, which people with any kind of colour vision tell apart.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..store.printable import printable
from .atomic import write_atomic
from .metrics import metric
from .metrics.ccc import ccc
from .metrics.confusion import confusion
from .report_text import number

if TYPE_CHECKING:
    from .report import Curve, Report

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B8A900")
MARKERS = "osD^vP"
GREY = "#B4B4B4"
DPI = 150
LONGEST_NAME = 28
# Beyond so many folds or classes, a legend or numbers in cells would hide the picture.
MOST_NAMED = 12


def label(text: Any) -> str:
    """Return text for a picture: no control characters, no mathematics, not too long."""
    shown = printable(text)
    if len(shown) > LONGEST_NAME:
        shown = shown[: LONGEST_NAME - 1] + "…"
    return shown.replace("$", r"\$")


def draw(report: Report, folder: Path) -> list[str]:
    """Draw what a report has data for.

    Args:
        report: of any task.
        folder: must exist.

    Returns:
        Names of the files that were written.
    """
    drawn = {}
    found = report.predictions
    shown = metric(report.metric)
    if any(curve.train_loss for curve in report.curves):
        loss = str(report.training.get("loss", "loss"))
        drawn["learning_curves.png"] = learning_curves(report.curves, loss, shown.title, report.task)
    if shown.kind == "classes":
        drawn["confusion.png"] = confusion_picture(found.preds, found.labels, found.classes, report.task)
    else:
        drawn["predictions.png"] = scatter(
            found.preds[0], found.labels, found.folds, found.fold_names, report.target, seed=_seed(report)
        )
    for name, content in drawn.items():
        write_atomic(folder / name, content)
    return list(drawn)


def _seed(report: Report) -> str:
    """Which of several seeds a picture shows; empty if there is one."""
    seeds = report.predictions.seeds
    return f"seed {seeds[0]}, the first of {len(seeds)}" if len(seeds) > 1 else ""


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _png(figure: Any) -> bytes:
    """Render a figure; a script that the font lacks is drawn as boxes, without a warning for each letter."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(content, format="png")
    return content.getvalue()


def _plain(axes: Any) -> None:
    """Remove what is not data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)


def learning_curves(curves: Sequence[Curve], loss: str, score: str, title: str) -> bytes:
    """Draw training loss and validation score by epoch: a thin line for each run, the mean bold while all
    runs last.

    Args:
        curves: of all runs.
        loss: name of the training loss.
        score: title of the metric that selects.
        title: of the picture.

    Returns:
        PNG.
    """
    from matplotlib.ticker import MaxNLocator

    figure = _figure(9.6, 4.0)
    left, right = figure.subplots(1, 2)
    for axes, name in ((left, "train_loss"), (right, "validation_score")):
        lines = [np.asarray(getattr(curve, name), dtype=float) for curve in curves]
        for curve, line in zip(curves, lines, strict=True):
            point = "." if line.size == 1 else None
            axes.plot(np.arange(1, line.size + 1), line, color=COLOURS[0], alpha=0.35, linewidth=0.9, marker=point)
            if name == "validation_score" and 0 < curve.best_epoch <= line.size:
                kept = line[curve.best_epoch - 1]
                axes.plot(curve.best_epoch, kept, "o", color=COLOURS[1], markersize=4, zorder=3)
        common = min(line.size for line in lines)
        if common > 1 and len(lines) > 1:
            mean = np.mean([line[:common] for line in lines], axis=0)
            axes.plot(np.arange(1, common + 1), mean, color="black", linewidth=2.2, zorder=2)
        axes.set(xlabel="epoch", xlim=(0.5, max(line.size for line in lines) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        _plain(axes)
    left.set_ylabel(f"training loss ({label(loss)})")
    right.set_ylabel(f"validation {label(score)}")
    handles = [left.plot([], [], color=COLOURS[0], alpha=0.5, linewidth=0.9)[0]]
    names = [f"one run ({len(curves)} in all)"]
    if len(curves) > 1:
        handles.append(left.plot([], [], color="black", linewidth=2.2)[0])
        names.append("mean while all runs last")
    handles.append(left.plot([], [], "o", color=COLOURS[1], markersize=4)[0])
    names.append("epoch that was kept")
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle(f"{label(title)}: learning curves")
    return _png(figure)


def scatter(
    preds: npt.NDArray[Any],
    target: npt.NDArray[Any],
    folds: npt.NDArray[np.int64],
    fold_names: Sequence[str],
    name: str,
    seed: str = "",
) -> bytes:
    """Draw predicted against true values with the line on which they are equal; points by fold.

    Args:
        preds: (N,), or (N, K) for K outputs, all in one picture.
        target: likewise.
        folds: number of the fold of each row, (N,).
        fold_names: of all folds.
        name: of the target, with its unit.
        seed: which seed is shown, where there are several.

    Returns:
        PNG.
    """
    from matplotlib.ticker import MaxNLocator

    figure = _figure(5.7, 5.9)
    axes = figure.subplots()
    low, high = float(min(preds.min(), target.min())), float(max(preds.max(), target.max()))
    margin = 0.04 * (high - low) or 0.5
    line = (low - margin, high + margin)
    axes.plot(line, line, color="#404040", linewidth=1.0, linestyle="--", zorder=1)
    size, alpha = (26, 0.8) if target.size <= 300 else (9, 0.5)
    many = len(fold_names) > MOST_NAMED
    for fold, fold_name in enumerate(fold_names):
        rows = folds == fold
        if rows.any():
            axes.scatter(
                target[rows],
                preds[rows],
                s=size,
                alpha=alpha,
                color=COLOURS[0] if many else COLOURS[fold % len(COLOURS)],
                marker=MARKERS[0] if many else MARKERS[fold % len(MARKERS)],
                linewidths=0,
                label=None if many else f"fold {label(fold_name)}",
            )
    ticks = [tick for tick in MaxNLocator(7).tick_values(*line) if line[0] <= tick <= line[1]]
    axes.set(xlim=line, ylim=line, xticks=ticks, yticks=ticks)
    axes.set(xlabel=f"true {label(name)}", ylabel=f"predicted {label(name)}", aspect="equal")
    _plain(axes)
    pooled = ccc(preds, target)
    count = f"{len(fold_names)} folds" if len(fold_names) > 1 else "1 fold"
    below = f"pooled CCC {number(None if np.isnan(pooled) else pooled)}, n = {len(target)}, {count}"
    axes.set_title(f"Out-of-fold predictions\n{below}{f', {seed}' if seed else ''}", fontsize=10)
    if not many and len(fold_names) > 1:
        axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=8, loc="best", markerscale=1.3)
    return _png(figure)


def confusion_picture(preds: npt.NDArray[Any], target: npt.NDArray[Any], classes: Sequence[str], title: str) -> bytes:
    """Draw the confusion matrix: rows truth, shaded by the share of the row, with counts (averaged over
    seeds).

    Args:
        preds: class ids, (S, N).
        target: class ids, (N,).
        classes: their names.
        title: of the picture.

    Returns:
        PNG.
    """
    counts = np.mean([confusion(one, target, len(classes)) for one in preds], axis=0)  # (C, C)
    truth = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, truth, out=np.zeros_like(counts), where=truth > 0)
    side = float(np.clip(2.4 + 0.7 * len(classes), 4.2, 10.0))
    figure = _figure(side + 1.2, side)
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= MOST_NAMED:
        for (i, j), share in np.ndenumerate(shares):
            count = counts[i, j]
            shown = f"{count:.0f}" if count == round(count) else f"{count:.1f}"
            percent = f"\n{share:.0%}" if truth[i, 0] else ""
            colour = "white" if share > 0.55 else "black"
            axes.text(j, i, shown + percent, ha="center", va="center", color=colour, fontsize=9)
        ticks = np.arange(len(classes))
        names = [label(name) for name in classes]
        turned = max(map(len, names)) > 6
        axes.set_xticks(ticks, names, rotation=35 if turned else 0, ha="right" if turned else "center")
        axes.set_yticks(ticks, names)
    axes.set(xlabel="predicted class", ylabel="true class")
    seeds = f", mean of {len(preds)} seeds" if len(preds) > 1 else ""
    axes.set_title(f"{label(title)}: n = {target.size}{seeds}", fontsize=11)
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the true class")
    return _png(figure)
