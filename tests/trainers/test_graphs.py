"""Temporal graphs: the recorded edge lists, the double loop of the description, rounding edges, refusals, the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cuebank.store import BadInput
from cuebank.trainers.graphs import GraphCache, GraphConfig, blocks, build_graph, graph_of, stable_order


def by_double_loop(times: np.ndarray, entities: np.ndarray, config: GraphConfig) -> tuple[np.ndarray, np.ndarray]:
    """Edges (2, E) and their signs (E,), as the description says it."""
    edges, signs = [], []
    for j, (mine, me) in enumerate(zip(times.tolist(), entities.tolist(), strict=True)):
        for k, (other, them) in enumerate(zip(times.tolist(), entities.tolist(), strict=True)):
            gap = mine - other
            near = 0 < abs(gap) <= config.time_edge_s and (me == them or config.cross_identity)
            if near or gap == 0:
                edges.append((j, k))
                signs.append(float(np.sign(gap)))
    return np.array(edges, np.int64).reshape(-1, 2).T, np.array(signs, np.float32)


def recorded_graphs(case: Any) -> list[tuple[str, GraphConfig, np.ndarray, np.ndarray, np.ndarray]]:
    """(setting, config, rows in time order, times, entities as numbers) of a golden case."""
    arrays = case.arrays
    who = np.unique(arrays["in_speaker" if "in_speaker" in arrays else "in_entity"], return_inverse=True)[1]
    order = stable_order(arrays["in_time"])
    found = []
    for name, one in case.json()["settings"].items():
        assert one["skip"] == one["numv"]
        config = GraphConfig(one["time_edge"], one["cross_identity"] == "ciy", one["numv"])
        found.append((name, config, order, arrays["in_time"][order], who[order]))
    return found


@pytest.mark.golden("kemdy_graph", "spell_graph")
def test_recorded_edges_are_found_in_their_order(golden_case: Any) -> None:
    arrays, seen = golden_case.arrays, set()
    for name, config, order, times, who in recorded_graphs(golden_case):
        graphs = graph_of(times, who, config)
        for i, (graph, (start, stop)) in enumerate(zip(graphs, blocks(len(times), config.block_rows), strict=True)):
            key = f"{name}_g{i}"
            np.testing.assert_array_equal(graph.edge_index(), arrays[f"{key}_edge_index"], err_msg=key)
            np.testing.assert_array_equal(graph.signs(), arrays[f"{key}_edge_attr"], err_msg=key)
            labels = arrays["in_label"].reshape(len(times), -1)[order[start:stop]]
            np.testing.assert_array_equal(labels, arrays[f"{key}_y"], err_msg=key)
            if f"{key}_node_source_row" in arrays:
                np.testing.assert_array_equal(order[start:stop], arrays[f"{key}_node_source_row"], err_msg=key)
            seen.add(f"{key}_edge_index")
    assert seen == {key for key in arrays if key.endswith("_edge_index")}


@pytest.mark.parametrize("cross_identity", [False, True])
@pytest.mark.parametrize("step", [0.25, 0.04, 1 / 29.97, 0.1])
@pytest.mark.parametrize("span", [0.0, 0.3, 0.6, 0.9, 7.2])
def test_edges_are_those_of_the_double_loop(span: float, step: float, cross_identity: bool) -> None:
    rng = np.random.default_rng(round(1000 * (span + step)) + cross_identity)
    for _ in range(6):
        n = int(rng.integers(1, 70))
        times = np.sort(rng.integers(0, 60, n)) * step + rng.choice([0.0, 1e6, 0.07])
        entities = rng.choice([3, -5, 2**40], n)
        config = GraphConfig(span, cross_identity)
        graph = build_graph(times, entities, config)
        edges, signs = by_double_loop(times, entities, config)
        np.testing.assert_array_equal(graph.edge_index(), edges)
        np.testing.assert_array_equal(graph.signs(), signs)
        assert graph.rows == n


def test_the_rounded_difference_decides_not_the_rounded_sum() -> None:
    grid = np.arange(200) * 0.04
    differs = 0
    for span in (0.6, 0.9, 0.3, 0.28):
        exact = {(j, k) for j in range(200) for k in range(200) if abs(grid[j] - grid[k]) <= span}
        naive = {
            (j, k) for j in range(200) for k in range(200) if grid[j] - span <= grid[k] and grid[k] - span <= grid[j]
        }
        differs += exact != naive
        found = build_graph(grid, np.zeros(200, int), GraphConfig(span)).edge_index()
        assert set(map(tuple, found.T.tolist())) == exact
    assert differs, "these grids no longer show the difference that the test is about"


def test_every_row_is_linked_to_itself_and_to_all_that_are_simultaneous() -> None:
    graph = build_graph(np.zeros(4), np.array([0, 1, 2, 0]), GraphConfig(0.0))
    assert graph.edge_index().tolist() == [[j for j in range(4) for _ in range(4)], [*range(4)] * 4]
    assert (graph.signs() == 0).all()


def test_rows_of_no_block_are_no_graph_and_empty_ones_have_no_edges() -> None:
    assert graph_of(np.zeros(0), np.zeros(0, int), GraphConfig()) == []
    empty = build_graph(np.zeros(0), np.zeros(0, int), GraphConfig())
    assert empty.rows == 0
    assert empty.edge_index().shape == (2, 0)


def test_blocks_are_consecutive_and_not_linked() -> None:
    times, who = np.arange(5) * 0.25, np.zeros(5, int)
    graphs = graph_of(times, who, GraphConfig(block_rows=2))
    assert [graph.edge_index().tolist() for graph in graphs] == [
        [[0, 0, 1, 1], [0, 1, 0, 1]],
        [[0, 0, 1, 1], [0, 1, 0, 1]],
        [[0], [0]],
    ]


def test_a_graph_is_kept_by_what_it_was_made_of() -> None:
    cache = GraphCache()
    times, who = np.arange(5) * 0.25, np.array([0, 0, 1, 1, 0])
    first = cache.graph(times, who, GraphConfig(0.5))
    assert cache.graph(times.copy(), who.astype(np.int32), GraphConfig(0.5, block_rows=7)) is first
    for other in (
        cache.graph(times + 0.25, who, GraphConfig(0.5)),
        cache.graph(times, who[::-1], GraphConfig(0.5)),
        cache.graph(times, who, GraphConfig(0.25)),
        cache.graph(times, who, GraphConfig(0.5, cross_identity=True)),
    ):
        assert other is not first
    assert cache.held_bytes > 0
    cache.clear()
    assert cache.held_bytes == 0
    assert cache.graph(times, who, GraphConfig(0.5)) is not first


def test_a_full_cache_forgets_what_was_not_used_for_longest() -> None:
    times, who = [np.arange(5) * step for step in (0.25, 0.5, 1.0)], np.zeros(5, int)
    size = GraphCache()
    for one in times[:2]:
        size.graph(one, who, GraphConfig(0.0))
    cache = GraphCache(size.held_bytes)
    first, second = (cache.graph(one, who, GraphConfig(0.0)) for one in times[:2])
    assert cache.graph(times[0], who, GraphConfig(0.0)) is first
    cache.graph(times[2], who, GraphConfig(0.0))
    assert cache.held_bytes == size.held_bytes
    assert cache.graph(times[0], who, GraphConfig(0.0)) is first
    assert cache.graph(times[1], who, GraphConfig(0.0)) is not second


@pytest.mark.parametrize(
    ("times", "entities", "said"),
    [
        (np.zeros(3, np.float32), np.zeros(3, int), "float32"),
        (np.array([0.0, 2.0, 1.0]), np.zeros(3, int), "fall"),
        (np.array([0.0, np.nan, 1.0]), np.zeros(3, int), "not finite"),
        (np.zeros(3), np.zeros(2, int), r"\(2,\)"),
        (np.zeros(3), np.zeros(3), "float64"),
        (np.zeros((3, 1)), np.zeros((3, 1), int), r"\(3, 1\)"),
    ],
)
def test_times_and_entities_of_another_kind_are_refused(times: np.ndarray, entities: np.ndarray, said: str) -> None:
    for build in (build_graph, graph_of):
        with pytest.raises(BadInput, match=said):
            build(times, entities, GraphConfig())


@pytest.mark.parametrize("settings", [{"time_edge_s": -1.0}, {"time_edge_s": float("nan")}, {"block_rows": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=f"{next(iter(settings))}="):
        GraphConfig(**settings)
