"""Decoding ahead in processes that may crash or hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import Audio, DecodePool, DecodeRequest
from cuebank.extractors.media.child import DecodeChild
from cuebank.extractors.media.stream import Room
from cuebank.store.errors import BadInput


@pytest.fixture(scope="module")
def files(tmp_path_factory, sound, encode):
    """Eight good files of different length and kind."""
    folder = tmp_path_factory.mktemp("media")
    kinds = [("a.m4a", "aac"), ("b.mp3", "libmp3lame"), ("c.flac", "flac"), ("d.wav", "pcm_s16le")] * 2
    return [
        encode(folder / f"{number}{name}", sound(48000, 1 + number / 4, number), 48000, codec)
        for number, (name, codec) in enumerate(kinds)
    ]


def requests_for(paths):
    return [DecodeRequest(path, 16000) for path in paths]


def running(pid):
    """Tell whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def open_files():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_results_do_not_depend_on_the_number_of_workers(files, tmp_path):
    (tmp_path / "text.mp4").write_text("no film")
    wanted = [
        *requests_for([*files, tmp_path / "text.mp4", tmp_path / "absent.wav"]),
        DecodeRequest(files[4], 22050, 0.25, 0.75),
        DecodeRequest(files[0], 16000, stream=3),
    ]
    outcomes = []
    for workers in (0, 1, 3):
        with DecodePool(workers) as pool:
            results = list(pool.decode(iter(wanted)))
        assert [request for request, _ in results] == wanted
        outcomes.append([result for _, result in results])
    for other in outcomes[1:]:
        for one, same in zip(outcomes[0], other, strict=True):
            assert type(one) is type(same)
            if isinstance(one, Audio):
                np.testing.assert_array_equal(one.samples, same.samples)
                assert (one.rate_hz, one.start_s, one.gaps) == (same.rate_hz, same.start_s, same.gaps)
            else:
                assert str(one) == str(same)
    assert sum(isinstance(one, MediaError) for one in outcomes[0]) == 3


def test_gaps_and_late_starts_come_through_the_pipe(tmp_path, sound, encode):
    path = encode(
        tmp_path / "a.mkv", sound(48000, 2), 48000, "pcm_s16le", start=24000, keep=lambda n: n not in (30, 31)
    )
    with DecodePool(1) as pool:
        [(_, audio)] = pool.decode([DecodeRequest(path, 16000)])
    assert audio.start_s == pytest.approx(0.5, abs=0.002)
    assert len(audio.gaps) == 1
    assert isinstance(audio.gaps[0], tuple)


def test_a_killed_process_costs_its_clip_and_nothing_else(files):
    with DecodePool(1, timeout_s=60) as pool:
        results = pool.decode(requests_for(files * 2))
        next(results)
        [pid] = pool.pids()
        os.kill(pid, signal.SIGSTOP)  # so that it is surely busy with a clip when it dies
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        rest = [result for _, result in results]
        assert len(rest) == 15
        dead = [result for result in rest if isinstance(result, MediaError)]
        assert len(dead) <= 1
        for error in dead:
            assert "ended by SIGKILL" in error.found
        assert pool.pids() != [pid]
    assert not running(pid)


class Slow:
    """Files that take long enough to decode for a test to come in between."""

    def __init__(self, tmp_path):
        import struct

        self.path = tmp_path / "long.wav"
        frames = 96_000 * 6000
        with self.path.open("wb") as file:  # sparse
            file.write(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + frames * 2, b"WAVE", b"fmt ", 16, 1, 1, 96_000,
                                   192_000, 2, 16, b"data", frames * 2))  # fmt: skip
            file.truncate(44 + frames * 2)


def test_a_process_killed_in_the_middle_of_a_clip_is_named_and_replaced(files, tmp_path):
    with DecodePool(1) as pool:
        assert isinstance(next(pool.decode(requests_for(files[:1])))[1], Audio)  # the process is up
        killer = threading.Timer(0.2, lambda: os.kill(pool.pids()[0], signal.SIGKILL))
        killer.start()
        outcome = [result for _, result in pool.decode(requests_for([Slow(tmp_path).path, *files]))]
    killer.join()
    assert isinstance(outcome[0], MediaError)
    assert "long.wav" in outcome[0].asked
    assert "ended by SIGKILL" in outcome[0].found
    assert "other clips went on" in outcome[0].todo
    assert all(isinstance(result, Audio) for result in outcome[1:])


def test_a_hang_ends_at_the_time_limit(files):
    with DecodePool(1, timeout_s=3) as pool:
        list(pool.decode(requests_for(files[:1])))
        [pid] = pool.pids()
        os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        outcome = [result for _, result in pool.decode(requests_for(files[:4]))]
        assert time.monotonic() - begin < 20
        assert "did not get on within 3 s" in outcome[0].found
        assert all(isinstance(result, Audio) for result in outcome[1:])
        assert not running(pid)


def test_a_process_that_died_while_idle_is_no_clips_fault(files):
    with DecodePool(1) as pool:
        list(pool.decode(requests_for(files[:1])))
        [pid] = pool.pids()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not running(pid))
        assert all(isinstance(result, Audio) for _, result in pool.decode(requests_for(files)))


