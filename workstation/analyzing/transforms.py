"""How a series lies in the reference space, for points: affine, or affine and a displacement field.

The web process reads a stored field with numpy alone. A point x of the reference space lies in the
moving series at ``inverse(matrix) @ (x + u(x))``; without a field u is zero.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.grids import apply
from workstation.analyzing.field_files import Field, read_field
from workstation.analyzing.models import Run

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Transform:
    """``matrix``: 4x4, moving LPS -> reference LPS, mm. ``field`` holds its own copy of it."""

    matrix: FloatArray
    field: Field | None = None

    def to_moving(self, points: npt.ArrayLike) -> FloatArray:
        """Reference LPS (n, 3) -> moving LPS; NaN where the field knows nothing."""
        given = np.atleast_2d(np.asarray(points, dtype=np.float64))
        if self.field is not None:
            return self.field.to_moving(given)
        return apply(np.linalg.inv(self.matrix), given)

    def to_reference(self, points: npt.ArrayLike) -> FloatArray:
        """Moving LPS (n, 3) -> reference LPS; NaN where there is no counterpart."""
        given = np.atleast_2d(np.asarray(points, dtype=np.float64))
        if self.field is not None:
            return self.field.to_reference(given)
        return apply(self.matrix, given)

    def mismatch(self, reference: npt.ArrayLike, moving: npt.ArrayLike) -> FloatArray:
        """Distance in mm, in the reference space, between each reference point as the field carries
        it and the moving point as the matrix does, (n,); NaN outside the field."""
        there = np.atleast_2d(np.asarray(reference, dtype=np.float64))
        if self.field is not None:
            there = there + self.field.at(there)
        here = apply(self.matrix, np.atleast_2d(np.asarray(moving, dtype=np.float64)))
        return np.asarray(np.linalg.norm(there - here, axis=1), dtype=np.float64)


def transform_of(run: Run, matrix: npt.ArrayLike, field: dict[str, Any] | None) -> Transform:
    """The transform of a registration or refinement of ``run``; ``field`` is its FieldRecord.

    Raises ``VolumeUnreadable`` when the stored field is gone or damaged.
    """
    rows = np.asarray(matrix, dtype=np.float64)
    return Transform(rows, _field(run, field) if field else None)


_kept: OrderedDict[tuple[int, str], Field] = OrderedDict()
_lock = Lock()
KEPT_FIELDS = 2
"""A field is tens of megabytes, and is asked again with every move of the mouse."""


def _field(run: Run, record: dict[str, Any]) -> Field:
    key = run.pk, str(record["sha256"])
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    field = read_field(run, record)
    with _lock:
        _kept[key] = field
        while len(_kept) > KEPT_FIELDS:
            _kept.popitem(last=False)
    return field
