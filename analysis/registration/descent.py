"""From a pose to the best pose near by: BFGS over 6 (rigid) or 12 (affine) parameters.

Parameters are millimetres of surface movement: turning by 1 / RADIUS_MM rad or stretching by
1 / RADIUS_MM counts as much as shifting by 1 mm. Steps are capped, since mutual information is a
hill only near its top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.geometry import FloatArray
from analysis.registration.matching import Match
from analysis.registration.rigid import turn_of

RADIUS_MM = 80.0


@dataclass(frozen=True, eq=False)
class Found:
    """``pull`` maps reference LPS to moving LPS; ``value`` is the information there."""

    pull: FloatArray
    value: float


def ascend(
    match: Match,
    pull: FloatArray,
    *,
    affine: bool = False,
    first_step_mm: float = 2.0,
    step_mm: float = 8.0,
    tolerance_mm: float = 0.02,
    iterations: int = 30,
) -> Found:
    """BFGS with backtracking and steps of at most ``step_mm``, until a step is shorter than
    ``tolerance_mm``."""
    size = 12 if affine else 6
    centre = match.centre

    def at(p: FloatArray) -> FloatArray:
        return moved(pull, p, centre)

    def measure(p: FloatArray) -> tuple[float, FloatArray]:
        pose = at(p)
        slope = match.slope(pose)
        return slope.value, _gradient(slope.push, slope.twist, p)

    here = np.zeros(size)
    value, up = measure(here)
    evaluations = 1
    inverse = np.eye(size) * (first_step_mm / max(float(np.linalg.norm(up)), 1e-12))
    for _ in range(iterations):
        step = inverse @ up
        length = float(np.linalg.norm(step))
        if float(step @ up) <= 0 or not np.isfinite(length):
            break
        if length > step_mm:
            step *= step_mm / length
            length = step_mm
        if length < tolerance_mm:
            break
        gain = float(step @ up)
        for _ in range(6):
            there, slope = measure(here + step)
            evaluations += 1
            if there >= value + 1e-4 * gain:
                break
            # Parabola through value, slope and the new value.
            bend = value + gain - there
            shrink = float(np.clip(gain / (2 * bend), 0.1, 0.5)) if bend > 0 else 0.5
            step, gain = step * shrink, gain * shrink
        else:
            break
        change = up - slope
        curvature = float(step @ change)
        if curvature > 1e-12:
            if evaluations == 2:
                inverse = np.eye(size) * (curvature / float(change @ change))
            rho = 1.0 / curvature
            left = np.eye(size) - rho * np.outer(step, change)
            inverse = left @ inverse @ left.T + rho * np.outer(step, step)
        here, value, up = here + step, there, slope
        if float(np.linalg.norm(step)) < tolerance_mm:
            break
    return Found(at(here), value)


def moved(pull: FloatArray, p: FloatArray, centre: FloatArray) -> FloatArray:
    """``pull`` followed by the motion ``p`` about the place to which ``centre`` is pulled."""
    turning_point = pull[:3, :3] @ centre + pull[:3, 3]
    if len(p) == 6:
        part = turn_of(p[:3] / RADIUS_MM)
    else:
        part = np.eye(3) + p[:9].reshape(3, 3) / RADIUS_MM
    result = np.eye(4)
    result[:3, :3] = part @ pull[:3, :3]
    result[:3, 3] = turning_point + p[-3:]
    result[:3, 3] -= result[:3, :3] @ centre
    return result


def _gradient(push: FloatArray, twist: FloatArray, p: FloatArray) -> FloatArray:
    """Derivative by ``p``. ``twist`` has its lever arms in the pose that ``p`` leads to."""
    if len(p) == 6:
        torque = np.array(
            [twist[2, 1] - twist[1, 2], twist[0, 2] - twist[2, 0], twist[1, 0] - twist[0, 1]]
        )
        return np.concatenate([_left_jacobian(p[:3] / RADIUS_MM).T @ torque / RADIUS_MM, push])
    # twist = sum g y^T with y = (I + D) q; the derivative by D is sum g q^T.
    part = np.eye(3) + p[:9].reshape(3, 3) / RADIUS_MM
    return np.concatenate([(twist @ np.linalg.inv(part).T).ravel() / RADIUS_MM, push])


def _left_jacobian(w: FloatArray) -> FloatArray:
    """How exp([w]) turns when ``w`` changes (Barfoot, State Estimation for Robotics, 7.1.3)."""
    angle = float(np.linalg.norm(w))
    skew = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
    if angle < 1e-6:
        return np.asarray(np.eye(3) + skew / 2)
    return np.asarray(
        np.eye(3)
        + (1 - np.cos(angle)) / angle**2 * skew
        + (angle - np.sin(angle)) / angle**3 * skew @ skew
    )
