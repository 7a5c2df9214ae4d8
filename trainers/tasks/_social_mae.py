"""What the three fine-tuning tasks of Social-MAE share.

Source: Social-MAE (FG 2024), written from a description. Published: Adam (betas 0.95 and 0.999) at 1e-3 with a weight
decay of 5e-7, the rate halved from epoch 10 on every 5 epochs, 20 epochs. What differs: the encoder is frozen; the
epoch is selected (there, the last one was kept); regression is trained with the squared error (there, cross-entropy).
"""

from __future__ import annotations

INPUTS = {"audiovisual": ("social-mae*",)}
EXTRACT = {"audiovisual": "--backbone social-mae"}
TRAINING = {
    "epochs": 20,
    "lr": 1e-3,
    "optimizer": "adam",
    "beta1": 0.95,
    "weight_decay": 5e-7,
    "schedule": "step",
    "schedule_epochs": 5,
    "schedule_start": 10,
    "lr_decay": 0.5,
    "clip_norm": 0.0,
    "keep_last": True,
}
