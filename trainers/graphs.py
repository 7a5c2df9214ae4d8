"""Temporal graphs: which rows of a scene are beside each other in time.

n is rows of one graph, E its edges. Rows of all entities of a clip, sorted by time, are cut into blocks; every block is
one graph, without edges to the next. Rows j and k are linked if 0 < |t_j - t_k| <= `time_edge_s` and they are of one
entity (or `cross_identity`), or if t_j = t_k, whoever they are of; so each row is linked to itself.

Source: SPELL (ECCV 2022) and its descendant for KEMDy20, written independently from a description and checked against
recorded edge lists. What differs: edges are found by search in the sorted times instead of by trying all pairs; the
result is the same, because rounding keeps the order of differences, so that what is near enough to a row is one run of
the sorted times. Differences are those of float64 seconds, as there: thresholds lie on the rounding edges of frame
grids.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput

Times = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GraphConfig:
    """How rows are linked.

    Args:
        time_edge_s: the largest distance in time, in seconds; published: 7.2 (KEMDy20, 4 Hz), 0.9 (SPELL, video).
        cross_identity: link rows of different entities at different times too.
        block_rows: rows of one graph; the last one of a clip may be shorter.
    """

    time_edge_s: float = 7.2
    cross_identity: bool = False
    block_rows: int = 2000

    def __post_init__(self) -> None:
        if not (0 <= self.time_edge_s < math.inf and self.block_rows >= 1):
            raise BadInput(
                "Temporal graphs were described.",
                f"Found time_edge_s={self.time_edge_s}, block_rows={self.block_rows}.",
                "The first is finite and 0 or more, in seconds; the second is 1 or more.",
            )


@dataclass(frozen=True)
class Graph:
    """The links of n rows, both ways: if j is beside k, k is beside j.

    Args:
        neighbours: (E,) int32, for each row in turn the rows beside it, in order.
        offsets: (3n + 1,) int64, where they begin: row j's earlier neighbours are
            `neighbours[offsets[3j]:offsets[3j + 1]]`, followed by its simultaneous ones (itself among them) and its
            later ones.
    """

    neighbours: npt.NDArray[np.int32]
    offsets: Integers

    @property
    def rows(self) -> int:
        """How many rows there are, n."""
        return len(self.offsets) // 3

    def edge_index(self) -> Integers:
        """Return the edges (2, E), sources above targets, in order of source, then target."""
        sources = np.repeat(np.arange(self.rows), np.diff(self.offsets[::3]))
        return np.stack([sources, self.neighbours.astype(np.int64)])  # (2, E)

    def signs(self) -> npt.NDArray[np.float32]:
        """Return (E,): 1 where an edge's source is later than its target, 0 where both are simultaneous, else -1."""
        parts = np.tile(np.array([1, 0, -1], np.float32), self.rows)
        return np.repeat(parts, np.diff(self.offsets))


def stable_order(times: Times) -> Integers:
    """Return the order of rows by time; simultaneous rows keep theirs.

    Example:
        >>> stable_order(np.array([2.0, 1.0, 2.0, 0.5])).tolist()
        [3, 1, 0, 2]
    """
    return np.argsort(times, kind="stable")


def blocks(rows: int, block_rows: int) -> list[tuple[int, int]]:
    """Return where each block of consecutive rows begins and ends.

    Example:
        >>> blocks(5, 2)
        [(0, 2), (2, 4), (4, 5)]
    """
    return [(start, min(start + block_rows, rows)) for start in range(0, rows, block_rows)]


def build_graph(times: npt.ArrayLike, entities: npt.ArrayLike, config: GraphConfig) -> Graph:
    """Link the rows of one block.

    Args:
        times: (n,) float64 seconds, never falling.
        entities: (n,) integers, equal for rows of one entity.
        config: how; `block_rows` is not looked at.

    Raises:
        BadInput: for times that are not float64, not finite or fall, and for entities of another length.

    Example:
        >>> graph = build_graph(np.array([0.0, 0.25, 0.25]), np.array([7, 7, 8]), GraphConfig(0.3))
        >>> graph.edge_index().tolist()
        [[0, 0, 1, 1, 1, 2, 2], [0, 1, 0, 1, 2, 1, 2]]
        >>> graph.signs().astype(int).tolist()
        [0, -1, 1, 0, 0, 0, 0]
    """
    seconds, who = _checked(times, entities)
    n = len(seconds)
    fresh = np.diff(seconds, prepend=-np.inf) > 0
    instants = seconds[fresh]  # each time once, (m,)
    rank = np.cumsum(fresh) - 1  # row -> its instant, (n,)
    starts = np.append(np.flatnonzero(fresh), n)  # instant -> its first row, (m + 1,)
    first, last = _window(instants, config.time_edge_s)  # instant -> instants near enough, each (m,)
    bounds = np.stack(  # row -> begin of its window, of its instant, end of its instant, of its window
        [starts[first][rank], starts[:-1][rank], starts[1:][rank], starts[last + 1][rank]], 1
    )  # (n, 4)
    if config.cross_identity or n == 0 or (who == who[0]).all():
        begin, counts = bounds[:, 0], np.diff(bounds, axis=1)
        neighbours = _runs(begin, counts.sum(1))
    else:
        neighbours, counts = _within_entities(bounds, who)
    return Graph(neighbours.astype(np.int32), np.append(0, np.cumsum(counts.reshape(-1))))


