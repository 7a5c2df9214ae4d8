"""Whether someone laughs, smiles, or neither: NDC-ME, two or three classes per clip.

As Social-MAE is fine-tuned for it, in batches of 8. The column `laughter` of the clips table holds names or class
numbers.
"""

from __future__ import annotations

from ._base import Task
from ._social_mae import EXTRACT, INPUTS, TRAINING

TASK = Task(
    name="laughter",
    version=1,
    title="Laughter and smiles (NDC-ME), two or three classes per clip",
    target="laughter",
    unit="clip",
    kind="classes",
    inputs=INPUTS,
    extract=EXTRACT,
    head="social-mae-head",
    loss="ce",
    metric="balanced_accuracy",
    metrics=("balanced_accuracy", "macro_f1", "accuracy"),
    classes=(2, 3),
    training={**TRAINING, "batch_size": 8},
)
