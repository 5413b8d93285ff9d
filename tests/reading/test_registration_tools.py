"""The registration tools' API: landmarks, decisions, refinements, mapped points, running again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.deformation import Deformation
from tests.analyzing.results import FIELD_SHIFT
from tests.factories import (
    InstanceFactory,
    RegistrationFactory,
    RunFactory,
    SeriesFactory,
    UserFactory,
)
from tests.reading.acts import ok, place, post, refine, refused, view_of
from tests.reading.house import INSIDE, SHIFT, House
from workstation.accounts.models import AuditRecord
from workstation.analyzing import transforms
from workstation.analyzing.fixing import DECIDED
from workstation.analyzing.models import Layer, LayerKind, Refinement, Registration, Run
from workstation.analyzing.requests import run_folder, step_request
from workstation.analyzing.services import start_run
from workstation.reading.kept_decisions import decisions_for_next_run, lost_decisions
from workstation.reading.models import LandmarkPair, RegistrationDecision
from workstation.receiving.models import Study
from workstation.reporting.content import registrations_of
from workstation.reporting.models import Report
from workstation.worklist.models import Case, CaseState

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


# --- running again ------------------------------------------------------------------------------


def test_findings_say_that_they_stand_on_the_earlier_alignment(
    api: Client, path: str, house: House
) -> None:
    again = f"/api/cases/{house.case.pk}/rerun/"
    assert view_of(api, house)["alignment"] == {
        "changed": [], "message": "", "can_run_again": False
    }  # fmt: skip
    refused(post(api, again), "already")
    ok(post(api, f"{path}decision/", {"decision": "nudged", "matrix": NUDGE}))
    view = view_of(api, house)
    assert view["alignment"]["changed"] == [house.registration.pk]
    assert "earlier alignment of PET" in view["alignment"]["message"]
    assert view["notices"][0]["code"] == "alignment_changed"
    assert view["alignment"]["can_run_again"]
    Case.objects.filter(pk=house.case.pk).update(state=CaseState.DRAFT)
    refused(post(api, again), "report was begun")
    assert not view_of(api, house)["alignment"]["can_run_again"]
    Case.objects.filter(pk=house.case.pk).update(state=CaseState.READING)
    run = Run.objects.get(pk=ok(post(api, again), 202)["run"]["id"])
    fixed = step_request(run.steps.get(name="register")).fixed_registrations[house.pet.key]
    assert fixed.matrix == tuple(map(tuple, NUDGE))
    assert (fixed.state, fixed.verdict, fixed.method) == ("registered", "usable", "aligned by hand")
    assert fixed.parameters[DECIDED]["badge"] == f"Aligned by hand, {house.reader.display_name}"
    refused(post(api, again), "under way")
    row = AuditRecord.objects.get(action="retry")
    assert row.detail == {"alignment": [house.pet.key]}


def test_running_again_is_over_the_same_images_only(api: Client, path: str, house: House) -> None:
    again = f"/api/cases/{house.case.pk}/rerun/"
    ok(post(api, f"{path}decision/", {"decision": "nudged", "matrix": NUDGE}))
    study = house.case.studies.get()
    late = InstanceFactory(series=SeriesFactory(study=study))
    refused(post(api, again), "changed since")
    Study.objects.filter(pk=study.pk).update(completed_at=None)
    refused(post(api, again), "still arriving")
    late.delete()
    Study.objects.filter(pk=study.pk).update(completed_at=timezone.now())
    assert house.case.runs.count() == 1
    ok(post(api, again), 202)


def test_what_was_not_carried_over_is_told_until_it_is_decided_again(
    api: Client, path: str, house: House
) -> None:
    Run.objects.filter(pk=house.run.pk).update(
        not_carried=[
            {"series": house.pet.key, "label": "PET", "badge": "Aligned by hand, Dr A", "run": 1,
             "why": "images"},
            {"series": "9.9", "label": "MR", "badge": "Rejected by Dr A: not fused", "run": 1,
             "why": "reference_images"},
        ]
    )  # fmt: skip

    def told() -> list[str]:
        view = view_of(api, house)
        return [n["message"] for n in view["notices"] if n["code"] == "decision_not_carried"]

    pet, mr = told()
    assert pet.startswith("The decision “Aligned by hand, Dr A” (analysis 1) was not carried over")
    assert "images of this series were added or changed" in pet and "decide again" in pet
    assert mr.startswith("MR: The decision") and "of the reference series" in mr
    layers = {layer["id"]: layer for layer in view_of(api, house)["layers"]}
    assert pet in [notice["message"] for notice in layers[house.pet.pk]["notices"]]
    ok(post(api, f"{path}decision/", {"decision": "accepted"}))
    assert told() == [mr]


def test_a_decision_about_another_reference_is_told(
    api: Client, path: str, house: House
) -> None:
    ok(post(api, f"{path}decision/", {"decision": "nudged", "matrix": NUDGE}))
    fixed, lost = decisions_for_next_run(house.case, house.run)
    assert lost == [] and list(fixed) == [house.pet.key]
    house.run.fixed_registrations = fixed  # as if this were the next run, and it found another
    house.run.save()
    house.registration.decisions.all().delete()
    [notice] = [
        n for n in view_of(api, house)["notices"] if n["code"] == "decision_not_carried"
    ]
    assert "another series is the reference now" in notice["message"]
    assert decisions_for_next_run(house.case, house.run)[1][0]["why"] == "reference"
    record = fixed[house.pet.key]
    Registration.objects.filter(pk=house.registration.pk).update(parameters=record["parameters"])
    [notice] = [n for n in view_of(api, house)["notices"] if n["code"].startswith("decision")]
    assert notice["code"] == "decisions_kept"
    assert f"PET (Aligned by hand, {house.reader.display_name})" in notice["message"]


def test_a_decision_made_while_the_next_run_was_under_way_is_told(
    api: Client, path: str, house: House
) -> None:
    ok(post(api, f"{path}decision/", {"decision": "nudged", "matrix": NUDGE}))
    begun = RunFactory(case=house.case)
    assert lost_decisions(begun) == [], "it began with that one"
    moved = RegistrationFactory(
        run=begun, series=house.pet.series, reference=house.ct.series, matrix=SHIFT
    )
    ok(post(api, f"{path}decision/", {"decision": "rejected", "reason": "wrong"}))
    [row] = lost_decisions(begun)
    assert (row["series"], row["why"]) == (house.pet.key, "late")
    assert row["badge"].startswith("Rejected by") and row["run"] == house.run.number
    [notice] = [n for n in view_of(api, house)["notices"] if n["code"] == "decision_not_carried"]
    assert "while this analysis was under way" in notice["message"]
    RegistrationDecision.objects.create(registration=moved, decision="accepted", by=house.reader)
    assert lost_decisions(begun) == []


def test_a_report_that_keeps_another_run_is_told_beside_the_images(
    api: Client, path: str, house: House
) -> None:
    def told() -> list[str]:
        view = view_of(api, house)
        return [n["message"] for n in view["notices"] if n["code"] == "report_keeps_run"]

    Run.objects.filter(pk=house.run.pk).update(number=8, reason="new images")
    older = RunFactory(case=house.case, number=7)
    report = Report.objects.create(case=house.case, run=older)
    assert told() == [], "nobody has written yet: the draft is laid out anew"
    Report.objects.filter(pk=report.pk).update(revision=1)
    [message] = told()
    assert "begun with analysis 7 and keeps it" in message
    assert "analysis 8 (new images)" in message
    page = api.get(reverse("reporting:panel", args=[house.case.pk])).content.decode()
    assert "and keeps it" in page
    Report.objects.filter(pk=report.pk).update(run=house.run)
    assert told() == []


def test_a_fixed_registration_keeps_its_badge_and_goes_on_to_the_next_run(
    api: Client, path: str, house: House
) -> None:
    decided = {"badge": "Aligned by hand, Dr A", "by": "a", "at": "2026-01-01", "run": 1}
    Registration.objects.filter(pk=house.registration.pk).update(parameters={DECIDED: decided})
    state = ok(api.get(path))
    assert state["fusion"]["badge"] == "Aligned by hand, Dr A" and state["fusion"]["fused"]
    assert view_of(api, house)["alignment"]["changed"] == []
    ok(post(api, f"{path}decision/", {"decision": "rejected"}))
    assert view_of(api, house)["alignment"]["changed"] == [house.registration.pk]
    run = Run.objects.get(pk=ok(post(api, f"/api/cases/{house.case.pk}/rerun/"), 202)["run"]["id"])
    fixed = run.fixed_registrations[house.pet.key]
    assert (fixed["state"], fixed["verdict"]) == ("not_registered", "refused")


def test_an_accepted_deformation_goes_along_to_the_new_run(
    api: Client, path: str, house: House, db: None
) -> None:
    asked = refine(api, path, "deformable", matrix=NUDGE)
    ok(post(api, f"{path}decision/", {"decision": "accepted", "refinement": asked["id"]}))
    run = Run.objects.get(pk=ok(post(api, f"/api/cases/{house.case.pk}/rerun/"), 202)["run"]["id"])
    request = step_request(run.steps.get(name="register"))
    fixed = request.fixed_registrations[house.pet.key]
    assert (fixed.model, fixed.matrix) == ("deformable", tuple(map(tuple, NUDGE)))
    assert fixed.deformation is not None
    field = Deformation.read(
        Path(request.run_dir) / fixed.deformation.path, sha256=fixed.deformation.sha256
    )
    assert field.at([INSIDE])[0] == pytest.approx(FIELD_SHIFT)
    # Gone meanwhile: the next run has the affine part, and says so.
    row = Refinement.objects.get(pk=asked["id"])
    (run_folder(house.run) / row.deformation["path"]).unlink()
    third = start_run(house.case, "again", fixed_registrations=run.fixed_registrations)
    carried = third.fixed_registrations[house.pet.key]
    assert (carried["model"], carried["deformation"]) == ("affine", None)
    assert "no longer stored" in carried["reasons"][0]


def test_a_deformation_that_the_run_brought_is_shown_until_it_is_replaced(
    api: Client, path: str, house: House
) -> None:
    """As after a Deformable Spatial Registration was delivered, or an accepted one went along."""
    asked = refine(api, path, "deformable")
    row = Refinement.objects.get(pk=asked["id"])
    registration = house.registration
    registration.model, registration.deformation = "deformable", row.deformation
    registration.save()
    Layer.objects.filter(refinement=row).update(refinement=None, key=f"deformed-{house.pet.key}")

    def shown() -> tuple[dict[str, Any], dict[str, Any]]:
        layers = {layer["kind"]: layer for layer in view_of(api, house)["layers"]}
        by_id = {layer["id"]: layer for layer in view_of(api, house)["layers"]}
        return layers["deformed"], by_id[house.pet.pk]

    deformed, original = shown()
    assert deformed["fusion"]["fused"] and deformed["fusion"]["badge"].startswith("Deformed: ")
    assert deformed["deformed"] == {
        "registration": registration.pk, "refinement": None, "of": house.pet.pk,
        "outside_share": 0.0,
    }  # fmt: skip
    assert original["fusion"]["badge"] == "Registered, shown without its deformation"
    values = ok(post(api, f"/api/cases/{house.case.pk}/probe/", {"point": INSIDE}))["values"]
    assert {v["layer"]: v["value"] for v in values}[deformed["id"]] == pytest.approx(2.10)
    ok(post(api, f"{path}decision/", {"decision": "nudged", "matrix": NUDGE}))
    deformed, original = shown()
    assert not deformed["fusion"]["fused"] and original["matrix"] == NUDGE


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
