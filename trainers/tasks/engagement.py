"""How engaged a listener is, one number per clip: the task of SEMPI (ICMI 2024).

Source: SEMPI engagement baseline. What differs from the published protocol is listed in `protocol`.
"""

from __future__ import annotations

from ._base import Task

# Families whose features play a role without being named.
INPUTS = {
    "video": ("i3d*",),
    "audio": ("hubert*", "wavlm*", "wav2vec2*"),
    "text": ("roberta*",),
    "openface": ("openface*",),
}

TASK = Task(
    name="engagement",
    version=1,
    title="Engagement of a listener, one score per clip",
    target="engagement",
    unit="clip",
    kind="regression",
    inputs=INPUTS,
    extract={"audio": "--backbone hubert"},
    head="mlp",
    loss="ccc",
    metric="ccc",
    metrics=("ccc", "pearson", "r2", "mse", "mae"),
)
