"""Frames of the codecs: read back exactly by us, by zarr-python and by h5py; hostile ones are errors, never crashes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cuebank.store import BadInput, Corrupt
from cuebank.store.codecs import CODECS, decode, encode, hdf5_filter, zarr_codec

COMPRESSING = CODECS[1:]
DTYPES = ("u1", "<f2", "<f4", "<f8", "<i8")


def chunk(dtype: str, rows: int = 700, dim: int = 24, seed: int = 0) -> np.ndarray:
    """Numbers like features: rounded normal ones, so that there is something to compress."""
    numbers = np.random.default_rng(seed).standard_normal((rows, dim)) * 20
    return np.abs(np.round(numbers)).astype(dtype)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 2, 700])
def test_a_chunk_comes_back_byte_for_byte(codec: str, dtype: str, rows: int) -> None:
    data = chunk(dtype, rows)
    frame = encode(codec, data, data.itemsize)
    assert encode(codec, data.tobytes(), data.itemsize) == frame
    back = decode(codec, np.frombuffer(frame, np.uint8), data.nbytes, data.itemsize, "A chunk")
    assert (back.dtype, back.shape) == (np.uint8, (data.nbytes,))
    assert back.tobytes() == data.tobytes()


@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_chunk_that_cannot_be_compressed_comes_back_too(codec: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, 2**20, np.uint8)
    frame = encode(codec, noise, 4)
    assert len(frame) < noise.nbytes + 100
    assert (decode(codec, frame, noise.nbytes, 4, "A chunk") == noise).all()


@pytest.mark.parametrize("codec", COMPRESSING)
def test_the_frames_are_smaller_and_equal_for_equal_chunks_of_many_blocks(codec: str) -> None:
    data = chunk("<f4", 20_000)
    frames = {encode(codec, data.copy(), 4) for _ in range(5)}
    assert len(frames) == 1
    assert len(frames.pop()) < data.nbytes / 2


@pytest.mark.parametrize("codec", COMPRESSING)
@pytest.mark.parametrize("dtype", DTYPES)
def test_zarr_python_reads_our_frames_and_we_read_those_of_zarr_python(codec: str, dtype: str, tmp_path: Path) -> None:
    import zarr

    data = chunk(dtype)
    array = zarr.create_array(
        tmp_path / "a",
        shape=data.shape,
        chunks=data.shape,
        dtype=data.dtype,
        compressors=[zarr_codec(codec, data.itemsize)],
    )
    array[:] = data
    (file,) = (tmp_path / "a" / "c" / "0").iterdir()
    theirs = decode(codec, file.read_bytes(), data.nbytes, data.itemsize, "A chunk")
    assert theirs.tobytes() == data.tobytes()
    other = data + data.dtype.type(1)
    file.write_bytes(encode(codec, other, data.itemsize))
    assert (zarr.open_array(tmp_path / "a", mode="r")[:] == other).all()


@pytest.mark.parametrize("codec", COMPRESSING)
@pytest.mark.parametrize("dtype", DTYPES)
def test_h5py_reads_our_frames_and_we_read_those_of_h5py(codec: str, dtype: str, tmp_path: Path) -> None:
    import h5py

    pytest.importorskip("hdf5plugin")
    data = chunk(dtype)
    number, options = hdf5_filter(codec, data.itemsize, data.nbytes)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        ours = file.create_dataset(
            "ours", data.shape, data.dtype, chunks=data.shape, compression=number, compression_opts=options
        )
        ours.id.write_direct_chunk((0, 0), encode(codec, data, data.itemsize))
        file.create_dataset("theirs", data=data, chunks=data.shape, compression=number, compression_opts=options)
    with h5py.File(tmp_path / "a.h5") as file:
        assert (file["ours"][:] == data).all()
        _, frame = file["theirs"].id.read_direct_chunk((0, 0))
    assert decode(codec, frame, data.nbytes, data.itemsize, "A chunk").tobytes() == data.tobytes()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("change", [-8, 8])
def test_a_frame_of_another_size_is_corrupt(codec: str, change: int) -> None:
    data = chunk("<f4")
    with pytest.raises(Corrupt, match="Chunk 7 was read"):
        decode(codec, encode(codec, data, 4), data.nbytes + change, 4, "Chunk 7")


def test_a_frame_that_would_fill_the_memory_is_refused_by_its_header() -> None:
    bomb = encode("zstd", np.zeros(2**26, np.uint8), 1)
    assert len(bomb) < 20_000
    with pytest.raises(Corrupt, match="67108864"):
        decode("zstd", bomb, 1000, 1, "A chunk")
    lying = bytearray(bomb)
    lying[6:10] = (1000).to_bytes(4, "little")  # the header says less than what follows
    with pytest.raises(Corrupt):
        decode("zstd", bytes(lying), 1000, 1, "A chunk")


def test_a_frame_that_does_not_say_its_size_is_corrupt() -> None:
    block = (5 << 3 | 1).to_bytes(3, "little")  # the last block, of 5 raw bytes
    with pytest.raises(Corrupt, match="does not say its size"):
        decode("zstd", b"\x28\xb5\x2f\xfd\x00\x58" + block + b"12345", 5, 1, "A chunk")


def test_blosc_is_shown_no_frame_whose_header_lies_about_its_length_or_compressor() -> None:
    data = chunk("<f4")
    frame = encode("blosc", data, 4)
    for position, value in ((0, 9), (3, 2), (11, 127), (12, 1), (2, 0x01)):
        changed = bytearray(frame)
        changed[position] = value
        with pytest.raises(Corrupt, match="It says"):
            decode("blosc", bytes(changed), data.nbytes, 4, "A chunk")
    with pytest.raises(Corrupt, match="15 bytes"):
        decode("blosc", frame[:15], data.nbytes, 4, "A chunk")


@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_thousand_mutated_frames_are_read_or_corrupt_and_nothing_else(codec: str) -> None:
    rng = np.random.default_rng(3)
    chunks = [chunk("<f2", rows, seed=rows) for rows in (1, 30, 3000)]
    outcomes = set()
    for i in range(1000):
        data = chunks[i % len(chunks)]
        frame = mutated(bytearray(encode(codec, data, 2)), rng)
        if codec == "blosc" and i % 2 and len(frame) >= 16:  # an honest length, so that C-Blosc itself is reached
            frame[4:8], frame[12:16] = data.nbytes.to_bytes(4, "little"), len(frame).to_bytes(4, "little")
        try:
            outcomes.add(decode(codec, bytes(frame), data.nbytes, 2, "A chunk").nbytes == data.nbytes)
        except Corrupt:
            outcomes.add(None)
    assert outcomes == {True, None}


def mutated(frame: bytearray, rng: np.random.Generator) -> bytearray:
    """Flip a bit, cut the end off, overwrite the beginning, or put something in."""
    place = int(rng.integers(len(frame)))
    match int(rng.integers(4)):
        case 0:
            frame[place] ^= 1 << int(rng.integers(8))
        case 1:
            del frame[place:]
        case 2:
            for _ in range(int(rng.integers(1, 20))):
                frame[int(rng.integers(min(len(frame), 64)))] = int(rng.integers(256))
        case _:
            frame[place:place] = rng.bytes(int(rng.integers(1, 20)))
    return frame


def test_an_unknown_codec_or_item_is_bad_input() -> None:
    with pytest.raises(BadInput, match="lz5"):
        encode("lz5", b"", 1)
    with pytest.raises(BadInput, match="3 bytes"):
        decode("zstd", b"", 0, 3, "A chunk")
    with pytest.raises(BadInput, match="whole numbers"):
        encode("zstd", b"123", 2)
    with pytest.raises(BadInput, match="none"):
        zarr_codec("none", 2)
    with pytest.raises(BadInput, match="none"):
        hdf5_filter("none", 2, 64)
