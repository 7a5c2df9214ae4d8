"""What makes an HDF5 file readable without libhdf5: a line in its user block leads to a directory of all that is in it.

libhdf5 crashes on files made to deceive, and takes a hundred times longer to open one. So cuebank only writes with it,
and reads by this line, the directory and the documents of the bundles alone; FORMAT.md describes them.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ..errors import BadInput
from ..files import corrupt, crc32c, parse_json, render_json

FORMAT = 2
USER_BLOCK = 512  # bytes at the start of the file that HDF5 leaves to us; the least that it allows
ALIGNMENT = 64  # of the arrays, so that rows can be used where they are mapped
ALIGNED_BYTES = 4096  # smaller arrays may lie anywhere; they are copied when they are read
MAX_DIRECTORY_BYTES = 2**23  # some 30,000 bundles of one file; a bound on what a hostile one can make us parse
MAGIC = b"cuebank-hdf5 "
BUNDLES, LINKS = "bundles", "links"  # what such a file can be

_CRC = rb"([0-9a-f]{8})"
_BUNDLES_LINE = re.compile(rb"cuebank-hdf5 2 bundles ([0-9]+) ([0-9]+) %b %b ([0-9]+) %b\n" % (_CRC, _CRC, _CRC))
_LINKS_LINE = re.compile(rb"cuebank-hdf5 2 links ([0-9a-f]{32}) %b ([0-9]+) %b\n" % (_CRC, _CRC))
# No feature set can be called like this: the first character of its quoted name is never `_`.
_HEADER, DIRECTORY_PATH = "_header", "_directory"


class Frame(NamedTuple):
    """What the user block of a file of bundles says.

    `structure` is the crc32c of all bytes that nothing else proves: those of HDF5 itself, and padding.
    """

    offset: int
    size: int
    crc: int
    structure: int
    file_size: int

    def render(self) -> bytes:
        """Return the user block."""
        return user_block(
            f"{BUNDLES} {self.offset} {self.size} {self.crc:08x} {self.structure:08x} {self.file_size}".encode("ascii")
        )


class Entry(NamedTuple):
    """Where a bundle lies: its document, the crc32c of that, and its arrays in the order of their names."""

    offset: int
    size: int
    crc: int
    arrays: list[int]


def user_block(words: bytes) -> bytes:
    """Return a user block: magic, format, words, and the crc32c of the line so far; then zeros."""
    line = MAGIC + b"%d " % FORMAT + words
    return (line + b" %08x\n" % crc32c(line)).ljust(USER_BLOCK, b"\0")


def parse_frame(block: bytes, where: str) -> Frame:
    """Return what the user block of a file of bundles says.

    Raises:
        Corrupt: if it is not, byte for byte, one that `Frame.render` returns.
    """
    match = _BUNDLES_LINE.match(block)
    if match is None:
        raise corrupt(where, "Its user block is not that of an HDF5 file of cuebank.")
    offset, size, crc, structure, file_size = match.groups()[:5]
    frame = Frame(int(offset), int(size), int(crc, 16), int(structure, 16), int(file_size))
    if frame.render() != block:
        raise corrupt(where, "Its user block does not agree with its checksum.")
    if frame.offset < USER_BLOCK or frame.offset + frame.size > frame.file_size or frame.size > MAX_DIRECTORY_BYTES:
        raise corrupt(where, "Its user block does not lead to a directory.")
    return frame


class Links(NamedTuple):
    """What the user block of a file of links says: the digest of what it leads to, and how to prove the file."""

    digest: str
    crc: int
    file_size: int

    def render(self) -> bytes:
        """Return the user block."""
        return user_block(f"{LINKS} {self.digest} {self.crc:08x} {self.file_size}".encode("ascii"))


def parse_links(block: bytes) -> Links | None:
    """Return what the user block of a file of links says, or None if it is not one that `Links.render` returns."""
    match = _LINKS_LINE.match(block)
    if match is None:
        return None
    links = Links(match[1].decode("ascii"), int(match[2], 16), int(match[3]))
    return links if links.render() == block else None


def kind_of(block: bytes, where: str) -> str | None:
    """Return whether a user block is that of a file of `bundles`, of `links`, or None for any other file.

    Raises:
        BadInput: if a newer cuebank wrote it.
    """
    if not block.startswith(MAGIC):
        return None
    words = block[len(MAGIC) : 80].split(b" ")
    if words[0] != b"%d" % FORMAT and words[0].isdigit():
        raise BadInput(
            f"{where} was opened.",
            f"Its format is {words[0][:20].decode('ascii')}; of HDF5, this cuebank knows {FORMAT}.",
            "Install the cuebank that wrote it, or a newer one.",
        )
    return LINKS if words[1:2] == [b"links"] else BUNDLES


def render_directory(bundles: dict[str, Entry]) -> bytes:
    """Return the directory of a file.

    Raises:
        BadInput: if the file would hold too many bundles.
    """
    data = render_json({"format": FORMAT, "bundles": bundles})
    if len(data) > MAX_DIRECTORY_BYTES:
        raise BadInput(
            f"An HDF5 file with {len(bundles)} bundles was to be written.",
            f"Its directory has {len(data)} bytes; at most {MAX_DIRECTORY_BYTES} are allowed.",
            "Run `cuebank store compact` first, so that there are fewer segments.",
        )
    return data


def parse_directory(data: bytes, frame: Frame, where: str) -> dict[str, Any]:
    """Return path of each bundle -> its entry, which `parse_entry` is still to check.

    Raises:
        Corrupt: if it does not agree with the user block, or is no directory.
    """
    if crc32c(data) != frame.crc:
        raise corrupt(where, "Its directory does not agree with its checksum.")
    document = parse_json(data, where)
    bundles = document.get("bundles")
    if not isinstance(bundles, dict) or document.get("format") != FORMAT:
        raise corrupt(where, "Its directory does not list bundles of a known format.")
    return bundles


def parse_entry(value: Any, file_size: int, where: str) -> Entry:
    """Return an entry of the directory; its document lies inside the file.

    Raises:
        Corrupt: if it is no entry.
    """
    if type(value) is list and len(value) == 4 and type(value[3]) is list:
        offset, size, crc, arrays = value
        numbers = type(offset) is type(size) is type(crc) is int and set(map(type, arrays)) <= {int}
        if numbers and offset >= USER_BLOCK and size > 0 and offset + size <= file_size:
            return Entry(offset, size, crc, arrays)
    raise corrupt(where, "The directory of its file does not say where it lies.")


def inside(path: str, name: str) -> str:
    """Return the path of a dataset in its bundle."""
    return f"{path}/{name}" if path else name


def header_path(path: str) -> str:
    """Return where HDF5 keeps the document of a bundle."""
    return inside(path, _HEADER)
