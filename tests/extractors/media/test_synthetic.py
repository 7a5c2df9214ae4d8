"""The made-up meetings."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest

from cuebank.extractors.media import decode_audio, make_meetings, probe
from cuebank.extractors.media.puppet import HEIGHT, WIDTH
from cuebank.extractors.media.synthetic import LIMIT, SOUND_HZ, Person, Room, perform
from cuebank.extractors.media.voice import Speaking, loudness, speak

PERSON = Person(pitch_hz=120, tract=1, tempo=4.2, loud_db=0, mood=0, skin=(200, 160, 130))
ROOM = Room(mood=0, noise_db=-60, gain_db=0, wall=(120, 120, 130))


def rows_of(table):
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_meetings(tmp_path_factory.mktemp("made"), meetings=2, participants=2, clips_per_participant=2)


def test_the_table_lists_clips_of_every_participant_of_every_meeting(table):
    rows = rows_of(table)
    assert list(rows[0]) == ["clip_id", "path", "entity_id", "start", "end", "group_id", "engagement"]
    assert len(rows) == 8
    assert len({row["clip_id"] for row in rows}) == len({row["path"] for row in rows}) == 8
    assert rows[2]["clip_id"] == "meeting_01/clip0003"
    assert len({row["entity_id"] for row in rows}) == 4
    assert {row["group_id"] for row in rows} == {"meeting_01", "meeting_02"}
    assert all(abs(float(row["engagement"])) <= LIMIT for row in rows)


def test_every_clip_has_sound_and_picture_of_the_stated_length(table):
    for row in rows_of(table):
        path = table.parent / row["path"]
        info = probe(path)
        assert (len(info.audio), len(info.video)) == (1, 1)
        assert info.video[0].duration_s == pytest.approx(3, abs=0.001)
        audio = decode_audio(path, 16000)
        assert (audio.start_s, len(audio.samples), audio.gaps) == (0, 48000, ())
        assert 0.003 < audio.samples.std() < 0.3


def test_the_same_seed_makes_the_same_clips_and_another_seed_others(table, tmp_path):
    again = make_meetings(tmp_path / "a", meetings=2, participants=2, clips_per_participant=2)
    assert again.read_text() == table.read_text()
    row = rows_of(table)[5]
    same = decode_audio(again.parent / row["path"], 16000).samples
    np.testing.assert_array_equal(same, decode_audio(table.parent / row["path"], 16000).samples)
    other = make_meetings(tmp_path / "b", meetings=1, participants=1, clips_per_participant=1, seed=1)
    assert rows_of(other)[0]["engagement"] != rows_of(table)[0]["engagement"]


def test_a_demo_is_made_in_seconds(tmp_path):
    begin = time.process_time()
    make_meetings(tmp_path, meetings=2, participants=3, clips_per_participant=2, duration_s=4)
    assert time.process_time() - begin < 10


def features(engagement, seed):
    """Mean loudness (dB), silent share of a performance, and movement of its picture."""
    sound, frames = perform(PERSON, ROOM, engagement, 6.0, np.random.default_rng(seed))
    levels = loudness(sound, SOUND_HZ, np.arange(0.1, 5.9, 0.05))
    motion = np.abs(np.diff(frames[:, 30:90].mean(axis=3), axis=0)).mean()
    return 20 * np.log10(np.sqrt((sound**2).mean())), (levels < 0.2 * levels.max()).mean(), motion


def test_engagement_is_heard_and_seen():
    low = np.mean([features(-LIMIT, seed) for seed in range(4)], axis=0)
    high = np.mean([features(LIMIT, seed) for seed in range(4)], axis=0)
    assert high[0] > low[0] + 3
    assert high[1] < low[1] - 0.1
    assert high[2] > 1.5 * low[2]


def test_the_mouth_follows_the_voice():
    sound, frames = perform(PERSON, ROOM, 0.0, 6.0, np.random.default_rng(0))
    assert frames.shape == (90, HEIGHT, WIDTH, 3)
    red = (frames[..., 0] > 110) & (frames[..., 0] < 130) & (frames[..., 1] < 40)
    opening = red.sum(axis=(1, 2))
    levels = loudness(sound, SOUND_HZ, (np.arange(90) + 0.5) / 15)
    assert np.corrcoef(opening, levels)[0, 1] > 0.9


def test_the_voice_has_the_pitch_and_the_loudness_it_is_given():
    for pitch in (110, 220):
        style = Speaking(pitch, 0.0, 4, 0.1, -20)
        voice = speak(style, 4.0, SOUND_HZ, np.random.default_rng(0))
        power = np.abs(np.fft.rfft(voice[: 3 * SOUND_HZ])) ** 2
        correlation = np.fft.irfft(power)
        lags = slice(SOUND_HZ // 300, SOUND_HZ // 80)
        found = SOUND_HZ / (np.argmax(correlation[lags]) + lags.start)
        assert found == pytest.approx(pitch, rel=0.1)
        spoken = voice[np.abs(voice) > 1e-4]
        assert 20 * np.log10(np.sqrt((spoken**2).mean())) == pytest.approx(-20, abs=2)
