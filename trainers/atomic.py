"""Writing a result file so that readers see the old one or the whole new one, never a part."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ..store.errors import BadInput


def make_folder(folder: Path) -> None:
    """Create a folder for results and its parents; one that exists is taken as it is.

    Raises:
        BadInput: something that is no folder has this name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BadInput(
            f"Results were to be written to the folder {folder}.",
            "A file, not a folder, is in the way.",
            "Choose another folder with --out.",
        ) from error


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name beside it, make it durable, and rename it into place.

    Args:
        path: the file; an old one is replaced.
        content: text is encoded as UTF-8; line ends are kept as they are.

    Raises:
        BadInput: the path names a folder or a device, or no file at all.
    """
    if not path.name or (path.exists() and not path.is_file()):
        raise BadInput(
            f"Results were to be written to `{path}`.", "That is no file.", "Name a file, new or to be replaced."
        )
    temporary = path.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
