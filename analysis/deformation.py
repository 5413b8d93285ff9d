"""A displacement field on a lattice: points there and back, Jacobian, one file.

Needs numpy alone, so that the web process may read a field; :mod:`analysis.registration` makes
them. The convention is that of :class:`analysis.contracts.FieldRecord`.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.contracts import IDENTITY, FieldRecord, Matrix
from analysis.errors import StepFailed
from analysis.files import whole_file
from analysis.grids import FloatArray, Grid, apply, as_matrix

TOLERANCE_MM = 0.01
"""``to_reference`` answers with a point whose image lies this close to the one asked for, or NaN.
A hundredth of a millimetre is far below any voxel."""

MAX_ITERATIONS = 200
CHUNK = 262_144
"""Points handled at a time, so that a million points need megabytes."""

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Deformation:
    """A point x of the reference space (LPS mm) lies in the moving series at
    ``inverse(matrix) @ (x + u(x))``.

    ``displacement`` is u at the nodes of ``grid``: float32 [z, y, x, 3], mm along LPS; between the
    nodes it is interpolated linearly. The field is defined over the box of its nodes and half a
    node beyond, where the outermost value holds; elsewhere there is no answer (NaN), as nothing is
    known there. Raises ``ValueError`` for a misfit of shapes or a value that is not finite.
    """

    displacement: Float32Array
    grid: Grid
    matrix: Matrix = IDENTITY

    def __post_init__(self) -> None:
        if self.displacement.shape != (*self.grid.shape, 3):
            raise ValueError(
                f"a field of shape {self.displacement.shape} does not fit {self.grid.shape} nodes"
            )
        if self.displacement.dtype != np.float32:
            raise ValueError(f"displacements are float32, not {self.displacement.dtype}")
        if min(self.grid.shape) < 2:
            raise ValueError("a field needs at least two nodes along each axis")
        if not np.isfinite(self.displacement).all():
            raise ValueError("a displacement is not finite")

    def at(self, points: npt.ArrayLike) -> FloatArray:
        """u (mm) at reference points (..., 3) LPS mm; NaN outside the field."""
        return _by_chunks(points, lambda part: self._field(part, outside_is_nan=True))

    def to_moving(self, points: npt.ArrayLike) -> FloatArray:
        """Reference points (..., 3) LPS mm -> moving LPS mm; NaN outside the field."""
        pull = np.linalg.inv(np.asarray(self.matrix, dtype=np.float64))

        def map_(part: FloatArray) -> FloatArray:
            return apply(pull, part + self._field(part, outside_is_nan=True))

        return _by_chunks(points, map_)

    def to_reference(self, points: npt.ArrayLike) -> FloatArray:
        """Moving points (..., 3) LPS mm -> reference LPS mm: the inverse of :meth:`to_moving`.

        Found by damped fixed-point iteration to ``TOLERANCE_MM``. NaN where the answer lies
        outside the field or the iteration does not get there (which a folded field can cause).
        """
        push = np.asarray(self.matrix, dtype=np.float64)
        return _by_chunks(points, lambda part: self._solved(apply(push, part)))

    def jacobian(self) -> Float32Array:
        """det(I + du/dx) at each node, float32 [z, y, x], from central differences.

        1 keeps the volume, 2 doubles it (moving against reference), 0 or less folds. The matrix
        is not part of it.
        """
        result = np.empty(self.grid.shape, dtype=np.float32)
        inverse = np.linalg.inv(self.grid.affine[:3, :3])
        nz = self.grid.shape[0]
        for first in range(0, nz, 16):
            last = min(nz, first + 16)
            low, high = max(0, first - 1), min(nz, last + 1)
            slab = self.displacement[low:high]
            along = [np.gradient(slab, axis=axis) for axis in (2, 1, 0)]
            kept = slice(first - low, last - low)
            result[first:last] = _determinant([part[kept] for part in along], inverse)
        return result

    def smallest_jacobian(self) -> float:
        """The smallest determinant of the interpolated field itself.

        Central differences can miss a fold that alternates from node to node. At a cell's corners
        the determinant of the trilinear field follows from the three edges that meet there; all
        eight corners of every cell are looked at.
        """
        return min(float(part.min()) for part in self._corner_determinants())

    def folded_share(self) -> float:
        """Share of the cells' corners with a determinant of 0 or less."""
        folded = total = 0
        for part in self._corner_determinants():
            folded += int(np.count_nonzero(part <= 0))
            total += part.size
        return folded / total

    def write(self, path: Path) -> str:
        """Store as compressed ``.npz`` (no pickle), complete or not at all; gives its SHA-256."""
        with whole_file(path) as file:
            np.savez_compressed(
                file,
                displacement=self.displacement,
                affine=self.grid.affine,
                matrix=np.asarray(self.matrix, dtype=np.float64),
            )
        return file_sha256(path)

    @staticmethod
    def read(path: Path, *, sha256: str = "") -> Deformation:
        """A stored field. Raises ``StepFailed``: ``field_missing``, or ``field_damaged`` when it
        cannot be read or, if ``sha256`` is given, is not that file."""
        try:
            if sha256 and file_sha256(path) != sha256:
                raise StepFailed("field_damaged", _DAMAGED)
            with np.load(path, allow_pickle=False) as stored:
                displacement = np.asarray(stored["displacement"])
                affine = np.asarray(stored["affine"], dtype=np.float64)
                matrix = as_matrix(stored["matrix"])
            nz, ny, nx = displacement.shape[:3]
            return Deformation(displacement, Grid((nz, ny, nx), affine), matrix)
        except FileNotFoundError:
            raise StepFailed(
                "field_missing", "The stored deformation is gone; register again."
            ) from None
        except _UNREADABLE as error:
            raise StepFailed("field_damaged", _DAMAGED) from error

    def record(self, run_dir: Path, path: Path) -> FieldRecord:
        """Write below ``run_dir`` to ``path`` and describe the file."""
        return FieldRecord(
            path=path.relative_to(run_dir).as_posix(),
            shape=self.grid.shape,
            affine=as_matrix(self.grid.affine),
            sha256=self.write(path),
        )

    def _field(self, points: FloatArray, *, outside_is_nan: bool) -> FloatArray:
        """Trilinear u at (n, 3) points; beyond the box NaN, or the nearest value."""
        index = self.grid.to_index(points)
        top = np.array(self.grid.shape[::-1], dtype=np.float64) - 1
        inside = np.all((index >= -0.5) & (index <= top + 0.5), axis=1)
        finite = np.where(np.isfinite(index), index, 0.0)
        clipped = np.clip(finite, 0.0, top)
        base = np.minimum(clipped.astype(np.int64), (top - 1).astype(np.int64))
        weight = clipped - base
        _, ny, nx = self.grid.shape
        flat = self.displacement.reshape(-1, 3)
        first = (base[:, 2] * ny + base[:, 1]) * nx + base[:, 0]
        result = np.zeros((len(points), 3))
        for dz, dy, dx in product((0, 1), repeat=3):
            share = (
                (weight[:, 0] if dx else 1 - weight[:, 0])
                * (weight[:, 1] if dy else 1 - weight[:, 1])
                * (weight[:, 2] if dz else 1 - weight[:, 2])
            )
            result += share[:, None] * flat[first + (dz * ny + dy) * nx + dx]
        if outside_is_nan:
            result[~inside] = np.nan
        return result

    def _solved(self, wanted: FloatArray) -> FloatArray:
        """x with x + u(x) = wanted, (n, 3)."""
        x = wanted - self._field(wanted, outside_is_nan=False)
        left = wanted - x - self._field(x, outside_is_nan=False)
        size = np.linalg.norm(left, axis=1)
        # Full steps converge where |du/dx| < 1; where a step makes it worse, take half as much.
        pace = np.ones(len(x))
        open_ = np.flatnonzero(size > TOLERANCE_MM)
        for _ in range(MAX_ITERATIONS):
            if not len(open_):
                break
            tried = x[open_] + pace[open_, None] * left[open_]
            rest = wanted[open_] - tried - self._field(tried, outside_is_nan=False)
            length = np.linalg.norm(rest, axis=1)
            better = length < size[open_]
            gained = open_[better]
            x[gained], left[gained], size[gained] = tried[better], rest[better], length[better]
            pace[open_[~better]] *= 0.5
            open_ = open_[(size[open_] > TOLERANCE_MM) & (pace[open_] > 1e-3)]
        index = self.grid.to_index(x)
        top = np.array(self.grid.shape[::-1]) - 0.5
        inside = np.all((index >= -0.5) & (index <= top), axis=1)
        x[~inside | ~(size <= TOLERANCE_MM)] = np.nan
        return x

    def _corner_determinants(self) -> Iterator[Float32Array]:
        inverse = np.linalg.inv(self.grid.affine[:3, :3])
        for k in range(self.grid.shape[0] - 1):
            pair = self.displacement[k : k + 2]
            # Edges of the cells between two planes of nodes, along i, j and k.
            along_i, along_j = np.diff(pair, axis=2), np.diff(pair, axis=1)
            along_k = np.diff(pair, axis=0)[0]
            ny, nx = pair.shape[1] - 1, pair.shape[2] - 1
            for dz, dy, dx in product((0, 1), repeat=3):
                edges = [
                    along_i[dz, dy : dy + ny],
                    along_j[dz, :, dx : dx + nx],
                    along_k[dy : dy + ny, dx : dx + nx],
                ]
                yield _determinant(edges, inverse)


