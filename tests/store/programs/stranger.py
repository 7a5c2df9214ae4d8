"""A reader of the store written from FORMAT.md alone, with the standard library and numpy: the proof of that page."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

ROW_ARRAYS = ("values", "times", "valid")
TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = (_byte >> 1) ^ (0x82F63B78 if _byte & 1 else 0)
    TABLE.append(_byte)


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def need(condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(text)


def folder_name(name: str) -> str:
    quoted = quote(name, safe="@+")
    if quoted[0] in "._" or quoted in ("clips", "zarr.json"):
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    return quoted


def attributes(folder: Path, kind: str) -> dict:
    own = json.loads((folder / "zarr.json").read_bytes())["attributes"]["cuebank"]
    need(own["format"] in (1, 2) and own["kind"] == kind, f"{folder} is no {kind} of format 1 or 2")
    return own


def feature_sets(store: Path) -> dict[str, dict]:
    """Return name -> description of all feature sets."""
    attributes(store, "store")
    found = {}
    for folder in sorted(store.iterdir()):
        name = unquote(folder.name)
        if folder.name in ("clips", "zarr.json") or folder_name(name) != folder.name:
            continue
        own = attributes(folder, "feature-set")
        spec, recipe = own["spec"], dict(own["spec"]["recipe"])
        need(own["crc32c"] == crc32c(canonical(spec) + b"\n") and spec["name"] == name, "damaged description")
        del recipe["unhashed"]
        recipe["weights"] = {k: v for k, v in recipe["weights"].items() if k not in ("source", "licence")}
        defining = {key: spec[key] for key in ("kind", "dim", "dtype", "timebase", "scope")} | {"recipe": recipe}
        need(hashlib.sha256(canonical(defining)).hexdigest() == spec["fingerprint"], "wrong fingerprint")
        found[name] = spec
    return found


def read_array(folder: Path, document: dict) -> np.ndarray:
    """Return an array of a segment or clips version; row arrays are checked against their shard index."""
    shape, dtype = document["shape"], np.dtype(document["data_type"]).newbyteorder("<")
    if 0 in shape:
        return np.empty(shape, dtype)
    data = (folder / ".".join("0" for _ in shape)).read_bytes()
    codec = document["codecs"][0]
    if codec["name"] == "sharding_indexed":
        inner = codec["configuration"]["chunk_shape"]
        need(len(codec["configuration"]["codecs"]) == 1, "compressed: the standard library cannot unpack it")
        count, size = -(-shape[0] // inner[0]), int(np.prod(inner)) * dtype.itemsize
        need(len(data) == count * size + 16 * count + 4, "wrong file size")
        index = data[count * size : -4]
        need(crc32c(index) == int.from_bytes(data[-4:], "little"), "damaged shard index")
        entries = np.frombuffer(index, "<u8").reshape(count, 2)
        need(bool((entries == [[i * size, size] for i in range(count)]).all()), "chunks out of order")
    return np.frombuffer(data, dtype, int(np.prod(shape))).reshape(shape)


def texts(data: np.ndarray, offsets: np.ndarray) -> list[str]:
    return [data[a:b].tobytes().decode("utf-8") for a, b in zip(offsets, offsets[1:])]  # noqa: B905, RUF007


def key_hash(clip: str, entity: str) -> int:
    data = clip.encode()
    digest = hashlib.blake2b(len(data).to_bytes(8, "little") + data + entity.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def read_feature_set(store: Path, name: str) -> tuple[dict, dict]:
    """Return {(clip, entity): (values, times, valid)} and {(clip, entity): reason} of what counts."""
    fingerprint = feature_sets(store)[name]["fingerprint"]
    series: dict = {}
    failures: dict = {}
    segments = store / folder_name(name) / "segments"
    matches = [re.fullmatch(r"(\d{8,})-[0-9a-f]{12}-([0-9a-f]{8})", path.name) for path in segments.iterdir()]
    matches = sorted((m for m in matches if m), key=lambda m: (int(m[1]), m[0]))
    replaced = {old for m in matches for old in attributes(segments / m[0], "segment").get("replaces", [])}
    for match in (m for m in matches if m[0] not in replaced):
        folder = segments / match[0]
        document = json.loads((folder / "zarr.json").read_bytes())
        need(crc32c((folder / "zarr.json").read_bytes()) == int(match[2], 16), "damaged segment metadata")
        own = attributes(folder, "segment")
        need(own["fingerprint"] == fingerprint, "segment of another recipe")
        arrays = {}
        for array, its in document["consolidated_metadata"]["metadata"].items():
            arrays[array] = read_array(folder / array, its)
            if array not in ROW_ARRAYS:
                need(crc32c(arrays[array].tobytes()) == own["checksums"][array], f"damaged {array}")
        ids = {part: texts(arrays[part], arrays[f"{part}_offsets"]) for part in ("clip_id", "entity_id", "reason")}
        need(len(arrays["row_size"]) == own["series"] and len(arrays["times"]) == own["rows"], "wrong counts")
        starts = np.cumsum(arrays["row_size"]) - arrays["row_size"]
        for i in range(own["series"]):
            clip, entity = ids["clip_id"][i], ids["entity_id"][i]
            need(int(arrays["key_hash"][i]) == key_hash(clip, entity), "wrong hash")
            rows = slice(starts[i], starts[i] + arrays["row_size"][i])
            parts = tuple(arrays[part][rows] for part in ROW_ARRAYS)
            if arrays["status"][i]:
                failures[clip, entity or None] = ids["reason"][i]
            else:
                need(crc32c(b"".join(part.tobytes() for part in parts)) == arrays["crc32c"][i], "damaged rows")
                series[clip, entity or None] = parts
    return series, {key: reason for key, reason in failures.items() if key not in series}


def read_clips(store: Path) -> list[dict]:
    """Return the clips of the newest version as {column: value or None}."""
    folder = max((store / "clips").glob("*-*"), key=lambda path: (int(path.name.split("-")[0]), path.name))
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    digest = hashlib.sha256(b"".join(f"{n} {len(files[n])}\n".encode() + files[n] for n in sorted(files)))
    need(folder.name.endswith("-" + digest.hexdigest()[:12]), "damaged clips table")
    own, columns = attributes(folder, "clips-version"), {}
    for column in own["columns"]:
        name = column["array"]
        documents = {p.parent.name: json.loads(p.read_bytes()) for p in folder.glob(f"{name}*/zarr.json")}
        array = read_array(folder / name, documents[name])
        present = read_array(folder / f"{name}_present", documents[f"{name}_present"])
        if column["kind"] == "text":
            array = texts(array, read_array(folder / f"{name}_offsets", documents[f"{name}_offsets"]))
        columns[column["name"]] = [value if there else None for value, there in zip(array, present)]  # noqa: B905
    return [{name: values[i] for name, values in columns.items()} for i in range(own["clips"])]
