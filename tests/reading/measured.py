"""What the tests of measurements share: asking, and a PET of known values."""

from __future__ import annotations

from typing import Any

import numpy as np
from django.test import Client

from tests.analyzing.results import stored
from tests.factories import RunFactory
from tests.reading.acts import ok, post
from tests.reading.house import House, as_json
from workstation.analyzing.models import Layer, LayerKind
from workstation.analyzing.requests import run_folder

AXIAL = {"normal": [0, 0, 1]}
OUTLINE = [[-9, -19, 103], [-3, -19, 103], [-3, -13, 103], [-9, -13, 103]]
"""Around CT voxels i = 1..3, j = 1..3 of slice k = 1; PET voxels i = 0..1 (it lies 4 mm left)."""


def measure(api: Client, house: House, **data: Any) -> Any:
    return post(api, f"/api/cases/{house.case.pk}/measurements/", data)


def made(api: Client, house: House, **data: Any) -> Any:
    return ok(measure(api, house, **data), 201)


def marks(api: Client, house: House) -> Any:
    return ok(api.get(f"/api/cases/{house.case.pk}/measurements/"))


def patch(api: Client, mark: Any, **data: Any) -> Any:
    path = f"/api/measurements/{mark['id']}/"
    return api.patch(path, data, content_type="application/json")


def rows(body: Any, key: str = "") -> dict[str, Any]:
    return {row["name"]: row for row in body["values"] if row["key"] == key}


def give_pet(house: House, array: np.ndarray, unit: str = "g/ml{SUVbw}") -> Layer:
    """The PET of the house with these stored values (a hundredth of a unit each), 4 mm cubes."""
    layer, uid = house.pet, house.pet.series.series_instance_uid
    record = stored(
        run_folder(house.run), uid, array, path="assemble/1.rfv", slope=0.01, role="PET", unit=unit
    )
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    layer.record = {
        **as_json(record), "modality": "PT", "affine": affine.tolist(), "sha256": "1" * 64,
    }  # fmt: skip
    layer.unit = unit
    layer.save()
    return layer


def hot(top: int = 1000) -> np.ndarray:
    """16 cubes each way: 0.50 everywhere, 4.20 in a block of 2 x 3 x 3, its hottest 10.00."""
    array = np.full((16, 16, 16), 50, np.int16)
    array[7:9, 6:9, 6:9] = 420
    array[7, 7, 7] = top
    return array


def place(i: float, j: float, k: float) -> list[float]:
    """Reference LPS of a PET index: 4 mm cubes, moved by SHIFT."""
    return [4.0 * i + 4.0, 4.0 * j, 4.0 * k]


def around(i: float, j: float, k: float, radius: float = 20.0) -> list[list[float]]:
    centre = place(i, j, k)
    return [centre, [centre[0] + radius, *centre[1:]]]


def rerun(house: House, **changes: Any) -> None:
    """A finished run after this one, with the same layers but for ``changes`` by layer."""
    run = RunFactory(case=house.case, number=house.run.number + 1)
    folder = run_folder(run)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(run_folder(house.run))
    for layer in house.run.layers.filter(kind=LayerKind.SERIES):
        layer.pk, layer.run = None, run
        for name, value in changes.get(layer.label, {}).items():
            setattr(layer, name, value)
        layer.save()
    for registration in house.run.registrations.all():
        registration.pk, registration.run = None, run
        registration.save()


def state_of(house: House) -> dict[str, Any]:
    return {
        "point": [0, 0, 103], "normal": [0, 0, 1], "up": [0, -1, 0],
        "layers": [
            {"layer": house.ct.pk, "window": [400, 40], "opacity": 1.0, "colormap": "gray"},
            {"layer": house.pet.pk, "window": [6, 3], "opacity": 0.5, "colormap": "hot"},
        ],
        "view": {"zoom": 1.5},
    }  # fmt: skip
