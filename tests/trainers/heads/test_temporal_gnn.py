"""The graph network: recorded outputs of both systems, PyTorch Geometric's outputs and gradients, scenes, refusals."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from cuebank.store import BadInput, MissingExtra
from cuebank.trainers.graphs import blocks, stable_order
from cuebank.trainers.heads import _graph_max, head
from cuebank.trainers.heads._graph_batch import BRANCHES, joined
from cuebank.trainers.heads._graph_layers import reference_layers
from cuebank.trainers.heads._graph_threads import share, without_helpers
from cuebank.trainers.heads.temporal_gnn import TemporalGnn, TemporalGnnConfig

KEMDY = ({"wearable": 1536}, 7, TemporalGnnConfig(splits=3))
SPELL = ({"visual": 512, "audio": 512, "boxes": 4}, 1, TemporalGnnConfig(time_edge_s=0.9))
DIMS = {"video": 7, "audio": 5, "gait": 3}
Batch = dict[str, Any]


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def scenes(lengths: list[int], seed: int = 0, dtype: torch.dtype = torch.float32, holes: bool = True) -> Batch:
    """Rows of three entities on a 40 ms grid, some simultaneous, some missing in some roles or in all."""
    rng = torch.Generator().manual_seed(seed)
    size = len(lengths), max(lengths)
    there = torch.arange(size[1]) < torch.tensor(lengths)[:, None]
    times = torch.randint(0, size[1], size, generator=rng).sort(1).values * 0.04
    drawn = {role: torch.rand(size, generator=rng) < (0.8 if holes else 1.0) for role in DIMS}
    masks = {role: there & one for role, one in drawn.items()}
    features = {
        role: torch.randn(*size, dim, generator=rng, dtype=torch.float64).to(dtype) for role, dim in DIMS.items()
    }
    return {
        "features": {role: torch.where(masks[role][..., None], x, 0.0) for role, x in features.items()},
        "masks": masks,
        "times": {role: torch.where(there, times.double(), 0.0) for role in DIMS},
        "entities": torch.where(there, torch.randint(0, 3, size, generator=rng), -1),
    }


def build(dtype: torch.dtype = torch.float32, outputs: int = 3, seed: int = 0, **settings: Any) -> TemporalGnn:
    """A head of few rows a block, whose batch norms have seen something."""
    torch.manual_seed(seed)
    settings = {"time_edge_s": 0.2, "block_rows": 25, **settings}
    model = TemporalGnn(DIMS, outputs, TemporalGnnConfig(**settings)).to(dtype)
    model.train()
    for i in range(3):
        model(**scenes([60, 30], seed=100 + i, dtype=dtype))
    return model


def nodes(batch: Batch) -> torch.Tensor:
    return torch.stack(list(batch["masks"].values())).any(0)


@pytest.mark.golden("kemdy_gnn", "spell_gnn")
@pytest.mark.parametrize("reference", [False, True], ids=["ours", "reference"])
def test_recorded_outputs_of_the_original_are_reproduced(golden_case: Any, reference: bool) -> None:
    system = golden_case.name.split("_")[0]
    dims, outputs, config = KEMDY if system == "kemdy" else SPELL
    about = golden_case.json()
    graph_case = copy.copy(golden_case)
    graph_case.__dict__.pop("arrays", None)
    graph_case.name = f"{system}_graph"
    graph_case.path = golden_case.path.with_name(f"{system}_graph_{golden_case.letter}")
    inputs, wanted, seen = graph_case.arrays, golden_case.arrays, set()
    order = stable_order(inputs["in_time"])
    who = np.unique(inputs["in_speaker" if system == "kemdy" else "in_entity"], return_inverse=True)[1][order]
    for name, one in graph_case.json()["settings"].items():
        config = replace(
            config,
            time_edge_s=one["time_edge"],
            cross_identity=one["cross_identity"] == "ciy",
            block_rows=one["numv"],
            reference=reference,
        )
        model = TemporalGnn(dims, outputs, config).eval()
        model.load_state_dict(golden_case.state_dict(about["state_dict"]), strict=True)
        assert {key: list(value.shape) for key, value in model.state_dict().items()} == about["state_dict"]
        assert sum(p.numel() for p in model.parameters()) == about["parameters"]
        caught: dict[str, torch.Tensor] = {}
        for layer in ("batch01", "layer11", "layer12", "layer13", "layer31", "layer32", "layer33"):
            # cloned at once: what follows may work in place
            model.get_submodule(layer).register_forward_hook(
                lambda _, __, out, layer=layer, into=caught: into.update({layer: out.clone()})
            )
        batch = original_batch(inputs, order, who, system)
        with torch.no_grad():
            logits = model(**batch)[0]  # (n, outputs)
        scores = logits.softmax(-1) if system == "kemdy" else logits.sigmoid()
        for i, (start, stop) in enumerate(blocks(len(order), config.block_rows)):
            key = f"{name}_g{i}"
            compare = {f"{key}_scores": scores[start:stop]}
            compare |= {f"{key}_{layer}": values[start:stop] for layer, values in caught.items()}
            for label in compare.keys() & wanted.keys():
                np.testing.assert_allclose(compare[label].numpy(), wanted[label], atol=1e-5, rtol=0, err_msg=label)
                seen.add(label)
            truth = torch.from_numpy(inputs[f"{key}_y"])
            losses = {
                f"{key}_loss_softmax_then_ce": lambda s=scores[start:stop], y=truth: functional.cross_entropy(s, y),
                f"{key}_loss_bce": lambda z=logits[start:stop], y=truth: functional.binary_cross_entropy_with_logits(
                    z, y
                ),
            }
            for label in losses.keys() & wanted.keys():
                np.testing.assert_allclose(losses[label]().item(), wanted[label], atol=1e-5, err_msg=label)
                seen.add(label)
    assert seen == wanted.keys()


def original_batch(inputs: dict[str, np.ndarray], order: np.ndarray, who: np.ndarray, system: str) -> Batch:
    """One scene of all recorded rows, (1, n)."""
    rows = torch.from_numpy(inputs["in_feature"][order])[None]
    if system == "kemdy":
        features = {"wearable": rows}
    else:
        x1, y1, x2, y2 = inputs["in_box_x1y1x2y2"][order].T
        boxes = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1)
        np.testing.assert_allclose(boxes[: len(inputs["s1_g0_x_tail"])], inputs["s1_g0_x_tail"][:, :4], atol=1e-6)
        features = {
            "audio": rows[..., :512],
            "visual": rows[..., 512:],
            "boxes": torch.from_numpy(boxes.astype(np.float32))[None],
        }
    times = torch.from_numpy(inputs["in_time"][order])[None]
    return {
        "features": features,
        "masks": {role: torch.ones(1, len(order), dtype=torch.bool) for role in features},
        "times": dict.fromkeys(features, times),
        "entities": torch.from_numpy(who.astype(np.int64))[None],
    }


@pytest.mark.parametrize(("published", "count"), [(KEMDY, 139_045), (SPELL, 110_035)], ids=["KEMDy20", "SPELL"])
def test_the_published_networks_have_the_published_numbers_of_parameters(published: Any, count: int) -> None:
    model = head("temporal-gnn").build(*published)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cross_identity": True, "shared_layers": False},
        {"edge_dropout": 0.5},
        {"edge_dropout": 0.9, "time_edge_s": 0.0},
        {"double_softmax": True, "splits": 1, "order": ("gait", "video", "audio")},
        {"hidden_size": 12, "second_size": 20},
    ],
    ids=lambda settings: ",".join(settings) or "defaults",
)
@pytest.mark.parametrize(("dtype", "tolerance", "count"), [(torch.float32, 1e-5, 1), (torch.float64, 1e-10, 2)])
def test_outputs_gradients_and_statistics_are_those_of_pytorch_geometric(
    settings: dict[str, Any], dtype: torch.dtype, tolerance: float, count: int
) -> None:
    # In float32 few values: where two neighbours, or a hidden value and 0, are as near as rounding, either side of the
    # gradient's jump is right, and among thousands of values there is such a pair.
    if dtype == torch.float32:
        settings = {"hidden_size": 8, "second_size": 4, **settings}
    ours = build(dtype, **settings)
    theirs = build(dtype, **settings, reference=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    batch = scenes([70, 1, 44] if dtype == torch.float64 else [20, 1, 12], dtype=dtype)
    weights = torch.randn(*nodes(batch).shape, 3, dtype=dtype, generator=torch.Generator().manual_seed(5))
    results = []
    for model in (ours, theirs):
        inputs = {role: x.clone().requires_grad_() for role, x in batch["features"].items()}
        with threads(count), torch.random.fork_rng():
            torch.manual_seed(9)  # the same dropout, of edges too
            outputs = model.train()(**{**batch, "features": inputs})
            (outputs * weights).sum().backward()
        found = {"outputs": outputs.detach()}
        found |= {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
        found |= {f"gradient of {role}": x.grad for role, x in inputs.items()}
        found |= {name: value.to(dtype) for name, value in model.named_buffers()}
        with torch.no_grad():
            found["evaluated"] = model.eval()(**batch)
        results.append(found)
    assert results[0].keys() == results[1].keys()
    for name, wanted in results[1].items():
        # A bias before a batch norm has gradients that add up to 0, rounded as its layer's other gradients are.
        layer = [value for other, value in results[1].items() if other.split(".")[0] == name.split(".")[0]]
        scale = max(1.0, *(value.abs().max().item() for value in layer))
        torch.testing.assert_close(
            results[0][name], wanted, atol=tolerance * scale, rtol=0, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert results[1]["gradient of layer11.nn.0.weight"].abs().max() > 1e-3


def test_results_are_the_same_bits_whatever_the_number_of_threads() -> None:
    batch = scenes([70, 65, 44])
    found = []
    for count in (1, 2, 3):
        with threads(count):
            u, v = (torch.randn(179, 8, generator=torch.Generator().manual_seed(i)).requires_grad_() for i in (1, 2))
            weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(3)).requires_grad_()
            branch = graph_branch(batch)
            result = _graph_max.largest(u, v, weight, torch.zeros(6), branch)
            found.append([result.detach(), *torch.autograd.grad(result.square().sum(), (u, v, weight))])
    for other in found[1:]:
        assert all(torch.equal(one, same) for one, same in zip(found[0], other, strict=True))


def graph_branch(batch: Batch, parts: tuple[int, int] = BRANCHES[2]) -> Any:
    from cuebank.trainers.graphs import GraphConfig, graph_of

    graphs = []
    for times, who in zip(batch["times"]["video"], batch["entities"], strict=True):
        graphs += graph_of(times[who >= 0].numpy(), who[who >= 0].numpy(), GraphConfig(0.2, block_rows=25))
    return joined(graphs, torch.device("cpu")).branch(parts)


@pytest.mark.parametrize("edges", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("parts", BRANCHES)
def test_the_largest_answer_does_not_depend_on_the_size_of_chunks(
    monkeypatch: pytest.MonkeyPatch, edges: int, parts: tuple[int, int]
) -> None:
    monkeypatch.setattr(_graph_max, "CPU_EDGES", edges)
    branch = graph_branch(scenes([70, 65, 44]), parts).thinned(0.7)
    assert (branch.degrees == 0).any()
    rng = torch.Generator().manual_seed(0)
    u, v = (torch.randn(179, 8, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2))
    weight, bias = (torch.randn(*size, generator=rng, dtype=torch.float64).requires_grad_() for size in ((6, 8), (6,)))
    sources, targets = branch.edge_index
    answers = (u[targets] + v[sources]).relu() @ weight.T + bias  # (E, 6)
    plain = torch.stack(
        [answers[targets == i].amax(0) if (targets == i).any() else torch.zeros(6).double() for i in range(179)]
    )
    found = _graph_max.largest(u, v, weight, bias, branch)
    torch.testing.assert_close(found, plain)
    probe = torch.randn(179, 6, generator=rng, dtype=torch.float64)
    everything = (u, v, weight, bias)
    for one, other in zip(
        torch.autograd.grad((found * probe).sum(), everything),
        torch.autograd.grad((plain * probe).sum(), everything),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("reference", [False, True], ids=["ours", "reference"])
def test_padding_order_and_size_of_the_batch_change_no_output(
    dtype: torch.dtype, tolerance: float, reference: bool
) -> None:
    model = build(dtype, reference=reference).eval()
    batch = scenes([60, 1, 33, 26], dtype=dtype)
    there = nodes(batch)
    with torch.no_grad():
        wanted = model(**batch)
        assert wanted.shape == (*there.shape, 3)
        assert (wanted[~there] == 0).all()
        assert wanted[there].isfinite().all()
        rubbish = {
            role: torch.where(batch["masks"][role][..., None], x, torch.nan) for role, x in batch["features"].items()
        }
        pad = functional.pad
        longer = {
            "features": {role: pad(x, (0, 0, 0, 4), value=1e30) for role, x in rubbish.items()},
            "masks": {role: pad(mask, (0, 4)) for role, mask in batch["masks"].items()},
            "times": {role: pad(one, (0, 4)) for role, one in batch["times"].items()},
            "entities": pad(batch["entities"], (0, 4), value=-1),
        }
        torch.testing.assert_close(model(**longer)[:, :-4], wanted, atol=tolerance, rtol=0)
        for order in ([2, 0, 3, 1], [1], [3, 3, 0]):
            turned = model(**picked(batch, order))
            torch.testing.assert_close(turned, wanted[order], atol=tolerance, rtol=0)


def picked(batch: Batch, rows: list[int]) -> Batch:
    """Some scenes of a batch, in some order."""
    return {
        key: value[rows] if key == "entities" else {role: x[rows] for role, x in value.items()}
        for key, value in batch.items()
    }


def test_batch_norm_in_training_sees_valid_rows_only() -> None:
    batch = scenes([40, 12], holes=False)
    alone = [picked(batch, [0]), picked(batch, [1])]
    alone[1] = {k: v[:, :12] if k == "entities" else {r: x[:, :12] for r, x in v.items()} for k, v in alone[1].items()}
    rows = {role: torch.cat([one["features"][role][0] for one in alone]) for role in DIMS}  # (52, D), nothing padded
    batch["features"] = {
        role: torch.where(batch["masks"][role][..., None], x, torch.nan) for role, x in batch["features"].items()
    }
    model = build(dropout=0.0).train()
    before = copy.deepcopy(model.batch01)
    projected = sum(model.get_submodule(model.projections[role][0])(rows[role]) for role in DIMS)
    before(projected)
    model(**batch)
    torch.testing.assert_close(model.batch01.module.running_mean, before.module.running_mean)
    torch.testing.assert_close(model.batch01.module.running_var, before.module.running_var)
    assert model.batch21.module.num_batches_tracked == 3 * before.module.num_batches_tracked


def test_nothing_that_stands_in_invalid_rows_reaches_a_gradient() -> None:
    batch = scenes([40, 12])
    batch["features"] = {
        role: torch.where(batch["masks"][role][..., None], x, torch.nan) for role, x in batch["features"].items()
    }
    model = build().train()
    model(**batch)[nodes(batch)].square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in model.parameters())


def test_masks_may_be_left_out_where_all_roles_have_every_row() -> None:
    batch = scenes([40, 12], holes=False)
    model = build().eval()
    torch.testing.assert_close(model(**{**batch, "masks": None}), model(**batch))


def test_missing_roles_add_nothing_and_lend_no_bias() -> None:
    batch = scenes([30], holes=False)
    model = build().eval()
    batch["masks"]["audio"][:] = False
    wanted = model(**batch)
    with torch.no_grad():
        model.get_submodule(model.projections["audio"][0]).bias.add_(100)
    torch.testing.assert_close(model(**batch), wanted)


def test_rows_far_apart_or_of_another_block_do_not_reach_each_other() -> None:
    batch = scenes([60], holes=False)
    model = build(block_rows=30).eval()
    wanted = model(**batch)
    batch["features"]["video"][:, 30:] += 1
    changed = model(**batch)
    assert torch.equal(changed[:, :30], wanted[:, :30])
    assert not torch.isclose(changed[:, 30:], wanted[:, 30:]).all(-1).any()


def test_double_softmax_returns_the_probabilities() -> None:
    batch = scenes([30])
    plain, twice = build().eval(), build(double_softmax=True).eval()
    twice.load_state_dict(plain.state_dict())
    there = nodes(batch)
    torch.testing.assert_close(twice(**batch)[there], plain(**batch)[there].softmax(-1))
    with pytest.raises(BadInput, match="no softmax"):
        TemporalGnn(DIMS, 1, TemporalGnnConfig(double_softmax=True))


def test_each_branch_can_have_a_second_layer_of_its_own() -> None:
    own, shared = build(shared_layers=False), build()
    assert own.state_dict().keys() - shared.state_dict().keys() == {
        f"{layer}{b}.{part}"
        for b in (2, 3)
        for layer, parts in (
            ("layer2", ("lin_l.weight", "lin_l.bias", "lin_r.weight")),
            (
                "batch2",
                [f"module.{p}" for p in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")],
            ),
        )
        for part in parts
    }


def test_edges_are_left_out_in_training_only_unless_asked_for() -> None:
    batch = scenes([60])
    quiet = build(edge_dropout=0.5, dropout=0.0).eval()
    assert torch.equal(quiet(**batch), quiet(**batch))
    noisy = build(edge_dropout=0.5, dropout=0.0, edge_dropout_always=True).eval()
    assert not torch.equal(noisy(**batch), noisy(**batch))


def test_boxes_are_seen_beside_the_named_input_or_like_any_other() -> None:
    dims = {"video": 6, "boxes": 4}
    beside = TemporalGnn(dims, 1, TemporalGnnConfig(boxes_with="video", hidden_size=8))
    assert beside.layer011.weight.shape == (8, 6 + 8)
    assert beside.layerspf.weight.shape == (8, 4)
    alike = TemporalGnn(dims, 1, TemporalGnnConfig(boxes_with=None, hidden_size=8))
    assert [alike.layer011.weight.shape[1], alike.layer012.weight.shape[1]] == [6, 4]
    for settings in ({}, {"boxes_with": "boxes"}, {"boxes_with": "video", "splits": 2}):
        with pytest.raises(BadInput, match="boxes_with"):
            TemporalGnn(dims, 1, TemporalGnnConfig(**settings))


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match="`audio` has 5 columns"):
        TemporalGnn({"audio": 5}, 1, TemporalGnnConfig(splits=2))
    for order in (("audio",), ("audio", "audio")):
        with pytest.raises(BadInput, match="names each input once"):
            TemporalGnn({"audio": 5, "video": 2}, 1, TemporalGnnConfig(order=order))
    with pytest.raises(BadInput, match="Its inputs are none"):
        TemporalGnn({}, 1, TemporalGnnConfig())


def test_batches_without_rows_times_or_entities_are_refused() -> None:
    model, batch = build().eval(), scenes([10])
    vectors = {role: x[:, 0] for role, x in batch["features"].items()}
    for change in ({"times": None}, {"entities": None}, {"features": vectors}):
        with pytest.raises(BadInput, match="unit `row`"):
            model(**{**batch, **change})
    with pytest.raises(BadInput, match="float32"):
        model(**{**batch, "times": {role: one.float() for role, one in batch["times"].items()}})


def test_a_batch_without_any_valid_row_has_no_answer_and_trains_nothing() -> None:
    model, batch = build(), scenes([10])
    batch["masks"] = {role: torch.zeros_like(mask) for role, mask in batch["masks"].items()}
    assert (model.eval()(**batch) == 0).all()
    with pytest.raises(BadInput, match="0 valid rows"):
        model.train()(**batch)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"splits": 0}, "splits=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"edge_dropout": -0.1}, "edge_dropout=-0.1"),
        ({"time_edge_s": float("inf")}, "time_edge_s=inf"),
        ({"block_rows": 0}, "block_rows=0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        TemporalGnnConfig(**settings)


def test_the_reference_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch_geometric", None)
    with pytest.raises(MissingExtra, match=r"cuebank\[graph\]"):
        reference_layers()


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_in_a_shared_job_is_raised_and_the_rest_is_not_begun(count: int) -> None:
    done: list[int] = []

    def do(job: int) -> None:
        if job == 3:
            raise KeyError("three")
        done.append(job)

    with threads(count):
        share(range(3), lambda: do, torch.device("cpu"))
        assert sorted(done) == [0, 1, 2]
        with pytest.raises(KeyError, match="three"):
            share([3, *range(10_000)], lambda: do, torch.device("cpu"))
        assert len(done) < 10_000
        assert torch.get_num_threads() == count


def test_without_helpers_jobs_are_still_shared_out_and_gradients_are_those_of_the_plain_program() -> None:
    x, weight = (torch.randn(5, 5, dtype=torch.float64).requires_grad_() for _ in range(2))
    unused = torch.randn(3, dtype=torch.float64).requires_grad_()
    seen: list[tuple[int, int]] = []

    def run(values: torch.Tensor) -> torch.Tensor:
        names: set[str] = set()
        meeting = threading.Barrier(2, timeout=60)  # passes only if two threads are at work at once
        share(range(2), lambda: lambda _: (meeting.wait(), names.add(threading.current_thread().name)), values.device)
        seen.append((torch.get_num_threads(), len(names)))
        return (values @ weight).relu()

    with threads(2):
        found = torch.autograd.grad(without_helpers(run, x, [weight, unused]).sum(), (x, weight), retain_graph=False)
        wanted = torch.autograd.grad((x @ weight).relu().sum(), (x, weight))
        with torch.no_grad():
            assert not without_helpers(run, x, [weight]).requires_grad
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            without_helpers(lambda values: values / (1 // 0), x, [])
        assert torch.get_num_threads() == 2
    assert seen == [(1, 2), (1, 2)]
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_outputs_and_gradients_of_the_cpu() -> None:
    batch, model = scenes([70, 44], dtype=torch.float64), build(torch.float64, dropout=0.0).train()
    twin = copy.deepcopy(model).cuda()
    moved = {k: v.cuda() if k == "entities" else {r: x.cuda() for r, x in v.items()} for k, v in batch.items()}
    here, there = model(**batch), twin(**moved)
    torch.testing.assert_close(there.cpu(), here, atol=1e-9, rtol=0)
    here.square().sum().backward()
    there.square().sum().backward()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(other.grad.cpu(), one.grad, atol=1e-8, rtol=1e-8)
