"""How strongly someone reacts to what they watch: seven intensities per clip, the task of MuSe-Reaction 2022 and ViPER.

Source: ViPER, written from a description. Published: AdamW, 50 epochs, batches of 16 with the incomplete last one,
squared error over all seven outputs, the rate halved every 10 epochs, splits from the table. What differs: the head
is small, and so the rate is higher; early stopping. ViPER's own head and rate: `--set size=viper --lr 1e-5 --patience
0`. Feature sets of 32 rows per clip (`extract --slots 32`) are what it was made for; other clocks work too.
"""

from __future__ import annotations

from ._base import Task

TASK = Task(
    name="reaction",
    version=1,
    title="Seven intensities of a reaction, 0 to 1, per clip",
    target=("Adoration", "Amusement", "Anxiety", "Disgust", "Empathic-Pain", "Fear", "Surprise"),
    unit="clip",
    kind="regression",
    inputs={
        "video": ("vit*",),
        "audio": ("wavlm*", "hubert*", "wav2vec2*"),
        "text": ("roberta*",),
        "fau": ("fau*", "openface*"),
    },
    extract={
        "video": "--backbone vit-base-patch16-224-in21k --slots 32",
        "audio": "--backbone wavlm-base-plus-sv",
    },
    head="perceiver",
    loss="mse",
    metric="pearson",
    metrics=("pearson", "ccc", "mse", "mae"),
    training={
        "epochs": 50,
        "batch_size": 16,
        "lr": 3e-4,
        "schedule": "step",
        "schedule_epochs": 10,
        "lr_decay": 0.5,
        "clip_norm": 0.0,
        "keep_last": True,
    },
)
