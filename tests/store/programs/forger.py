"""Makes HDF5 files of bundles that say what a hostile writer likes, with all checksums as they should be."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import seals
from patient import Patient

from cuebank.store.files import crc32c

BLOCK = 512
Region = tuple[int, int]  # offset and size


class Bundles:
    """A file of bundles, taken apart.

    Args:
        data: of the file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.words = data[:BLOCK].split(b"\n")[0].decode("ascii").split(" ")
        offset, size = int(self.words[3]), int(self.words[4])
        self.bundles: dict[str, list[Any]] = json.loads(data[offset : offset + size])["bundles"]

    def document(self, path: str) -> dict[str, Any]:
        """Return the document of a bundle."""
        offset, size = self.bundles[path][:2]
        return json.loads(self.data[offset : offset + size])

    def put(self, path: str, text: bytes) -> str:
        """Give a bundle another document; return its path, which may end with a checksum of that."""
        entry = self.bundles.pop(path)
        entry[:3] = len(self.data), len(text), crc32c(text)
        self.data += text
        named = path.rpartition("-")
        new = f"{named[0]}-{crc32c(text):08x}" if "/segments/" in path or "/index/" in path else path
        self.bundles[new] = entry
        return new

    def array(self, path: str, name: str) -> Region:
        """Return where an array lies."""
        described = self.document(path)["arrays"]
        shape, dtype = described[name]["shape"], np.dtype(described[name]["dtype"])
        return self.bundles[path][3][sorted(described).index(name)], math.prod(shape) * dtype.itemsize

    def assemble(self, directory: bytes | None = None) -> bytes:
        """Return the file with all checksums, and perhaps with another directory."""
        if directory is None:
            directory = seals.text_of({"bundles": self.bundles, "format": 2})
        offset = len(self.data)
        self.data += directory
        structure = self._structure((offset, len(directory)))
        sized = [offset, len(directory), f"{crc32c(directory):08x}", structure, len(self.data)]
        return self.with_block([*self.words[:3], *map(str, sized)])

    def with_block(self, words: list[str]) -> bytes:
        """Return the file with other words in its user block."""
        line = " ".join(words).encode()
        line += b" %08x\n" % crc32c(line)
        return line[:BLOCK].ljust(BLOCK, b"\0") + bytes(self.data[BLOCK:])

    def _structure(self, directory: Region) -> str:
        """Return the checksum of all that is in no region; the old one if nobody can tell what that is."""
        try:
            regions = [directory]
            for path, entry in self.bundles.items():
                regions.append((entry[0], entry[1]))
                names = self.document(path)["arrays"]
                regions += [self.array(path, name) for name in names if "chunk_rows" not in names[name]]
            left, at = bytearray(), BLOCK
            for offset, size in sorted(regions):
                left += self.data[at:offset]
                at = max(at, offset + size)
            return f"{crc32c(bytes(left + self.data[at:])):08x}"
        except (ValueError, LookupError, TypeError, RecursionError):
            return self.words[6]


def take(patient: Patient, rng: random.Random) -> tuple[str, Bundles, str]:
    """Return the name of a file of bundles, what is in it, and the path of one bundle."""
    names = [name for name in patient.files if (patient.inside / name).is_file() and "segments/" in name]
    name = mutations.drawn(rng, names)
    bundles = Bundles((patient.inside / name).read_bytes())
    return name, bundles, rng.choice(list(bundles.bundles))


def save(patient: Patient, name: str, data: bytes, checksum: int | None = None) -> None:
    """Write a file, under the name that belongs to its document."""
    path = patient.touch(name)
    path.write_bytes(data)
    if checksum is not None and "-" in Path(name).stem and "/clips/" not in name:
        path.rename(patient.touch(f"{name.rpartition('-')[0]}-{checksum:08x}.h5"))


def store_document(patient: Patient, name: str, bundles: Bundles, path: str, document: Any) -> None:
    """Give a bundle another document, and all that names it its checksum."""
    text = seals.text_of(document)
    bundles.put(path, text)
    save(patient, name, bundles.assemble(), None if path else crc32c(text))


def forge(how: Callable[[Patient, random.Random], str]) -> mutations.Mutation:
    """Return a mutation that does nothing where an earlier one has left nothing that it could forge."""

    def mutation(patient: Patient, rng: random.Random) -> str:
        try:
            return how(patient, rng)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            return f"nothing forged: {error!r}"

    return mutation


def forge_document(patient: Patient, rng: random.Random) -> str:
    name, bundles, path = take(patient, rng)
    document = bundles.document(path)
    told = mutations.edit_some(document, rng)
    if isinstance(document.get("attributes"), dict):
        seals.seal_description(document["attributes"])
    store_document(patient, name, bundles, path, document)
    return f"in bundle `{path}` of {name}: {told}"


def forge_numbers(patient: Patient, rng: random.Random) -> str:
    name, bundles, path = take(patient, rng)
    document = bundles.document(path)
    array = mutations.drawn(rng, sorted(document["arrays"]))
    offset, size = bundles.array(path, array)
    data = mutations.with_other_numbers(bytes(bundles.data[offset : offset + size]), rng)
    bundles.data[offset : offset + size] = data
    if array in document["attributes"].get("checksums", {}):
        document["attributes"]["checksums"][array] = crc32c(data)
    store_document(patient, name, bundles, path, document)
    return f"numbers of array `{array}` in bundle `{path}` of {name} changed"


def forge_directory(patient: Patient, rng: random.Random) -> str:
    name, bundles, _ = take(patient, rng)
    directory = {"bundles": bundles.bundles, "format": 2}
    told = mutations.edit_some(directory, rng)
    text = seals.text_of(directory) if rng.random() < 0.9 else rng.choice(mutations.HOSTILE_TEXTS)
    save(patient, name, bundles.assemble(text))
    return f"in the directory of {name}: {told}"


def forge_block(patient: Patient, rng: random.Random) -> str:
    name, bundles, _ = take(patient, rng)
    words = bundles.words[:-1]
    at = rng.randrange(len(words))
    words[at] = rng.choice(("0", "-1", "1", "512", str(2**40), str(2**64), "9" * 300, "", "x", "links", "é"))
    save(patient, name, bundles.with_block(words))
    return f"word {at} of the user block of {name} is {words[at][:40]}"


HDF5 = [
    forge(how)
    for how in (
        *(forge_document, forge_document, forge_document),
        *(forge_numbers, forge_numbers, forge_directory, forge_block),
    )
]
