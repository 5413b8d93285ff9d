"""One slice as bytes: the codec shared by the volume store, the web server and the browser.

Light on purpose (numpy and zstandard only), so that the web may decode without loading the
science.

Codec 1 (int16, [ny, nx]), lossless: ``r[y,x] = a[y,x] - a[y-1,x] - a[y,x-1] + a[y-1,x-1]`` (zero
outside, modulo 2**16); zigzag ``(r << 1) ^ (r >> 15)``; all low bytes, then all high bytes; one
zstd frame, level 1, with its content size. Codec 2 (uint8) is the same modulo 2**8, one byte plane.
Shared vectors: ``tests/analysis/vectors/codec.json``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from analysis.errors import StepFailed

Stored = npt.NDArray[Any]
"""int16 or uint8."""

_BITS = {1: np.uint16, 2: np.uint8}


def codec_of(dtype: npt.DTypeLike) -> int:
    """1 for int16, 2 for uint8; ``ValueError`` otherwise."""
    kind = np.dtype(dtype)
    if kind == np.int16:
        return 1
    if kind == np.uint8:
        return 2
    raise ValueError(f"a slice is stored as int16 or uint8, not {kind}")


def encode_slice(pixels: Stored) -> bytes:
    """One slice [ny, nx], int16 (codec 1) or uint8 (codec 2), as its payload bytes."""
    unsigned = _BITS[codec_of(pixels.dtype)]
    a = np.ascontiguousarray(pixels).view(unsigned)
    r = a.copy()
    r[:, 1:] -= a[:, :-1]
    r[1:] -= r[:-1].copy()
    signed = r.view(np.int16 if unsigned is np.uint16 else np.int8)
    sign = np.right_shift(signed, 8 * r.itemsize - 1)  # all ones where negative
    z = np.left_shift(r, 1) ^ sign.view(unsigned)
    if unsigned is np.uint16:
        planes = z.astype("<u2").view(np.uint8).reshape(-1, 2).T.tobytes()
    else:
        planes = z.tobytes()
    return zstandard.ZstdCompressor(level=1).compress(planes)


def decode_slice(
    payload: bytes, shape: tuple[int, int], codec: int, upto: tuple[int, int] | None = None
) -> Stored:
    """The inverse of :func:`encode_slice`; with ``upto`` only the first rows and columns, which is
    the faster the fewer there are. Raises ``StepFailed`` for damaged bytes."""
    unsigned = _BITS[codec]
    size = shape[0] * shape[1] * np.dtype(unsigned).itemsize
    try:
        planes = zstandard.ZstdDecompressor().decompress(payload, max_output_size=size)
    except zstandard.ZstdError as error:
        raise StepFailed("volume_damaged", "A stored slice is damaged; run again.") from error
    if len(planes) != size:
        raise StepFailed("volume_damaged", "A stored slice has the wrong size; run again.")
    raw = np.frombuffer(planes, dtype=np.uint8)
    rows, columns = upto or shape
    if unsigned is np.uint16:
        low, high = raw.reshape(2, *shape)[:, :rows, :columns].astype(np.uint16)
        z: npt.NDArray[Any] = low | (high << 8)
    else:
        z = raw.reshape(shape)[:rows, :columns]
    a = np.right_shift(z, 1) ^ (0 - (z & 1)).astype(unsigned)
    # Row by row: numpy's cumsum along columns takes twice as long.
    for y in range(1, len(a)):
        a[y] += a[y - 1]
    np.cumsum(a, axis=1, dtype=unsigned, out=a)
    signed: Stored = a.view(np.int16 if codec == 1 else np.uint8)
    return signed
