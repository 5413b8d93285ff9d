"""Measurements through the API: values, volumes, undo, reruns, key images, and what is refused."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from tests.analyzing.results import AFFINE, ramp, stored
from tests.factories import RunFactory, UserFactory
from tests.reading.acts import ok, post, refine, refused, view_of
from tests.reading.house import House, as_json
from workstation.accounts.models import AuditRecord
from workstation.analyzing.models import Layer, LayerKind
from workstation.analyzing.requests import run_folder
from workstation.reading import measurements
from workstation.reading.measuring.growing import from_runs
from workstation.reading.models import KeyImage, MeasuredValue, Measurement
from workstation.reporting.content import measurements_of
from workstation.reporting.models import Report
from workstation.worklist.models import CaseState
from workstation.worklist.services import release_case

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


# --- values -------------------------------------------------------------------------------------


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


# --- volumes ------------------------------------------------------------------------------------


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


# --- deformed, aligned anew, run again ------------------------------------------------------------


def test_a_deformed_layer_is_measured_through_its_field(api: Client, house: House) -> None:
    asked = refine(api, f"/api/registrations/{house.registration.pk}/", "deformable")
    deformed = asked["result"]["layer"]
    square = [[x + 4, y, z] for x, y, z in OUTLINE]
    made(api, house, tool="freehand", points=square, plane=AXIAL, layers=[house.pet.pk])
    decide = f"/api/registrations/{house.registration.pk}/decision/"
    ok(post(api, decide, {"decision": "accepted", "refinement": asked["id"]}))
    body = made(api, house, tool="freehand", points=square, plane=AXIAL, layers=[deformed])
    pet = rows(body, house.pet.key)
    assert body["layers"] == [deformed] and pet["mean"]["layer"] == deformed
    assert "through the deformation" in pet["mean"]["method"]
    # The image is linear: the mean is that of the middle, PET index (2, 2, 1), and the field moves
    # by 3 mm along z, one slice more.
    assert pet["mean"]["value"] == pytest.approx(0.01 * (2 + 20 + 100) + 1.0)
    assert pet["mean"]["voxels"] == 16
    stale = marks(api, house)["measurements"][0]
    assert stale["outdated"].startswith("PET was aligned anew.")


def test_aligned_anew_says_so_until_it_is_measured_again(api: Client, house: House) -> None:
    body = made(api, house, tool="freehand", points=OUTLINE, plane=AXIAL)
    length = made(api, house, tool="length", points=OUTLINE[:2])
    decide = f"/api/registrations/{house.registration.pk}/decision/"
    nudge = [[1.0, 0, 0, 6.0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
    ok(post(api, decide, {"decision": "nudged", "matrix": nudge}))
    old, still = marks(api, house)["measurements"]
    assert old["outdated"].startswith("PET was aligned anew. These values are from before")
    assert old["values"] == body["values"], "what was measured stands"
    assert still["outdated"] == "" and still["id"] == length["id"]
    ok(patch(api, body, points=OUTLINE))
    assert marks(api, house)["measurements"][0]["outdated"] == ""
    ok(post(api, decide, {"decision": "rejected"}))
    assert "PET is not fused at present" in marks(api, house)["measurements"][0]["outdated"]
    again = ok(patch(api, body, points=OUTLINE))
    assert again["notes"] == ["PET is not fused, so it was not measured."]
    assert rows(again, house.pet.key) == {}


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


def test_after_a_rerun_it_stands_on_the_same_series(api: Client, house: House) -> None:
    body = made(api, house, tool="freehand", points=OUTLINE, plane=AXIAL)
    rerun(house)
    [after] = marks(api, house)["measurements"]
    newest = {layer.label: layer.pk for layer in Layer.objects.order_by("pk")}
    assert after["layers"] == [newest["CT"], newest["PET"]] != body["layers"]
    assert {row["layer"] for row in after["values"]} == {None, newest["CT"], newest["PET"]}
    assert (after["outdated"], after["drawn"], after["run"]) == ("", True, house.run.number)
    again = ok(patch(api, body, points=OUTLINE))
    assert again["run"] == house.run.number + 1


def test_other_voxels_or_another_reference_are_told(api: Client, house: House) -> None:
    made(api, house, tool="freehand", points=OUTLINE, plane=AXIAL)
    record = {**house.pet.record, "slope": 0.02}
    rerun(house, PET={"record": record})
    [after] = marks(api, house)["measurements"]
    assert after["outdated"].startswith("PET was analysed anew and has other voxel values.")
    house.run = house.case.runs.last()
    rerun(house, CT={"is_reference": False}, PET={"is_reference": True})
    [after] = marks(api, house)["measurements"]
    assert not after["drawn"] and "another series was the reference" in after["outdated"]


# --- changing, deleting, restoring ----------------------------------------------------------------


def test_a_moved_handle_computes_again_and_a_label_does_not(api: Client, house: House) -> None:
    body = made(api, house, tool="length", points=[[0, 0, 0], [3, 4, 12]])
    moved = ok(patch(api, body, points=[[0, 0, 0], [0, 0, 5]]))
    assert (moved["text"], moved["id"], moved["name"]) == ("5.0 mm", body["id"], "M1")
    before = MeasuredValue.objects.get().pk
    named = ok(patch(api, body, label="left adrenal"))
    assert (named["label"], named["text"]) == ("left adrenal", "5.0 mm")
    assert MeasuredValue.objects.get().pk == before
    refused(patch(api, body, points=[[0, 0, 0]]), "needs 2 points")
    refused(patch(api, body, purpose="liver"), "of a sphere")
    assert ok(patch(api, body, label=""))["text"] == "5.0 mm"
    text = made(api, house, tool="text", points=[[0, 0, 0]], label="metal")
    assert ok(patch(api, text, label="clip"))["text"] == "clip"
    assert patch(api, body, label="x" * 201).status_code == 400
    assert patch(api, body, label="a\x00b").status_code == 400


def test_deleting_hides_and_undo_brings_back(api: Client, house: House) -> None:
    one = made(api, house, tool="length", points=[[0, 0, 0], [3, 4, 12]])
    path = f"/api/measurements/{one['id']}/"
    assert api.delete(path).status_code == 204
    assert api.delete(path).status_code == 204, "twice is no harm"
    assert view_of(api, house)["measurements"] == []
    [hidden] = marks(api, house)["hidden"]
    assert (hidden["id"], hidden["kind"], hidden["name"], hidden["by"]) == (
        one["id"], "measurement", "M1", house.reader.display_name,
    )  # fmt: skip
    refused(patch(api, one, label="x"), "Restore it first")
    two = made(api, house, tool="length", points=[[0, 0, 0], [3, 4, 12]])
    assert two["name"] == "M2", "a number is never used twice"
    assert ok(post(api, f"{path}restore/")) == one
    assert marks(api, house)["measurements"] == [one, two] and not marks(api, house)["hidden"]
    told = AuditRecord.objects.filter(action="measure").order_by("id")
    assert [row.detail["what"] for row in told] == ["made", "deleted", "made", "restored"]


def test_what_was_deleted_is_not_signed(api: Client, house: House) -> None:
    one = made(api, house, tool="freehand", points=OUTLINE, plane=AXIAL)
    two = made(api, house, tool="length", points=[[0, 0, 0], [3, 4, 12]])
    report = Report.objects.create(case=house.case, run=house.run)
    told = measurements_of(report)
    assert [row["name"] for row in told] == ["M1", "M2"]
    assert {(v["series"], v["name"]) for v in told[0]["values"]} >= {
        ("", "area"), (house.ct.key, "mean"), (house.pet.key, "max"),
    }  # fmt: skip
    assert told[0]["reference"] == house.ct.key
    api.delete(f"/api/measurements/{one['id']}/")
    assert [row["name"] for row in measurements_of(report)] == [two["name"]]


def test_a_signed_case_and_an_unheld_one_are_frozen(api: Client, house: House) -> None:
    one = made(api, house, tool="length", points=[[0, 0, 0], [3, 4, 12]])
    keep = f"/api/cases/{house.case.pk}/key-images/"
    image = ok(post(api, keep, {"state": state_of(house)}), 201)
    acts = [
        lambda: measure(api, house, tool="length", points=[[0, 0, 0], [3, 4, 12]]),
        lambda: patch(api, one, label="x"),
        lambda: api.delete(f"/api/measurements/{one['id']}/"),
        lambda: post(api, f"/api/measurements/{one['id']}/restore/"),
        lambda: api.delete(f"/api/key-images/{image['id']}/"),
        lambda: post(api, f"/api/key-images/{image['id']}/restore/"),
        lambda: post(api, keep, {"state": state_of(house)}),
    ]
    state = house.case.state
    house.case.state = CaseState.SIGNED
    house.case.save()
    for act in acts:
        refused(act(), "signed")
    house.case.state = state
    house.case.save()
    release_case(house.case, house.reader)
    for act in acts:
        refused(act(), "Claim it first")
    looker = Client()
    looker.force_login(UserFactory(sites=[house.case.site]))
    assert len(marks(looker, house)["measurements"]) == 1
    stranger = Client()
    stranger.force_login(UserFactory())
    assert stranger.get(f"/api/cases/{house.case.pk}/measurements/").status_code == 404
    assert patch(stranger, one, label="x").status_code == 404
    assert Measurement.objects.shown().count() == KeyImage.objects.shown().count() == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"tool": "ellipse", "points": OUTLINE[:3]}, "needs its plane"),
        ({"tool": "freehand", "points": OUTLINE[:2], "plane": AXIAL}, "3 to 2000 points"),
        ({"tool": "freehand", "points": [[0, 0, 0]] * 2001, "plane": AXIAL}, "3 to 2000 points"),
        ({"tool": "freehand", "points": OUTLINE, "plane": {"normal": [0, 1, 1]}}, "do not lie"),
        ({"tool": "freehand", "points": OUTLINE, "plane": {"normal": [0, 0]}}, "A point is"),
        ({"tool": "freehand", "points": OUTLINE, "plane": "axial"}, "A point is"),
        ({"tool": "freehand", "points": OUTLINE, "plane": {"normal": [0, 0, 0]}}, "no direction"),
        ({"tool": "length", "points": [[0, 0, 0]] * 2}, "same point"),
        ({"tool": "length", "points": OUTLINE[:2], "purpose": "liver"}, "of a sphere"),
        ({"tool": "probe", "points": [[900, 900, 900]]}, "No fused image reaches"),
    ],
)
def test_marks_that_make_no_sense_are_refused_in_words(
    api: Client, house: House, data: dict[str, Any], words: str
) -> None:
    refused(measure(api, house, **data), words)
    assert not Measurement.objects.exists()


def test_a_lost_volume_is_a_reason(api: Client, house: House) -> None:
    (run_folder(house.run) / house.ct.record["path"]).unlink()
    refused(measure(api, house, tool="freehand", points=OUTLINE, plane=AXIAL), "gone")
    assert not Measurement.objects.exists()


def test_the_view_asks_no_more_for_more_measurements(
    api: Client, house: House, django_assert_max_num_queries: Any
) -> None:
    for _ in range(3):
        made(api, house, tool="freehand", points=OUTLINE, plane=AXIAL)
    with django_assert_max_num_queries(36):
        view_of(api, house)


# --- key images -----------------------------------------------------------------------------------


def state_of(house: House) -> dict[str, Any]:
    return {
        "point": [0, 0, 103], "normal": [0, 0, 1], "up": [0, -1, 0],
        "layers": [
            {"layer": house.ct.pk, "window": [400, 40], "opacity": 1.0, "colormap": "gray"},
            {"layer": house.pet.pk, "window": [6, 3], "opacity": 0.5, "colormap": "hot"},
        ],
        "view": {"zoom": 1.5},
    }  # fmt: skip


def png(size: tuple[int, int] = (4, 3)) -> str:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def test_a_key_image_comes_back_as_it_was_seen(api: Client, house: House) -> None:
    path = f"/api/cases/{house.case.pk}/key-images/"
    body = ok(post(api, path, {"state": state_of(house), "label": "node", "picture": png()}), 201)
    assert (body["name"], body["label"], body["drawn"]) == ("K1", "node", True)
    assert [one["layer"] for one in body["state"]["layers"]] == [house.ct.pk, house.pet.pk]
    assert body["state"]["layers"][1]["window"] == [6, 3] and body["state"]["view"] == {"zoom": 1.5}
    answer = api.get(body["picture"])
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("image/png", "no-store")
    assert Image.open(io.BytesIO(answer.content)).size == (4, 3)
    plain = ok(post(api, path, {"state": state_of(house)}), 201)
    assert plain["picture"] is None
    assert api.get(f"/api/key-images/{plain['id']}/picture/").status_code == 404
    named = api.patch(
        f"/api/key-images/{plain['id']}/", {"label": "hilum"}, content_type="application/json"
    )
    assert ok(named)["label"] == "hilum"
    assert api.delete(f"/api/key-images/{body['id']}/").status_code == 204
    assert [one["name"] for one in view_of(api, house)["key_images"]] == ["K2"]
    assert [one["kind"] for one in marks(api, house)["hidden"]] == ["key_image"]
    assert ok(post(api, f"/api/key-images/{body['id']}/restore/")) == body
    rerun(house)
    newest = {layer.label: layer.pk for layer in Layer.objects.order_by("pk")}
    first = view_of(api, house)["key_images"][0]
    assert [one["layer"] for one in first["state"]["layers"]] == [newest["CT"], newest["PET"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"point": None}, "A point is"),
        ({"extra": 1}, "point, normal, up"),
        ({"layers": []}, "1 to 20 layers"),
        ({"layers": [{"layer": 10**9, "window": [1, 1]}]}, "not on screen"),
        ({"view": {"x": "y" * 9000}}, "8 kB"),
    ],
)
def test_key_images_that_show_nothing_are_refused(
    api: Client, house: House, change: dict[str, Any], words: str
) -> None:
    path = f"/api/cases/{house.case.pk}/key-images/"
    refused(post(api, path, {"state": {**state_of(house), **change}}), words)


def test_a_picture_must_be_one(api: Client, house: House) -> None:
    path = f"/api/cases/{house.case.pk}/key-images/"
    script = base64.b64encode(b"<svg onload='alert(1)'/>").decode()
    for picture in (
        "data:image/svg+xml;base64," + script,
        "data:image/png;base64," + script,
        "data:image/png;base64,???",
        png((300, 300))[:400],
        "https://elsewhere/picture.png",
    ):
        answer = post(api, path, {"state": state_of(house), "picture": picture})
        refused(answer, "picture")
    assert not KeyImage.objects.exists()


def test_voxels_are_those_of_the_affine_that_is_stored() -> None:
    """The numbers above lean on it."""
    assert AFFINE[0][3] == -10.0 and AFFINE[2][2] == 3.0


def test_two_windows_do_not_undo_each_other(
    api: Client, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label that another window writes while the voxels are read stays; so does a deletion."""
    one = made(api, house, tool="length", points=[[0, 0, 0], [3, 4, 12]])
    real = measurements.measure_lines
    meanwhile = [
        {"label": "left adrenal"},
        {"hidden_at": "2026-01-05T10:15:00Z"},
    ]

    def slow(*given: Any) -> Any:
        Measurement.objects.filter(pk=one["id"]).update(**meanwhile.pop(0))
        return real(*given)

    monkeypatch.setattr(measurements, "measure_lines", slow)
    moved = ok(patch(api, one, points=[[0, 0, 0], [0, 0, 5]]))
    assert (moved["label"], moved["text"]) == ("left adrenal", "5.0 mm")
    refused(patch(api, one, points=[[0, 0, 0], [0, 0, 9]]), "Restore it first")
    assert Measurement.objects.get().text == "5.0 mm"
