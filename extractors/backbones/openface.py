"""OpenFace: gaze, head pose, landmarks and action units, read from the CSVs that OpenFace 2 wrote beside the media.

Layers are groups of columns: `gaze` (8), `eyes` (280), `pose` (6), `landmarks2d` (136), `landmarks3d` (204), `pdm`
(40), `AU_r` (17), `AU_c` (18), `AU` (35), `all` (SEMPI's 329: gaze, eyes, pose, AU; also `last`) and `full` (709).
Values are OpenFace's own; normalisation belongs to training. Times are its time stamps, `valid` its success. Pooling
`mean` is over valid rows; `mean-all` over failed rows too, as SEMPI has it.

The CSV of a clip is named by the column `openface` of the clips table, or is called like the medium, with `.csv`, and
lies beside it or in a folder that is given. A file with several faces has a series for each: entity = face id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...store.clips_table import Clip
from ...store.errors import BadInput, nearest
from ...store.keys import feature_set_name
from ...store.recipe import FeatureSpec, Recipe
from ..base import Card, ExtractorSettings, Needs, Rows
from ..errors import MediaError
from ..openface_csv import GROUPS, MIN_CONFIDENCE, OpenfaceTable, read_openface
from ._circumstances import circumstances
from ._signal import NO_WEIGHTS, check_weightless

VERSION = 1  # raise it whenever the numbers change
COLUMN = "openface"  # of the clips table

CARDS = (
    Card(
        name="openface",
        family="openface",
        input="table",
        rate_hz=0,
        dim=len(GROUPS["all"]),
        layers=0,
        row_rate_hz="",
        tag="csv",
        licence="see OpenFace",
        default=True,
        tiny=True,
        notes=f"Columns of OpenFace CSVs; --layer names a group: {', '.join(GROUPS)} (default: all).",
        poolings=("none", "mean", "mean-all"),
    ),
)


def load(card: Card, settings: ExtractorSettings) -> OpenfaceExtractor:
    """Make the extractor; BadInput for settings that it cannot have."""
    return OpenfaceExtractor(card, settings)


def _group(layer: str) -> str:
    if layer == "last":
        return "all"
    if layer in GROUPS:
        return layer
    raise BadInput(
        f"The columns `{layer}` of OpenFace were asked for.",
        nearest(layer, list(GROUPS)),
        f"Use one of: {', '.join(GROUPS)}.",
    )


class OpenfaceExtractor:
    """Reads the tables of clips; `needs` nothing of their media.

    Args:
        card: which one.
        settings: layers and pooling.
        folder: where the CSVs lie; None: beside the media.

    Raises:
        BadInput: for settings that it cannot have.
    """

    def __init__(self, card: Card, settings: ExtractorSettings, folder: Path | None = None) -> None:
        check_weightless(card, settings)
        self.card = card
        self.needs = Needs()
        self._folder = folder
        self._pooling = settings.pooling
        self._groups = [_group(layer) for layer in settings.layers]
        if len(set(self._groups)) != len(self._groups):
            raise BadInput("The columns `all` and `last` were asked for.", "They are the same.", "Leave one out.")
        self._columns = tuple(dict.fromkeys(name for group in self._groups for name in GROUPS[group]))
        self.specs: Sequence[FeatureSpec] = [self._spec(group) for group in self._groups]

    def _spec(self, group: str) -> FeatureSpec:
        rule = f"success == 1; without that column, confidence >= {MIN_CONFIDENCE}"
        return FeatureSpec(
            name=feature_set_name(self.card.name, self.card.tag, group, self._pooling),
            kind="numeric",
            dim=len(GROUPS[group]),
            dtype="float32",
            recipe=Recipe(
                backbone=self.card.name,
                weights=NO_WEIGHTS,
                layer=group,
                pooling=self._pooling,
                preprocessing=({"step": "openface-csv", "columns": list(GROUPS[group]), "valid": rule},),
                extractor_version=VERSION,
                unhashed=circumstances("numpy"),
            ),
        )

    def read(self, clip: Clip) -> list[Rows]:
        """Return one `Rows` per group for one row of the clips table.

        A clip with an entity means the face of that id; without, the file's only face.

        Raises:
            MediaError: if the CSV is absent or damaged, has no row in the clip, no such face, or several faces where
                none was named.
        """
        faces = self.read_faces(clip)
        if clip.entity_id is None and None in faces:
            return faces[None]
        if clip.entity_id is not None and clip.entity_id in faces:
            return faces[clip.entity_id]
        known = [face for face in faces if face is not None]
        raise MediaError(
            f"The OpenFace table of {tuple(clip.key)} was read from `{find_csv(clip, self._folder)}`.",
            f"It has the faces {', '.join(known[:10])}{', …' if len(known) > 10 else ''}.",
            "Give the clips table a row for each, with the face's id as entity_id.",
        )

    def read_faces(self, clip: Clip) -> Mapping[str | None, list[Rows]]:
        """Return the `Rows` of each face by its id, and by None if it is the only one.

        Raises:
            MediaError: if the CSV is absent or damaged, or has no row in the clip.
        """
        path = find_csv(clip, self._folder)
        table = read_openface(path, self._columns).between(clip.start, clip.end)
        ids = table.face_ids()
        if not ids:
            raise MediaError(
                f"The OpenFace table `{path}` was read.",
                f"It has no row from {clip.start or 0} s to {'its end' if clip.end is None else f'{clip.end} s'}.",
                "Check the clip's start and end.",
            )
        faces: dict[str | None, list[Rows]] = {face: self._rows(table.take(table.faces == face)) for face in ids}
        if len(ids) == 1:
            faces[None] = faces[ids[0]]
        return faces

    def _rows(self, face: OpenfaceTable) -> list[Rows]:
        values = [face.values_of(GROUPS[group]) for group in self._groups]
        if self._pooling == "none":
            _check_rising(face)
            return [Rows(one, face.times, face.valid) for one in values]
        chosen = face.valid if self._pooling == "mean" else face.finite
        if not chosen.any():
            raise MediaError(
                f"The mean of the OpenFace table `{face.path}` was asked for.",
                f"None of its {len(chosen)} rows is valid: OpenFace found no face.",
                "Leave the clip out.",
            )
        seen = face.times[chosen]
        middle = np.array([(seen.min() + seen.max()) / 2])
        means = [one[chosen].mean(0, keepdims=True, dtype=np.float64).astype(np.float32) for one in values]
        return [Rows(mean, middle, np.ones(1, bool)) for mean in means]


def _check_rising(face: OpenfaceTable) -> None:
    back = np.flatnonzero(np.diff(face.times) <= 0)
    if len(back):
        before, after = face.times[back[0] : back[0] + 2]
        raise MediaError(
            f"The OpenFace table `{face.path}` was read.",
            f"Its time stamps do not rise: {before:g} s is followed by {after:g} s.",
            "Run OpenFace on the video itself; for tables of pictures use --pooling mean.",
        )


def find_csv(clip: Clip, folder: Path | None = None) -> Path:
    """Return the path of a clip's OpenFace table.

    Args:
        clip: its label `openface`, where there is one, is a path: absolute, or from `folder`, the medium's folder or
            one above it (so that it may be written as seen from the clips table).
        folder: where to look for `<stem of the medium>.csv`; None: beside the medium.

    Raises:
        MediaError: if there is none.
    """
    named = clip.labels.get(COLUMN)
    above = list(clip.path.parents)
    if named is not None:
        tried = [base / str(named) for base in ([folder] if folder else []) + above]
    elif clip.path.suffix.lower() == ".csv":
        tried = [clip.path]
    else:
        tried = [(folder or above[0]) / f"{clip.path.stem}.csv"]
    for path in tried:
        if path.is_file():
            return path
    raise MediaError(
        f"The OpenFace table of {tuple(clip.key)} was asked for.",
        f"There is no file `{tried[0]}`.",
        f"Put it there, or name it in a column `{COLUMN}` of the clips table.",
    )
