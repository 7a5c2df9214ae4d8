"""Keys of series, names of feature sets, and how names become folder names.

Ids are data, never paths: `../x`, an absolute path, control characters or 300 characters are ids like any other.
Only the *names of feature sets* appear in paths, percent-encoded.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import quote, unquote

from .errors import BadInput

MAX_NAME_BYTES = 200  # of the encoded name; file systems allow 255, and writers add a suffix
_HASHER = blake2b(digest_size=8)
RESERVED_FOLDERS = ("clips", "zarr.json")  # what else lies in a store's folder


class Key(NamedTuple):
    """What a series belongs to: a clip, and an entity in it (None: the whole clip)."""

    clip_id: str
    entity_id: str | None = None


def check_id(value: str, what: str) -> str:
    """Return `value` if it can be an id: any non-empty text that UTF-8 can hold.

    Raises:
        BadInput: if it is empty, is no text, or holds lone surrogates.
    """
    encode_id(value, what)
    return value


def encode_id(value: str, what: str) -> bytes:
    """Return an id as UTF-8; BadInput as `check_id`."""
    if not isinstance(value, str) or not value:
        raise BadInput(f"A {what} was given.", f"It is {value!r}.", "Use any text that is not empty.")
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(f"A {what} was given.", f"{value!r} is not valid Unicode text.", "Save it as UTF-8.") from error


def feature_set_name(backbone: str, tag: str, layer: str | None = None, pooling: str = "none") -> str:
    """Return `<backbone>.<tag>[@<layer>][+<pooling>]`.

    Example:
        >>> feature_set_name("hubert-base", "ls960", "9", "mean")
        'hubert-base.ls960@9+mean'
    """
    name = f"{backbone}.{tag}"
    if layer is not None:
        name += f"@{layer}"
    return name if pooling == "none" else f"{name}+{pooling}"


def slug(text: str) -> str:
    """Return `text` with everything but letters, digits, `_` and `-` turned into `-`, for use as a weights tag.

    Example:
        >>> slug("My model (v2).pt")
        'my-model-v2-pt'
    """
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-") or "weights"


def quote_name(name: str) -> str:
    """Return the folder name of a feature set: percent-encoded, never `.`, `..` or hidden.

    Raises:
        BadInput: if the name is empty or its encoded form is longer than 200 bytes.

    Example:
        >>> quote_name("hubert-base.ls960@9+mean"), quote_name("../up"), quote_name("a/b")
        ('hubert-base.ls960@9+mean', '%2E.%2Fup', 'a%2Fb')
    """
    check_id(name, "feature set name")
    quoted = quote(name, safe="@+")
    if quoted[0] in "._" or quoted in RESERVED_FOLDERS:  # "." hides a folder; "__" is reserved by Zarr
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    if len(quoted) > MAX_NAME_BYTES:
        raise BadInput(
            f"A feature set was to be called `{name[:40]}…`.",
            f"Its encoded name is {len(quoted)} bytes long.",
            f"Choose a name of at most {MAX_NAME_BYTES} bytes.",
        )
    return quoted


def unquote_name(folder: str) -> str:
    """Return the feature set name that `quote_name` turned into this folder name.

    Raises:
        BadInput: if no name has this folder name.
    """
    try:
        name = unquote(folder, errors="strict")
        if quote_name(name) == folder:
            return name
    except (UnicodeDecodeError, BadInput):
        pass  # said below
    raise BadInput(f"A folder `{folder}` was read as a feature set.", "No name encodes to it.", "Remove it.")


def encode_key(clip_id: str, entity_id: str | None) -> tuple[bytes, bytes]:
    """Return a key as stored: UTF-8, and no bytes at all for the whole clip.

    Raises:
        BadInput: if an id is empty or cannot be UTF-8.
    """
    try:  # most are good; look-ups are made by the million
        clip, entity = clip_id.encode(), b"" if entity_id is None else entity_id.encode()
    except (AttributeError, UnicodeEncodeError):
        pass  # said below
    else:
        if clip and (entity or entity_id is None):
            return clip, entity
    clip = encode_id(clip_id, "clip_id")
    return (clip, b"") if entity_id is None else (clip, encode_id(entity_id, "entity_id"))


def decode_key(clip: bytes, entity: bytes) -> Key:
    """Return the key that `encode_key` encoded."""
    return Key(clip.decode("utf-8"), entity.decode("utf-8") if entity else None)


def hash_key(clip: bytes, entity: bytes) -> int:
    """Return the 64-bit hash by which keys are found.

    It is BLAKE2b with 8 bytes of digest, read little-endian, over the length of clip_id, clip_id and entity_id. The
    length, as 8 bytes little-endian, keeps `("ab", "c")` apart from `("a", "bc")`.

    Example:
        >>> hex(hash_key(b"clip", b""))
        '0x219d0d61d9a65dd'
    """
    hasher = _HASHER.copy()  # in half the time that a new one takes
    hasher.update(len(clip).to_bytes(8, "little") + clip + entity)
    return int.from_bytes(hasher.digest(), "little")
