"""How long temporal graphs take to build, and the graph network of KEMDy20 to train for one epoch from a store.

    python benchmarks/graphs.py [--rows 300000] [--fraction 0.2] [--rounds 5] [--threads 2] [--folder FOLDER] [--json]

The store is synthetic: sessions of 7,500 rows x 1536 float16 every 250 ms, of one entity each, in total as many rows as
KEMDy20 has steps; with links up to 7.2 s a row has 57 neighbours, fewer at the ends of blocks.

- *edges*: `build_graph` of 2,000 rows beside the double loop of the published code (both give the edges, equal and in
  the same order). They take turns; medians of the rounds.
- *epoch*: reading from the store, building all graphs, forward, backward and Adam over all rows once, in blocks of
  2,000 and batches of 16 blocks. Fresh processes, imports, the making of the head, and a step on a batch of 50 rows
  before do not count. *plain PyG* is the same program with PyTorch Geometric's layers (`reference=True`); it does
  `--fraction` of the steps, and its time is **scaled** to all of them.
- *memory*: the most resident memory of each process so far, mapped pages of the store counted.
- *difference*: outputs, and gradients of all parameters, of both in training mode on two blocks, with the same weights
  and dropout; the largest difference in units of the largest value (of a gradient: in its layer). Gradients are
  compared in float64: a maximum's gradient jumps where two neighbours are as near as rounding, so that in float32 those
  of either program are off by more than 1e-5 from what they should be. Both these errors are measured too.

Targets on 2 cores: edges >= 200 x; an epoch under 25 s and 3 GB and >= 5 x plain PyG; difference <= 1e-5. The result
goes to `benchmarks/results/graphs_cpu.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import finish, footer, in_fresh_process, machine_with_torch, memory_mib

NAME, DIM, CLASSES = "ste.synthetic", 1536, 7
SESSION_ROWS, STEP_S = 7500, 0.25
BLOCK_ROWS, BATCH, LEARNING_RATE = 2000, 16, 1e-3
TARGETS = {"edges_ratio": 200.0, "epoch_s": 25.0, "memory_gb": 3.0, "epoch_ratio": 5.0, "difference": 1e-5}


def make_store(path: Path, rows: int) -> None:
    """Fill a store with sessions of random features."""
    from cuebank.store import FeatureSpec, FeatureStore, Recipe

    rng = np.random.default_rng(0)
    with FeatureStore.open(path, "a") as store:
        store.create(FeatureSpec(NAME, "numeric", DIM, "float16", Recipe("ste", {"source": "synthetic"})))
        for number, start in enumerate(range(0, rows, SESSION_ROWS)):
            n = min(SESSION_ROWS, rows - start)
            values = rng.standard_normal((n, DIM), dtype=np.float32).astype(np.float16)
            store.write(NAME, f"session{number:02d}", "user", values, np.arange(n) * STEP_S, np.ones(n, bool))
        store.commit()


def double_loop(times: np.ndarray, entities: np.ndarray, time_edge_s: float) -> tuple[list[tuple[int, int]], list[int]]:
    """All pairs, as the published code tries them."""
    edges, signs = [], []
    seconds, who = times.tolist(), entities.tolist()
    for j in range(len(seconds)):
        for k in range(len(seconds)):
            gap = seconds[j] - seconds[k]
            if (0 < abs(gap) <= time_edge_s and who[j] == who[k]) or gap == 0:
                edges.append((j, k))
                signs.append((gap > 0) - (gap < 0))
    return edges, signs


def measure_edges(rounds: int) -> dict[str, Any]:
    """Time both ways of building one graph of two speakers who take turns."""
    from cuebank.trainers.graphs import GraphConfig, build_graph

    times, config = np.arange(BLOCK_ROWS) * STEP_S, GraphConfig()
    results: dict[str, Any] = {}
    for name, entities in (
        ("one speaker", np.zeros(BLOCK_ROWS, np.int64)),
        ("two speakers", np.random.default_rng(0).integers(0, 2, BLOCK_ROWS)),
    ):
        ours, theirs = [], []
        for _ in range(rounds):
            theirs.append(timed(lambda who=entities: double_loop(times, who, config.time_edge_s)))
            ours.append(timed(lambda who=entities: [build_graph(times, who, config) for _ in range(20)]) / 20)
        graph = build_graph(times, entities, config)
        edges, signs = double_loop(times, entities, config.time_edge_s)
        equal = np.array_equal(graph.edge_index().T, edges) and np.array_equal(graph.signs(), signs)
        search, loop = statistics.median(ours), statistics.median(theirs)
        results[name] = {
            "edges": len(edges),
            "equal": equal,
            "search_ms": round(search * 1e3, 3),
            "double_loop_ms": round(loop * 1e3, 1),
            "ratio": round(loop / search),
        }
    return results


def timed(do: Callable[[], Any]) -> float:
    """Return the seconds of the processor that a call takes: other processes do not count, both ways use one thread."""
    started = time.process_time()
    do()
    return time.process_time() - started


def batches(path: str, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield batches of blocks in random order, as a head takes them; `limit` is in batches."""
    import torch

    from cuebank.store import FeatureStore

    with FeatureStore.open(path) as store:
        found = [
            (one, start) for one in store.series(NAME) for start in range(0, one.rows, BLOCK_ROWS)
        ]  # a block does not end in the next session
        order = np.random.default_rng(1).permutation(len(found))
        steps = -(-len(found) // BATCH)
        values = torch.zeros(BATCH, BLOCK_ROWS, DIM)
        for step in range(steps if limit is None else min(steps, limit)):
            picked = [found[i] for i in order[step * BATCH : (step + 1) * BATCH]]
            mask = torch.zeros(len(picked), BLOCK_ROWS, dtype=torch.bool)
            clock = torch.zeros(len(picked), BLOCK_ROWS, dtype=torch.float64)
            for i, (one, start) in enumerate(picked):
                stop = min(start + BLOCK_ROWS, one.rows)
                series = store.read(
                    NAME, one.clip_id, one.entity_id, start * STEP_S, stop * STEP_S, values[i, : stop - start].numpy()
                )
                mask[i, : stop - start] = True
                clock[i, : stop - start] = torch.tensor(series.times)
            yield {
                "features": {"wearable": values[: len(picked)]},
                "masks": {"wearable": mask},
                "times": {"wearable": clock},
                "entities": torch.where(mask, 0, -1),
                "steps": steps,
            }


def new_head(reference: bool) -> Any:
    """Return KEMDy20's network in training mode, always with the same weights."""
    import torch

    from cuebank.trainers.heads.temporal_gnn import TemporalGnn, TemporalGnnConfig

    def build(layers_of_pyg: bool) -> TemporalGnn:
        config = TemporalGnnConfig(splits=3, block_rows=BLOCK_ROWS, reference=layers_of_pyg)
        return TemporalGnn({"wearable": DIM}, CLASSES, config).train()

    torch.manual_seed(0)
    head = build(False)
    if reference:
        state = head.state_dict()
        head = build(True)
        head.load_state_dict(state, strict=True)
    return head


def loss_of(head: Any, batch: dict[str, Any]) -> Any:
    """Return the mean cross entropy of a batch against labels that its first column decides."""
    import torch

    mask = batch["masks"]["wearable"]
    outputs = head(batch["features"], batch["masks"], batch["times"], batch["entities"])[mask]
    labels = (batch["features"]["wearable"][..., 0][mask].sigmoid() * CLASSES).long().clamp_(0, CLASSES - 1)
    return torch.nn.functional.cross_entropy(outputs, labels)


def child_epoch(path: str, who: str, fraction: float, threads: int) -> dict[str, Any]:
    """Train for a part of an epoch; return its time, steps and memory."""
    import torch

    from cuebank.trainers.graphs import CACHE

    torch.set_num_threads(threads)
    head = new_head(who == "pyg")
    optimizer = torch.optim.Adam(head.parameters(), LEARNING_RATE)
    first = next(batches(path, 1))
    small = {
        "features": {"wearable": first["features"]["wearable"][:2, :25].clone()},
        "masks": {"wearable": first["masks"]["wearable"][:2, :25]},
        "times": {"wearable": first["times"]["wearable"][:2, :25]},
        "entities": first["entities"][:2, :25],
    }
    steps = first["steps"]
    del first
    loss_of(head, small).backward()
    optimizer.step()
    CACHE.clear()
    losses, processor = [], time.process_time()
    started = time.perf_counter()
    limit = max(1, round(steps * fraction))
    for batch in batches(path, limit):
        optimizer.zero_grad()
        loss = loss_of(head, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "processor_s": time.process_time() - processor,
        "steps": limit,
        "all_steps": steps,
        "memory_gb": memory_mib("VmHWM") * 2**20 / 1e9,
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }


def child_difference(path: str, threads: int) -> dict[str, Any]:
    """Return the largest differences of outputs and gradients between both networks."""
    import torch

    torch.set_num_threads(threads)
    batch = next(batches(path, 1))
    few = {key: {role: x[:2] for role, x in batch[key].items()} for key in ("features", "masks", "times")}
    few["entities"] = batch["entities"][:2]
    outputs, gradients = {}, {}
    for dtype in (torch.float32, torch.float64):
        for who in ("cuebank", "pyg"):
            head = new_head(who == "pyg").to(dtype)
            torch.manual_seed(1)  # the same dropout
            kept: list[Any] = []
            head.register_forward_hook(lambda _, __, out, into=kept: into.append(out.detach().double()))
            loss_of(head, {**few, "features": {"wearable": few["features"]["wearable"].to(dtype)}}).backward()
            outputs[who, dtype] = kept[0]
            gradients[who, dtype] = {name: parameter.grad.double() for name, parameter in head.named_parameters()}
    single, double = torch.float32, torch.float64
    off = outputs["cuebank", single] - outputs["pyg", single]
    return {
        "outputs": float(off.abs().max() / outputs["pyg", single].abs().max()),
        "gradients_float64": apart(gradients["cuebank", double], gradients["pyg", double]),
        "gradients_float32": apart(gradients["cuebank", single], gradients["pyg", single]),
        "error_of_float32_cuebank": apart(gradients["cuebank", single], gradients["pyg", double]),
        "error_of_float32_pyg": apart(gradients["pyg", single], gradients["pyg", double]),
        "rows": int(few["masks"]["wearable"].sum()),
    }


def apart(found: dict[str, Any], wanted: dict[str, Any]) -> float:
    """Return the largest difference of gradients, each in units of the largest one of its layer."""
    worst = 0.0
    for name in wanted:
        layer = [grad.abs().max() for other, grad in wanted.items() if other.split(".")[0] == name.split(".")[0]]
        worst = max(worst, float((found[name] - wanted[name]).abs().max() / max(layer)))
    return worst


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything and put the numbers together."""
    about = machine_with_torch(options.threads, "cpu", "torch-geometric", "numpy")
    edges = measure_edges(options.rounds)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store = Path(folder) / "features.zarr"
        make_store(store, options.rows)
        script = str(Path(__file__).resolve())
        difference = in_fresh_process(script, "--child", "difference", store, "-", 0, options.threads)
        rival = in_fresh_process(script, "--child", "epoch", store, "pyg", options.fraction, options.threads)
        ours = in_fresh_process(script, "--child", "epoch", store, "cuebank", 1.0, options.threads)
    scaled = rival["seconds"] * rival["all_steps"] / rival["steps"]
    return {
        "benchmark": "graphs",
        "rows": options.rows,
        "rounds": options.rounds,
        "edges": edges,
        "epoch": {
            "steps": ours["steps"],
            "cuebank_s": round(ours["seconds"], 2),
            "cuebank_processor_s": round(ours["processor_s"], 2),
            "cuebank_memory_gb": round(ours["memory_gb"], 2),
            "cuebank_first_and_last_loss": [round(ours["first_loss"], 4), round(ours["last_loss"], 4)],
            "pyg_steps": rival["steps"],
            "pyg_s": round(rival["seconds"], 2),
            "pyg_processor_s": round(rival["processor_s"], 2),
            "pyg_s_scaled": round(scaled, 1),
            "pyg_processor_s_scaled": round(rival["processor_s"] * rival["all_steps"] / rival["steps"], 1),
            "pyg_memory_gb": round(rival["memory_gb"], 2),
            "pyg_first_loss": round(rival["first_loss"], 4),
            "ratio": round(scaled / ours["seconds"], 1),
        },
        "difference": difference,
        "targets": TARGETS,
        **about,
    }


def to_text(result: dict[str, Any]) -> str:
    """A table for people."""
    epoch, difference, targets = result["epoch"], result["difference"], result["targets"]

    def verdict(good: bool) -> str:
        return "" if good else "  MISSED"

    lines = [f"edges of {BLOCK_ROWS:,} rows, medians of {result['rounds']}"]
    for name, one in result["edges"].items():
        lines.append(
            f"  {name:<14} {one['edges']:>8,} edges   search {one['search_ms']:>6.2f} ms   double loop "
            f"{one['double_loop_ms']:>7.1f} ms   {one['ratio']:>4} x (target {targets['edges_ratio']:.0f} x)"
            f"{verdict(one['ratio'] >= targets['edges_ratio'])}{verdict(one['equal']).replace('MISSED', 'NOT EQUAL')}"
        )
    lines.append(f"one epoch over {result['rows']:,} rows, {epoch['steps']} steps")
    lines.append(
        f"  cuebank    {epoch['cuebank_s']:>7.1f} s  {epoch['cuebank_memory_gb']:>5.2f} GB   (targets "
        f"{targets['epoch_s']:.0f} s, {targets['memory_gb']:.0f} GB)"
        f"{verdict(epoch['cuebank_s'] < targets['epoch_s'] and epoch['cuebank_memory_gb'] < targets['memory_gb'])}"
    )
    lines.append(
        f"  plain PyG  {epoch['pyg_s_scaled']:>7.1f} s* {epoch['pyg_memory_gb']:>5.2f} GB   {epoch['ratio']} x (target "
        f"{targets['epoch_ratio']:.0f} x){verdict(epoch['ratio'] >= targets['epoch_ratio'])}"
    )
    lines.append(f"  * scaled from {epoch['pyg_s']:.1f} s for {epoch['pyg_steps']} of {epoch['steps']} steps")
    worst = max(difference["outputs"], difference["gradients_float64"])
    lines.append(
        f"  difference: outputs {difference['outputs']:.1e}, gradients (float64) {difference['gradients_float64']:.1e} "
        f"(target {targets['difference']:.0e}){verdict(worst <= targets['difference'])}"
    )
    lines.append(
        f"  gradients in float32 are off by {difference['error_of_float32_cuebank']:.1e} (cuebank), "
        f"{difference['error_of_float32_pyg']:.1e} (plain PyG), {difference['gradients_float32']:.1e} from each other"
    )
    lines.append(
        f"  processor time: cuebank {epoch['cuebank_processor_s']:.1f} s, plain PyG "
        f"{epoch['pyg_processor_s_scaled']:.1f} s*"
    )
    lines.append(f"  {footer(result)}")
    return "\n".join(lines)


def main() -> None:
    """Parse the options, measure, print, and keep the result."""
    if sys.argv[1:2] == ["--child"]:
        what, path, who, fraction, threads = sys.argv[2:]
        if what == "epoch":
            print(json.dumps(child_epoch(path, who, float(fraction), int(threads))))
        else:
            print(json.dumps(child_difference(path, int(threads))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--fraction", type=float, default=0.2, help="of the steps that plain PyG does")
    parser.add_argument("--rounds", type=int, default=5, help="of edge building")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", help="where the store is made, 0.9 GB; default: the system's place")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-save", action="store_true", help="do not write to benchmarks/results")
    options = parser.parse_args()
    result = measure(options)
    finish(result, to_text(result), "graphs_cpu", options.json, not options.no_save)


if __name__ == "__main__":
    main()
