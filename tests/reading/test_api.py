"""The viewer's API: shape of the view, numbers of the server, judgements, refusals."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from tests.factories import IDENTITY, UserFactory
from tests.reading.house import INSIDE, SHIFT, House
from workstation.accounts.models import AuditRecord
from workstation.analyzing.requests import run_folder
from workstation.reading.models import FindingReview, Measurement, RegistrationDecision
from workstation.worklist.models import CaseState
from workstation.worklist.services import release_case

TURN = [[0.0, -1.0, 0, 1.0], [1.0, 0.0, 0, 2.0], [0, 0, 1.0, 3.0], [0, 0, 0, 1.0]]

VIEW = {
    "case": {
        "id", "title", "state", "priority", "pathway", "problem", "new_images", "held_by",
        "held_by_me", "can",
    },
    "patient": {
        "name", "patient_id", "issuer", "sex", "birth_date", "age", "site", "synthetic",
    },
    "studies": {"id", "date", "description", "accession", "modalities", "from"},
    "run": {"id", "number", "state", "steps"},
    "reference": None,
    "layers": {
        "id", "key", "series", "volume", "kind", "label", "role", "series_role", "prior",
        "study_date", "modality",
        "unit", "shape", "affine", "dtype", "codec", "slope", "intercept", "levels",
        "value_range", "window", "synthetic", "lossy", "model", "matrix", "registration_id",
        "deformed", "fusion", "notices",
    },
    "alignment": {"changed", "message", "can_run_again"},
    "outlines": {"number", "name", "color", "layer", "fused", "polygons"},
    "findings": {
        "id", "number", "label", "location", "laterality", "probability", "position",
        "long_axis_mm", "short_axis_mm", "volume_ml", "suv_max", "suv_peak", "suv_mean", "method",
        "review",
    },
    "measurements": {
        "id", "number", "name", "tool", "label", "purpose", "points", "plane", "threshold", "value",
        "unit", "text", "values", "notes", "outline", "mask", "layers", "drawn", "outdated", "run",
        "by", "at", "changed_at",
    },
    "key_images": {
        "id", "number", "name", "label", "state", "picture", "drawn", "by", "at",
    },
    "notices": {"code", "message", "severity", "subject"},
    "preferences": None,
    "stream": {"path", "version"},
}  # fmt: skip
FUSION = {
    "state", "fused", "badge", "method", "version", "verdict", "reasons", "quality", "decision",
    "model", "refinement",
}  # fmt: skip


def post(api: Client, path: str, data: Any) -> Any:
    return api.post(path, json.dumps(data), content_type="application/json")


def view_of(api: Client, house: House) -> dict[str, Any]:
    answer = api.get(f"/api/cases/{house.case.pk}/view/")
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    return dict(answer.json())


def measure(api: Client, house: House, **data: Any) -> Any:
    return post(api, f"/api/cases/{house.case.pk}/measurements/", data)


def test_the_view_has_every_key_that_was_agreed(api: Client, house: House) -> None:
    house.run.notices.create(step="assemble", code="gap", message="m", series=house.pet.series)
    assert measure(api, house, tool="probe", points=[INSIDE]).status_code == 201
    view = view_of(api, house)
    assert set(view) == set(VIEW)
    for name, keys in VIEW.items():
        if keys is None:
            continue
        parts = view[name] if isinstance(view[name], list) else [view[name]]
        assert parts or name in ("outlines", "key_images")
        for part in parts:
            assert set(part) == keys, name
    assert set(view["case"]["can"]) == {
        "review", "measure", "decide_registration", "report", "sign",
    }  # fmt: skip
    for layer in view["layers"]:
        assert set(layer["fusion"]) == FUSION
        assert set(layer["levels"][0]) == {"shape", "factors"}
    assert set(view["findings"][0]["review"]) == {
        "state", "by", "at", "comment", "label", "location",
    }  # fmt: skip
    assert {"name", "state", "progress", "text", "error"} <= set(view["run"]["steps"][0])


def test_the_view_says_what_is_stored(api: Client, house: House) -> None:
    view = view_of(api, house)
    assert view["reference"] == house.ct.pk
    assert [layer["id"] for layer in view["layers"]] == [
        house.ct.pk, house.pet.pk, house.heatmap.pk, house.segmentation.pk,
    ]  # fmt: skip
    ct, pet, heatmap, _ = view["layers"]
    assert (ct["codec"], heatmap["codec"]) == (1, 2)
    assert ct["shape"] == [4, 5, 6]
    assert [level["shape"] for level in ct["levels"]] == [[4, 5, 6], [2, 3, 3]]
    assert (ct["matrix"], pet["matrix"]) == (IDENTITY, SHIFT)
    assert pet["registration_id"] == house.registration.pk
    assert (pet["fusion"]["fused"], pet["fusion"]["badge"]) == (True, "Registered")
    assert view["patient"]["birth_date"] == "1961-02-03"
    assert view["patient"]["age"] == "064Y"
    assert view["studies"][0]["modalities"] == ["CT", "PT"]
    assert view["case"]["held_by_me"] and all(view["case"]["can"].values())
    assert view["stream"] == {"path": f"/ws/cases/{house.case.pk}/slices/", "version": 2}


def test_looking_is_audited_and_a_looker_may_change_nothing(house: House) -> None:
    looker = Client()
    user = UserFactory(sites=[house.case.site])
    looker.force_login(user)
    view = view_of(looker, house)
    assert not any(view["case"]["can"].values())
    assert view["case"]["held_by"] == house.reader.display_name
    row = AuditRecord.objects.get(user=user)
    assert (row.action, row.case_id) == ("view", house.case.pk)
    for path, data in (
        (f"/api/cases/{house.case.pk}/measurements/", {"tool": "probe", "points": [INSIDE]}),
        (f"/api/findings/{house.finding.pk}/review/", {"state": "accepted"}),
        (f"/api/registrations/{house.registration.pk}/decision/", {"decision": "rejected"}),
    ):
        answer = post(looker, path, data)
        assert answer.status_code == 409
        assert answer.json() == {"detail": "You do not hold this case. Claim it first."}


def test_the_view_asks_the_database_the_same_number_of_times_for_more_layers(
    api: Client, house: House, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(32):
        view_of(api, house)


# --- numbers ------------------------------------------------------------------------------------


def test_a_probe_shows_every_fused_layer_in_its_own_unit(api: Client, house: House) -> None:
    answer = post(api, f"/api/cases/{house.case.pk}/probe/", {"point": INSIDE})
    assert answer.status_code == 200
    found = {value["layer"]: value for value in answer.json()["values"]}
    assert found[house.ct.pk]["value"] == pytest.approx(112.0)
    assert found[house.ct.pk]["text"] == "112 HU"
    # The PET lies 4 mm to the left: the point is its voxel (0, 1, 1), stored 110, slope 0.01.
    assert found[house.pet.pk]["value"] == pytest.approx(1.10)
    assert found[house.pet.pk]["text"] == "1.10 SUVbw"
    assert found[house.heatmap.pk]["text"] == "p 0.44"
    assert found[house.segmentation.pk]["text"] == "finding 1"
    between = [INSIDE[0] + 1.0, INSIDE[1], INSIDE[2] + 1.5]
    answer = post(api, f"/api/cases/{house.case.pk}/probe/", {"point": between})
    assert answer.json()["values"][0]["value"] == pytest.approx(162.5)


def test_outside_and_unfused_are_said(api: Client, house: House) -> None:
    values = post(api, f"/api/cases/{house.case.pk}/probe/", {"point": [0, 0, 0]}).json()["values"]
    assert {value["text"] for value in values} == {"outside"}
    decide = f"/api/registrations/{house.registration.pk}/decision/"
    post(api, decide, {"decision": "rejected"})
    values = post(api, f"/api/cases/{house.case.pk}/probe/", {"point": INSIDE}).json()["values"]
    assert house.pet.pk not in {value["layer"] for value in values}


def test_a_length_is_computed_from_patient_millimetres(api: Client, house: House) -> None:
    made = measure(api, house, tool="length", points=[[0, 0, 0], [3, 4, 12]])
    assert made.status_code == 201
    body = made.json()
    assert (body["value"], body["unit"], body["text"]) == (13.0, "mm", "13.0 mm")
    assert body["by"] == house.reader.display_name
    row = Measurement.objects.get()
    assert row.evidence["run"] == house.run.number
    gone = api.delete(f"/api/measurements/{body['id']}/")
    assert gone.status_code == 204
    assert not Measurement.objects.shown().exists()
    assert AuditRecord.objects.filter(action="measure").count() == 2


def test_a_probe_is_kept_with_every_layer(api: Client, house: House) -> None:
    body = measure(api, house, tool="probe", points=[INSIDE]).json()
    assert (body["value"], body["unit"]) == (112.0, "[hnsf'U]")
    assert body["text"].startswith("CT 112 HU, PET 1.10 SUVbw")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"tool": "length", "points": [[0, 0, 0]]}, 409),
        ({"tool": "length", "points": [[0, 0, 0], [1, 2]]}, 409),
        ({"tool": "length", "points": [[0, 0, 0], [1, 2, "3"]]}, 409),
        ({"tool": "length", "points": [[0, 0, 0], [1, 2, True]]}, 409),
        ({"tool": "length", "points": [[0, 0, 0], [1, 2, 10**400]]}, 409),
        ({"tool": "length", "points": "here"}, 409),
        ({"tool": "probe", "points": [[9000, 0, 0]]}, 409),
        ({"tool": "angle", "points": []}, 409),
        ({"tool": "guess", "points": []}, 400),
        ({"points": [[0, 0, 0]]}, 400),
    ],
)
def test_measurements_that_make_no_sense_are_refused_in_words(
    api: Client, house: House, data: dict[str, Any], status: int
) -> None:
    answer = measure(api, house, **data)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str | list)
    assert not Measurement.objects.exists()


def test_numbers_that_are_none_are_refused(api: Client, house: House) -> None:
    for text in ('{"point": [NaN, 0, 0]}', '{"point": [Infinity, 0, 0]}', "{"):
        answer = api.post(
            f"/api/cases/{house.case.pk}/probe/", text, content_type="application/json"
        )
        assert answer.status_code in (400, 409), text


def test_a_lost_volume_is_a_reason(api: Client, house: House) -> None:
    (Path(run_folder(house.run)) / house.ct.record["path"]).unlink()
    answer = post(api, f"/api/cases/{house.case.pk}/probe/", {"point": INSIDE})
    assert answer.status_code == 409
    assert "ask for a new analysis" in answer.json()["detail"]
    assert api.get(f"/api/cases/{house.case.pk}/thumbnail.png").status_code == 404


# --- judgements ---------------------------------------------------------------------------------


def test_a_finding_is_judged_edited_and_taken_back(api: Client, house: House) -> None:
    path = f"/api/findings/{house.finding.pk}/review/"
    assert post(api, path, {"state": "accepted"}).json()["review"]["state"] == "accepted"
    body = post(api, path, {"state": "edited", "label": "Granuloma", "comment": "calcified"}).json()
    assert (body["label"], body["review"]["label"]) == ("Lung nodule", "Granuloma")
    assert body["review"]["by"] == house.reader.display_name
    assert post(api, path, {"state": "edited"}).status_code == 409
    assert post(api, path, {"state": "maybe"}).status_code == 400
    assert post(api, path, {"state": "pending"}).json()["review"]["state"] == "pending"
    assert not FindingReview.objects.exists()
    assert AuditRecord.objects.filter(action="review").count() == 3


def test_a_registration_is_accepted_nudged_and_rejected(api: Client, house: House) -> None:
    path = f"/api/registrations/{house.registration.pk}/decision/"
    body = post(api, path, {"decision": "accepted"}).json()
    assert body["fusion"]["decision"]["decision"] == "accepted"
    assert body["matrix"] == SHIFT
    body = post(api, path, {"decision": "nudged", "matrix": TURN}).json()
    assert body["matrix"] == TURN and body["fusion"]["fused"]
    body = post(api, path, {"decision": "rejected", "reason": "lungs do not match"}).json()
    assert not body["fusion"]["fused"]
    assert body["fusion"]["decision"]["reason"] == "lungs do not match"
    assert RegistrationDecision.objects.count() == 3, "earlier decisions stay"
    stretched = [[2.0, 0, 0, 0], *TURN[1:]]
    for matrix in (None, stretched, [[10**400]], "here"):
        answer = post(api, path, {"decision": "nudged", "matrix": matrix})
        assert answer.status_code == 409


def test_after_the_signature_everything_stands(api: Client, house: House) -> None:
    house.case.state = CaseState.SIGNED
    house.case.save()
    answer = post(api, f"/api/findings/{house.finding.pk}/review/", {"state": "rejected"})
    assert answer.status_code == 409
    assert "signed" in answer.json()["detail"]


def test_a_released_case_is_read_only_at_once(api: Client, house: House) -> None:
    release_case(house.case, house.reader)
    assert measure(api, house, tool="probe", points=[INSIDE]).status_code == 409


def test_the_thumbnail_is_a_picture_of_true_proportions(api: Client, house: House) -> None:
    answer = api.get(f"/api/cases/{house.case.pk}/thumbnail.png")
    picture = Image.open(io.BytesIO(answer.content))
    assert (answer["Content-Type"], picture.format) == ("image/png", "PNG")
    # 6 x 5 voxels of 2 mm, of the finest level: the coarse one has fewer than the picture.
    assert picture.size == (192, 160)
    assert picture.getextrema()[0] < picture.getextrema()[1]


def test_the_case_page_shows_the_patient_and_the_warning(api: Client, house: House) -> None:
    page = api.get(f"/cases/{house.case.pk}/").content.decode()
    assert house.case.patient.display_name in page
    assert "Not for diagnostic use" in page
    assert 'data-view-url="/api/cases/' in page
    assert AuditRecord.objects.filter(action="view", detail={"what": "case"}).count() == 1


def test_the_second_window_has_the_patient_and_the_images_but_no_report(
    api: Client, house: House
) -> None:
    page = api.get(f"/cases/{house.case.pk}/?window=2").content.decode()
    assert house.case.patient.display_name in page
    assert 'data-view-url="/api/cases/' in page
    assert 'id="case-alert"' in page
    assert 'id="report-panel"' not in page
    assert 'id="report-panel"' in api.get(f"/cases/{house.case.pk}/").content.decode()
