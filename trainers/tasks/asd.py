"""Whether the person in a face track speaks and is heard, for every face: AVA's and UniTalk's active-speaker task.

Source: Light-ASD (CVPR 2023) and the AVA protocol, written from a description. Published: Adam at 1e-3, times 0.95
after each epoch, 30 epochs; mAP over all faces. What differs: a batch has so many tracks, not so many frames, and
tracks are padded and masked, not cut to the shortest; the epoch is selected on videos taken out of the training part.

Labels are a label series with the column `label`, a row for each face (`time_s`) of a track (`entity_id`) of a video
(`clip_id`): `cuebank import-labels`. SPEAKING_AUDIBLE, or 1 in a column of numbers, is the positive class.
"""

from __future__ import annotations

from ._base import Task

MODELS = ("light-asd", "talknet", "loconet", "asc-ste")

TASK = Task(
    name="asd",
    version=1,
    title="Active speaker: is this face speaking and heard, for every face",
    target="label",
    unit="row",
    kind="classes",
    inputs={
        "audio": tuple(f"{model}*@audio*" for model in MODELS),
        "visual": tuple(f"{model}*@visual*" for model in MODELS),
    },
    extract={"audio": "--backbone light-asd"},
    head="asd",
    loss="ce",
    metric="map_ava",
    metrics=("map_ava", "average_precision", "roc_auc", "balanced_accuracy"),
    classes=(2,),
    labels=("*asd*", "*ava*", "*unitalk*"),
    positive="SPEAKING_AUDIBLE",
    training={
        "epochs": 30,
        "batch_size": 16,
        "lr": 1e-3,
        "lr_decay": 0.95,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "clip_norm": 0.0,
        "keep_last": True,
    },
)
