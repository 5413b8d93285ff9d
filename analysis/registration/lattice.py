"""Linear interpolation at many points with its exact slopes, fast on one core.

Measured against ``torch.nn.functional.grid_sample`` with its backward pass and against
``scipy.ndimage.map_coordinates`` on 20 000 points of a 91x109x91 image: 1.5 ms here, 1.9-2.8 ms
and 1.3 ms (values only, no slopes) there; see the README for how to measure again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.geometry import Grid

Floats = npt.NDArray[np.float32]

CHUNK = 8192
"""Points at a time: the temporaries then stay in the processor's cache."""


class Lattice:
    """A float32 image [z, y, x] that is asked for values at (3, n) LPS points.

    Axes with a single voxel are doubled, so that every point has eight neighbours.
    """

    def __init__(self, array: Floats, grid: Grid) -> None:
        for axis, count in enumerate(array.shape):
            if count == 1:
                array = np.repeat(array, 2, axis=axis)
        self._flat = np.ascontiguousarray(array, dtype=np.float32).ravel()
        nz, ny, nx = array.shape
        self._strides = (1, nx, nx * ny)
        self._last = np.array([[nx - 2], [ny - 2], [nz - 2]], dtype=np.int32)
        self.high = np.array(grid.shape[::-1], dtype=np.float64) - 0.5
        self.to_index = np.linalg.inv(grid.affine)
        corners = [a + b + c for c in (0, nx * ny) for b in (0, nx) for a in (0, 1)]
        self._corners = np.array(corners, dtype=np.int64)[:, None]

    def inside(self, index: Floats) -> npt.NDArray[np.bool_]:
        """Which of the (3, n) indices (i, j, k) lie in a voxel of the image."""
        high = self.high
        kept = (index[0] >= -0.5) & (index[0] < high[0])
        for axis in (1, 2):
            kept &= index[axis] >= -0.5
            kept &= index[axis] < high[axis]
        return np.asarray(kept, dtype=np.bool_)

    def values(self, index: Floats) -> Floats:
        """Values at indices (3, n); the edge's value beyond the outermost centres."""
        c, (x, y, z) = self._cells(index)
        v = c[::2] + x * (c[1::2] - c[::2])
        u = v[::2] + y * (v[1::2] - v[::2])
        return np.asarray(u[0] + z * (u[1] - u[0]), dtype=np.float32)

    def values_and_slopes(self, index: Floats) -> tuple[Floats, Floats]:
        """Values (n,) and their derivatives (3, n) along i, j, k."""
        c, (x, y, z) = self._cells(index)
        a = c[1::2] - c[::2]
        v = c[::2] + x * a
        b = v[1::2] - v[::2]
        u = v[::2] + y * b
        slopes = np.empty_like(index)
        np.subtract(u[1], u[0], out=slopes[2])
        np.add(b[0], z * (b[1] - b[0]), out=slopes[1])
        p = a[::2] + y * (a[1::2] - a[::2])
        np.add(p[0], z * (p[1] - p[0]), out=slopes[0])
        return np.asarray(u[0] + z * slopes[2], dtype=np.float32), slopes

    def nearest(self, index: Floats) -> Floats:
        """The nearest voxel's value, for quick looks."""
        cell = np.rint(index).astype(np.int32)
        np.clip(cell, 0, self._last + 1, out=cell)
        flat = cell[0] + self._strides[1] * cell[1] + self._strides[2] * cell[2]
        return np.asarray(self._flat.take(flat), dtype=np.float32)

    def _cells(self, index: Floats) -> tuple[Floats, Floats]:
        cell = index.astype(np.int32)
        np.clip(cell, 0, self._last, out=cell)
        share = index - cell
        np.clip(share, 0.0, 1.0, out=share)
        flat = cell[0] + self._strides[1] * cell[1] + self._strides[2] * cell[2]
        return self._flat.take(flat.astype(np.int64) + self._corners), share
