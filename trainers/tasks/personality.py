"""How the personality of a speaker appears to others: ChaLearn First Impressions, five traits of 0 to 1 per clip.

As Social-MAE is fine-tuned for it, in batches of 8, but with the squared error; its metric is 1 - MAE.
"""

from __future__ import annotations

from ._base import Task
from ._social_mae import EXTRACT, INPUTS, TRAINING

TASK = Task(
    name="personality",
    version=1,
    title="Apparent personality (First Impressions), five traits of 0 to 1 per clip",
    target=("extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness"),
    unit="clip",
    kind="regression",
    inputs=INPUTS,
    extract=EXTRACT,
    head="social-mae-head",
    loss="mse",
    metric="one_minus_mae",
    metrics=("one_minus_mae", "pearson", "ccc", "mse"),
    training={**TRAINING, "batch_size": 8},
)
