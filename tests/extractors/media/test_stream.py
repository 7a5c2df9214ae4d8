"""Pictures on their way from the decoding process: bounded, in order, and a clip's trouble stays its own."""

from __future__ import annotations

import os
import resource
import signal
import textwrap
import threading
import time
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from film_maker import make_film, picture, see

from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import DecodePool
from cuebank.extractors.media.demand import AtRate, EveryFrame, PictureDemand, PictureShape, Slots
from cuebank.extractors.media.flash import steady
from cuebank.extractors.media.request import ClipRequest
from cuebank.extractors.media.stream import ClipStream, PicturesCame, PicturesEnded, Room, SoundCame, Stopped

DEMANDS = (
    PictureDemand(EveryFrame(), PictureShape()),
    PictureDemand(AtRate(Fraction(10)), PictureShape("exact", 20, 30)),
    PictureDemand(Slots(7), PictureShape("short-side", 24, filter="bicubic", crop=(24, 24))),
)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    return [make_film(folder / f"{n}.mov", steady(Fraction(25), 2 + n), sound_s=2 + n) for n in range(3)]


def requests_for(paths, demands=DEMANDS, sounds=(16000, 8000)):
    return [ClipRequest(path, sounds, demands) for path in paths]


def gather(stream):
    """All that a clip gives, without the cut into blocks."""
    pictures = {number: [] for number in range(len(stream.request.pictures))}
    ends, sounds = {}, {}
    for event in stream:
        if isinstance(event, PicturesCame):
            assert event.demand not in ends
            pictures[event.demand].append(event.pictures)
        elif isinstance(event, PicturesEnded):
            ends[event.demand] = event.error
        else:
            sounds[event.number] = event.sound
    whole = {
        number: [np.concatenate(parts).tobytes() for parts in zip(*blocks, strict=True)]
        for number, blocks in pictures.items()
    }
    return (
        whole,
        {n: e and str(e) for n, e in ends.items()},
        {n: getattr(s, "samples", None) for n, s in sounds.items()},
    )


def test_what_comes_does_not_depend_on_the_process_that_decodes(films, tmp_path):
    paths = [*films, tmp_path / "absent.mov"]
    outcomes = []
    for workers, ahead_bytes in ((0, 1 << 28), (1, 1 << 28), (2, 0), (1, 1 << 16)):
        with DecodePool(workers, ahead_bytes=ahead_bytes) as pool:
            outcomes.append([gather(stream) for stream in pool.clips(requests_for(paths))])
    for other in outcomes[1:]:
        for (one, ends, sounds), (same, same_ends, same_sounds) in zip(outcomes[0], other, strict=True):
            assert one == same
            assert ends == same_ends
            assert len(ends) == 3
            for number, samples in sounds.items():
                np.testing.assert_array_equal(samples, same_sounds[number])
    direct = see(films[1], *(demand.sampling for demand in DEMANDS[:1]))
    assert direct.whole().frames.tobytes() == outcomes[0][1][0][0][0]


def test_a_clip_that_nobody_wants_any_more_holds_up_nothing(films):
    with DecodePool(1, ahead_bytes=0) as pool:
        seen = 0
        for stream in pool.clips(requests_for(films * 2)):
            with stream:
                next(iter(stream))
                seen += 1
        assert seen == 6


def large_film(folder: Path, seconds: int = 40) -> Path:
    return make_film(folder / "large.mov", steady(Fraction(25), seconds), draw=lambda n: picture(n, 320, 240))


