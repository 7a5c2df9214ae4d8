"""Batches: what `read` gives for each item, side by side, whatever was in the memory before."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuebank.store import BadInput, Corrupt, FeatureSpec, FeatureStore, NotFound, Recipe, Timebase
from cuebank.store import padded as padded_module
from cuebank.store.gather import Gatherer, gather

CLIPS, MOST, DIM = 24, 40, 5


def fill(store, name, seed, dtype, regular):
    """Series of 0 to 40 rows, the even ones of entity `a`; some rows invalid; one key in eight written twice."""
    rng = np.random.default_rng(seed)
    for i in range(CLIPS):
        for _ in range(1 + (i % 8 == 0)):
            rows = int(rng.integers(0, MOST + 1)) if i % 3 else int(rng.integers(0, 3))
            times = (np.arange(rows) + 0.5) / 50 if regular else np.sort(rng.random(rows))
            values = (rng.standard_normal((rows, DIM)) * 9).astype(dtype)
            store.write(name, f"clip {i}", None if i % 2 else "a", values, times, rng.random(rows) < 0.9)
        if i % 7 == 0:
            store.commit()
    store.commit()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of three sets of CLIPS series each, in several segments."""
    from fractions import Fraction

    clock = Timebase(Fraction(50), Fraction(1, 100), Fraction(1, 50))
    with FeatureStore.open(tmp_path_factory.mktemp("gather") / "f.zarr", "a") as store:
        for seed, (name, dtype, timebase) in enumerate(
            [("half.x", "float16", clock), ("float.x", "float32", None), ("label.x", "int64", None)]
        ):
            store.create(FeatureSpec(name, "numeric", DIM, dtype, Recipe("demo", {"source": "none"}), timebase))
            fill(store, name, seed, dtype, timebase is not None)
        yield store


def key(i):
    return f"clip {i}", None if i % 2 else "a"


def check(store, name, items, batch, rows):
    """Compare with `read`, item by item, to the last bit and the last padded row."""
    values, mask, lengths = (np.asarray(array) for array in batch)
    assert values.shape == (len(items), rows, DIM)
    assert mask.shape == (len(items), rows)
    assert lengths.dtype == np.int64
    for i, item in enumerate(items):
        series = store.read(name, *item)
        count = len(series.times)
        assert lengths[i] == count
        assert np.array_equal(values[i, :count], series.values.astype(values.dtype))
        assert np.array_equal(mask[i, :count], series.valid)
        assert not values[i, count:].any()
        assert not mask[i, count:].any()


items = st.lists(
    st.one_of(
        st.integers(0, CLIPS - 1).map(key),
        st.tuples(st.integers(0, CLIPS - 1), st.none() | st.floats(-0.1, 1), st.none() | st.floats(0, 0.5)).map(
            lambda x: (*key(x[0]), x[1], None if x[2] is None else (x[1] or 0) + x[2])
        ),
    ),
    max_size=12,
)
buffers = st.sampled_from(["array", "tensor", "strided array", "strided tensor"])


