"""A reader of HDF5 stores written from FORMAT.md alone, with the standard library and numpy: the proof of that page."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from stranger import ROW_ARRAYS, canonical, crc32c, folder_name, key_hash, need, texts

NAME = r"(\d{8,})-[0-9a-f]{12}-([0-9a-f]{8})"
PLACES = rf"_store|_packed/[^/]+|clips/\d+-[0-9a-f]{{12}}|[^_/][^/]*/(feature-set|(segments|index)/{NAME})"


class Bundle(NamedTuple):
    data: bytes  # of the whole file
    document: bytes
    own: dict  # its attributes
    arrays: dict  # name -> shape, dtype, offset, chunk_rows

    def array(self, name: str, raw: bool = False) -> np.ndarray:
        """Return an array, or `raw` its chunks' offsets and sizes where it is compressed."""
        its = self.arrays[name]
        shape, dtype = its["shape"], np.dtype(its["dtype"]).newbyteorder("<")
        if "chunk_rows" in its:
            need(raw, "compressed: the standard library cannot unpack it")
            shape, dtype = [-(-shape[0] // its["chunk_rows"]), 2], np.dtype("<u8")
        return np.frombuffer(self.data, dtype, int(np.prod(shape)), its["offset"] or 0).reshape(shape)

    def regions(self) -> list[tuple[int, int]]:
        """Return offset and size of all arrays that have elements, and of compressed chunks."""
        arrays = [(its, self.array(name, raw=True)) for name, its in self.arrays.items()]
        plain = [(its["offset"], array.nbytes) for its, array in arrays if "chunk_rows" not in its and array.size]
        return plain + [tuple(chunk) for its, array in arrays if "chunk_rows" in its for chunk in array.tolist()]


def read_file(path: Path) -> dict[str, Bundle]:
    """Return path -> bundle of all that is in one file, which is proven but for its arrays."""
    data, found = path.read_bytes(), {}
    line, _, zeros = data[:512].partition(b"\n")
    words = line.decode("ascii").split(" ")
    need(words[:3] == ["cuebank-hdf5", "2", "bundles"] and len(words) == 9, f"{path} is not of format 2, or damaged")
    need(crc32c(line[: line.rindex(b" ")]) == int(words[8], 16) and not zeros.strip(b"\0"), "damaged user block")
    need(len(data) == int(words[7]), "wrong file size")
    offset, size = int(words[3]), int(words[4])
    need(crc32c(data[offset : offset + size]) == int(words[5], 16), "damaged directory")
    directory, regions = json.loads(data[offset : offset + size]), [(offset, size)]
    need(directory["format"] == 2, "a directory of another format")
    for name, (start, length, crc, offsets) in directory["bundles"].items():
        document = data[start : start + length]
        need(crc32c(document) == crc, f"damaged document of {name}")
        its = json.loads(document)
        arrays = {n: its["arrays"][n] | {"offset": at} for n, at in zip(sorted(its["arrays"]), offsets, strict=True)}
        found[name] = Bundle(data, document, its["attributes"], arrays)
        regions += [(start, length), *found[name].regions()]
    bounds = [512, *(bound for start, length in sorted(regions) for bound in (start, start + length)), len(data)]
    need(bounds == sorted(bounds), "regions overlap")
    structure = b"".join(data[a:b] for a, b in zip(bounds[::2], bounds[1::2], strict=True))
    need(crc32c(structure) == int(words[6], 16), "damaged structure")
    return found


def read_store(path: Path) -> dict[str, Bundle]:
    """Return path -> bundle of all that is in a store, in whichever form."""
    folder = path.with_name(path.name + ".segments")
    found = {} if folder.is_dir() else read_file(path)
    for file in sorted(p for p in folder.rglob("*.h5") if p.is_file() and not p.is_symlink()):
        place = file.relative_to(folder).as_posix().removesuffix(".h5")
        for inner, bundle in (read_file(file) if re.fullmatch(PLACES, place) else {}).items():
            name = inner if place.startswith("_packed/") else re.sub("^_store$|/feature-set$", "", place)
            need(found.setdefault(name, bundle).document == bundle.document, f"two different bundles {name}")
    for name, bundle in found.items():
        match, crc = re.search(NAME + "$", name), crc32c(bundle.document)
        need(bundle.own["format"] in (2, 3) and (not match or crc == int(match[2], 16)), f"damaged or too new: {name}")
        for array, crc in bundle.own.get("checksums", {}).items():
            need(crc32c(bundle.array(array).tobytes()) == crc, f"damaged {array}")
    need("" in found and found[""].own["kind"] == "store", f"{path} is no store")
    return found


def feature_sets(store: dict[str, Bundle]) -> dict[str, dict]:
    """Return name -> description of all feature sets."""
    found = {}
    for path in sorted(path for path in store if path and "/" not in path and folder_name(unquote(path)) == path):
        own, spec = store[path].own, store[path].own["spec"]
        need(own["kind"] == "feature-set" and spec["name"] == unquote(path), f"{path} is no feature set")
        need(own["crc32c"] == crc32c(canonical(spec) + b"\n"), "damaged description")
        recipe = {key: value for key, value in spec["recipe"].items() if key != "unhashed"}
        recipe["weights"] = {k: v for k, v in recipe["weights"].items() if k not in ("source", "licence")}
        defining = {key: spec[key] for key in ("kind", "dim", "dtype", "timebase", "scope")} | {"recipe": recipe}
        need(hashlib.sha256(canonical(defining)).hexdigest() == spec["fingerprint"], "wrong fingerprint")
        found[spec["name"]] = spec
    return found


def read_feature_set(store: dict[str, Bundle], name: str) -> tuple[dict, dict]:
    """Return {(clip, entity): (values, times, valid)} and {(clip, entity): reason} of what counts."""
    fingerprint, prefix = feature_sets(store)[name]["fingerprint"], f"{folder_name(name)}/segments/"
    matches = [m for m in (re.fullmatch(re.escape(prefix) + NAME, path) for path in store) if m]
    replaced = {prefix + old for m in matches for old in store[m[0]].own.get("replaces", [])}
    found: tuple[dict, dict] = {}, {}  # by status
    for match in sorted((m for m in matches if m[0] not in replaced), key=lambda m: (int(m[1]), m[0])):
        own, arrays = store[match[0]].own, {array: store[match[0]].array(array) for array in store[match[0]].arrays}
        need((own["kind"], own["format"], own["fingerprint"]) == ("segment", 2, fingerprint), "not of this recipe")
        need((len(arrays["row_size"]), len(arrays["times"])) == (own["series"], own["rows"]), "wrong counts")
        ids = {part: texts(arrays[part], arrays[f"{part}_offsets"]) for part in ("clip_id", "entity_id", "reason")}
        starts = np.cumsum(arrays["row_size"]) - arrays["row_size"]
        for i, (clip, entity) in enumerate(zip(ids["clip_id"], ids["entity_id"], strict=True)):
            need(int(arrays["key_hash"][i]) == key_hash(clip, entity), "wrong hash")
            parts = tuple(arrays[part][starts[i] : starts[i] + arrays["row_size"][i]] for part in ROW_ARRAYS)
            need(crc32c(b"".join(part.tobytes() for part in parts)) == arrays["crc32c"][i], "damaged rows")
            status = arrays["status"][i]
            found[status][clip, entity or None] = ids["reason"][i] if status else parts
    return found[0], {key: reason for key, reason in found[1].items() if key not in found[0]}


def zarr_array(name: str, array: np.ndarray, is_text: bool) -> dict:
    """Return the metadata that an array of a clips version has in a Zarr store."""
    dimension = f"{name}_byte" if is_text else re.sub("_offsets$", "_bound", name) if "off" in name else "clip"
    document = {"attributes": {}, "data_type": array.dtype.name, "node_type": "array", "zarr_format": 3}
    document["chunk_grid"] = {"configuration": {"chunk_shape": [max(1, len(array))]}, "name": "regular"}
    document["chunk_key_encoding"] = {"configuration": {"separator": "."}, "name": "v2"}
    document["codecs"] = [{"name": "bytes"} | ({"configuration": {"endian": "little"}} if array.itemsize > 1 else {})]
    return document | {"dimension_names": [dimension], "fill_value": array.dtype.type(0).item(), "shape": [len(array)]}


def read_clips(store: dict[str, Bundle]) -> list[dict]:
    """Return the clips of the newest version as {column: value or None}."""
    path = max((p for p in store if p.startswith("clips/")), key=lambda p: (int(p[6:].split("-")[0]), p))
    own, arrays = store[path].own, {name: store[path].array(name) for name in store[path].arrays}
    is_text = {column["array"]: column["kind"] == "text" for column in own["columns"]}
    inside = {name: zarr_array(name, array, is_text.get(name, False)) for name, array in arrays.items()}
    group = {"attributes": {"cuebank": own}, "node_type": "group", "zarr_format": 3}
    group["consolidated_metadata"] = {"kind": "inline", "metadata": inside, "must_understand": False}
    files = {f"{name}/0": array.tobytes() for name, array in arrays.items() if array.size}
    files |= {f"{name}/zarr.json": canonical(document) + b"\n" for name, document in inside.items()}
    files["zarr.json"] = canonical(group) + b"\n"
    digest = hashlib.sha256(b"".join(f"{n} {len(files[n])}\n".encode() + files[n] for n in sorted(files)))
    need(own["kind"] == "clips-version" and path.endswith("-" + digest.hexdigest()[:12]), "damaged clips table")
    columns = {}
    for column in own["columns"]:
        name = column["array"]
        array = texts(arrays[name], arrays[f"{name}_offsets"]) if is_text[name] else arrays[name]
        present = arrays[f"{name}_present"]
        columns[column["name"]] = [value if there else None for value, there in zip(array, present, strict=True)]
    return [{name: values[i] for name, values in columns.items()} for i in range(own["clips"])]
