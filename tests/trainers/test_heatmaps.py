"""ViPER's heat maps: a picture of what the ten-bin matrix has, also where bins are empty."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.trainers import heatmaps
from cuebank.trainers.heatmaps import heat_map


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were rendered."""
    figures = []
    real = heatmaps._png
    monkeypatch.setattr(heatmaps, "_png", lambda figure: figures.append(figure) or real(figure))
    return figures


def test_cells_are_annotated_with_the_shares_of_their_row_and_empty_rows_are_not(drawn):
    picture = heat_map(np.array([0.05, 0.15, 0.95]), np.array([0.0, 0.0, 1.0]), "Fear")
    assert picture.startswith(b"\x89PNG")
    axes = drawn[0].axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(texts) == 20  # two rows with truth, ten columns
    assert (texts[0, 0], texts[1, 0], texts[9, 9], texts[5, 9]) == ("0.50", "0.50", "1.00", "0.00")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted", "Gold Standard")
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"{i / 10:.1f}" for i in range(10)]
    assert axes.get_title() == "Fear: n = 3"


def test_counts_of_several_seeds_are_added_and_names_from_data_are_harmless(drawn):
    heat_map(np.array([[0.05, 0.15], [0.05, 0.05]]), np.array([0.0, 0.0]), "$\\frac{x}$\n" + "long" * 20)
    texts = {text.get_position(): text.get_text() for text in drawn[0].axes[0].texts}
    assert (texts[0, 0], texts[1, 0]) == ("0.75", "0.25")
