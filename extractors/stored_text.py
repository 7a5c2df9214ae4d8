"""Texts that are in the store already: transcripts with times, and prompts that `clip-prompts` chose for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..store.clips_table import Clip
from ..store.errors import BadInput, NotFound, nearest
from ..store.feature_store import FeatureStore
from ..store.recipe import FeatureSpec
from .errors import MediaError

SPANS = "@spans"


class StoredTexts:
    """A feature set of texts, or of numbers of prompts.

    Args:
        store: open for reading; nothing else uses this object.
        spec: of the feature set.

    Raises:
        BadInput: if it is of another kind.
    """

    def __init__(self, store: FeatureStore, spec: FeatureSpec) -> None:
        self.name = spec.name
        self._store = store
        self.prompts = None if spec.is_text else _prompts_of(spec)
        step: dict[str, Any] = {"step": "text", "source": "stored", "name": spec.name, "fingerprint": spec.fingerprint}
        self._spans = None if self.prompts is not None else self._find_spans()
        if self._spans is not None:
            step["spans"] = store.spec(self._spans).fingerprint
        self.steps = [step]

    @classmethod
    def open(cls, path: str | None, name: str) -> StoredTexts:
        """Open a feature set of the store at `path`.

        Raises:
            NotFound: if there is no such store or feature set. BadInput: if it holds no texts.
        """
        asked = f"Texts were to be read from the feature set `{name}` of the store."
        todo = "Make it first, e.g. by `cuebank extract --backbone whisper`; `cuebank store info` lists what is there."
        if path is None or not Path(path).exists():
            raise NotFound(asked, "There is no store yet.", todo)
        store = FeatureStore.open(path)
        known = store.feature_sets()
        if name not in known:
            store.close()
            raise NotFound(asked, f"It is not there. {nearest(name, known)}", todo)
        return cls(store, store.spec(name))

    def _find_spans(self) -> str | None:
        """The feature set beside the texts that has the start and the end of each row."""
        name = self.name.partition("@")[0] + SPANS
        return name if name in self._store.feature_sets() and self._store.spec(name).dim == 2 else None

    def read(self, clip: Clip) -> tuple[list[str], np.ndarray]:
        """Return the valid rows of a clip.

        Returns:
            T texts, and (T, 2) float64 when each begins and ends, both the row's time where no more is known.

        Raises:
            MediaError: if there is no series of this clip.
        """
        series = self._series(self.name, clip)
        spans = np.stack([series.times, series.times], 1)  # (T, 2)
        if self._spans is not None:
            stated = self._series(self._spans, clip)
            if len(stated.times) != len(series.times):
                raise MediaError(
                    f"The transcript `{self.name}` of {tuple(clip.key)} was read.",
                    f"It has {len(series.times)} rows, and `{self._spans}` has {len(stated.times)}.",
                    "Extract both anew, in one command.",
                )
            spans = np.where(stated.valid[:, None], stated.values, spans)
        return [str(text) for text in series.values[series.valid]], spans[series.valid].astype(np.float64)

    def read_choices(self, clip: Clip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which prompt was chosen for each row: (T,) int64, times (T,) and valid (T,).

        Raises:
            MediaError: if there is no series of this clip, or it has numbers of no prompt.
        """
        series = self._series(self.name, clip)
        chosen = series.values[:, 0].astype(np.int64)
        count = len(self.prompts or ())
        if len(chosen) and not (chosen.min() >= 0 and chosen.max() < count):
            raise MediaError(
                f"The prompts `{self.name}` chose for {tuple(clip.key)} were read.",
                f"It has numbers up to {chosen.max()} of {count} prompts.",
                "Extract it anew.",
            )
        return chosen, series.times, series.valid

    def _series(self, name: str, clip: Clip) -> Any:
        try:
            return self._store.read(name, *clip.key)
        except NotFound as error:
            raise MediaError(error.asked, error.found, "Extract the texts of this clip first.") from error


def _prompts_of(spec: FeatureSpec) -> tuple[str, ...]:
    """The prompts whose numbers a feature set of `clip-prompts` has: its recipe lists them."""
    steps = {step.get("step"): step for step in spec.recipe.preprocessing}
    if "most-similar" not in steps or "prompts" not in steps.get("similarity-to-prompts", {}):
        raise BadInput(
            f"Texts were to be read from the feature set `{spec.name}`.",
            f"Its kind is {spec.kind}: it holds neither texts nor numbers of prompts.",
            "Name one of kind text, or one of `clip-prompts --layer chosen`.",
        )
    return tuple(map(str, steps["similarity-to-prompts"]["prompts"]))
