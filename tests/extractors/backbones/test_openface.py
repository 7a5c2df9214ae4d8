"""The backbone openface: where tables are found, groups of columns, faces, clips and means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors.backbones.openface import OpenfaceExtractor, find_csv
from cuebank.extractors.base import ExtractorSettings, Needs
from cuebank.extractors.errors import MediaError
from cuebank.extractors.openface_csv import GROUPS
from cuebank.extractors.registry import card, load
from cuebank.store import BadInput, Clip, ClipsTable, FeatureStore

HEADER = ("frame", "face_id", "timestamp", "confidence", "success", *GROUPS["pose"], *GROUPS["AU_c"])


def loaded(*layers: str, pooling: str = "none") -> Any:
    return load("openface", ExtractorSettings(layers=layers or ("pose",), pooling=pooling))


@pytest.fixture
def medium(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a table beside a (never opened) medium, and returns the medium's path."""

    def make(rows: int = 10, faces: tuple[int, ...] = (0,), failed: tuple[int, ...] = (), where: str = "v.csv") -> Path:
        lines = [", ".join(HEADER)]
        for i in range(rows):
            for face in faces:
                lead = [i + 1, face, f"{i / 10:.3f}", 0.9, int(i not in failed)]
                lines.append(", ".join(map(str, [*lead, *(100 * face + i + c / 64 for c in range(24))])))
        path = tmp_path / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
        return tmp_path / "v.mp4"

    return make


def test_rows_times_and_valid_are_openfaces(medium: Callable[..., Path]) -> None:
    extractor = loaded("pose", "AU_c")
    assert extractor.needs == Needs()
    pose, units = extractor.read(Clip("a", medium(failed=(3,))))
    assert [rows.values.shape for rows in (pose, units)] == [(10, 6), (10, 18)]
    assert pose.values[2].tolist() == [2 + c / 64 for c in range(6)]
    assert units.values[2, 0] == 2 + 6 / 64
    assert pose.times.tolist() == [i / 10 for i in range(10)]
    assert pose.valid.tolist() == [i != 3 for i in range(10)]


def test_specs_name_the_group_and_state_its_columns() -> None:
    for spec, group in zip(loaded("last", "AU", "full").specs, ("all", "AU", "full"), strict=True):
        assert spec.name == f"openface.csv@{group}"
        assert (spec.dim, spec.dtype, spec.timebase) == (len(GROUPS[group]), "float32", None)
        assert spec.recipe.preprocessing[0]["columns"] == list(GROUPS[group])
        assert spec == type(spec).from_json(spec.to_json())
    assert card("openface").dim == 329
    assert loaded("gaze", pooling="mean-all").specs[0].name == "openface.csv@gaze+mean-all"


@pytest.mark.golden("sempi_openface")
def test_the_mean_with_failed_rows_is_sempis(golden_case: Any) -> None:
    clip = Clip("a", golden_case.path.with_suffix(".csv"))
    (rows,) = loaded("all", pooling="mean-all").read(clip)
    np.testing.assert_allclose(rows.values[0], golden_case.arrays["clip_mean"], rtol=0, atol=1e-6)
    (valid_only,) = loaded("all", pooling="mean").read(clip)
    assert not np.allclose(valid_only.values, rows.values)


def test_means_are_over_valid_rows(medium: Callable[..., Path]) -> None:
    clip = Clip("a", medium(failed=(0, 1, 9)))
    (rows,) = loaded(pooling="mean").read(clip)
    np.testing.assert_allclose(rows.values[0], 5 + np.arange(6) / 64)
    assert rows.times.tolist() == [0.5]
    (rows,) = loaded(pooling="mean-all").read(clip)
    np.testing.assert_allclose(rows.values[0], 4.5 + np.arange(6) / 64)
    with pytest.raises(MediaError, match="found no face"):
        loaded(pooling="mean").read(Clip("a", medium(failed=tuple(range(10)))))


def test_a_clip_has_its_stretch_of_the_table(medium: Callable[..., Path]) -> None:
    (rows,) = loaded().read(Clip("a", medium(), start=0.3, end=0.6))
    np.testing.assert_allclose(rows.times, [0.0, 0.1, 0.2], atol=1e-12)
    assert rows.values[0, 0] == 3
    with pytest.raises(MediaError, match=r"no row from 5.0 s"):
        loaded().read(Clip("a", medium(), start=5.0))


def test_several_faces_are_entities(medium: Callable[..., Path]) -> None:
    path = medium(faces=(0, 1))
    faces = loaded().read_faces(Clip("a", path))
    assert list(faces) == ["0", "1"]
    (rows,) = loaded().read(Clip("a", path, entity_id="1"))
    assert rows.values[0, 0] == 100
    assert rows.times.tolist() == faces["0"][0].times.tolist()
    for entity in (None, "2"):
        with pytest.raises(MediaError, match="has the faces 0, 1"):
            loaded().read(Clip("a", path, entity_id=entity))


def test_the_only_face_is_the_clips(medium: Callable[..., Path]) -> None:
    path = medium()
    assert set(loaded().read_faces(Clip("a", path))) == {None, "0"}
    assert len(loaded().read(Clip("a", path, entity_id="0"))) == 1


def test_time_stamps_must_rise_but_for_means(medium: Callable[..., Path]) -> None:
    path = medium()
    table = path.with_suffix(".csv")
    table.write_text(table.read_text().replace("5, 0, 0.400", "5, 0, 0.300"))
    with pytest.raises(MediaError, match=r"do not rise: 0.3 s is followed by 0.3 s"):
        loaded().read(Clip("a", path))
    assert len(loaded(pooling="mean").read(Clip("a", path))) == 1


def test_tables_are_found_beside_the_medium_in_a_folder_or_by_the_clips_table(
    medium: Callable[..., Path], tmp_path: Path
) -> None:
    path = medium()
    assert find_csv(Clip("a", path)) == tmp_path / "v.csv"
    assert find_csv(Clip("a", tmp_path / "v.csv")) == tmp_path / "v.csv"
    medium(where="of/v.csv")
    assert find_csv(Clip("a", path), tmp_path / "of") == tmp_path / "of" / "v.csv"
    medium(where="of/other.csv")
    for named in ("of/other.csv", str(tmp_path / "of" / "other.csv")):
        clip = Clip("a", tmp_path / "deep" / "media" / "v.mp4", labels={"openface": named})
        assert find_csv(clip) == tmp_path / "of" / "other.csv"
    extractor = OpenfaceExtractor(card("openface"), ExtractorSettings(layers=("pose",)), tmp_path / "of")
    assert len(extractor.read(Clip("a", path))) == 1
    with pytest.raises(MediaError, match=r"no file `.*x.csv`"):
        find_csv(Clip("a", tmp_path / "x.mp4"))


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"layers": ("pos",)}, "`pose`"),
        ({"layers": ("all", "last")}, "the same"),
        ({"weights": "x"}, "without weights"),
        ({"pooling": "cls"}, "no such choice"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], found: str) -> None:
    with pytest.raises(BadInput, match=found):
        load("openface", ExtractorSettings(**settings))


def test_rows_can_be_stored(medium: Callable[..., Path], tmp_path: Path) -> None:
    extractor = loaded("pose")
    clip = Clip("a", medium(failed=(2,)))
    with FeatureStore.open(tmp_path / "store.zarr", "a") as store:
        store.create(extractor.specs[0])
        store.write_clips(ClipsTable([clip]))
        store.write(extractor.specs[0].name, *clip.key, *extractor.read(clip)[0])
        store.commit()
        assert store.read("openface.csv@pose", "a").valid.sum() == 9
