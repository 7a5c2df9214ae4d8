"""Ways in which a store may be damaged, by accident or on purpose.

Each takes a patient and a random generator, damages something, and says what. `ACCIDENTS` change bytes of files, so
that `verify` must find every one of them; the others also move, link, remove and copy.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from patient import Patient

Mutation = Callable[[Patient, random.Random], str]

HOSTILE: list[Any] = [
    *(
        -1,
        0,
        1,
        3,
        2**31,
        2**53,
        2**62,
        2**63,
        2**64,
        -(2**63),
        10**30,
        10**400,
        1.5,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *("", "7", "..", "../outside", "/etc/passwd", "a\0b", "\ud800", "a" * 100_000, "zstd", "float16"),
    *(None, True, False, [], {}, [[[[]]]], {"a": {"a": {}}}, [0] * 1000, ["x", 1, None]),
]
HOSTILE_TEXTS = [
    b"",
    b"null",
    b"{",
    b"[1]",
    b"\xff\xfe{}",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"9" * 10_000,
    b"\xef\xbb\xbf{}",
]
HUGE_SIZES = [2**31, 2**33, 2**40]  # of sparse files


class NothingLeft(Exception):
    """There is nothing more to damage."""


def drawn(rng: random.Random, names: list[str]) -> str:
    """Return one of some names."""
    if not names:
        raise NothingLeft
    return rng.choice(names)


def pick_file(patient: Patient, rng: random.Random, ending: str = "") -> str:
    """Return the name of a file that is there; one that a series needs about as often as one that says what it is."""
    paths = {name: patient.inside / name for name in patient.files if name.endswith(ending)}
    there = [name for name, path in paths.items() if is_there(path) and path.is_file() and not path.is_symlink()]
    described = [name for name in there if name.endswith("zarr.json")]
    return drawn(rng, described if described and rng.random() < 0.3 else there)


def change(patient: Patient, name: str, data: bytes) -> None:
    """Give a file other content."""
    patient.touch(name).write_bytes(data)


def flip_bits(patient: Patient, rng: random.Random) -> str:
    name = pick_file(patient, rng)
    data = bytearray((patient.inside / name).read_bytes())
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    change(patient, name, bytes(data))
    return f"bits of {name} flipped"


def overwrite_run(patient: Patient, rng: random.Random) -> str:
    name = pick_file(patient, rng)
    data = bytearray((patient.inside / name).read_bytes())
    start, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 8, 64, 4096))
    run = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    data[start : start + length] = run[: len(data) - start]
    change(patient, name, bytes(data))
    return f"{length} bytes of {name} overwritten at {start}"


def truncate(patient: Patient, rng: random.Random) -> str:
    name = pick_file(patient, rng)
    data = (patient.inside / name).read_bytes()
    length = rng.choice((0, len(data) // 2, max(0, len(data) - 1), rng.randrange(len(data) + 1)))
    change(patient, name, data[:length])
    return f"{name} cut to {length} of {len(data)} bytes"


def extend(patient: Patient, rng: random.Random) -> str:
    name = pick_file(patient, rng)
    data = (patient.inside / name).read_bytes()
    more = rng.choice((b"\0", b"\n", data, bytes(4096), rng.randbytes(20)))
    change(patient, name, data + more)
    return f"{name} extended by {len(more)} bytes"


def inflate(patient: Patient, rng: random.Random) -> str:
    name, size = pick_file(patient, rng), rng.choice(HUGE_SIZES)
    path = patient.touch(name)
    if path.is_file():
        os.truncate(path, size)
    return f"{name} grown to {size} bytes without content"


def swap(patient: Patient, rng: random.Random) -> str:
    one = pick_file(patient, rng)
    other = pick_file(patient, rng, Path(one).suffix or "/0")
    contents = [(patient.inside / name).read_bytes() for name in (one, other)]
    change(patient, one, contents[1])
    change(patient, other, contents[0])
    return f"{one} and {other} swapped"


def pick(patient: Patient, rng: random.Random) -> str:
    """Return the name of a file or folder, but not of the store itself."""
    names = [*(name for name in patient.folders if name != patient.path.name), *patient.files]
    return drawn(rng, [name for name in names if is_there(patient.inside / name)])


def is_there(path: Path) -> bool:
    """Return whether there is something that can be reached without following a link."""
    return os.path.lexists(path) and os.path.realpath(path.parent) == str(path.parent)


def beside(name: str, last: str) -> str:
    """Return a name in the same folder."""
    parent, slash, _ = name.rpartition("/")
    return parent + slash + last


def remove(patient: Patient, rng: random.Random) -> str:
    name = pick(patient, rng)
    clear(patient.touch(name))
    return f"{name} removed"


def clear(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def link_outside(patient: Patient, rng: random.Random) -> str:
    """Replace something by a link to what the twin has in its place, under the twin's name for it."""
    name = pick(patient, rng)
    if name == patient.path.name:
        return "nothing linked: the path of a store may be a link itself"
    clear(patient.touch(name))
    new = beside(name, patient.twin[name].rpartition("/")[2])
    target = patient.outside / patient.twin[name]
    link = os.path.relpath(target, (patient.inside / new).parent) if rng.random() < 0.5 else target
    patient.touch(new).symlink_to(link)
    return f"{name} replaced by a link {new} to the twin"


