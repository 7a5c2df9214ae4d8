"""Run backbones over the clips of a table and keep the rows in a store: the library behind `cuebank extract`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..store.clips_table import ClipsTable
from ..store.compact import compact
from ..store.errors import Conflict
from ..store.feature_store import FeatureStore
from .base import Extractor, ExtractorSettings
from .choices import by_name, check_pace, devices_of, names_of, weights_of
from .deal import deal_out
from .media.isolation import DecodePool
from .media.shaping import require
from .media.stream import ClipStream
from .plan import Plan, Unit, make_plan, refuse_changed_clips, refuse_conflicts
from .registry import load
from .report import Estimate, ExtractReport, Failed, Progress
from .series_writer import SeriesWriter
from .unit import process, read, request_of


def extract(
    backbones: str | Sequence[str],
    clips: ClipsTable | str | Path,
    store: str | Path,
    *,
    weights: str | Mapping[str, str] | None = None,
    seed: int = 0,
    layers: Sequence[str] | Mapping[str, Sequence[str]] = ("last",),
    pooling: str | Mapping[str, str] = "none",
    precision: str = "fp32",
    dtype: str = "float16",
    codec: str = "none",
    keep_last_s: float | None = None,
    rate_hz: str | None = None,
    slots: int | None = None,
    slot_rule: str = "even",
    stride_s: float | None = None,
    window: int | None = None,
    prompts: str | Path | None = None,
    text: str | None = None,
    device: str | Sequence[str] = "cpu",
    threads: int | None = None,
    overwrite: bool = False,
    decode_workers: int = 1,
    commit_every_s: float = 5.0,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ExtractReport:
    """Run frozen backbones over clips and keep their features in a store.

    Series that the store has already are skipped; what failed before is tried again. A clip that fails is recorded with
    its reason, and the run goes on. Ctrl-C ends the run early: what is finished is committed, and the report says so.

    Args:
        backbones: names of cards or families; each clip is decoded once for all of them.
        clips: the table, or the path of its CSV.
        store: path of the store; made if there is none.
        weights, layers, pooling: for all backbones, or by name of backbone; see `ExtractorSettings`.
        seed, precision, dtype, keep_last_s, rate_hz, slots, slot_rule, stride_s, window, prompts, text: see
            `ExtractorSettings`.
        device: where to compute; several: each gets the backbones, and the next clip when it is free.
        codec: how new feature sets lie on the disk: `none` (memory-mapped), or compressed by `zstd` or `blosc`.
        threads: CPU threads of torch during this call; None: torch's own choice.
        overwrite: make series anew that are there; the space of the old ones is given back at the end.
        decode_workers: processes that decode ahead; 0: decode in this one.
        commit_every_s: seconds between commits, >= 0.
        dry_run: only say what there is to do; write nothing.
        progress: told how far the run is.

    Raises:
        BadInput: for a table or an option that cannot be used; before anything is written.
        NotFound: for an unknown backbone.
        WeightsError: if weights cannot be had or do not fit.
        Conflict: if the store has a feature set of the same name made in another way.
        CuebankError: if the disk fails.
    """
    started = time.monotonic()
    names = names_of(backbones)
    table = clips if isinstance(clips, ClipsTable) else ClipsTable.read_csv(clips)
    check_pace(decode_workers, commit_every_s)
    devices = devices_of(device)
    settings = [
        ExtractorSettings(
            weights=weights_of(name, names, weights),
            seed=seed,
            layers=tuple(by_name(name, names, layers, ("last",))),
            pooling=by_name(name, names, pooling, "none"),
            precision=precision,
            dtype=dtype,
            keep_last_s=keep_last_s,
            rate_hz=rate_hz,
            slots=slots,
            slot_rule=slot_rule,
            stride_s=stride_s,
            window=window,
            prompts=None if prompts is None else str(prompts),
            text=text,
            store=str(store),
        )
        for name in names
    ]
    with _threads(threads), DecodePool(decode_workers) as pool:
        if not dry_run:
            pool.start()  # while the models load
        loaded = [
            [load(name, replace(one, device=device)) for name, one in zip(names, settings, strict=True)]
            for device in devices
        ]
        for extractor in loaded[0]:
            if extractor.needs.pictures is not None:
                require(extractor.needs.pictures.shape)
            if (check := getattr(extractor, "check_table", None)) is not None:
                check(table)
        run = _Run(loaded, table, str(store), started, codec)
        if dry_run:
            return run.survey(overwrite, keep_last_s)
        return run.run(overwrite, pool, commit_every_s, progress)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use `count` threads for a while; None: leave it alone."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Run:
    """One extraction: what it works with, and what came of it so far."""

    devices: Sequence[Sequence[Extractor]]  # the same backbones on each device
    table: ClipsTable
    store: str
    started: float
    codec: str = "none"
    loaded: float = field(default_factory=time.monotonic)
    done: int = 0
    failed: list[Failed] = field(default_factory=list)
    model_s: float = 0.0
    lock: threading.Lock = field(
        default_factory=threading.Lock
    )  # guards the three above where there are several devices

    def __post_init__(self) -> None:
        self.extractors = self.devices[0]
        specs = [spec for one in self.extractors for spec in one.specs]
        self.specs = [spec if spec.is_text else replace(spec, codec=self.codec) for spec in specs]
        self.timings = {"load_s": round(self.loaded - self.started, 3), "began_at": time.time()}

    def survey(self, overwrite: bool, keep_last_s: float | None) -> ExtractReport:
        """Say what there is to do, and write nothing."""
        from .dry_run import survey

        path = Path(self.store)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):  # an empty folder becomes a store
            with FeatureStore.open(self.store) as features:
                refuse_conflicts(features, self.specs)
                plan = make_plan(self.table, self.specs, features, overwrite)
        else:
            plan = make_plan(self.table, self.specs, None, overwrite)
        estimate, self.failed = survey(plan, self.extractors, keep_last_s)
        return self._report(plan, estimate=estimate)

    def run(self, overwrite: bool, pool: DecodePool, commit_every_s: float, progress: Progress | None) -> ExtractReport:
        """Do it."""
        with FeatureStore.open(self.store, "a") as features:
            refuse_conflicts(features, self.specs)
            for spec in self.specs:
                features.create(spec)
            if not overwrite:
                refuse_changed_clips(features, self.table, self.specs)
            features.write_clips(self.table)
            plan = make_plan(self.table, self.specs, features, overwrite)
            if progress is not None:
                progress.start(plan.keys, "clip", ", ".join(e.card.name for e in self.extractors))
            writer = SeriesWriter(features, commit_every_s)
            interrupted = False
            try:
                with pool:
                    self._work(plan, pool, writer, progress)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                try:
                    self._count_refused(writer.finish())
                finally:
                    if progress is not None:
                        progress.close()
            if overwrite and not interrupted:
                self._give_back(features)
        self.timings["model_s"] = round(self.model_s, 3)
        return self._report(plan, interrupted=interrupted)

    def _give_back(self, features: FeatureStore) -> None:
        """Leave out of the store what was written over."""
        try:
            compact(features, [spec.name for spec in self.specs])
        except Conflict:
            return  # another process is compacting right now; the next `cuebank store compact` does it

    def _work(self, plan: Plan, pool: DecodePool, writer: SeriesWriter, progress: Progress | None) -> None:
        requests = (request_of(unit, self.extractors) for unit in plan.units)
        # A generator: closing it ends what is being decoded.
        with closing(pool.clips(requests)) as streams:
            dealt = zip(plan.units, streams, strict=False)
            if len(self.devices) == 1:
                for unit, stream in dealt:
                    self._clip(self.extractors, unit, stream, writer, progress)
            else:
                deal_out(
                    dealt,
                    [partial(self._clip, one, writer=writer, progress=progress) for one in self.devices],
                    pool.close,
                )

    def _clip(
        self,
        extractors: Sequence[Extractor],
        unit: Unit,
        stream: ClipStream,
        writer: SeriesWriter,
        progress: Progress | None,
    ) -> None:
        """Send one clip through the backbones of one device, and hand over what comes of it."""
        with stream:
            outcomes, model_s = process(extractors, stream.request, stream, unit.feature_sets())
        with self.lock:
            self.model_s += model_s
            for key, wanted in unit.wanted.items():
                own = outcomes | read(extractors, unit.clips[key], set(wanted))
                reasons = []
                for name in wanted:
                    outcome = own[name]
                    writer.put(name, key, outcome)
                    if isinstance(outcome, str) and outcome not in reasons:
                        reasons.append(outcome)
                if reasons:
                    self.failed.append(Failed(*key, " ".join(reasons)))
                else:
                    self.done += 1
                if progress is not None:
                    progress.advance(f"{key.clip_id} FAILED" if reasons else key.clip_id)

    def _count_refused(self, refused: list[Failed]) -> None:
        known = {failure[:2] for failure in self.failed}
        for failure in refused:
            if failure[:2] not in known:
                known.add(failure[:2])
                self.failed.append(failure)
                self.done -= 1

    def _report(self, plan: Plan, interrupted: bool = False, estimate: Estimate | None = None) -> ExtractReport:
        return ExtractReport(
            store=self.store,
            feature_sets=[spec.name for spec in self.specs],
            done=self.done,
            skipped=plan.skipped,
            failed=self.failed,
            seconds=time.monotonic() - self.started,
            left=plan.keys - self.done - len(self.failed) if interrupted else 0,
            timings=self.timings,
            interrupted=interrupted,
            estimate=estimate,
        )