def test_decoding_waits_for_the_computation_so_that_memory_stays_bounded(tmp_path):
    limit = 4 << 20
    request = ClipRequest(large_film(tmp_path), (), (PictureDemand(EveryFrame(), PictureShape()),))
    with DecodePool(1, ahead_bytes=limit) as pool, closing(pool.clips([request, request])) as streams:
        stream = next(streams)
        events = iter(stream)
        size = next(events).pictures.frames.nbytes
        most = 0
        for _ in range(20):
            time.sleep(0.05)
            most = max(most, sum(stream._room._used.values()))
            next(events)
        assert limit - size < most <= limit + size
        assert stream.tally is None  # 230 MB of pictures are not decoded yet
        child = pool.pids()[0]
        held = int(Path(f"/proc/{child}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
        assert held < 150  # MB


def test_a_hang_in_the_middle_costs_its_clip_only(tmp_path, films):
    wanted = requests_for([large_film(tmp_path), *films], DEMANDS[:1], ())
    with DecodePool(1, timeout_s=3, ahead_bytes=1 << 20) as pool, closing(pool.clips(wanted)) as streams:
        first = next(streams)
        events = iter(first)
        assert isinstance(next(events), PicturesCame)
        os.kill(pool.pids()[0], signal.SIGSTOP)
        begin = time.monotonic()
        rest = list(events)
        assert time.monotonic() - begin < 20
        assert "did not get on within 3 s" in rest[-1].error.found
        assert first.tally is None
        assert [gather(stream)[1] for stream in streams] == [{0: None}] * 3


def test_a_crash_in_the_middle_costs_its_clip_only(tmp_path, films):
    wanted = requests_for([large_film(tmp_path), *films], DEMANDS[:1], ())
    with DecodePool(1, ahead_bytes=1 << 20) as pool, closing(pool.clips(wanted)) as streams:
        events = iter(next(streams))
        next(events)
        os.kill(pool.pids()[0], signal.SIGSEGV)
        assert "SIGSEGV" in list(events)[-1].error.found
        assert [gather(stream)[1] for stream in streams] == [{0: None}] * 3


PICTURES = "say({'kind': 'pictures', 'demand': 0, 'times': [], 'valid': [], 'shape': %s})"
GARBAGE = {
    "noise": "out.write(b'\\xff' * 100)",
    "no json": "out.write(struct.pack('<I', 5) + b'hello')",
    "no dict": "out.write(struct.pack('<I', 2) + b'17')",
    "no kind": "say({'ok': 1})",
    "unknown kind": "say({'kind': 'poem'})",
    "huge array": PICTURES % [10**9, 10**9, 3, 3],
    "negative": "say({'kind': 'sound', 'number': 0, 'count': -1, 'rate_hz': 1, 'gaps': [], 'error': None})",
    "no times": PICTURES % [1, 1, 1, 3] + "; out.write(b'abc')",
    "no tally": "say({'kind': 'done', 'tally': {'opened': 1, 'poems': 2}})",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_a_process_that_answers_nonsense_costs_its_clip_only(films, tmp_path, monkeypatch, garbage):
    (tmp_path / "nonsense.py").write_text(
        textwrap.dedent(f"""
            import json, struct, sys, time
            from cuebank.extractors.media.worker import read_message
            out = sys.stdout.buffer
            def say(message):
                text = json.dumps(message).encode()
                out.write(struct.pack('<I', len(text)) + text)
            read_message(sys.stdin.buffer)
            say({{'kind': 'taken'}})
            {garbage}
            out.flush()
            time.sleep(60)
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with DecodePool(1, timeout_s=30) as pool, closing(pool.clips(requests_for(films[:2]))) as streams:
        monkeypatch.setattr("cuebank.extractors.media.child.MODULE", "nonsense")
        stream = next(streams)
        first = list(stream)
        monkeypatch.setattr("cuebank.extractors.media.child.MODULE", "cuebank.extractors.media.worker")
        assert len(first) == 5
        for event in first:
            error = event.error if isinstance(event, PicturesEnded) else event.sound
            assert "senseless answer" in error.found


def test_an_exception_in_the_decoder_of_this_process_reaches_the_computation(films, monkeypatch):
    def broken(request, receiver):
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr("cuebank.extractors.media.isolation.decode_clip", broken)
    with DecodePool(0) as pool, closing(pool.clips(requests_for(films))) as streams, pytest.raises(ZeroDivisionError):
        list(next(streams))


def test_closing_the_pool_stops_whoever_waits_for_a_clip(tmp_path):
    pool = DecodePool(1, ahead_bytes=1 << 20)
    request = ClipRequest(large_film(tmp_path), (), DEMANDS[:1])
    streams = pool.clips([request])
    events = iter(next(streams))
    next(events)
    threading.Timer(0.3, pool.close).start()
    with pytest.raises(Stopped):
        [time.sleep(0.02) for _ in events]
    streams.close()
    assert pool.pids() == []


def test_a_pool_that_is_closed_between_two_clips_leaves_nobody_waiting(films):
    """No process is at work just then, whose end could be heard."""
    pool = DecodePool(1, ahead_items=1)
    with closing(pool.clips(requests_for(films))) as streams:
        gather(next(streams))
        until = time.monotonic() + 10
        while pool._busy and time.monotonic() < until:
            time.sleep(0.01)
        pool.close()
        heard = []

        def work():
            try:
                gather(next(streams))
            except Stopped:
                heard.append("stopped")

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(10)
        assert heard == ["stopped"]


def test_two_threads_may_take_turns_at_the_clips(films):
    wanted, lock, seen = requests_for(films * 3), threading.Lock(), []
    with DecodePool(2, ahead_bytes=1 << 20) as pool, closing(pool.clips(wanted)) as streams:

        def work():
            while True:
                with lock:
                    stream = next(streams, None)
                if stream is None:
                    return
                seen.append((stream.number, gather(stream)[1]))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(number for number, _ in seen) == list(range(9))
    assert all(ends == {0: None, 1: None, 2: None} for _, ends in seen)


def test_what_did_not_end_gets_the_reason_once():
    stream = ClipStream(ClipRequest(Path("x"), (8000, 16000), DEMANDS), 0, Room(10))
    error, other = MediaError("a.", "b.", "c."), MediaError("d.", "e.", "f.")
    stream.pictures_end(1, None)
    stream.sound(0, other)
    stream.finish(error)
    events = list(stream)
    assert [event for event in events if isinstance(event, PicturesEnded)] == [(1, None), (0, error), (2, error)]
    assert [event for event in events if isinstance(event, SoundCame)] == [(0, other), (1, error)]


@pytest.mark.slow
def test_an_hour_of_film_stays_small(tmp_path):
    """Memory of both processes, against what they need for a minute."""
    shape = PictureShape("exact", 224, 224)
    demands = (PictureDemand(AtRate(Fraction(2)), shape), PictureDemand(EveryFrame(), shape))

    def peak(minutes):
        times = steady(Fraction(5), 60 * minutes)
        path = make_film(tmp_path / f"{minutes}.mkv", times, tick=Fraction(1, 1000), sound_s=60 * minutes)
        count = 0
        with DecodePool(1, ahead_bytes=64 << 20) as pool:
            for stream in pool.clips([ClipRequest(path, (16000,), demands)]):
                for event in stream:
                    count += len(event.pictures.times) if isinstance(event, PicturesCame) else 0
                child = int(Path(f"/proc/{pool.pids()[0]}/status").read_text().split("VmHWM:")[1].split()[0])
        assert count == 60 * minutes * 7
        return child / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    small, _ = peak(1)
    large, own = peak(60)
    assert large - small < 600  # MB: the sound, twice while its parts are joined
    assert own < 1500