def test_a_process_that_dies_as_it_is_asked_is_no_clips_fault(files, monkeypatch):
    with DecodePool(1) as pool:
        list(pool.decode(requests_for(files[:1])))
        [pid] = pool.pids()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not running(pid))
        truth, asked = DecodeChild.alive, []

        def look(child):
            asked.append(child)
            return len(asked) == 1 or truth.fget(child)  # the first look comes a moment too early

        monkeypatch.setattr(DecodeChild, "alive", property(look))
        [(_, result)] = pool.decode(requests_for(files[:1]))
    assert isinstance(result, Audio)


def test_a_decoder_that_cannot_even_start_says_why(files, monkeypatch):
    monkeypatch.setattr("cuebank.extractors.media.child.MODULE", "cuebank.no_such_module")
    with DecodePool(1) as pool:
        [(_, result)] = pool.decode(requests_for(files[:1]))
    assert "No module named cuebank.no_such_module" in result.found


def test_ctrl_c_does_not_reach_the_processes(files):
    with DecodePool(1) as pool:
        list(pool.decode(requests_for(files[:1])))
        [pid] = pool.pids()
        os.kill(pid, signal.SIGINT)
        assert os.getpgid(pid) != os.getpgid(0)
        assert all(isinstance(result, Audio) for _, result in pool.decode(requests_for(files)))
        assert pool.pids() == [pid]


def test_processes_are_kept_between_calls_and_none_remains_after_closing(files):
    list(DecodePool(0).decode(requests_for(files[:1])))
    before = open_files()
    with DecodePool(2) as pool:
        list(pool.decode(requests_for(files)))
        first = set(pool.pids())
        list(pool.decode(requests_for(files)))
        assert set(pool.pids()) == first
        assert len(first) == 2
    assert not any(running(pid) for pid in first)
    assert pool.pids() == []
    assert open_files() == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_processes_may_be_started_before_they_are_needed(files):
    with DecodePool(2) as pool:
        pool.start()
        pool.start()
        first = pool.pids()
        assert len(first) == 2
        list(pool.decode(requests_for(files)))
        assert pool.pids() != []
        assert set(pool.pids()) == set(first)
    DecodePool(0).start()


def test_closing_the_iterator_early_ends_what_is_decoding(files, tmp_path):
    before = open_files()
    with DecodePool(2) as pool:
        results = pool.decode(requests_for([files[0], Slow(tmp_path).path, *files]))
        next(results)
        begin = time.monotonic()
        results.close()
        assert time.monotonic() - begin < 5
        assert len(list(pool.decode(requests_for(files)))) == len(files)  # and the pool goes on
    assert open_files() == before


def test_closing_the_pool_ends_a_suspended_iterator_too(files):
    before = open_files()
    pool = DecodePool(1, ahead_bytes=1)
    results = pool.decode(requests_for(files))
    next(results)
    begin = time.monotonic()
    pool.close()
    assert time.monotonic() - begin < 5
    assert pool.pids() == []
    results.close()
    assert open_files() == before


def test_requests_are_read_only_a_bound_ahead(files):
    taken = []

    def source():
        for request in requests_for(files * 3):
            taken.append(request)
            yield request

    with DecodePool(2, ahead_items=3) as pool:
        for number, _ in enumerate(pool.decode(source()), 1):
            assert len(taken) <= number + 2


def test_bytes_that_wait_are_bounded_but_the_wanted_clip_always_gets_in():
    room = Room(100)
    room.want(0)
    room.enter(0, 1000)  # larger than all the room, but wanted now
    entered = threading.Event()
    waiter = threading.Thread(target=lambda: (room.enter(1, 50), entered.set()))
    waiter.start()
    assert not entered.wait(0.1)
    room.leave(0, 1000)
    assert entered.wait(5)
    blocked = threading.Thread(target=lambda: (room.enter(2, 90), entered.set()))
    entered.clear()
    blocked.start()
    assert not entered.wait(0.1)
    room.want(2)
    assert entered.wait(5)
    waiter.join()
    blocked.join()


def test_a_pool_with_room_for_nothing_still_gives_everything_in_order(files):
    with DecodePool(3, ahead_bytes=0) as pool:
        wanted = requests_for(files * 2)
        assert [request for request, _ in pool.decode(wanted)] == wanted


def test_processes_end_when_their_parent_is_killed(files):
    code = (
        "import sys; from cuebank.extractors.media import DecodePool, DecodeRequest\n"
        "pool = DecodePool(2)\n"
        "list(pool.decode([DecodeRequest(path, 16000) for path in sys.argv[1:]]))\n"
        "print(*pool.pids(), flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert all(running(pid) for pid in pids)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not any(running(pid) for pid in pids))


def test_the_working_folder_may_hold_modules_of_any_name(files, tmp_path):
    for name in ("av.py", "numpy.py", "json.py", "cuebank.py", "queue.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    code = (
        "import os, sys; from cuebank.extractors.media import DecodePool, DecodeRequest\n"
        "os.chdir(sys.argv[1])\n"
        "with DecodePool(1) as pool:\n"
        "    for _, result in pool.decode([DecodeRequest(sys.argv[2], 16000)]): print(type(result).__name__)"
    )
    out = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path), str(files[0])],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert out.stdout.split() == ["Audio"]


def test_senseless_requests_and_pools_are_bad_input(tmp_path):
    with pytest.raises(BadInput):
        DecodeRequest(tmp_path, 16000, 2.0, 1.0)
    with pytest.raises(BadInput):
        DecodePool(-1)
    with pytest.raises(BadInput):
        DecodePool(1, timeout_s=0)
