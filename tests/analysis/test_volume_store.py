"""The streaming store: lossless slices, honest scales, levels that lie where they say."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from analysis.contracts import VolumeRecord, from_json, to_json
from analysis.errors import StepFailed
from analysis.geometry import Grid, Volume
from analysis.slice_codec import codec_of, decode_slice, encode_slice
from analysis.volume_store import (
    COARSE_PIXELS,
    COARSE_SLICES,
    default_window,
    grid_of_record,
    level_factors,
    read_stored,
    read_volume,
    write_volume,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "codec.json").read_text())
DTYPE = {1: np.dtype("<i2"), 2: np.dtype("u1")}
HU = "[hnsf'U]"


def volume(array: np.ndarray, unit: str = HU, spacing: tuple[float, ...] = (1, 1, 1)) -> Volume:
    return Volume(array, Grid(array.shape, np.diag([*spacing, 1.0])), unit, "CT", "CT")


def write(folder: Path, content: Volume, **more: object) -> VolumeRecord:
    path = folder / "assemble" / "v.rfv"
    return write_volume(path, content, run_dir=folder, key="k", label="CT", role="CT", **more)


# --- codec ---------------------------------------------------------------------------------------


@given(
    st.sampled_from([np.int16, np.uint8]).flatmap(
        lambda kind: arrays(kind, array_shapes(min_dims=2, max_dims=2, max_side=40))
    )
)
def test_codec_is_lossless(pixels: np.ndarray) -> None:
    payload = encode_slice(pixels)
    again = decode_slice(payload, pixels.shape, codec_of(pixels.dtype))
    assert again.dtype == pixels.dtype
    assert np.array_equal(again, pixels)


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_shared_vectors(vector: dict) -> None:
    raw = np.frombuffer(base64.b64decode(vector["raw"]), DTYPE[vector["codec"]])
    pixels = raw.reshape(vector["shape"])
    payload = base64.b64decode(vector["payload"])
    assert np.array_equal(decode_slice(payload, pixels.shape, vector["codec"]), pixels)
    # The bytes below zstd are ours to fix; zstd's own may change with its version.
    ours, theirs = (zstandard.decompress(p) for p in (encode_slice(pixels), payload))
    assert ours == theirs
    assert zstandard.get_frame_parameters(payload).content_size == len(theirs)


def test_codec_follows_the_written_formula() -> None:
    """Residuals worked out by hand from the definition in slice_codec."""
    pixels = np.array([[10, 12], [9, 15]], np.int16)
    # r = 10, 2, -1, 4 -> zigzag 20, 4, 1, 8; high bytes are zero.
    assert zstandard.decompress(encode_slice(pixels)) == bytes([20, 4, 1, 8, 0, 0, 0, 0])
    assert zstandard.decompress(encode_slice(pixels.astype(np.uint8))) == bytes([20, 4, 1, 8])


@pytest.mark.parametrize("damage", [lambda p: p[:-3], lambda p: b"junk", lambda p: b""])
def test_damaged_payload_fails_in_words(damage: object) -> None:
    payload = encode_slice(np.arange(64, dtype=np.int16).reshape(8, 8))
    with pytest.raises(StepFailed) as caught:
        decode_slice(damage(payload), (8, 8), 1)
    assert caught.value.code == "volume_damaged"


def test_wrong_shape_fails_in_words() -> None:
    payload = encode_slice(np.zeros((8, 8), np.int16))
    for shape in ((8, 9), (7, 8)):
        with pytest.raises(StepFailed):
            decode_slice(payload, shape, 1)


def test_other_types_are_not_encoded() -> None:
    with pytest.raises(ValueError, match="int16 or uint8"):
        encode_slice(np.zeros((2, 2), np.float32))


# --- scales --------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(*[st.integers(1, 9)] * 3),
        elements=st.floats(-1000, 1000, width=32),
    )
)
def test_stored_values_are_within_the_recorded_error(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray
) -> None:
    folder = tmp_path_factory.mktemp("store")
    record = write(folder, volume(array, "g/ml{SUVbw}"))
    again = read_volume(folder, record)
    error = record.source["quantisation_error"]
    assert np.abs(again.array - array).max() <= error + 1e-6 * np.abs(array).max()
    assert error <= 0.51 * np.abs(array).max() / 32767 + 1e-12
    assert np.all(again.array[array == 0] == 0)
    shutil.rmtree(folder)


def test_whole_hu_are_exact(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(-1024, 3072, (5, 7, 9)).astype(np.float32)
    record = write(tmp_path, volume(array))
    assert (record.slope, record.intercept, record.dtype) == (1.0, 0.0, "int16")
    assert np.array_equal(read_volume(tmp_path, record).array, array)


def test_unsigned_sixteen_bits_are_exact(tmp_path: Path) -> None:
    array = np.array([[[0, 65535, 32768]]], np.float32)
    record = write(tmp_path, volume(array, "1"))
    assert (record.slope, record.intercept) == (1.0, 32768.0)
    assert np.array_equal(read_volume(tmp_path, record).array, array)


def test_probability_and_labels(tmp_path: Path) -> None:
    p = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    record = write(tmp_path, volume(p, "1"), quantise="probability")
    assert (record.dtype, record.slope) == ("uint8", 1 / 255)
    assert np.abs(read_volume(tmp_path, record).array - p).max() <= 0.5 / 255 + 1e-6
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    record = write(tmp_path, volume(labels, "1"), quantise="labels")
    assert np.array_equal(read_stored(tmp_path, record), labels)


@pytest.mark.parametrize(
    ("quantise", "value"), [("probability", 1.5), ("probability", -0.5), ("labels", 300)]
)
def test_values_that_do_not_fit_are_refused(tmp_path: Path, quantise: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"0\.\."):
        write(tmp_path, volume(np.full((1, 2, 2), value), "1"), quantise=quantise)


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        write(tmp_path, volume(np.full((1, 2, 2), np.nan)))
    assert caught.value.code == "not_finite"
    assert not list(tmp_path.rglob("*.rfv*"))


# --- file and levels -----------------------------------------------------------------------------


def test_record_describes_the_file(tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 50, (6, 300, 260)).astype(np.int16)
    record = write(tmp_path, volume(array), source={"rescale": 1}, lossy="J2K 20:1")
    data = (tmp_path / record.path).read_bytes()
    assert record.path == "assemble/v.rfv"
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert from_json(VolumeRecord, to_json(record)) == record
    assert record.source["rescale"] == 1
    assert record.value_range == (0, 49)
    offsets = [o for level in record.levels for o in level.offsets]
    assert offsets == sorted(offsets)
    assert (offsets[0], offsets[-1]) == (0, len(data))
    # Any slice of any level is exactly its byte range.
    for level, entry in enumerate(record.levels):
        k = entry.shape[0] // 2
        payload = data[entry.offsets[k] : entry.offsets[k + 1]]
        pixels = decode_slice(payload, entry.shape[1:], 1)
        assert np.array_equal(pixels, read_stored(tmp_path, record, level)[k])


@pytest.mark.parametrize(
    ("shape", "spacing", "factors"),
    [
        ((20, 512, 512), (0.7, 0.7, 3.0), [(1, 2, 2), (1, 4, 4), (2, 8, 8)]),
        ((300, 512, 512), (0.7, 0.7, 1.0), [(1, 2, 2), (2, 4, 4), (4, 8, 8)]),
        ((1000, 400, 400), (1.65, 1.65, 3.0), [(1, 2, 2), (2, 4, 4), (8, 8, 8)]),
        ((300, 16, 16), (1.0, 1.0, 1.0), [(4, 1, 1)]),
        ((6, 129, 40), (1.0, 1.0, 1.0), [(2, 2, 2), (4, 4, 4)]),
        ((1, 512, 512), (0.2, 0.2, 1.0), [(1, 2, 2), (1, 4, 4), (1, 8, 8)]),
        ((128, 64, 64), (1.0, 1.0, 1.0), []),
    ],
)
def test_levels_halve_until_the_coarsest_is_small(
    shape: tuple[int, int, int],
    spacing: tuple[float, ...],
    factors: list[tuple[int, int, int]],
) -> None:
    found = level_factors(Grid(shape, np.diag([*spacing, 1.0])))
    assert found == [(1, 1, 1), *factors]
    nz, ny, nx = shape
    fz, fy, fx = found[-1]
    assert max(-(-ny // fy), -(-nx // fx)) <= COARSE_PIXELS
    assert -(-nz // fz) <= COARSE_SLICES


def test_every_slice_has_its_checksum(tmp_path: Path) -> None:
    record = write(tmp_path, volume(np.arange(3 * 90 * 80, dtype=np.int16).reshape(3, 90, 80)))
    data = (tmp_path / record.path).read_bytes()
    for level in record.levels:
        spans = itertools.pairwise(level.offsets)
        assert level.checksums == tuple(zlib.crc32(data[a:b]) for a, b in spans)
    assert len(record.levels) == 2


def test_small_volume_has_one_level(tmp_path: Path) -> None:
    assert len(write(tmp_path, volume(np.zeros((59, 43, 41), np.int16))).levels) == 1


def test_coarse_voxels_are_means_and_lie_in_the_middle(tmp_path: Path) -> None:
    """A linear ramp sampled at the coarse centres gives the coarse values."""
    nz, ny, nx = 4, 260, 256
    z, y, x = np.indices((nz, ny, nx))
    array = (3 * x + 2 * y + 5 * z).astype(np.float32) * 4
    record = write(tmp_path, volume(array, "1", spacing=(0.5, 0.5, 2.0)))
    coarse = read_volume(tmp_path, record, 1)
    fz, fy, fx = record.levels[1].factors
    assert coarse.grid.affine == pytest.approx(grid_of_record(record, 1).affine)
    full = Grid((nz, ny, nx), np.diag([0.5, 0.5, 2.0, 1.0]))
    k, j, i = np.indices(coarse.array.shape)
    at = full.to_index(coarse.grid.to_lps(np.stack([i, j, k], -1)))
    expected = 4 * (3 * at[..., 0] + 2 * at[..., 1] + 5 * at[..., 2])
    inside = (slice(0, nz // fz), slice(0, ny // fy), slice(0, nx // fx))
    assert np.abs(coarse.array - expected)[inside].max() <= 0.5


def test_partial_blocks_are_means_of_what_is_there(tmp_path: Path) -> None:
    array = np.full((3, 130, 130), 100, np.int16)
    record = write(tmp_path, volume(array))
    assert record.levels[1].shape == (2, 65, 65)
    assert np.all(read_volume(tmp_path, record, 1).array == 100)


def test_a_small_label_survives_the_coarse_level(tmp_path: Path) -> None:
    labels = np.zeros((8, 256, 256), np.uint8)
    labels[4, 100, 100] = 3
    record = write(tmp_path, volume(labels, "1"), quantise="labels")
    coarse = read_stored(tmp_path, record, 1)
    assert set(np.unique(coarse)) == {0, 3}


def test_lost_and_damaged_files_fail_in_words(tmp_path: Path) -> None:
    record = write(tmp_path, volume(np.ones((3, 8, 8), np.int16)))
    path = tmp_path / record.path
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StepFailed) as caught:
        read_volume(tmp_path, record)
    assert caught.value.code == "volume_damaged"
    path.unlink()
    with pytest.raises(StepFailed) as caught:
        read_volume(tmp_path, record)
    assert caught.value.code == "volume_missing"


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    array = np.random.default_rng(2).normal(size=(4, 20, 20)).astype(np.float32)
    assert write(tmp_path, volume(array)) == write(tmp_path, volume(array))


@pytest.mark.parametrize(
    ("unit", "array", "window"),
    [
        (HU, np.zeros((2, 2, 2)), (400.0, 40.0)),
        ("g/ml{SUVbw}", np.zeros((2, 2, 2)), (5.0, 2.5)),
        ("1", np.full((2, 2, 2), 0.5), (1.0, 0.5)),
        ("Bq/ml", np.zeros((2, 2, 2)), (1.0, 0.5)),
    ],
)
def test_default_windows(unit: str, array: np.ndarray, window: tuple[float, float]) -> None:
    assert default_window(volume(array, unit)) == window


def test_mr_window_spans_the_tissue() -> None:
    array = np.zeros((10, 20, 20), np.float32)
    array[2:8] = np.linspace(100, 1100, 2400).reshape(6, 20, 20)
    width, centre = default_window(volume(array, "1"))
    assert (width, centre) == (pytest.approx(980, rel=0.02), pytest.approx(600, rel=0.02))
