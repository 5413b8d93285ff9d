"""The registration tools' API: landmarks, decisions, refinements, mapped points, running again."""

from __future__ import annotations

import numpy as np
import pytest
from django.test import Client

from tests.analyzing.results import FIELD_SHIFT
from tests.factories import (
    UserFactory,
)
from tests.reading.acts import ok, place, post, refine, refused, view_of
from tests.reading.house import INSIDE, SHIFT, House
from workstation.accounts.models import AuditRecord
from workstation.analyzing import transforms
from workstation.analyzing.models import LayerKind, Refinement, Registration
from workstation.analyzing.requests import run_folder
from workstation.reading.models import LandmarkPair, RegistrationDecision
from workstation.reporting.content import registrations_of
from workstation.reporting.models import Report
from workstation.worklist.models import CaseState

NUDGE = [[1.0, 0, 0, 6.0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]


@pytest.fixture
def path(house: House) -> str:
    return f"/api/registrations/{house.registration.pk}/"


# --- landmarks ----------------------------------------------------------------------------------


def test_landmarks_show_what_separates_them_under_the_alignment_on_record(
    api: Client, path: str, house: House
) -> None:
    assert ok(api.get(path))["landmarks"] is None
    marks = place(api, path, shift=4.0)
    assert (marks["count"], marks["max_mm"]) == (4, pytest.approx(0.0)), "the matrix says 4 mm too"
    post(api, f"{path}decision/", {"decision": "nudged", "matrix": NUDGE})
    state = ok(api.get(path))
    assert state["landmarks"]["mean_mm"] == pytest.approx(2.0)
    assert [p["residual_mm"] for p in state["landmarks"]["pairs"]] == [pytest.approx(2.0)] * 4
    pair = state["landmarks"]["pairs"][0]
    assert (pair["by"], pair["label"]) == (house.reader.display_name, "vessel")
    left = ok(api.delete(f"/api/landmarks/{pair['id']}/"))
    assert left["count"] == 3 and LandmarkPair.objects.count() == 3
    actions = AuditRecord.objects.filter(action="landmark", case_id=house.case.pk)
    assert actions.count() == 5 and actions.filter(detail__deleted=True).count() == 1


def test_the_fit_is_a_proposal_until_it_is_decided(api: Client, path: str, house: House) -> None:
    refused(post(api, f"{path}landmarks/fit/"), "at least 3")
    place(api, path, shift=7.0)
    fit = ok(post(api, f"{path}landmarks/fit/"))
    assert fit["matrix"][0][3] == pytest.approx(7.0)
    assert (fit["count"], fit["rms_mm"]) == (4, pytest.approx(0, abs=1e-9))
    assert not RegistrationDecision.objects.exists()
    body = {"decision": "nudged", "method": "landmarks", "matrix": fit["matrix"]}
    answer = ok(post(api, f"{path}decision/", body))
    assert answer["fusion"]["fused"]
    assert answer["fusion"]["badge"].startswith("Aligned by 4 landmark pairs (RMS 0.0 mm), ")
    decision = RegistrationDecision.objects.get()
    assert decision.method == "landmarks"
    assert len(decision.evidence["pairs"]) == decision.evidence["count"] == 4
    # A pair taken away since: what the reader looked at is not what would be stored.
    pair = LandmarkPair.objects.first()
    LandmarkPair.objects.filter(pk=pair.pk).update(moving=[0, 9, 0])
    refused(post(api, f"{path}decision/", body), "Fit again")


def test_landmarks_that_make_no_sense_are_refused(api: Client, path: str, house: House) -> None:
    origin = {"reference": [0, 0, 0]}
    for body in (origin, {**origin, "moving": [0, 0, 0], "label": "x" * 65}):
        assert post(api, f"{path}landmarks/", body).status_code == 400
    for moving in ([0, 0], "here", [0, 0, 1e9], [0, 0, True]):
        answer = post(api, f"{path}landmarks/", {"reference": [0, 0, 0], "moving": moving})
        assert answer.status_code == 409
    reference = Registration.objects.get(run=house.run, state="reference")
    body = {"reference": [0, 0, 0], "moving": [0, 0, 0]}
    refused(post(api, f"/api/registrations/{reference.pk}/landmarks/", body), "reference series")


# --- refinements --------------------------------------------------------------------------------


def test_a_refinement_counts_from_its_acceptance_on(api: Client, path: str, house: House) -> None:
    asked = refine(api, path, matrix=NUDGE)
    assert (asked["state"], asked["start"]["method"]) == ("done", "hand")
    assert asked["can_accept"] and not asked["accepted"]
    assert asked["result"]["matrix"][0][3] == 7.0
    assert ok(api.get(path))["matrix"] == SHIFT, "nothing is shown by itself"
    body = {"decision": "accepted", "refinement": asked["id"]}
    answer = ok(post(api, f"{path}decision/", body))
    name = house.reader.display_name
    assert answer["matrix"][0][3] == 7.0
    assert answer["fusion"]["badge"] == (
        f"Registered: refined (rigid) from hand alignment, accepted by {name}"
    )
    assert answer["fusion"]["quality"][0]["name"] == "smallest_jacobian"
    assert answer["fusion"]["refinement"] == asked["id"]
    assert answer["fusion"]["method"] == "test rigid"
    state = ok(api.get(path))
    assert state["refinements"][0]["accepted"]
    assert state["decisions"][0]["method"] == "refined"
    refused(post(api, f"/api/refinements/{asked['id']}/discard/"), "stands on this result")
    # Taken back: as it was computed.
    assert ok(post(api, f"{path}decision/", {"decision": "withdrawn"}))["matrix"] == SHIFT
    refused(post(api, f"{path}decision/", {"decision": "withdrawn"}), "no decision")
    assert [d["decision"] for d in ok(api.get(path))["decisions"]] == ["withdrawn", "accepted"]


def test_from_where_a_refinement_starts(api: Client, path: str, house: House) -> None:
    assert refine(api, path)["start"] == {"matrix": SHIFT, "method": "computed"}
    assert refine(api, path, matrix=SHIFT)["start"]["method"] == "computed", "nothing was moved"
    place(api, path)
    ok(post(api, f"{path}decision/", {"decision": "nudged", "method": "landmarks"}))
    start = refine(api, path)
    assert start["start"]["method"] == "landmarks"
    ok(post(api, f"{path}decision/", {"decision": "accepted", "refinement": start["id"]}))
    assert refine(api, path)["start"] == {"matrix": start["result"]["matrix"], "method": "refined"}
    Registration.objects.filter(pk=house.registration.pk).update(
        state="not_registered", verdict="refused"
    )
    ok(post(api, f"{path}decision/", {"decision": "withdrawn"}))
    assert refine(api, path, "affine")["start"]["method"] == "delivered"
    for matrix in ("here", [[3.0, 0, 0, 0], *NUDGE[1:]], [[-1.0, 0, 0, 0], *NUDGE[1:]]):
        answer = post(api, f"{path}refinements/", {"model": "rigid", "matrix": matrix})
        assert answer.status_code == 409, matrix
    assert post(api, f"{path}refinements/", {"model": "free"}).status_code == 400


def test_a_nudge_moves_an_affine_alignment_and_adds_no_stretch(
    api: Client, path: str, house: House
) -> None:
    stretched = [[1.02, 0, 0, 4.0], *SHIFT[1:]]
    asked = refine(api, path, "affine", matrix=stretched)
    further = [[1.02, 0, 0, 9.0], *SHIFT[1:]]
    refused(post(api, f"{path}decision/", {"decision": "nudged", "matrix": further}), "stretch")
    ok(post(api, f"{path}decision/", {"decision": "accepted", "refinement": asked["id"]}))
    answer = ok(post(api, f"{path}decision/", {"decision": "nudged", "matrix": further}))
    assert (answer["matrix"], answer["fusion"]["model"]) == (further, "affine")
    more = [[1.05, 0, 0, 9.0], *SHIFT[1:]]
    refused(post(api, f"{path}decision/", {"decision": "nudged", "matrix": more}), "stretch")


def test_a_refused_refinement_cannot_be_accepted(api: Client, path: str, house: House) -> None:
    asked = refine(api, path, "deformable", refused=True)
    assert (asked["state"], asked["can_accept"]) == ("done", False)
    assert asked["result"]["layer"] is None and asked["result"]["reasons"] == ["It folds."]
    body = {"decision": "accepted", "refinement": asked["id"]}
    refused(post(api, f"{path}decision/", body), "It folds.")
    points = {"points": [INSIDE], "from": "reference", "refinement": asked["id"]}
    refused(post(api, f"{path}map/", points), "no result")
    refused(post(api, f"{path}decision/", {**body, "refinement": 10**6}), "not one of this")
    assert ok(post(api, f"/api/refinements/{asked['id']}/discard/"))["state"] == "discarded"


def test_asking_stopping_and_retrying_is_audited(api: Client, path: str, house: House) -> None:
    asked = ok(post(api, f"{path}refinements/", {"model": "affine"}), 202)
    refused(post(api, f"{path}refinements/", {"model": "rigid"}), "under way")
    one = f"/api/refinements/{asked['id']}/"
    refused(post(api, f"{one}discard/"), "finished")
    assert ok(post(api, f"{one}cancel/"))["state"] == "cancelled"
    refused(post(api, f"{one}retry/"), "did not fail")
    refused(post(api, f"{one}cancel/"), "cancelled")
    rows = AuditRecord.objects.filter(action="refine").order_by("pk")
    assert [r.detail["asked"] for r in rows] == ["start", "cancel"]
    assert all(r.user == house.reader and r.case_id == house.case.pk for r in rows)


def test_a_deformed_layer_is_fused_only_by_its_acceptance(
    api: Client, path: str, house: House
) -> None:
    asked = refine(api, path, "deformable")
    layers = {layer["id"]: layer for layer in view_of(api, house)["layers"]}
    deformed = layers[asked["result"]["layer"]]
    assert (deformed["kind"], deformed["fusion"]["fused"]) == (LayerKind.DEFORMED, False)
    assert deformed["deformed"] == {
        "registration": house.registration.pk, "refinement": asked["id"], "of": house.pet.pk,
        "outside_share": 0.0,
    }  # fmt: skip
    assert layers[house.pet.pk]["deformed"] is None
    ok(post(api, f"{path}decision/", {"decision": "accepted", "refinement": asked["id"]}))
    layers = {layer["id"]: layer for layer in view_of(api, house)["layers"]}
    badge = f"Deformed: test deformable, accepted by {house.reader.display_name}"
    assert layers[deformed["id"]]["fusion"]["badge"] == badge
    assert layers[deformed["id"]]["matrix"] == np.eye(4).tolist()
    original = layers[house.pet.pk]
    assert original["fusion"]["fused"] and original["matrix"] == SHIFT
    assert "without its deformation" in original["fusion"]["badge"]
    assert ok(api.get(path))["deformed_layer"] == deformed["id"]
    # The original voxels through the transform: 4 mm to the left, then 3 mm towards the head.
    answer = post(api, f"/api/cases/{house.case.pk}/probe/", {"point": INSIDE})
    values = {v["layer"]: v for v in ok(answer)["values"]}
    assert house.pet.pk not in values, "one value per series"
    assert values[deformed["id"]]["value"] == pytest.approx(2.10)
    ok(post(api, f"{path}decision/", {"decision": "rejected"}))
    assert not any(
        layer["fusion"]["fused"]
        for layer in view_of(api, house)["layers"]
        if layer["id"] in (deformed["id"], house.pet.pk)
    )


def test_points_are_mapped_there_and_back(api: Client, path: str, house: House) -> None:
    there = ok(post(api, f"{path}map/", {"points": [INSIDE], "from": "reference"}))
    assert there["points"][0] == pytest.approx([INSIDE[0] - 4, *INSIDE[1:]])
    assert (there["to"], there["model"]) == ("moving", "rigid")
    asked = refine(api, path, "deformable")
    body = {"points": [INSIDE, [9000, 0, 0]], "from": "reference", "refinement": asked["id"]}
    there = ok(post(api, f"{path}map/", body))
    moved = [INSIDE[0] - 4, INSIDE[1], INSIDE[2] + FIELD_SHIFT[2]]
    assert there["points"] == [pytest.approx(moved), None]
    back = ok(post(api, f"{path}map/", {**body, "points": [moved], "from": "moving"}))
    assert back["points"][0] == pytest.approx(INSIDE, abs=0.02)
    for points in ([], "here", [[0, 0]], [[0, 0, 0]] * 1001):
        answer = post(api, f"{path}map/", {"points": points, "from": "reference"})
        assert answer.status_code == 409


def test_a_lost_deformation_blocks_neither_the_panel_nor_a_landmark(
    api: Client, path: str, house: House
) -> None:
    asked = refine(api, path, "deformable")
    ok(post(api, f"{path}decision/", {"decision": "accepted", "refinement": asked["id"]}))
    row = Refinement.objects.get(pk=asked["id"])
    (run_folder(house.run) / row.deformation["path"]).unlink()
    transforms._kept.clear()
    state = ok(api.get(path))
    assert "deformation is gone" in state["problem"] and state["landmarks"] is None
    pairs = ok(
        post(api, f"{path}landmarks/", {"reference": INSIDE, "moving": INSIDE, "label": ""}), 201
    )
    assert [pair["residual_mm"] for pair in pairs["pairs"]] == [None]
    assert pairs["rms_mm"] is None and LandmarkPair.objects.count() == 1
    left = ok(api.delete(f"/api/landmarks/{LandmarkPair.objects.get().pk}/"))
    assert (left["pairs"], left["count"]) == ([], 0)
    answer = post(api, f"{path}map/", {"points": [INSIDE], "from": "reference"})
    assert answer.status_code == 409, "no position is made up"
    ok(post(api, f"{path}decision/", {"decision": "withdrawn"}))
    assert ok(api.get(path))["problem"] == ""


def test_the_signed_content_names_the_refinement(api: Client, path: str, house: House) -> None:
    asked = refine(api, path, "affine")
    ok(post(api, f"{path}decision/", {"decision": "accepted", "refinement": asked["id"]}))
    refine(api, path, "deformable")
    rows = registrations_of(Report(case=house.case, run=house.run))
    (row,) = [r for r in rows if r["series_instance_uid"] == house.pet.key]
    assert (row["refined"], row["method"], row["decision"]) == (True, "test affine", "accepted")
    assert row["matrix"] == asked["result"]["matrix"]
    assert {r["series_instance_uid"] for r in rows} == {house.ct.key, house.pet.key}


# --- who may ------------------------------------------------------------------------------------


def test_a_signed_report_and_a_reader_without_the_claim_change_nothing(
    api: Client, path: str, house: House
) -> None:
    place(api, path)
    asked = refine(api, path)
    pair = LandmarkPair.objects.first()
    acts = [
        (f"{path}landmarks/", {"reference": [0, 0, 0], "moving": [0, 0, 0]}),
        (f"{path}refinements/", {"model": "rigid"}),
        (f"{path}decision/", {"decision": "accepted", "refinement": asked["id"]}),
        (f"/api/refinements/{asked['id']}/discard/", {}),
        (f"/api/cases/{house.case.pk}/rerun/", {}),
    ]
    looker = Client()
    looker.force_login(UserFactory(sites=[house.case.site]))
    for act, body in acts:
        refused(post(looker, act, body), "You do not hold this case")
    refused(looker.delete(f"/api/landmarks/{pair.pk}/"), "You do not hold")
    assert ok(looker.get(path))["landmarks"]["count"] == 4, "looking is allowed"
    house.case.state = CaseState.SIGNED
    house.case.save()
    for act, body in acts:
        refused(post(api, act, body), "signed")
    refused(api.delete(f"/api/landmarks/{pair.pk}/"), "signed")
