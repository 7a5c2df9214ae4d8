"""A reader of texts written from FORMAT.md alone, with the standard library and numpy: the proof of that page.

The other two readers know formats 1 and 2, and refuse segments with texts; what they know of all else is used here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import stranger
import stranger_hdf5
from stranger import ROW_ARRAYS, crc32c, folder_name, key_hash, need, texts

NAME = re.compile(stranger_hdf5.NAME)


def segments_of(store: Path, name: str) -> tuple[dict, dict[str, tuple[dict, dict]]]:
    """Return a description, and for each segment its attributes and its arrays, which are not yet proven."""
    if store.suffix == ".h5":
        prefix, bundles = f"{folder_name(name)}/segments/", stranger_hdf5.read_store(store)
        inside = {path.removeprefix(prefix): one for path, one in bundles.items() if path.startswith(prefix)}
        found = {path: (one.own, {array: one.array(array) for array in one.arrays}) for path, one in inside.items()}
        return stranger_hdf5.feature_sets(bundles)[name], found
    found = {}
    for folder in (store / folder_name(name) / "segments").iterdir():
        if match := NAME.fullmatch(folder.name):
            data = (folder / "zarr.json").read_bytes()
            need(crc32c(data) == int(match[2], 16), "damaged segment metadata")
            document = json.loads(data)
            members = document["consolidated_metadata"]["metadata"]
            arrays = {array: stranger.read_array(folder / array, its) for array, its in members.items()}
            found[folder.name] = document["attributes"]["cuebank"], arrays
    return stranger.feature_sets(store)[name], found


def read_texts(store: Path, name: str) -> tuple[dict, dict]:
    """Return {(clip, entity): (texts, times, valid)} and {(clip, entity): reason} of what counts."""
    spec, segments = segments_of(store, name)
    need((spec["kind"], spec["dim"], spec["dtype"], "codec" in spec) == ("text", 1, "int64", False), "no texts")
    series: dict = {}
    failures: dict = {}
    replaced = {old for own, _ in segments.values() for old in own.get("replaces", [])}
    for segment in sorted(segments.keys() - replaced, key=lambda one: (int(one.split("-")[0]), one)):
        own, arrays = segments[segment]
        need((own["format"], own["kind"]) == (3, "segment"), "no segment with texts")
        need(own["fingerprint"] == spec["fingerprint"], "segment of another recipe")
        for array, crc in own["checksums"].items():
            need(crc32c(arrays[array].tobytes()) == crc, f"damaged {array}")
        ids = {part: texts(arrays[part], arrays[f"{part}_offsets"]) for part in ("clip_id", "entity_id", "reason")}
        starts = np.cumsum(arrays["row_size"]) - arrays["row_size"]
        for i in range(own["series"]):
            key = ids["clip_id"][i], ids["entity_id"][i] or None
            need(int(arrays["key_hash"][i]) == key_hash(key[0], key[1] or ""), "wrong hash")
            begin, end = arrays["text_offsets"][i : i + 2]
            text = arrays["text"][begin:end].tobytes()
            rows = slice(starts[i], starts[i] + arrays["row_size"][i])
            sizes, times, valid = parts = [arrays[part][rows] for part in ROW_ARRAYS]
            if arrays["status"][i]:
                need(not text, "a failure with a text")
                failures[key] = ids["reason"][i]
                continue
            need(crc32c(b"".join(part.tobytes() for part in parts) + text) == arrays["crc32c"][i], "damaged rows")
            ends = np.cumsum(sizes[:, 0]).tolist()
            need((ends or [0])[-1] == len(text) and not sizes[~valid].any(), "wrong sizes")
            series[key] = [text[a:b].decode("utf-8") for a, b in zip([0, *ends], ends)], times, valid  # noqa: B905
    return series, {key: reason for key, reason in failures.items() if key not in series}
