"""A made-up voice: a glottal pulse train through formant resonators, with syllables, phrases and pauses.

Source: the source-filter model (Fant 1960); formants of the vowels after Peterson and Barney (1952), rounded.
It is no speech, but has what prosody features see: pitch mean and range, syllable rate, pausing, loudness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# First three formants (Hz) of /a e i o u/ for an average adult; a participant's vocal tract scales them.
VOWELS = np.array([[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]])
BANDWIDTHS_HZ = np.array([80.0, 100.0, 150.0])
FORMANT_GAINS = np.array([1.0, 0.5, 0.25])
RING_S = 0.03  # the resonators have died away by then


@dataclass(frozen=True)
class Speaking:
    """How somebody speaks in a clip.

    Args:
        pitch_hz: mean pitch.
        pitch_range: standard deviation of the pitch, octaves.
        syllables_hz: syllables per second within a phrase.
        pausing: share of the time that is silent, 0 to 1.
        level_db: loudness of the syllables, dB full scale (RMS, about).
        tract: scale of the formants; 1 is average.
        breath: level of the noise in the source relative to the pulses.
    """

    pitch_hz: float
    pitch_range: float
    syllables_hz: float
    pausing: float
    level_db: float
    tract: float = 1.0
    breath: float = 0.05


def speak(speaking: Speaking, duration_s: float, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Return (N,) float32 of speech-like sound.

    Example:
        >>> style = Speaking(pitch_hz=120, pitch_range=0.2, syllables_hz=4, pausing=0.2, level_db=-20)
        >>> speak(style, 1.0, 16_000, np.random.default_rng(0)).shape
        (16000,)
    """
    count = round(duration_s * rate_hz)
    sound = np.zeros(count)
    for start_s, length_s, pitch_hz in _syllables(speaking, duration_s, rng):
        first, last = round(start_s * rate_hz), min(round((start_s + length_s) * rate_hz), count)
        source = _source(pitch_hz, last - first, rate_hz, speaking.breath, rng)
        ring = _resonance(VOWELS[rng.integers(len(VOWELS))] * speaking.tract, rate_hz)
        syllable = _convolve(source, ring) * rng.uniform(0.7, 1.0)
        stop = min(first + len(syllable), count)
        sound[first:stop] += syllable[: stop - first]
    loud = sound[np.abs(sound) > 0]
    level = np.sqrt(np.mean(loud**2)) if len(loud) else 1.0
    return (np.clip(sound / level * 10 ** (speaking.level_db / 20), -1, 1)).astype(np.float32)


def loudness(sound: np.ndarray, rate_hz: int, times_s: np.ndarray) -> np.ndarray:
    """Return the RMS (T,) of a sound (N,) in 80 ms around each time (T,)."""
    energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    half = round(0.04 * rate_hz)
    centre = np.round(times_s * rate_hz).astype(int)
    low, high = np.clip(centre - half, 0, len(sound)), np.clip(centre + half, 0, len(sound))
    return np.sqrt((energy[high] - energy[low]) / np.maximum(high - low, 1))


def _syllables(speaking: Speaking, duration_s: float, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Lay out (start, length, pitch) of syllables; phrases of a few syllables alternate with pauses."""
    plan = []
    at = rng.uniform(0.0, 0.15)
    while at < duration_s - 0.1:
        phrase = int(rng.integers(3, 8))
        begin = at
        for number in range(phrase):
            length = rng.uniform(0.85, 1.15) / speaking.syllables_hz
            falling = 0.5 - number / max(phrase - 1, 1)  # declination over the phrase
            octaves = speaking.pitch_range * (falling + rng.normal(0, 0.7))
            if at + length < duration_s:
                plan.append((at, 0.8 * length, speaking.pitch_hz * 2**octaves))
            at += length
        at += (at - begin) * speaking.pausing / (1 - speaking.pausing) * rng.uniform(0.7, 1.3)
    return plan


def _source(pitch_hz: float, count: int, rate_hz: int, breath: float, rng: np.random.Generator) -> np.ndarray:
    """Pulses of the vocal folds with a little breath, faded in and out, (count,)."""
    glide = pitch_hz * np.linspace(1.05, 0.95, count)
    cycles = np.cumsum(glide) / rate_hz
    pulses = np.diff(np.floor(cycles), prepend=0.0)
    fade = np.sin(np.linspace(0, np.pi, count)) ** 0.5
    return (pulses + breath * rng.normal(0, 1, count)) * fade


def _resonance(formants_hz: np.ndarray, rate_hz: int) -> np.ndarray:
    """Impulse response of the vocal tract: a sum of damped oscillations, one per formant."""
    t = np.arange(round(RING_S * rate_hz)) / rate_hz
    usable = formants_hz < 0.45 * rate_hz
    decay = np.exp(-np.pi * BANDWIDTHS_HZ[usable, None] * t)
    return FORMANT_GAINS[usable] @ (decay * np.sin(2 * np.pi * formants_hz[usable, None] * t))


def _convolve(signal: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Full convolution by FFT, (len(signal) + len(response) - 1,)."""
    count = len(signal) + len(response) - 1
    size = 1 << (count - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(response, size), size)[:count]
