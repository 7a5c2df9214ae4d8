"""ViPER's pictures of predicted against true intensities: one heat map of ten bins for each emotion. PNG.

Source: ViPER (MuSe-Reaction). What deliberately differs: all ten bins are drawn, so that the tick labels are right, and
a bin without truth stays grey in place of a colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .metrics.confusion_bins import BINS, confusion_bins, row_shares
from .plots import _figure, _png, label

NOTHING = "#E6E6E6"
# Above this share, white letters are read better on the blue than black ones.
DARK = 0.55


def heat_map(preds: npt.NDArray[Any], target: npt.NDArray[Any], name: str) -> bytes:
    """Draw how often each true bin was predicted as each bin, as shares of the true bin with two decimals.

    Args:
        preds: (N,), or (S, N) for S seeds, whose counts are added.
        target: (N,).
        name: of what is predicted, for the title.

    Returns:
        PNG.
    """
    counts = np.sum([confusion_bins(one, target) for one in np.atleast_2d(preds)], axis=0)  # (10, 10)
    shares = row_shares(counts)
    figure = _figure(6.6, 5.8)
    axes = figure.subplots()
    axes.set_facecolor(NOTHING)
    picture = axes.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(shares):
        if not np.isnan(share):
            axes.text(
                j, i, f"{share:.2f}", ha="center", va="center", fontsize=8, color="white" if share > DARK else "black"
            )
    ticks = np.arange(BINS)
    names = [f"{i / BINS:.1f}" for i in ticks]  # the lower edge of each bin
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.set(xlabel="Predicted", ylabel="Gold Standard")
    axes.set_title(f"{label(name)}: n = {np.asarray(target).size}", fontsize=11)
    figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.03).set_label("share of the true bin")
    return _png(figure)