# TypeError: the file is a bare array and not an archive of them.
_UNREADABLE = (ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)
_DAMAGED = "The stored deformation is damaged; register again."


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _by_chunks(
    points: npt.ArrayLike, map_: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    given = np.asarray(points, dtype=np.float64)
    flat = given.reshape(-1, 3)
    parts = [map_(flat[first : first + CHUNK]) for first in range(0, len(flat), CHUNK)]
    return np.concatenate(parts).reshape(given.shape) if parts else flat.reshape(given.shape)


def _determinant(along: list[npt.NDArray[np.float32]], inverse: npt.NDArray[Any]) -> Float32Array:
    """det(I + du/dx) where ``along[a]`` is du per step of index a (i, j, k), (..., 3)."""
    per_index = np.stack(along, axis=-1).astype(np.float32)
    gradient = per_index @ inverse.astype(np.float32)
    m = gradient + np.eye(3, dtype=np.float32)
    determinant = (
        m[..., 0, 0] * (m[..., 1, 1] * m[..., 2, 2] - m[..., 1, 2] * m[..., 2, 1])
        - m[..., 0, 1] * (m[..., 1, 0] * m[..., 2, 2] - m[..., 1, 2] * m[..., 2, 0])
        + m[..., 0, 2] * (m[..., 1, 0] * m[..., 2, 1] - m[..., 1, 1] * m[..., 2, 0])
    )
    return np.asarray(determinant, dtype=np.float32)
