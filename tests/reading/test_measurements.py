"""Measurements through the API: values of every tool, volumes, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from django.test import Client

from tests.analyzing.results import ramp
from tests.reading.acts import ok, post, refused, view_of
from tests.reading.house import House
from tests.reading.measured import (
    AXIAL,
    OUTLINE,
    around,
    give_pet,
    hot,
    made,
    marks,
    measure,
    patch,
    place,
    rows,
)
from workstation.reading.measuring.growing import from_runs


def test_lines_and_angles_have_numbers_and_rows(api: Client, house: House) -> None:
    one = made(api, house, tool="length", points=[[0, 0, 0], [3, 4, 12]], label=" node ")
    assert (one["name"], one["text"], one["label"], one["layers"]) == ("M1", "13.0 mm", "node", [])
    cross = [[0, -4, 0], [0, 4, 0], [-10, 0, 0], [10, 0, 0]]
    two = made(api, house, tool="bidirectional", points=cross)
    assert (two["name"], two["text"], two["value"]) == ("M2", "20.0 × 8.0 mm", 20.0)
    assert {n: r["value"] for n, r in rows(two).items()} == {"long_axis": 20.0, "short_axis": 8.0}
    three = made(api, house, tool="angle", points=[[1, 0, 0], [0, 0, 0], [0, 0, 2]])
    assert (three["text"], three["unit"], three["values"][0]["title"]) == ("90.0°", "deg", "Angle")
    four = made(api, house, tool="arrow", points=[[0, 0, 0], [5, 5, 5]], label="look")
    assert (four["text"], four["value"], four["unit"], four["values"]) == ("look", None, "", [])
    assert marks(api, house)["measurements"] == [one, two, three, four]
    assert view_of(api, house)["measurements"] == [one, two, three, four]
    refused(measure(api, house, tool="text", points=[[0, 0, 0]]), "needs words")
    refused(
        measure(api, house, tool="bidirectional", points=[*cross[:2], [0, 0, 0], [9, 9, 0]]),
        "RECIST asks for perpendicular",
    )


def test_an_outline_is_measured_on_every_layer_in_its_own_unit(api: Client, house: House) -> None:
    body = made(api, house, tool="freehand", points=OUTLINE, plane=AXIAL)
    assert rows(body)["area"]["value"] == pytest.approx(36.0)
    assert (body["value"], body["unit"]) == (pytest.approx(36.0), "mm2")
    assert np.allclose(body["outline"], OUTLINE)
    ct, pet = rows(body, house.ct.key), rows(body, house.pet.key)
    inside = ramp()[1, 1:4, 1:4]
    assert [ct[n]["value"] for n in ("mean", "sd", "min", "max")] == pytest.approx(
        [inside.mean(), inside.std(), inside.min(), inside.max()]
    )
    assert (ct["max"]["voxel"], ct["max"]["position"]) == ([3, 3, 1], [-4.0, -14.0, 103.0])
    assert {r["voxels"] for r in ct.values()} == {9}
    assert (ct["mean"]["unit"], ct["mean"]["layer"]) == ("[hnsf'U]", house.ct.pk)
    assert "plane k = 1" in ct["mean"]["method"]
    # The PET lies 4 mm to the left: its first two columns, of which the third is outside.
    part = ramp()[1, 1:4, 0:2] * 0.01
    assert pet["mean"]["value"] == pytest.approx(part.mean())
    assert (pet["max"]["title"], pet["max"]["text"]) == ("SUVmax", "1.31 SUVbw")
    assert (pet["max"]["voxel"], pet["max"]["position"]) == ([1, 3, 1], [-4.0, -14.0, 103.0])
    # Its image begins half a voxel before the first centre, at x = -7: a third is outside.
    assert body["notes"] == [
        "PET: 33 % of the outline lies outside the image; values are of the rest."
    ]
    assert body["text"] == "36.0 mm², CT 122 ± 8 HU, PET SUVmax 1.31 SUVbw"


def test_an_ellipse_in_any_plane(api: Client, house: House) -> None:
    sagittal = [[-4, -16, 103], [-4, -11.9, 103], [-4, -16, 106.1]]
    body = made(
        api, house, tool="ellipse", points=sagittal, plane={"normal": [3, 0, 0]},
        layers=[house.ct.pk],
    )  # fmt: skip
    ct = rows(body, house.ct.key)
    assert "plane i = 3" in ct["mean"]["method"] and body["layers"] == [house.ct.pk]
    # Voxels (j, k) around (2, 1): five in the row, one above, one below.
    expected = [ramp()[1, j, 3] for j in range(5)] + [ramp()[0, 2, 3], ramp()[2, 2, 3]]
    assert ct["mean"]["value"] == pytest.approx(np.mean(expected))
    assert ct["mean"]["voxels"] == 7
    assert body["plane"] == {"normal": [1.0, 0.0, 0.0]}
    end = [-4, -14 + 2 * math.cos(0.4), 104 + 2 * math.sin(0.4)]
    oblique = [[-4, -14, 104], [-1, -14, 104], end]
    tilted = {"normal": [0, -math.sin(0.4), math.cos(0.4)]}
    body = made(api, house, tool="ellipse", points=oblique, plane=tilted, layers=[house.ct.pk])
    ct = rows(body, house.ct.key)
    assert "samples of the oblique plane, 2 mm apart" in ct["mean"]["method"]
    # The stored ramp is linear, so the mean is that of the centre.
    assert ct["mean"]["value"] == pytest.approx(3 + 10 * 3 + 100 * 4 / 3)


def test_what_no_image_reaches_has_a_reason_and_no_number(api: Client, house: House) -> None:
    far = [[x, y, z + 50] for x, y, z in OUTLINE]
    body = made(api, house, tool="freehand", points=far, plane=AXIAL)
    ct = rows(body, house.ct.key)
    assert (ct["mean"]["value"], ct["mean"]["text"]) == (None, "")
    assert ct["mean"]["reason"] == "Outside the field of view."
    assert rows(body)["area"]["value"] == pytest.approx(36.0)
    between = [[-5.5, -15.5, 103], [-4.5, -15.5, 103], [-4.5, -14.5, 103], [-5.5, -14.5, 103]]
    body = made(api, house, tool="freehand", points=between, plane=AXIAL, layers=[house.ct.pk])
    assert rows(body, house.ct.key)["max"]["reason"] == "No voxel centre lies inside the outline."


def test_a_sphere_with_peak(api: Client, house: House) -> None:
    give_pet(house, hot())
    body = made(api, house, tool="sphere", points=around(7, 7, 7, 8.5))
    pet = rows(body, house.pet.key)
    assert rows(body)["volume"]["value"] == pytest.approx(4 / 3 * math.pi * 8.5**3 / 1000)
    k, j, i = np.indices((16, 16, 16))
    inside = 16 * ((k - 7) ** 2 + (j - 7) ** 2 + (i - 7) ** 2) <= 8.5**2
    values = hot()[inside] * 0.01
    assert pet["mean"]["value"] == pytest.approx(values.mean())
    assert pet["sd"]["value"] == pytest.approx(values.std())
    assert (pet["max"]["value"], pet["max"]["voxel"]) == (pytest.approx(10.0), [7, 7, 7])
    assert pet["max"]["position"] == place(7, 7, 7)
    assert pet["peak"]["title"] == "SUVpeak"
    assert pet["max"]["value"] > pet["peak"]["value"] > pet["mean"]["value"]
    refused(measure(api, house, tool="sphere", points=around(7, 7, 7, 0.5)), "radius of 1 to 150")


def grown(api: Client, house: House, method: str, **more: Any) -> Any:
    threshold = {"method": method, **more}
    return measure(api, house, tool="threshold", points=around(7, 7, 7), threshold=threshold)


@pytest.mark.parametrize(
    ("method", "value", "level", "voxels"),
    [("41%", None, 4.1, 18), ("50%", None, 5.0, 1), ("fixed", 4.0, 4.0, 18)],
)
def test_a_volume_grows_to_its_threshold(
    api: Client, house: House, method: str, value: float | None, level: float, voxels: int
) -> None:
    give_pet(house, hot())
    body = ok(grown(api, house, method, **({"value": value} if value else {})), 201)
    pet = rows(body, house.pet.key)
    assert body["layers"] == [house.pet.pk], "the CT is not asked"
    assert pet["threshold"]["value"] == pytest.approx(level)
    assert pet["volume"]["value"] == pytest.approx(voxels * 0.064)
    assert (pet["volume"]["title"], pet["volume"]["voxels"]) == ("MTV", voxels)
    mean = (10.0 + 4.2 * (voxels - 1)) / voxels
    assert pet["mean"]["value"] == pytest.approx(mean)
    assert pet["tlg"]["value"] == pytest.approx(mean * voxels * 0.064)
    assert pet["tlg"]["text"].endswith("SUVbw·ml")
    assert (body["value"], body["threshold"]) == (
        pytest.approx(10.0), {"method": method, "value": value},
    )  # fmt: skip
    mask = body["mask"]
    assert (mask["layer"], mask["key"], mask["shape"]) == (house.pet.pk, house.pet.key, [16] * 3)
    (i0, j0, k0), (i1, j1, k1) = mask["box"]
    whole = np.zeros((16, 16, 16), bool)
    whole[k0:k1, j0:j1, i0:i1] = from_runs(mask["box"], mask["counts"])
    assert (whole == (hot() >= round(level * 100))).all()
    assert body["notes"] == []


def test_percist_needs_a_liver_and_stands_on_it(api: Client, house: House) -> None:
    array = hot()
    array[2:6, 2:6, 2:6] = 200 + 20 * (np.indices((4, 4, 4)).sum(axis=0) % 2)
    give_pet(house, array)
    refused(grown(api, house, "percist"), "place a sphere of 3 cm in healthy right liver")
    liver = made(api, house, tool="sphere", purpose="liver", points=around(3.5, 3.5, 3.5, 6.0))
    told = rows(liver, house.pet.key)
    body = ok(grown(api, house, "percist"), 201)
    level = 1.5 * told["mean"]["value"] + 2 * told["sd"]["value"]
    assert rows(body, house.pet.key)["threshold"]["value"] == pytest.approx(level)
    how = rows(body, house.pet.key)["max"]["method"]
    assert "PERCIST: 1.5 x 2.10 + 2 x 0.10 of the liver M1" in how
    assert body["notes"] == ["The liver sphere M1 is 12 mm wide; PERCIST asks for 30 mm."]
    assert body["outdated"] == ""
    ok(patch(api, liver, points=around(5, 5, 5, 9.0)))
    [_, after] = marks(api, house)["measurements"]
    assert after["outdated"] == "The liver sphere M1 was changed or deleted. Measure again."
    again = ok(patch(api, body, points=body["points"]))
    assert again["outdated"] == "" and again["value"] == body["value"]
    api.delete(f"/api/measurements/{liver['id']}/")
    refused(grown(api, house, "percist"), "PERCIST needs the liver")


def test_without_suv_there_is_a_volume_but_no_tlg_and_no_suv_threshold(
    api: Client, house: House
) -> None:
    give_pet(house, hot(), unit="Bq/ml")
    pet = rows(ok(grown(api, house, "41%"), 201), house.pet.key)
    assert (pet["max"]["title"], pet["max"]["text"]) == ("Max", "10 Bq/ml")
    assert pet["volume"]["value"] == pytest.approx(18 * 0.064)
    assert (pet["tlg"]["value"], pet["tlg"]["reason"]) == (None, "PET has no SUV.")
    refused(grown(api, house, "fixed", value=4.0), "PET has no SUV (its values are in Bq/ml)")
    refused(grown(api, house, "percist"), "PET has no SUV")


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        ({"method": "fixed"}, "SUV above 0"),
        ({"method": "fixed", "value": True}, "SUV above 0"),
        ({"method": "fixed", "value": 40}, "below the threshold of 40.00"),
        ({"method": "42%"}, "one of 41%"),
        (None, "one of 41%"),
        ("41%", "one of 41%"),
    ],
)
def test_thresholds_that_are_none_are_refused(
    api: Client, house: House, threshold: Any, words: str
) -> None:
    give_pet(house, hot())
    answer = measure(
        api, house, tool="threshold", points=around(7, 7, 7), threshold=threshold
    )
    refused(answer, words)


def test_growing_needs_one_pet_that_reaches_the_sphere(api: Client, house: House) -> None:
    refused(grown(api, house, "41%"), "no fused PET")
    give_pet(house, hot())
    refused(
        measure(
            api, house, tool="threshold", points=around(90, 90, 90), threshold={"method": "41%"}
        ),
        "PET does not reach this sphere",
    )
    decide = f"/api/registrations/{house.registration.pk}/decision/"
    post(api, decide, {"decision": "rejected"})
    refused(grown(api, house, "41%"), "no fused PET")


def test_a_region_that_leaves_its_sphere_or_the_image_says_so(api: Client, house: House) -> None:
    array = hot()
    array[7, 7, 7:] = 900
    give_pet(house, array)
    points = around(7, 7, 7, 10.0)
    body = made(api, house, tool="threshold", points=points, threshold={"method": "50%"})
    assert "goes on beyond the sphere" in body["notes"][0]
    points = around(12, 7, 7, 40.0)
    body = made(api, house, tool="threshold", points=points, threshold={"method": "50%"})
    assert any("touches the edge of the image" in note for note in body["notes"])
