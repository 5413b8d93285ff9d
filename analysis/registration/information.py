"""Mutual information of two intensities from a Parzen histogram, with its derivative.

The reference intensity falls into one of ``BINS`` bins; the moving one is spread over four by a
cubic B-spline, so that the result is smooth in the moving intensity (Mattes et al., IEEE TMI 22,
2003; Thevenaz & Unser, IEEE TIP 9, 2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

PAD = 2
"""Empty bins at both ends for the spline's reach."""


@dataclass(frozen=True, eq=False)
class Joint:
    """The joint histogram of ``count`` points as shares, (reference bins, moving bins)."""

    shares: npt.NDArray[np.float64]
    count: int

    def mutual(self) -> float:
        """Mutual information in nats."""
        first, second, both = self._entropies()
        return first + second - both

    def normalised(self) -> float:
        """(H(A)+H(B))/H(A,B), Studholme et al., Pattern Recognition 32, 1999; 1 if constant."""
        first, second, both = self._entropies()
        return (first + second) / both if both > 1e-9 else 1.0

    def slopes(self, normalised: bool) -> Floats:
        """d(information) for moving mass brought into each bin, flattened like the histogram."""
        p = np.maximum(self.shares, 1e-12)
        columns = np.maximum(self.shares.sum(axis=0), 1e-12)
        if normalised:
            first, second, both = self._entropies()
            ratio = (first + second) / max(both, 1e-9)
            table = (ratio * np.log(p) - np.log(columns)) / max(both, 1e-9)
        else:
            table = np.log(p / columns)
        return np.asarray(table, dtype=np.float32).ravel()

    def _entropies(self) -> tuple[float, float, float]:
        return (
            _entropy(self.shares.sum(axis=1)),
            _entropy(self.shares.sum(axis=0)),
            _entropy(self.shares.ravel()),
        )


def _entropy(shares: npt.NDArray[np.float64]) -> float:
    p = shares[shares > 0]
    return float(-(p * np.log(p)).sum())


def spread(values: Floats, rows: npt.NDArray[np.int64], bins: int) -> tuple[
    npt.NDArray[np.int64], Floats
]:
    """(flat bin of the first of four, place within the bin) of moving ``values`` in [0, 1].

    ``rows`` is the reference bin times the number of moving bins.
    """
    place = values * np.float32(bins - 2 * PAD - 1) + np.float32(PAD)
    cell = place.astype(np.int32)
    return rows + (cell - 1), np.asarray(place - cell, dtype=np.float32)


def weights(u: Floats) -> tuple[Floats, ...]:
    """Cubic B-spline weights of the four bins around a place ``u`` in [0, 1) within a bin."""
    sixth = np.float32(1 / 6)
    v = 1 - u
    u2, v2 = u * u, v * v
    first, last = v2 * v * sixth, u2 * u * sixth
    second = np.float32(2 / 3) - u2 + np.float32(0.5) * u2 * u
    return first, second, 1 - first - second - last, last


def weight_slopes(u: Floats) -> tuple[Floats, ...]:
    """Derivatives of :func:`weights`."""
    half = np.float32(0.5)
    v = 1 - u
    first, last = -half * v * v, half * u * u
    second = u * (np.float32(1.5) * u - 2)
    return first, second, -first - second - last, last
