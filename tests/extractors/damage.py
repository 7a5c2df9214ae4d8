"""Damage to media files: as disks, networks and bad programs do it."""

from __future__ import annotations

import random

REAL = ["talking_1.mp4", "single_face.mp4", "face_then_no_face.mov", "meeting_headset.wav", "video_call.mp4"]


def damage(content: bytes, chance: random.Random) -> bytes:
    """Cut, flip, overwrite or take out a part of a file."""
    content = bytearray(content)
    kind = chance.choice(["cut", "flip", "head", "hole", "noise", "absurd", "empty"])
    at, length = chance.randrange(len(content)), chance.randrange(1, 20_000)
    if kind == "cut":
        del content[at:]
    elif kind == "empty":
        content.clear()
    elif kind == "absurd":  # numbers of a header
        for _ in range(chance.choice([1, 5, 20])):
            place = chance.randrange(min(len(content), 3000))
            content[place : place + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])
    elif kind == "hole":
        del content[at : at + length]
    elif kind == "noise":
        content[at : at + length] = chance.randbytes(length)
    else:
        reach = len(content) if kind == "flip" else min(len(content), 3000)
        for _ in range(chance.choice([1, 10, 200])):
            content[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(content)
