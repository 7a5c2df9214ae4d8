"""The emotion of every quarter of a second of a conversation: the second stage of the KEMDy20 system.

Source: the temporal-graph system for KEMDy20, written from a description. Published: Adam at 1e-3 with cosine
annealing over 100 epochs, 16 graphs of at most 2000 steps a batch, cross-entropy, micro F1 of all steps. What differs:
it is tested on sessions (`group_id`, or the table's folds or split) that it was not trained on, where the published
figure is of the training graphs; 100 epochs, the first fall of the rate, instead of 700.

Labels are a label series with the column `emotion`, a row for each step of a speaker (`entity_id`) of a session
(`clip_id`): `cuebank import-labels`. The seven classes are neutral, happy, surprise, angry, sad, disgust and fear; a
part of the corpus may have fewer.
"""

from __future__ import annotations

from ._base import Task

TASK = Task(
    name="emotion-kemdy",
    version=1,
    title="Emotion of every 250 ms of a conversation, seven classes",
    target="emotion",
    unit="row",
    kind="classes",
    inputs={"signals": ("kemdy-ste*",)},
    extract={"signals": "--backbone kemdy-ste"},
    head="temporal-gnn",
    head_settings={"splits": 3},
    loss="ce",
    metric="f1_micro",
    metrics=("f1_micro", "macro_f1", "f1_weighted", "balanced_accuracy"),
    classes=(2, 3, 4, 5, 6, 7),
    labels=("*kemdy*", "*emotion*"),
    window_rows=2000,
    training={
        "epochs": 100,
        "batch_size": 16,
        "lr": 1e-3,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "schedule": "cosine",
        "schedule_epochs": 100,
        "clip_norm": 0.0,
        "patience": 30,
        "keep_last": True,
    },
)