def make_buffer(kind, dtype, seed, rows=MOST + 3):
    """Memory full of what must not be seen again."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    wide = (rng.standard_normal((13, rows, DIM + 2)) + 100).astype(dtype)
    mask = rng.random((13, rows)) < 0.5
    values = wide[:, :, 1:-1] if kind.startswith("strided") else wide[:, :, :DIM].copy()
    return (values, mask) if kind.endswith("array") else (torch.from_numpy(values), torch.from_numpy(mask))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(items, min_size=1, max_size=5),
    buffers,
    st.sampled_from(["half.x", "float.x"]),
    st.integers(0, 99),
    st.booleans(),
)
def test_batch_after_batch_in_one_buffer_holds_what_read_gives_and_nothing_old(
    store, batches, kind, name, seed, two_threads
):
    out, mask = make_buffer(kind, "float32", seed)
    gatherer = Gatherer(store, name, out=out, mask=mask)
    for batch in batches:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(padded_module, "SHARED_BYTES", 0 if two_threads else 2**40)
            patch.setattr(padded_module, "processors", lambda: 2)
            got = gatherer.gather(batch)
        check(store, name, batch, got, MOST + 3)
        assert got.values.shape[0] == 0 or np.shares_memory(np.asarray(got.values), np.asarray(out))


@settings(max_examples=30, deadline=None)
@given(items, st.sampled_from(["half.x", "float.x", "label.x"]))
def test_without_a_buffer_the_block_is_as_long_as_the_longest_item(store, batch, name):
    rows = max((len(store.read(name, *item).times) for item in batch), default=0)
    got = gather(store, name, batch)
    check(store, name, batch, got, rows)
    assert got.values.dtype == ("int64" if name == "label.x" else "float32")


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_one_call_clears_all_padding_of_a_buffer_it_has_never_seen(store, kind):
    out, mask = make_buffer(kind, "float32", 1)
    batch = [key(i) for i in range(13)]
    check(store, "half.x", batch, gather(store, "half.x", batch, out=out, mask=mask), MOST + 3)


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_only_what_the_last_batch_left_behind_is_cleared(store, kind):
    out, _ = make_buffer(kind, "float32", 1)
    gatherer = Gatherer(store, "half.x", out=out)
    long = max(range(CLIPS), key=lambda i: len(store.read("half.x", *key(i)).times))
    gatherer.gather([key(long)])
    out[0, MOST + 1] = 5  # behind every series: nobody but the first batch clears it
    gatherer.gather([key(0)])
    assert (np.asarray(out)[0, MOST + 1] == 5).all()
    assert not np.asarray(out)[0, MOST - 1].any()


def test_what_an_interrupted_batch_left_behind_is_cleared_by_the_next():
    buffer = padded_module.PaddedBuffer(np.ones((2, 6, 1), np.float32), None, 1, np.dtype("float16"))
    rows, valid = np.full((9, 1), 7, np.float16), np.ones(9, bool)

    def interrupted():
        yield [0], rows, valid
        raise KeyboardInterrupt

    buffer.fill([(0, 1), (0, 1)], [([0, 1], rows, valid)])
    with pytest.raises(KeyboardInterrupt):
        buffer.fill([(0, 5), (0, 5)], interrupted())
    got = buffer.fill([(0, 1), (0, 2)], [([0, 1], rows, valid)])
    assert got.values[..., 0].tolist() == [[7, 0, 0, 0, 0, 0], [7, 7, 0, 0, 0, 0]]
    assert got.mask.sum(axis=1).tolist() == [1, 2]


def test_many_short_items_of_a_segment_are_as_right_as_one_by_one(store, monkeypatch):
    batch = [key(i) for i in range(0, CLIPS, 3)] * 4
    check(store, "half.x", batch, gather(store, "half.x", batch), gather(store, "half.x", batch).values.shape[1])
    calls = []
    original = padded_module.PaddedBuffer._copy_short
    monkeypatch.setattr(
        padded_module.PaddedBuffer, "_copy_short", lambda *given: calls.append(len(given[1])) or original(*given)
    )
    gather(store, "half.x", batch)
    assert sum(calls) >= len(batch) / 2


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types_than_float32_can_be_asked_for(store, dtype):
    batch = [key(1), key(2)]
    got = gather(store, "half.x", batch, dtype=dtype)
    assert got.values.dtype == dtype
    check(store, "half.x", batch, got, got.values.shape[1])
    out = np.ones((2, MOST, DIM), dtype)
    check(store, "half.x", batch, gather(store, "half.x", batch, out=out), MOST)


def test_a_tensor_makes_the_mask_and_the_lengths_tensors(store):
    torch = pytest.importorskip("torch")
    got = gather(store, "half.x", [key(1)], out=torch.ones(1, MOST, DIM))
    assert (got.values.dtype, got.mask.dtype, got.lengths.dtype) == (torch.float32, torch.bool, torch.int64)


def test_the_buffer_is_never_written_where_no_item_is(store):
    out = np.full((4, MOST, DIM), 7, np.float32)
    gather(store, "half.x", [key(1)], out=out)
    assert (out[1:] == 7).all()


def test_a_series_that_is_replaced_is_read_anew(tmp_path):
    spec = FeatureSpec("x.x", "numeric", 1, "float16", Recipe("demo", {"source": "none"}))
    with FeatureStore.open(tmp_path / "f.zarr", "a") as store:
        store.create(spec)
        store.write("x.x", "a", None, [[1], [2]], [0, 1], [True, True])
        store.commit()
        gatherer = Gatherer(store, "x.x", out=np.zeros((1, 3, 1), np.float32))
        assert gatherer.gather([("a", None)]).values.ravel().tolist() == [1, 2, 0]
        store.write("x.x", "a", None, [[3]], [0], [True])
        store.commit()
        assert gatherer.gather([("a", None)]).values.ravel().tolist() == [3, 0, 0]
        with pytest.raises(NotFound, match="'b'"):
            gatherer.gather([("a", None), ("b", None)])


def test_a_batch_over_more_segments_than_may_be_mapped_is_read_a_few_at_a_time(tmp_path):
    spec = FeatureSpec("x.x", "numeric", 1, "float16", Recipe("demo", {"source": "none"}))
    with FeatureStore.open(tmp_path / "f.zarr", "a") as store:
        store.create(spec)
        for i in range(12):
            store.write("x.x", f"{i}", None, [[i]], [0.5], [True])
            store.commit()
    store = FeatureStore.open(tmp_path / "f.zarr")
    store._budget.limit = 3
    gatherer = Gatherer(store, "x.x")
    batch = [(f"{i}", None, 0.0, 1.0) for i in range(12)]
    for _ in range(2):
        assert gatherer.gather(batch).values.ravel().tolist() == list(range(12))
        assert len(store._budget._mapped) <= 3


def test_damaged_rows_are_named_not_gathered(tmp_path):
    spec = FeatureSpec("x.x", "numeric", 1, "float16", Recipe("demo", {"source": "none"}))
    with FeatureStore.open(tmp_path / "f.zarr", "a") as store:
        store.create(spec)
        store.write("x.x", "a", None, [[1], [2]], [0, 1], [True, True])
        store.commit()
    (rows,) = (tmp_path / "f.zarr").glob("*/segments/*/values/0.0")
    data = bytearray(rows.read_bytes())
    data[0] ^= 1
    rows.write_bytes(data)
    with pytest.raises(Corrupt, match="'a'"):
        gather(FeatureStore.open(tmp_path / "f.zarr"), "x.x", [("a", None)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"items": ["clip 1"]}, "One of its items"),
        ({"items": [("clip 1",)]}, "One of its items"),
        ({"items": [("clip 1", None, 0.0)]}, "One of its items"),
        ({"items": [3]}, "One of its items"),
        ({"items": [([], None)]}, "One of its items"),
        ({"items": [("clip 1", None, 2.0, 1.0)]}, "range of time"),
        ({"out": np.zeros((1, 0, DIM), np.float32)}, "The buffer holds 1 items of 0 rows"),
        ({"out": np.zeros((0, MOST, DIM), np.float32)}, "The buffer holds 0 items"),
        ({"out": np.zeros((1, MOST, DIM + 1), np.float32)}, "float32"),
        ({"out": np.zeros((1, MOST, DIM), np.int64)}, "int64"),
        ({"out": np.broadcast_to(np.float32(0), (1, MOST, DIM))}, "read-only"),
        ({"out": [[[0.0]]]}, "`out` is a list"),
        ({"out": np.zeros((1, MOST, DIM), np.float32), "mask": np.zeros((1, MOST))}, "mask is"),
        ({"mask": np.zeros((1, MOST), bool)}, "no `out`"),
        ({"dtype": "int64"}, "cannot hold"),
    ],
)
def test_bad_questions_are_answered_in_words(store, change, said):
    asked = {"items": [("clip 1", None)], **change}
    with pytest.raises(BadInput, match=said):
        gather(store, "half.x", **asked)


def test_tensors_that_numpy_cannot_see_are_refused(store):
    torch = pytest.importorskip("torch")
    with pytest.raises(BadInput, match="bfloat16"):
        gather(store, "half.x", [key(1)], out=torch.zeros(1, MOST, DIM, dtype=torch.bfloat16))
    with pytest.raises(BadInput, match="without gradient"):
        gather(store, "half.x", [key(1)], out=torch.zeros(1, MOST, DIM, requires_grad=True))
    with pytest.raises(BadInput, match="on meta"):
        gather(store, "half.x", [key(1)], out=torch.zeros(1, MOST, DIM, device="meta"))


def test_gathering_does_not_import_torch(store):
    program = (
        "import sys; from cuebank.store import FeatureStore; from cuebank.store.gather import gather; "
        "print(gather(FeatureStore.open(sys.argv[1]), 'half.x', [('clip 1', None)]).lengths, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, store.path], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
