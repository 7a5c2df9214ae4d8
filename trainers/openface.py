"""Columns of an OpenFace clip mean, in the order of its CSV files, and the subsets that heads may use.

Source: OpenFace 2 output format; SEMPI's selection of columns by substring.
"""

from __future__ import annotations

COLUMN_SETS = ("none", "all", "AU", "pose", "pose+AU", "gaze")

_INTENSITIES = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
_PRESENCES = (*_INTENSITIES[:-1], "28", "45")


def columns() -> list[str]:
    """Return the names of the 329 columns that follow frame, face_id, timestamp, confidence, success.

    Example:
        >>> len(columns()), columns()[0], columns()[-1]
        (329, 'gaze_0_x', 'AU45_c')
    """
    gaze = [f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"] + ["gaze_angle_x", "gaze_angle_y"]
    landmarks = [f"eye_lmk_{axis}_{i}" for axis in "xyXYZ" for i in range(56)]
    pose = [f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"]
    units = [f"AU{unit}_r" for unit in _INTENSITIES] + [f"AU{unit}_c" for unit in _PRESENCES]
    return [*gaze, *landmarks, *pose, *units]


def subset(name: str) -> list[int]:
    """Return the positions of a subset: names that hold `AU`, `pose` or `gaze`; `pose+AU` is pose, then AU.

    Example:
        >>> [len(subset(name)) for name in COLUMN_SETS]
        [0, 329, 35, 6, 41, 8]
    """
    if name == "none":
        return []
    if name == "all":
        return list(range(len(columns())))
    return [i for word in name.split("+") for i, column in enumerate(columns()) if word in column]