class GraphCache:
    """Graphs by the content of their times and entities: between epochs they stay the same.

    Args:
        most_bytes: of the graphs kept; those not used for longest go first.
    """

    def __init__(self, most_bytes: int = 1 << 28) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0
        self._graphs: OrderedDict[bytes, Graph] = OrderedDict()
        self._lock = threading.Lock()

    def graph(self, times: npt.ArrayLike, entities: npt.ArrayLike, config: GraphConfig) -> Graph:
        """Return the graph of one block, see `build_graph`; it may be one that was made before."""
        seconds, who = _checked(times, entities)
        key = hashlib.blake2b(seconds.tobytes(), digest_size=16)
        key.update(who.tobytes())
        key.update(repr((config.time_edge_s, config.cross_identity)).encode())
        with self._lock:
            found = self._graphs.get(key.digest())
            if found is not None:
                self._graphs.move_to_end(key.digest())
                return found
        made = build_graph(seconds, who, config)
        with self._lock:
            if key.digest() not in self._graphs:
                self._graphs[key.digest()] = made
                self.held_bytes += _bytes(made)
            while self.held_bytes > self.most_bytes:
                self.held_bytes -= _bytes(self._graphs.popitem(last=False)[1])
        return made

    def clear(self) -> None:
        """Forget all graphs."""
        with self._lock:
            self._graphs.clear()
            self.held_bytes = 0


CACHE = GraphCache()


def graph_of(times: npt.ArrayLike, entities: npt.ArrayLike, config: GraphConfig) -> list[Graph]:
    """Return the graphs of a scene, one for each block of its rows; they are kept for the next time.

    Args:
        times: (n,) float64 seconds, never falling.
        entities: (n,) integers, equal for rows of one entity.
        config: how rows are cut and linked.

    Raises:
        BadInput: as `build_graph`.

    Example:
        >>> [graph.rows for graph in graph_of(np.arange(5.0), np.zeros(5, int), GraphConfig(1.0, block_rows=2))]
        [2, 2, 1]
    """
    seconds, who = _checked(times, entities)
    return [
        CACHE.graph(seconds[start:stop], who[start:stop], config)
        for start, stop in blocks(len(seconds), config.block_rows)
    ]


def _window(instants: Times, span: float) -> tuple[Integers, Integers]:
    """Return for each of rising times (m,) the first and the last one whose float64 difference is at most `span`.

    The search looks for t - span, which is rounded; the difference itself decides, so a bound may move by a step.
    """
    here = np.arange(len(instants))
    first = np.minimum(np.searchsorted(instants, instants - span), here)
    last = np.maximum(np.searchsorted(instants, instants + span, side="right") - 1, here)
    for bound, step in ((first, -1), (last, 1)):
        while True:  # outwards while the next one is near enough too
            beyond = np.clip(bound + step, 0, len(instants) - 1)
            move = (beyond != bound) & (np.abs(instants - instants[beyond]) <= span)
            if not move.any():
                break
            bound[move] += step
        while (move := np.abs(instants - instants[bound]) > span).any():  # inwards while it is too far
            bound[move] -= step
    return first, last


def _within_entities(bounds: Integers, who: Integers) -> tuple[Integers, Integers]:
    """Return neighbours (E,) of the same entity in the window or of any at the instant, and their counts (n, 3)."""
    n = len(who)
    entity = np.unique(who, return_inverse=True)[1].astype(np.int64)
    by_entity = np.argsort(entity, kind="stable")  # rows of the first entity, of the second, ...
    places = np.sort(entity * n + np.arange(n))  # the same order as numbers in which row bounds can be looked up
    ranges = np.searchsorted(places, entity[:, None] * n + bounds)  # (n, 4), bounds among the entity's own rows
    counts = np.diff(ranges, axis=1)  # (n, 3)
    own = by_entity[_runs(ranges[:, 0], counts.sum(1))]
    sizes = bounds[:, 2] - bounds[:, 1]  # rows at the same instant
    crowded = np.flatnonzero(sizes > counts[:, 1])  # rows with company of others
    if not len(crowded):
        return own, counts
    mates = _runs(bounds[crowded, 1], sizes[crowded])
    rows = np.repeat(crowded, sizes[crowded])
    others = entity[rows] != entity[mates]
    keys = np.concatenate([np.repeat(np.arange(n), counts.sum(1)) * n + own, rows[others] * n + mates[others]])
    keys.sort(kind="stable")
    counts[:, 1] = sizes
    return keys % n, counts


def _runs(starts: Integers, lengths: Integers) -> Integers:
    """Return start, start + 1, ... (length of them) for each pair, one after another."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)


def _checked(times: npt.ArrayLike, entities: npt.ArrayLike) -> tuple[Times, Integers]:
    seconds, who = np.asarray(times), np.asarray(entities)
    problem = None
    if seconds.dtype != np.float64:
        problem = f"Its times are {seconds.dtype}."
    elif seconds.ndim != 1 or who.shape != seconds.shape or who.dtype.kind not in "iu":
        problem = f"It has times of shape {seconds.shape} and entities of shape {who.shape} and type {who.dtype}."
    elif not np.isfinite(seconds).all() or (np.diff(seconds) < 0).any():
        problem = "Its times fall, or are not finite."
    if problem:
        raise BadInput(
            "The graph of a block of rows was asked for.",
            problem,
            "Times are (n,) float64 seconds in rising order (see `stable_order`), entities (n,) integers.",
        )
    return np.ascontiguousarray(seconds), np.ascontiguousarray(who, np.int64)


def _bytes(graph: Graph) -> int:
    return int(graph.neighbours.nbytes + graph.offsets.nbytes)