def graft(patient: Patient, rng: random.Random) -> str:
    """Put a sound bundle of the twin into the store, but for its rows, to which it has a link."""
    values = rng.choice([name for name in patient.folders if name.endswith("/values")])
    bundle, twin = values.rpartition("/")[0], patient.twin[values].rpartition("/")[0]
    new = patient.touch(beside(bundle, twin.rpartition("/")[2]))
    if new.exists():
        return f"{new.name} is there already"
    shutil.copytree(patient.outside / twin, new)
    whole = rng.random() < 0.5
    link = new / "values" if whole else next((new / "values").glob("0*"))
    clear(link)
    link.symlink_to(patient.outside / twin / link.relative_to(new))
    return f"a segment of the twin put into {bundle.rpartition('/')[0]}, with a link in place of its rows"


def replace_by_pipe(patient: Patient, rng: random.Random) -> str:
    name = pick(patient, rng)
    path = patient.touch(name)
    clear(path)
    os.mkfifo(path)
    return f"{name} replaced by a pipe"


def replace_by_folder(patient: Patient, rng: random.Random) -> str:
    name = pick_file(patient, rng)
    path = patient.touch(name)
    clear(path)
    path.mkdir()
    return f"{name} replaced by a folder"


def duplicate(patient: Patient, rng: random.Random) -> str:
    name = pick(patient, rng)
    last, number = name.rpartition("/")[2], f"{rng.randrange(10**8):08d}"
    other = rng.choice((f"{last}2", f"9{last}", last[:-1] or number, number + last[8:], "demo.new", "A" * 200))
    path, source = patient.touch(beside(name, other)), patient.inside / name
    if not os.path.lexists(path) and not source.is_fifo():
        if source.is_dir():
            with contextlib.suppress(shutil.Error):  # there may be pipes in it
                shutil.copytree(source, path)
        else:
            path.write_bytes(source.read_bytes())
    return f"{name} copied to {other[:80]}"


def rename(patient: Patient, rng: random.Random) -> str:
    name, other = pick(patient, rng), pick(patient, rng)
    one, two = patient.touch(name), patient.touch(other)
    if two not in one.parents and one not in two.parents and one != two:
        clear(two)
        one.rename(two)
    return f"{name} moved to {other}"


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the paths of all values in nested JSON, but not of the whole."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from leaves(item, (*path, key))


def change_json(patient: Patient, rng: random.Random) -> str:
    """Replace or remove a value in a JSON file; a hostile writer knows where."""
    name = pick_file(patient, rng, ".json")
    try:
        document = json.loads((patient.inside / name).read_bytes())
    except (ValueError, RecursionError):  # it was damaged before
        return f"{name} left as it is"
    told = edit_some(document, rng)
    text = json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"
    change(patient, name, text.encode())
    return f"in {name}: {told}"


def edit_some(document: Any, rng: random.Random) -> str:
    """Replace or remove a few values in JSON; return which."""
    paths, told = list(leaves(document)), []
    for path in rng.sample(paths, min(rng.choice((1, 1, 2, 5)), len(paths))):
        told.append(f"{'.'.join(map(str, path))[-80:]}: {str(edit(document, path, rng))[:40]}")
    return ", ".join(told)


def edit(document: Any, path: tuple, rng: random.Random) -> Any:
    """Change the value at a path; an earlier change may have taken it away."""
    parent = document
    try:
        for key in path[:-1]:
            parent = parent[key]
        old = parent[path[-1]]
    except (LookupError, TypeError):
        return "gone"
    if not isinstance(parent, (dict, list)):
        return "gone"
    if rng.random() < 0.2:
        return f"removed {parent.pop(path[-1])}"
    near = [old + 1, old - 1, -old, old * 2] if type(old) is int else [[old], [old, old]]
    parent[path[-1]] = new = rng.choice(near if rng.random() < 0.3 else HOSTILE)
    return new


def hostile_text(patient: Patient, rng: random.Random) -> str:
    name, text = pick_file(patient, rng, ".json"), rng.choice(HOSTILE_TEXTS)
    change(patient, name, text)
    return f"{name} is {text[:10]!r}"


def change_numbers(patient: Patient, rng: random.Random) -> str:
    """Overwrite aligned numbers of a file without a format of its own, as index arrays are."""
    name = pick_file(patient, rng, "/0")
    change(patient, name, with_other_numbers((patient.inside / name).read_bytes(), rng))
    return f"numbers in {name} changed"


def with_other_numbers(array: bytes, rng: random.Random) -> bytes:
    """Return an array with some other numbers, of whatever type they are."""
    data, size = bytearray(array), rng.choice((8, 8, 4, 1))
    for _ in range(rng.choice((1, 2, 50))):
        number = rng.choice((0, 1, 2, -1, -2, 2**31, 2**62, 2**63 - 1, rng.randrange(100), rng.getrandbits(64)))
        at = size * rng.randrange(len(data) // size + 1)
        data[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")[: max(0, len(data) - at)]
    return bytes(data)


ACCIDENTS: list[Mutation] = [flip_bits, overwrite_run, truncate, extend]
MOVES: list[Mutation] = [swap, remove, replace_by_pipe, replace_by_folder, duplicate, rename]
ALONE: list[Mutation] = [link_outside, inflate]  # after which nothing should read files or write to them
ZARR: list[Mutation] = [graft, change_json, change_json, change_json, hostile_text, change_numbers, change_numbers]
