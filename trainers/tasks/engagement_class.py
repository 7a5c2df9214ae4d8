"""How engaged a listener is, as one of two or three classes per clip.

Source: SEMPI engagement baseline, its class labels. Balanced sampling by class, as published; outputs are not
dropped, which is the published default outside of the regression command.
"""

from __future__ import annotations

from ._base import Task
from .engagement import INPUTS

TASK = Task(
    name="engagement-class",
    version=1,
    title="Engagement of a listener, two or three classes per clip",
    target="engagement",
    unit="clip",
    kind="classes",
    inputs=INPUTS,
    extract={"audio": "--backbone hubert"},
    head="mlp",
    head_settings={"dropout_on_output": False},
    loss="ce",
    sampler="balanced",
    metric="macro_f1",
    metrics=("macro_f1", "balanced_accuracy", "accuracy"),
    classes=(2, 3),
    score_range=(-0.4, 0.4),
)
