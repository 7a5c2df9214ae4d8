"""What `extract.py` compares with, each in a process of its own: bare forwards, and a plain loop over clips.

    python benchmarks/forwards.py forwards|loop CLIPS.csv PRECISION DEVICE THREADS BACKBONE…

Prints JSON: seconds by backbone. `forwards` decodes all clips beforehand, sends them through the backbones once, keeps
what each outermost call of a torch module is given, and then times these calls alone: neither decoding nor preparing
nor pooling counts. `loop` is how published scripts go about it: for each backbone, for each clip, open the file, decode
what is needed of it, then one picture or window after the other through the network, and one `.npy` for the clip.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from cuebank.extractors import ExtractorSettings, load
from cuebank.extractors.backbones import _i3d_windows, _stills
from cuebank.extractors.media.isolation import DecodePool
from cuebank.extractors.plan import make_plan
from cuebank.extractors.unit import process, request_of
from cuebank.store import ClipsTable

Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]
ALONE = {"cpu": 1, "cuda": 1}


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """Keep the outermost calls of modules that are made meanwhile, with copies of what they are given."""
    calls: list[Call] = []
    depth, call = 0, nn.Module.__call__

    def keep(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        if depth == 0:
            calls.append((module, tuple(map(_copied, args)), {name: _copied(one) for name, one in kwargs.items()}))
        depth += 1
        try:
            return call(module, *args, **kwargs)
        finally:
            depth -= 1

    with patch.object(nn.Module, "__call__", keep):
        yield calls


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def units(table: ClipsTable, extractor: Any) -> list[Any]:
    """What there is to do for one backbone, in the order of the table."""
    return make_plan(table, extractor.specs, None, True).units


def forwards(table: ClipsTable, extractor: Any, device: str, precision: str) -> float:
    """Return the seconds of the bare forwards over all clips."""
    with DecodePool(0) as pool, recorded() as calls:
        for unit in units(table, extractor):
            request = request_of(unit, [extractor])
            for stream in pool.clips([request]):
                with stream:
                    process([extractor], request, list(stream), unit.feature_sets())
    kind = torch.device(device).type
    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16"),
    ):
        for module, args, kwargs in calls[: max(1, len(calls) // 10)]:
            module(*args, **kwargs)
        _wait(kind)
        started = time.perf_counter()
        for module, args, kwargs in calls:
            module(*args, **kwargs)
        _wait(kind)
        return time.perf_counter() - started


def loop(table: ClipsTable, extractor: Any, folder: Path) -> float:
    """Return the seconds of the plain loop over all clips."""
    started = time.perf_counter()
    with DecodePool(0) as pool, patch.dict(_stills.BATCH, ALONE), patch.dict(_i3d_windows.BATCH, ALONE):
        for i, unit in enumerate(units(table, extractor)):
            request = request_of(unit, [extractor])
            for stream in pool.clips([request]):
                with stream:
                    outcomes, _ = process([extractor], request, list(stream), unit.feature_sets())
                for rows in outcomes.values():
                    np.save(folder / f"{extractor.card.name}-{i}.npy", rows.values)  # type: ignore[union-attr]
    return time.perf_counter() - started


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()


def main(words: Sequence[str]) -> None:
    """Do what the words ask for; see the top of this file."""
    what, path, precision, device, threads, *backbones = words
    if int(threads):
        torch.set_num_threads(int(threads))
    settings = ExtractorSettings(weights="random", precision=precision, device=device)
    table, seconds = ClipsTable.read_csv(path), {}
    for name in backbones:
        extractor = load(name, settings)
        if what == "forwards":
            seconds[name] = forwards(table, extractor, device, precision)
        else:
            with tempfile.TemporaryDirectory() as folder:
                seconds[name] = loop(table, extractor, Path(folder))
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
