"""Apply a trained head to the clips of a store, or to the rows of its label series.

A head that predicts rows needs a clock: the rows of the label set that it was trained on, where the store has it, of
another feature set that is named, or else of its first input. What stands in the labels is not looked at.

The heads of all folds and seeds predict, and their mean is the prediction (for classes: the mean of their
probabilities). A clip that some fold was trained on is thereby predicted by heads that know its label: such rows
are marked, and their honest predictions are those in the training run's own predictions.csv.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..store import BadInput, Conflict, FeatureSpec, FeatureStore, NotFound
from .atomic import make_folder, write_atomic
from .device import check_device
from .loop import decide, evaluate
from .memory import limit_bytes
from .predict_items import Asked, items_for
from .row_features import RowFeatures
from .row_inputs import RowInputs
from .runs import Inputs
from .saved_head import SavedHead, load


@dataclass(frozen=True)
class Predicted:
    """What became of a prediction.

    Args:
        count: clips with a prediction.
        seen: those of them that the head was trained on or selected by.
        missing: the other clips: `clip_id`, `entity_id`, `reason`.
        notes: sentences for the reader.
        out: the file that was written.
    """

    count: int
    seen: int
    missing: Sequence[dict[str, str | None]]
    notes: Sequence[str]
    out: Path

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "predictions": self.count,
            "seen": self.seen,
            "missing": list(self.missing),
            "notes": list(self.notes),
            "out": str(self.out),
        }

    def to_text(self) -> str:
        """Return lines for a terminal."""
        return "\n".join([f"{self.count} predictions: {self.out}", *(f"Note: {note}" for note in self.notes)])


def predict(
    head: str | os.PathLike[str],
    store: str | os.PathLike[str] | FeatureStore,
    out: str | os.PathLike[str],
    *,
    clock: str | None = None,
    memory: float | None = None,
    device: str = "cpu",
) -> Predicted:
    """Predict every clip of a store that has the head's inputs, and write a CSV.

    Columns: `clip_id, entity_id`, `time_s` for a head that predicts rows, `prediction` (or `prediction_<output>` of
    several outputs), `seen` (1 if the head was trained on the clip), and for classes `probability_<class>` each. Clips
    are those of the store's clips table; without one, those of the first input. Rows are those of the clock.

    Args:
        head: folder that `train_head` wrote.
        store: a store, or its path.
        out: file to write.
        clock: for a head that predicts rows: the feature set whose rows to predict; None: see above.
        memory: GiB that row features may take; more are streamed from the store. None: half of what is free.
        device: torch's name of it.

    Raises:
        NotFound: no head or store there, or an input is not in the store.
        Conflict: an input is in the store under its name, but made by another recipe.
        BadInput: no clip has all inputs.
        Corrupt: the head, or stored features, are damaged.
    """
    check_device(device)
    saved = load(Path(head))
    if clock is not None and saved.clock is None:
        raise BadInput(
            f"The head in `{head}` was to predict the rows of `{clock}`.", "It predicts clips.", "Leave --clock out."
        )
    opened = store if isinstance(store, FeatureStore) else FeatureStore.open(store)
    try:
        notes: list[str] = []
        inputs = {role: _find(opened, spec, role, notes) for role, spec in saved.inputs.items()}
        asked = items_for(saved, opened, inputs, clock, limit_bytes(memory), notes)
        outputs = _mean_outputs(saved, asked, device)
    finally:
        if opened is not store:
            opened.close()
    seen = saved.saw(asked.item_keys)[asked.item_of_row]
    notes.append(
        f"Each prediction is the mean of {len(saved.members)} heads ({_few([m.name for m in saved.members])})."
    )
    what = "clips" if asked.times is None else "rows"
    if seen.any():
        notes.append(
            f"{int(seen.sum())} of {len(asked.keys)} {what} were used to train or select these heads (column seen): "
            "such predictions look better than they are. Out-of-fold ones are in the training run's predictions.csv."
        )
    notes += asked.left_out.sentences()
    path = Path(out)
    make_folder(path.parent)
    write_atomic(path, _csv(saved, asked, outputs, seen.tolist()))
    return Predicted(len(asked.keys), int(seen.sum()), asked.left_out.items(), notes, path)


def _find(store: FeatureStore, wanted: FeatureSpec, role: str, notes: list[str]) -> str:
    """Return the name of the feature set with the fingerprint that a head was trained on."""
    names = store.feature_sets()
    asked = f"The head takes `{wanted.name}` as {role}, with fingerprint {wanted.fingerprint[:12]}."
    if wanted.name in names and store.spec(wanted.name).fingerprint == wanted.fingerprint:
        return wanted.name
    for name in names:
        if store.spec(name).fingerprint == wanted.fingerprint:
            notes.append(f"Input {role} is `{name}`: made by the same recipe as `{wanted.name}`.")
            return name
    if wanted.name not in names:
        raise NotFound(
            asked,
            f"The store {store.path} has none of this name or fingerprint.",
            f"Extract it: recipe {wanted.recipe.hashed()}.",
        )
    lines = "\n".join(f"  {line}" for line in wanted.difference(store.spec(wanted.name)))
    raise Conflict(
        asked,
        f"The store's feature set of this name was made by another recipe (head -> store):\n{lines}\n",
        "Extract with the head's recipe into another store, or train a head on these features.",
    )


def _mean_outputs(saved: SavedHead, asked: Asked, device: str) -> torch.Tensor:
    """Return the mean over members, (n, outputs): of outputs for regression, of probabilities for classes."""
    model = saved.new()
    features = asked.features
    items = np.arange(len(features) if isinstance(features, RowFeatures) else len(features.matrix))
    moved = features if isinstance(features, RowFeatures) else features.to(device)
    total = torch.zeros(len(asked.rows), saved.outputs, dtype=torch.float64)
    for member in saved.members:
        model.load_state_dict(dict(member.state))
        inputs = (
            RowInputs(moved, member.scalings, device)
            if isinstance(moved, RowFeatures)
            else Inputs(moved, member.scalings)
        )
        outputs = evaluate(model.to(device), inputs, items)[torch.from_numpy(asked.rows)].double()
        if not bool(torch.isfinite(outputs).all()):
            raise BadInput(
                f"Head {member.name} predicted {len(asked.rows)} {'clips' if asked.times is None else 'rows'}.",
                "Some outputs are NaN or infinite.",
                "Check the store with `cuebank store verify`, and the head's normalisation.",
            )
        total += outputs.softmax(-1) if saved.kind == "classes" else outputs
    return total / len(saved.members)


def _csv(saved: SavedHead, asked: Asked, outputs: torch.Tensor, seen: Sequence[bool]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    timed = [] if asked.times is None else ["time_s"]
    answers = [f"prediction_{name}" for name in saved.names] if saved.names else ["prediction"]
    chances = [f"probability_{name}" for name in saved.classes]
    writer.writerow(["clip_id", "entity_id", *timed, *answers, "seen", *chances])
    decided = decide(outputs, saved.kind)
    for i, (key, row, known) in enumerate(zip(asked.keys, outputs.tolist(), seen, strict=True)):
        time = [] if asked.times is None else [float(asked.times[i])]
        values = np.atleast_1d(decided[i]).tolist()
        shown = [saved.classes[value] for value in values] if saved.classes else values
        writer.writerow([key.clip_id, key.entity_id or "", *time, *shown, int(known), *(row if saved.classes else [])])
    return text.getvalue()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
