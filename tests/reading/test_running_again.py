"""Alignments and the next run: what is run again, what is kept, and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
)
from tests.reading.acts import ok, post, refine, refused, view_of
from tests.reading.house import INSIDE, SHIFT, House
from workstation.accounts.models import AuditRecord
from workstation.analyzing.fixing import DECIDED
from workstation.analyzing.models import Layer, Refinement, Registration, Run
from workstation.analyzing.requests import run_folder, step_request
from workstation.analyzing.services import start_run
from workstation.reading.kept_decisions import decisions_for_next_run, lost_decisions
from workstation.reading.models import RegistrationDecision
from workstation.receiving.models import Study
from workstation.reporting.models import Report
from workstation.worklist.models import Case, CaseState

NUDGE = [[1.0, 0, 0, 6.0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]


@pytest.fixture
def path(house: House) -> str:
    return f"/api/registrations/{house.registration.pk}/"


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
