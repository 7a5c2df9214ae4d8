"""Deal clips to several devices: each takes the next one when it is free."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from .media.stream import ClipStream, Stopped
from .plan import Unit


def deal_out(
    clips: Iterator[tuple[Unit, ClipStream]],
    workers: Sequence[Callable[[Unit, ClipStream], None]],
    stop: Callable[[], None],
) -> None:
    """Run each worker in a thread of its own until the clips are used up.

    The first error of a worker, or Ctrl-C, stops all of them and is raised.

    Args:
        clips: what there is to do; used by one thread at a time.
        workers: what a device does with a clip.
        stop: makes the decoding end, so that nobody waits for it.
    """
    lock = threading.Lock()
    errors: list[BaseException] = []

    def run(work: Callable[[Unit, ClipStream], None]) -> None:
        try:
            while not errors:
                with lock:
                    unit, stream = next(clips, (None, None))
                if unit is None or stream is None:
                    return
                work(unit, stream)
        except Stopped:
            return  # its error is on the list
        # Carried over to the caller's thread.
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
            stop()

    threads = [threading.Thread(target=run, args=(work,), name="device", daemon=True) for work in workers]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt as error:
        errors.append(error)
        stop()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
