"""Meetings that nobody held: short audiovisual clips whose prosody and motion depend on a hidden engagement.

For demos and tests. Who is engaged speaks higher, livelier, faster and with fewer pauses, nods more and looks around
less. Every participant has a voice and habits of their own, every meeting a mood, a room noise and a light; so a model
that has seen a meeting does better in it, and folds that split meetings give scores that are too good.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .puppet import HEIGHT, WIDTH, Moving, draw
from .voice import Speaking, loudness, speak

SOUND_HZ = 16_000
PICTURE_HZ = 15
LIMIT = 0.4  # engagement lies between -0.4 and 0.4, as in the annotations that this imitates
ANNOTATOR_NOISE = 0.04
COLUMNS = ("clip_id", "path", "entity_id", "start", "end", "group_id", "engagement")


@dataclass(frozen=True)
class Person:
    """What stays the same over the clips of a participant."""

    pitch_hz: float
    tract: float
    tempo: float
    loud_db: float
    mood: float
    skin: tuple[int, int, int]


@dataclass(frozen=True)
class Room:
    """What stays the same over the clips of a meeting."""

    mood: float
    noise_db: float
    gain_db: float
    wall: tuple[int, int, int]


def make_meetings(
    folder: str | os.PathLike[str],
    *,
    meetings: int = 4,
    participants: int = 3,
    clips_per_participant: int = 2,
    duration_s: float = 3.0,
    seed: int = 0,
) -> Path:
    """Write clips (mp4: H.264 or MPEG-4, and AAC) and the table that lists them.

    Args:
        folder: where to write; created if absent.
        meetings, participants, clips_per_participant: how many of each; participants are people of one meeting.
        duration_s: length of a clip.
        seed: everything drawn and heard follows from it.

    Returns:
        Path of the clips table: columns clip_id, path (relative to the table), entity_id (the participant), start,
        end, group_id (the meeting), and the label engagement, as an annotator with a little noise would give it.
    """
    folder = Path(folder)
    rows = []
    for meeting in range(1, meetings + 1):
        room = _room(np.random.default_rng([seed, meeting]))
        number = 0
        for participant in range(1, participants + 1):
            person = _person(np.random.default_rng([seed, meeting, participant]))
            for _ in range(clips_per_participant):
                number += 1
                rng = np.random.default_rng([seed, meeting, participant, number])
                engagement = float(np.clip(room.mood + person.mood + rng.normal(0, 0.2), -LIMIT, LIMIT))
                sound, frames = perform(person, room, engagement, duration_s, rng)
                name = f"meeting_{meeting:02d}/clip{number:04d}"
                path = folder / "media" / f"{name}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_clip(path, sound, frames)
                label = float(np.clip(engagement + rng.normal(0, ANNOTATOR_NOISE), -LIMIT, LIMIT))
                rows.append(
                    {
                        "clip_id": name,
                        "path": path.relative_to(folder).as_posix(),
                        "entity_id": f"meeting_{meeting:02d}:p{participant}",
                        "start": 0,
                        "end": duration_s,
                        "group_id": f"meeting_{meeting:02d}",
                        "engagement": f"{label:.3f}",
                    }
                )
    table = folder / "clips.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return table


def perform(
    person: Person, room: Room, engagement: float, duration_s: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Let a person speak and move for a clip.

    Args:
        person, room: who and where.
        engagement: -0.4 to 0.4.
        duration_s: length of the clip.
        rng: chance.

    Returns:
        Sound (N,) float32 at 16 kHz, and frames (T, HEIGHT, WIDTH, 3) uint8 at 15 per second.
    """
    drive = engagement / LIMIT  # -1 to 1
    speaking = Speaking(
        pitch_hz=person.pitch_hz * 2 ** (0.15 * drive),
        pitch_range=0.18 + 0.12 * drive,
        syllables_hz=person.tempo * (1 + 0.25 * drive),
        pausing=0.35 - 0.25 * drive,
        level_db=-26 + person.loud_db + room.gain_db + 4 * drive,
        tract=person.tract,
    )
    voice = speak(speaking, duration_s, SOUND_HZ, rng)
    times_s = (np.arange(round(duration_s * PICTURE_HZ)) + 0.5) / PICTURE_HZ
    mouth = loudness(voice, SOUND_HZ, times_s) * 10 ** (-speaking.level_db / 20)
    moving = Moving(
        nod_hz=1.2 + 0.8 * drive,
        nod=4 + 3.5 * drive,
        sway=3 - 1.5 * drive,
        gaze=1.5 - 1.5 * drive,
        skin=person.skin,
        wall=room.wall,
    )
    noise = rng.normal(0, 10 ** (room.noise_db / 20), len(voice))
    sound = np.clip(voice + noise, -1, 1).astype(np.float32)
    return sound, draw(moving, np.clip(mouth / 1.5, 0, 1), PICTURE_HZ, rng)


def write_clip(path: Path, sound: np.ndarray, frames: np.ndarray) -> None:
    """Write sound (N,) at 16 kHz and frames (T, H, W, 3) at 15 per second into an mp4 file."""
    with av.open(str(path), "w") as container:
        video = _video_stream(container)
        audio = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
        audio.bit_rate = 64_000
        for start in range(0, len(sound), SOUND_HZ // PICTURE_HZ * PICTURE_HZ):
            block = np.ascontiguousarray(sound[None, start : start + SOUND_HZ // PICTURE_HZ * PICTURE_HZ])
            heard = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            heard.sample_rate, heard.time_base, heard.pts = SOUND_HZ, Fraction(1, SOUND_HZ), start
            container.mux(audio.encode(heard))
        for number, picture in enumerate(frames):
            seen = av.VideoFrame.from_ndarray(picture, format="rgb24")
            seen.time_base, seen.pts = Fraction(1, PICTURE_HZ), number
            container.mux(video.encode(seen))
        for stream in (audio, video):
            container.mux(stream.encode(None))


def _video_stream(container: av.container.OutputContainer) -> av.VideoStream:
    """Add an H.264 stream, or MPEG-4 where this build of FFmpeg has no H.264 encoder."""
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = container.add_stream(codec, rate=PICTURE_HZ)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.codec_context.thread_count = 1  # the picture is small, and results should not depend on the machine
    if codec == "libx264":
        stream.options = {"preset": "ultrafast", "crf": "23"}
    return stream


def _room(rng: np.random.Generator) -> Room:
    shade = int(rng.integers(90, 200))
    wall = (shade, shade, int(np.clip(shade + rng.integers(-30, 30), 0, 255)))
    return Room(rng.normal(0, 0.08), rng.uniform(-65, -50), rng.normal(0, 3), wall)


def _person(rng: np.random.Generator) -> Person:
    pitch_hz = float(rng.choice([115.0, 205.0]) * 2 ** rng.normal(0, 0.15))
    tone = rng.uniform(0.45, 1.0)
    skin = (int(230 * tone), int(180 * tone), int(150 * tone))
    tract = 1.0 if pitch_hz < 160 else 1.15
    return Person(
        pitch_hz, tract * rng.uniform(0.95, 1.05), rng.normal(4.2, 0.3), rng.normal(0, 2), rng.normal(0, 0.08), skin
    )
