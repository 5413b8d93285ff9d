"""The voxels of a layer, how they lie in the reference space, and reading them slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workstation.reading.measuring import FloatArray, IntArray

EDGE = 1e-6
"""Of a voxel: a point on the very edge of the field of view is inside."""


class Voxels(Protocol):
    """Stored voxels, read by whole slices: that is how they are stored."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(nz, ny, nx)."""

    def plane(self, k: int, rows: int, columns: int) -> npt.NDArray[Any]:
        """Stored numbers of slice k, [j, i], of at least so many rows and columns: the rest need
        not be decoded."""

    def physical(self, stored: npt.NDArray[Any]) -> FloatArray:
        """Stored numbers in the layer's unit."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """A layer's own grid and its way to the reference space.

    ``affine``: (i, j, k) -> own LPS mm. ``matrix``: own LPS -> reference LPS. With a deformation
    ``to_own`` and ``to_reference`` carry points (NaN: no counterpart); ``matrix`` is then not used.
    """

    shape: tuple[int, int, int]
    affine: FloatArray
    matrix: FloatArray
    to_own: Callable[[FloatArray], FloatArray] | None = None
    to_reference: Callable[[FloatArray], FloatArray] | None = None

    @property
    def deformed(self) -> bool:
        return self.to_own is not None

    @property
    def size(self) -> IntArray:
        """(nx, ny, nz)."""
        return np.array(self.shape[::-1])

    @cached_property
    def placed(self) -> FloatArray:
        """4x4, (i, j, k) -> reference LPS mm, of a layer that is not deformed."""
        return self.matrix @ self.affine

    @cached_property
    def voxel_ml(self) -> float:
        """Of the layer's own voxel, as acquired."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    @cached_property
    def smallest_edge_mm(self) -> float:
        return float(np.linalg.norm(self.affine[:3, :3], axis=0).min())

    def index_of(self, points: npt.ArrayLike) -> FloatArray:
        """Reference LPS (n, 3) -> fractional (i, j, k); NaN without a counterpart."""
        given = np.atleast_2d(np.asarray(points, dtype=np.float64))
        if self.to_own is not None:
            return _apply(np.linalg.inv(self.affine), self.to_own(given))
        return _apply(np.linalg.inv(self.placed), given)

    def place_of(self, ijk: npt.ArrayLike) -> FloatArray:
        """(i, j, k) (n, 3) -> reference LPS mm; NaN without a counterpart."""
        given = np.atleast_2d(np.asarray(ijk, dtype=np.float64))
        if self.to_reference is not None:
            return self.to_reference(_apply(self.affine, given))
        return _apply(self.placed, given)

    def covers(self, index: FloatArray) -> npt.NDArray[np.bool_]:
        """Which fractional indices lie in the field of view: half a voxel beyond the centres."""
        with np.errstate(invalid="ignore"):
            inside = (index >= -0.5 - EDGE) & (index <= self.size - 0.5 + EDGE)
        return np.asarray(inside.all(axis=1))


def take(voxels: Voxels, ijk: IntArray) -> FloatArray:
    """Values of voxels (n, 3) in the layer's unit."""
    values = np.empty(len(ijk))
    if len(ijk) == 0:
        return values
    columns, rows = (int(n) + 1 for n in ijk[:, :2].max(axis=0))
    for k, at in _by_slice(ijk[:, 2]):
        plane = voxels.plane(k, rows, columns)
        values[at] = voxels.physical(plane[ijk[at, 1], ijk[at, 0]])
    return values


def block(voxels: Voxels, low: IntArray, high: IntArray) -> FloatArray:
    """Values of the box from (i, j, k) ``low`` to before ``high``, [k, j, i]."""
    (i0, j0, k0), (i1, j1, k1) = low, high
    return np.stack(
        [
            voxels.physical(voxels.plane(k, int(j1), int(i1))[j0:j1, i0:i1])
            for k in range(int(k0), int(k1))
        ]
    )


def trilinear(voxels: Voxels, index: FloatArray) -> FloatArray:
    """Values at fractional indices (n, 3) inside the field of view; beyond the outermost centres
    the outermost voxel counts."""
    size = np.array(voxels.shape[::-1])
    at = np.clip(index, 0, size - 1)
    low = np.minimum(np.floor(at).astype(np.int64), np.maximum(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    weight = at - low
    values = np.zeros(len(at))
    if len(at) == 0:
        return values
    columns, rows = (int(n) + 1 for n in high[:, :2].max(axis=0))
    # Once per slice, be it the lower or the upper of a pair: a slice is costly to decode.
    for k in np.union1d(low[:, 2], high[:, 2]):
        plane: npt.NDArray[Any] | None = None
        for ends, share in ((low, 1 - weight[:, 2]), (high, weight[:, 2])):
            mine = np.flatnonzero((ends[:, 2] == k) & (share > 0))
            if mine.size == 0:
                continue
            plane = voxels.plane(int(k), rows, columns) if plane is None else plane
            (i0, j0), (i1, j1) = low[mine, :2].T, high[mine, :2].T
            wi, wj = weight[mine, :2].T
            row0 = plane[j0, i0] * (1 - wi) + plane[j0, i1] * wi
            row1 = plane[j1, i0] * (1 - wi) + plane[j1, i1] * wi
            values[mine] += share[mine] * (row0 * (1 - wj) + row1 * wj)
    return voxels.physical(values)


def _by_slice(k: IntArray) -> list[tuple[int, IntArray]]:
    order = np.argsort(k, kind="stable")
    slices, starts = np.unique(k[order], return_index=True)
    parts = np.split(order, starts[1:])
    return [(int(one), part) for one, part in zip(slices, parts, strict=True)]


def _apply(matrix: FloatArray, points: FloatArray) -> FloatArray:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)
