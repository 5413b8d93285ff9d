"""Measurements after a change: deformed, aligned anew, run again, edited, deleted, signed."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.analyzing.results import AFFINE
from tests.factories import UserFactory
from tests.reading.acts import ok, post, refine, refused, view_of
from tests.reading.house import House
from tests.reading.measured import (
    AXIAL,
    OUTLINE,
    made,
    marks,
    measure,
    patch,
    rerun,
    rows,
    state_of,
)
from workstation.accounts.models import AuditRecord
from workstation.analyzing.models import Layer
from workstation.analyzing.requests import run_folder
from workstation.reading import measurements
from workstation.reading.models import KeyImage, MeasuredValue, Measurement
from workstation.reporting.content import measurements_of
from workstation.reporting.models import Report
from workstation.worklist.models import CaseState
from workstation.worklist.services import release_case


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


def test_a_mark_sent_again_after_a_lost_answer_is_one_mark(
    api: Client, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = "0b1f7e9e4a6c4f0f9d7c1a2b3c4d5e6f"
    one = made(api, house, tool="length", points=OUTLINE[:2], sent=sent)
    assert made(api, house, tool="length", points=OUTLINE[:2], sent=sent) == one
    moved = made(api, house, tool="length", points=OUTLINE[1:3], label="node", sent=sent)
    assert (moved["id"], moved["points"], moved["label"]) == (one["id"], OUTLINE[1:3], "node")
    assert [row["id"] for row in marks(api, house)["measurements"]] == [one["id"]]
    refused(measure(api, house, tool="arrow", points=OUTLINE[:2], sent=sent), "Another mark")
    # Both are under way at once: neither saw the other before it was measured.
    first = measurements._sent_before
    asked: list[Any] = []

    def late(case: Any, mark: Any) -> Any:
        asked.append(mark)
        return None if len(asked) == 1 else first(case, mark)

    monkeypatch.setattr(measurements, "_sent_before", late)
    assert made(api, house, tool="length", points=OUTLINE[1:3], label="node", sent=sent) == moved
    assert len(asked) == 2 and Measurement.objects.count() == 1
    assert api.delete(f"/api/measurements/{one['id']}/").status_code == 204
    refused(measure(api, house, tool="length", points=OUTLINE[:2], sent=sent), "was deleted")
