"""The acted emotion of a sentence: CREMA-D's six classes, as Social-MAE is fine-tuned for it (batches of 12).

The column `emotion` of the clips table holds names or class numbers; a part of the corpus may have fewer than six.
Actors are groups.
"""

from __future__ import annotations

from ._base import Task
from ._social_mae import EXTRACT, INPUTS, TRAINING

TASK = Task(
    name="emotion-crema-d",
    version=1,
    title="Acted emotion of a sentence (CREMA-D), six classes per clip",
    target="emotion",
    unit="clip",
    kind="classes",
    inputs=INPUTS,
    extract=EXTRACT,
    head="social-mae-head",
    loss="ce",
    metric="balanced_accuracy",
    metrics=("balanced_accuracy", "macro_f1", "accuracy"),
    classes=(2, 3, 4, 5, 6),
    training={**TRAINING, "batch_size": 12},
)
