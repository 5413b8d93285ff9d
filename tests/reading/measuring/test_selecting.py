"""Which voxels belong, against brute force over every voxel: axial, sagittal, coronal, oblique,
rotated and registered lattices, deformed layers, fields of view that end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from tests.reading.measuring.arrays import (
    ArrayVoxels,
    affine_of,
    brute_plane,
    centres_of,
    noise,
    winds,
)
from tests.reading.measuring.test_outlines import star
from workstation.reading.measuring import CannotMeasure
from workstation.reading.measuring.lattices import Lattice, trilinear
from workstation.reading.measuring.outlines import Plane, Polygon, ellipse, freehand
from workstation.reading.measuring.selecting import ball, planar
from workstation.reading.measuring.statistics import statistics

UPRIGHT = Rotation.identity()
TILTED = Rotation.from_euler("xyz", [20, -35, 50], True)
PLACES = {
    "as acquired": (affine_of((2, 2, 3), UPRIGHT, (-10, -20, 100)), np.eye(4)),
    "head first prone": (affine_of((1.5, 2, 3), Rotation.from_euler("z", 180, True), (9, 9, 9)),
                         np.eye(4)),
    "rotated": (affine_of((1.1, 2, 3.3), TILTED, (-10, -20, 100)), np.eye(4)),
    "registered": (affine_of((2, 2, 3), UPRIGHT, (5, 5, 5)),
                   affine_of((1, 1, 1), TILTED, (12, -7, 3))),
    "affine": (affine_of((2, 2, 3), TILTED, (5, 5, 5)),
               affine_of((1.05, 0.97, 1.02), UPRIGHT, (12, -7, 3))),
}  # fmt: skip


def lattice_of(name: str, voxels: ArrayVoxels) -> Lattice:
    affine, matrix = PLACES[name]
    return Lattice(voxels.shape, affine, matrix)


def plane_of(lattice: Lattice, axis: int, at: float) -> Plane:
    """Parallel to a lattice plane, through the middle of the image, ``at`` along the axis."""
    index = (lattice.size - 1) / 2 + 0.2
    index[axis] = at
    origin = lattice.place_of(index)[0]
    a, b = (n for n in range(3) if n != axis)
    u = lattice.placed[:3, a] / np.linalg.norm(lattice.placed[:3, a])
    normal = np.cross(lattice.placed[:3, a], lattice.placed[:3, b])
    normal /= np.linalg.norm(normal)
    return Plane(origin, u, np.cross(normal, u))


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["sagittal", "coronal", "axial"])
@pytest.mark.parametrize("name", PLACES)
def test_planes_of_the_lattice_agree_with_brute_force(name: str, axis: int) -> None:
    voxels = noise()
    lattice = lattice_of(name, voxels)
    plane = plane_of(lattice, axis, 4.3)
    near, away = brute_plane(lattice, voxels.array, plane.origin, plane.normal)
    # An ellipse by its formula.
    one, two = 7.3 * plane.u, 4.9 * plane.v
    drawn, shape = ellipse([plane.origin, plane.origin + one, plane.origin + two], plane.normal)
    inside = near & ((plane.u @ away / 7.3) ** 2 + (plane.v @ away / 4.9) ** 2 <= 1)
    check(planar(lattice, voxels, drawn, shape), voxels, inside)
    # A freehand outline by winding.
    corners = star(5, 17, 9.0)
    drawn, outline, _ = freehand(plane.lifted(corners), plane.normal)
    inside = near & winds(corners, np.stack([plane.u @ away, plane.v @ away], axis=1))
    found = planar(lattice, voxels, drawn, outline)
    check(found, voxels, inside)
    assert not found.sampled and found.outside == pytest.approx(0.0, abs=1e-9)
    assert f"plane {'ijk'[axis]} = 4" in found.method


def check(found, voxels: ArrayVoxels, inside: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    expected = voxels.array.ravel()[inside]
    numbers = statistics(found)
    assert numbers is not None and expected.size > 3
    assert numbers.count == expected.size
    assert numbers.mean == pytest.approx(expected.mean())
    assert numbers.sd == pytest.approx(expected.std())
    assert (numbers.least, numbers.most) == pytest.approx((expected.min(), expected.max()))
    i, j, k = numbers.most_at
    assert voxels.array[k, j, i] == pytest.approx(expected.max())
    assert len({tuple(v) for v in found.voxels.tolist()}) == expected.size


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.floats(0.8, 3.5)] * 3),
    st.integers(0, 2), st.integers(0, 10**6),
)  # fmt: skip
def test_any_rotation_and_spacing(
    angles: tuple[float, ...], spacing: tuple[float, float, float], axis: int, seed: int
) -> None:
    voxels = noise(seed=seed)
    turn = Rotation.from_euler("xyz", angles, True)
    lattice = Lattice(voxels.shape, affine_of(spacing, turn, (3, 40, -90)), np.eye(4))
    plane = plane_of(lattice, axis, 4.3)
    near, away = brute_plane(lattice, voxels.array, plane.origin, plane.normal)
    corners = star(seed, 12, 10.0)
    drawn, shape, _ = freehand(plane.lifted(corners), plane.normal)
    inside = near & winds(corners, np.stack([plane.u @ away, plane.v @ away], axis=1))
    found = planar(lattice, voxels, drawn, shape)
    assert sorted(found.values) == pytest.approx(sorted(voxels.array.ravel()[inside]))


def test_the_plane_between_two_slices_is_the_lower_ones() -> None:
    voxels = noise()
    lattice = lattice_of("as acquired", voxels)
    for at, number in ((3.5, 3), (3.51, 4), (-0.5, 0), (8.5, 8)):
        plane = plane_of(lattice, 2, at)
        drawn, shape = ellipse(
            [plane.origin, plane.origin + 5 * plane.u, plane.origin + 5 * plane.v], plane.normal
        )
        found = planar(lattice, voxels, drawn, shape)
        assert set(found.voxels[:, 2]) == {number}, at
    plane = plane_of(lattice, 2, 8.6)
    drawn, shape = ellipse(
        [plane.origin, plane.origin + 5 * plane.u, plane.origin + 5 * plane.v], plane.normal
    )
    found = planar(lattice, voxels, drawn, shape)
    assert (found.values.size, found.outside) == (0, 1.0)


@pytest.mark.parametrize("name", PLACES)
def test_oblique_planes_are_sampled(name: str) -> None:
    voxels = noise()
    lattice = lattice_of(name, voxels)
    turn = Rotation.from_euler("xyz", [31, 17, -8], True).as_matrix()
    middle = lattice.place_of((lattice.size - 1) / 2)[0]
    plane = Plane(middle, turn[:, 0], turn[:, 1])
    drawn, shape = ellipse([middle, middle + 6 * plane.u, middle + 4 * plane.v], plane.normal)
    found = planar(lattice, voxels, drawn, shape)
    assert found.sampled and "trilinear samples of the oblique plane" in found.method
    # The same places by scipy's own interpolation.
    step = lattice.smallest_edge_mm
    n = np.arange(-12, 13) * step
    u, v = np.meshgrid(n, n, indexing="ij")
    flat = np.stack([u.ravel(), v.ravel()], axis=1)
    at = drawn.lifted(flat)
    away = at - middle
    inside = (away @ plane.u / 6) ** 2 + (away @ plane.v / 4) ** 2 <= 1
    index = np.linalg.inv(lattice.placed) @ np.vstack([at[inside].T, np.ones(inside.sum())])
    expected = map_coordinates(voxels.array, index[2::-1], order=1)
    assert sorted(found.values) == pytest.approx(sorted(expected))


def test_an_oblique_ellipse_of_a_linear_image_has_the_centres_value() -> None:
    k, j, i = np.indices((12, 24, 20))
    voxels = ArrayVoxels(100.0 * k + 10.0 * j + i)
    lattice = Lattice(voxels.shape, affine_of((2, 2, 3), TILTED, (0, 0, 0)), np.eye(4))
    index = np.array([9.3, 11.7, 5.6])
    centre = lattice.place_of(index)[0]
    turn = Rotation.from_euler("y", 12, True).as_matrix()
    drawn, shape = ellipse([centre, centre + 9 * turn[:, 0], centre + 5 * turn[:, 1]], turn[:, 2])
    found = statistics(planar(lattice, voxels, drawn, shape))
    assert found is not None
    assert found.mean == pytest.approx(100 * 5.6 + 10 * 11.7 + 9.3)


def test_what_lies_outside_is_left_out_and_told() -> None:
    voxels = ArrayVoxels(np.full((9, 24, 20), 50.0))
    lattice = lattice_of("as acquired", voxels)
    # The image's edge in x is half a voxel before the first centre: -11 mm. 3 mm of 20 are inside.
    corners = np.array([[-28.0, -10, 112], [-8, -10, 112], [-8, 10, 112], [-28, 10, 112]])
    drawn, shape, _ = freehand(corners, [0, 0, 1])
    found = planar(lattice, voxels, drawn, shape)
    assert found.outside == pytest.approx(17 / 20)
    assert set(found.values) == {50.0} and found.values.size == 2 * 11
    tilted = Rotation.from_euler("y", 5, True)
    there = tilted.apply(corners - corners[0]) + corners[0]
    drawn, shape, _ = freehand(there, tilted.apply([0, 0, 1]))
    found = planar(lattice, voxels, drawn, shape)
    assert found.sampled and set(found.values) == {50.0}
    assert found.outside == pytest.approx(9 / 11), "of 11 columns of samples"


def test_a_deformed_layer_is_sampled_through_its_field() -> None:
    k, j, i = np.indices((9, 24, 20))
    voxels = ArrayVoxels(1000.0 * k + 10.0 * j + i)
    affine = affine_of((2, 2, 3), UPRIGHT, (-10, -20, 100))

    def there(points: np.ndarray) -> np.ndarray:
        return points + [0.0, 0.0, 0.05 * 3.0] * points[:, :1]  # k grows with x

    def back(points: np.ndarray) -> np.ndarray:
        return points - [0.0, 0.0, 0.05 * 3.0] * points[:, :1]

    lattice = Lattice(voxels.shape, affine, np.eye(4), there, back)
    drawn, shape = ellipse([[4, 2, 112], [10, 2, 112], [4, 6, 112]], [0, 0, 1])
    found = planar(lattice, voxels, drawn, shape)
    assert found.sampled and "through the deformation" in found.method
    numbers = statistics(found)
    assert numbers is not None
    # Linear in space, so the mean is the value at the centre: k = (112 + 0.15 * 4 - 100) / 3.
    assert numbers.mean == pytest.approx(1000 * 12.6 / 3 + 10 * 11 + 7)
    sphere = ball(lattice, voxels, np.array([4.0, 2.0, 112.0]), 7.0)
    assert sphere is not None
    centres = back((affine[:3, :3] @ np.array([i, j, k]).reshape(3, -1)).T + affine[:3, 3])
    inside = np.linalg.norm(centres - [4, 2, 112], axis=1) <= 7.0
    assert sorted(sphere.values[sphere.mask]) == sorted(voxels.array.ravel()[inside])


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(PLACES)), st.floats(2.0, 15.0), st.tuples(*[st.floats(-0.2, 1.2)] * 3)
)
def test_spheres_agree_with_brute_force(
    name: str, radius: float, share: tuple[float, float, float]
) -> None:
    voxels = noise()
    lattice = lattice_of(name, voxels)
    centre = lattice.place_of(np.array(share) * (lattice.size - 1))[0]
    away = np.linalg.norm(centres_of(lattice) - centre[:, None], axis=0)
    assume(np.abs(away - radius).min() > 1e-4)  # rounding decides about a centre on the surface
    inside = away <= radius
    found = ball(lattice, voxels, centre, radius)
    values = found.values[found.mask] if found is not None else np.empty(0)
    assert sorted(values) == pytest.approx(sorted(voxels.array.ravel()[inside]))
    if found is not None and values.size:
        i, j, k = found.selection("").voxels.T
        assert np.allclose(voxels.array[k, j, i], values)


def test_how_much_of_a_sphere_lies_outside() -> None:
    voxels = noise((40, 40, 40))
    lattice = Lattice(voxels.shape, affine_of((1, 1, 1), UPRIGHT, (0, 0, 0)), np.eye(4))
    for centre, outside in (((20, 20, 20), 0.0), ((-0.5, 20, 20), 0.5), ((-30, 20, 20), 1.0)):
        found = ball(lattice, voxels, np.array(centre, dtype=float), 10.0)
        assert (found.outside if found else 1.0) == pytest.approx(outside, abs=0.02)


def test_a_sphere_of_too_many_voxels_is_refused() -> None:
    voxels = noise((4, 4, 4))
    lattice = Lattice((2000, 2000, 2000), np.diag([0.1, 0.1, 0.1, 1.0]), np.eye(4))
    with pytest.raises(CannotMeasure, match="too many voxels"):
        ball(lattice, voxels, np.array([100.0, 100.0, 100.0]), 90.0)
    shape = Polygon(np.array([[0.0, 0], [900, 0], [900, 900], [0, 900]]))
    oblique = Plane(np.zeros(3), *Rotation.from_euler("x", 10, True).as_matrix().T[:2])
    with pytest.raises(CannotMeasure, match="too large"):
        planar(lattice, voxels, oblique, shape)


def test_interpolation_agrees_with_scipy_up_to_the_edges() -> None:
    voxels = noise((5, 6, 1))
    rng = np.random.default_rng(4)
    index = rng.uniform(-0.5, np.array([1, 6, 5]) - 0.5, (200, 3))
    expected = map_coordinates(voxels.array, index[:, ::-1].T, order=1, mode="nearest")
    assert trilinear(voxels, index) == pytest.approx(expected)
