"""Slices drawn on the server: the right voxel at the right place, and nothing that is not fused."""

from __future__ import annotations

import io
import json
from itertools import permutations, product

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from tests.factories import UserFactory
from tests.reading.house import House
from workstation.accounts.models import AuditRecord
from workstation.reading.slice_geometry import PLANES, letters_of, slice_plane

SCREEN = {"axial": "ALPR", "coronal": "HLFR", "sagittal": "HPFA"}
"""Letters at the top, right, bottom, left, whatever the order of the voxels."""


def url(house: House, **query: object) -> str:
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    return f"/api/cases/{house.case.pk}/slice.png?{asked}"


def pixels(answer: object) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))  # type: ignore[attr-defined]


def test_letters_and_slices_for_every_order_of_voxels() -> None:
    every = product(permutations(range(3)), product((1, -1), repeat=3), PLANES)
    for order, signs, plane in every:
        affine = np.eye(4)
        affine[:3, :3] = 0
        for axis in range(3):
            affine[order[axis], axis] = signs[axis] * (1.0 + axis)
        affine[:3, 3] = (7, -5, 40)
        first, last = (slice_plane(affine, (5, 6, 7), plane, n, 64) for n in (1, 99))
        assert "".join(first.letters) == SCREEN[plane]
        assert (first.position, last.position) == (1, first.count)
        # "Next" goes to the feet, to the left, to the back.
        towards = {"axial": "F", "sagittal": "L", "coronal": "P"}[plane]
        assert letters_of(last.origin - first.origin) == towards


def test_a_grey_pixel_is_the_windowed_voxel(house: House, api: Client) -> None:
    """The ramp 100 z + 10 y + x: window 400/200 shows 0 as black and 400 as white."""
    window = f"{house.ct.pk}:400:200"
    answer = api.get(url(house, plane="axial", position=2, size=64, window=window))
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "image/png"
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Radfuse-Position"] == "2"
    count = int(answer["X-Radfuse-Count"])
    picture = pixels(answer)
    record = house.ct.record
    affine = np.array(record["affine"])
    plane = slice_plane(affine, tuple(record["levels"][0]["shape"]), "axial", 2, 64)
    assert count == plane.count
    assert picture.shape == (plane.height, plane.width, 3)
    corner, along, below = (np.array(v) for v in json.loads(answer["X-Radfuse-Plane"]))
    middle = corner + along / 2 + below / 2
    assert np.allclose(middle[:2], (affine @ [2.5, 2, 0, 1])[:2])
    inverse = np.linalg.inv(affine)
    for row, column in ((plane.height // 2, plane.width // 2), (5, plane.width - 6)):
        point = plane.origin + column * plane.right + row * plane.down
        i, j, k = np.clip(inverse[:3, :3] @ point + inverse[:3, 3], 0, [5, 4, 3])
        expected = np.clip((100 * k + 10 * j + i) / 400, 0, 1) * 255
        assert np.abs(picture[row, column] - expected).max() <= 1.5


def test_an_overlay_is_composed_at_its_registered_place(house: House, api: Client) -> None:
    ct, pet = house.ct.pk, house.pet.pk
    windows = f"{ct}:100000:50000,{pet}:0.01:0"
    alone = pixels(api.get(url(house, layers=ct, window=windows, size=64)))
    fused = pixels(api.get(url(house, layers=f"{ct},{pet}", window=windows, size=64)))
    assert alone.max() <= 1
    # Everything of the PET is hot and half opaque; 4 mm at the patient's right edge it ends.
    assert fused[:, -10:].min() > 100
    assert fused[:, 0].max() <= 1


def test_what_is_not_fused_is_never_composed(house: House, api: Client) -> None:
    registration = house.registration
    registration.state, registration.verdict = "not_registered", "refused"
    registration.save()
    both = api.get(url(house, layers=f"{house.ct.pk},{house.pet.pk}"))
    assert both.status_code == 409
    assert "not fused" in both.json()["detail"]
    assert api.get(url(house, layers=house.pet.pk)).status_code == 200


def test_a_picture_that_did_not_change_is_not_sent_again(house: House, api: Client) -> None:
    asked = url(house, layers=f"{house.ct.pk},{house.pet.pk}", plane="coronal")
    first = api.get(asked)
    again = api.get(asked, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["X-Radfuse-Letters"] == "H,L,F,R"
    matrix = [list(row) for row in house.registration.matrix]
    matrix[0][3] += 1
    house.registration.matrix = matrix
    house.registration.save()
    moved = api.get(asked, headers={"If-None-Match": first["ETag"]})
    assert moved.status_code == 200


def test_the_access_is_recorded_once_per_session(house: House, api: Client) -> None:
    drawn = AuditRecord.objects.filter(action="view", detail__what="server_drawn")
    for position in (1, 2, 3):
        assert api.get(url(house, position=position)).status_code == 200
    assert drawn.count() == 1
    other = Client()
    other.force_login(UserFactory(sites=[house.case.site]))
    other.get(url(house))
    assert drawn.count() == 2


@pytest.mark.parametrize(
    "query",
    [
        {"plane": "oblique"}, {"size": 9000}, {"size": "x"}, {"layers": "a"}, {"window": "1:0:0"},
        {"window": "1:nan:0"}, {"window": "1"}, {"colours": "1:pink"}, {"position": "x"},
    ],
)  # fmt: skip
def test_questions_that_are_none(house: House, api: Client, query: dict[str, object]) -> None:
    assert api.get(url(house, **query)).status_code == 400


def test_webp_is_offered_too(house: House, api: Client) -> None:
    answer = api.get(url(house).replace("slice.png", "slice.webp"))
    assert answer["Content-Type"] == "image/webp"
    assert Image.open(io.BytesIO(answer.content)).format == "WEBP"
