"""Priors through the API: which are listed and why, what becomes of sizes, who may see what."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.analyzing.results import ramp, stored
from tests.factories import (
    CaseFactory,
    FindingFactory,
    InstanceFactory,
    LayerFactory,
    PatientFactory,
    RegistrationFactory,
    RunFactory,
    SeriesFactory,
    SiteFactory,
    StudyFactory,
    UserFactory,
)
from tests.reading.acts import ok, post, refused
from tests.reading.house import SHIFT, House, as_json
from workstation.accounts.models import AuditRecord
from workstation.analyzing.models import Layer
from workstation.analyzing.requests import run_folder, series_inputs
from workstation.reading.models import PriorPair
from workstation.reading.priors import Content, relevance
from workstation.receiving.models import PatientLink, Study
from workstation.worklist.models import Case, CaseState, PlacementKind
from workstation.worklist.services import (
    cases_to_follow,
    follow,
    home_of,
    join_study_to_case,
    release_case,
)


def days_ago(house: House, days: int) -> date:
    return house.case.studies.get().study_date - timedelta(days=days)


def earlier(house: House, days: int = 180, patient: Any = None, **about: Any) -> Case:
    """A signed case of the same patient, one study, with a run that has a reference and a finding
    of 8.0 x 6.0 mm, 0.30 ml at (-40, 10, 120)."""
    patient = patient or house.case.patient
    text = about.pop("description", "Chest CT")
    study = StudyFactory(
        patient=patient, study_date=days_ago(house, days), description=text
    )
    series = SeriesFactory(study=study, **about)
    InstanceFactory(series=series)
    case = CaseFactory(patient=patient, studies=[study], state=CaseState.SIGNED)
    run = RunFactory(case=case)
    LayerFactory(run=run, series=series, is_reference=True)
    FindingFactory(run=run, long_axis_mm=8, short_axis_mm=6, volume_ml=0.30, label="Nodule")
    return case


def asked(api: Client, house: House) -> Any:
    return ok(api.get(f"/api/cases/{house.case.pk}/priors/"))


def pair(api: Client, house: House, current: Any, before: Any, **more: Any) -> Any:
    kinds = [{"kind": type(one)._meta.model_name, "id": one.pk} for one in (current, before)]
    body = {"current": kinds[0], "earlier": kinds[1], **more}
    return post(api, f"/api/cases/{house.case.pk}/prior-pairs/", body)


def finding_of(case: Case) -> Any:
    return case.runs.get().findings.get()


def put_in(house: House, case: Case) -> Layer:
    """The earlier reference series in the current run, as a registered prior by SHIFT."""
    series = case.runs.get().layers.get().series
    house.case.studies.add(series.study)
    house.case.placements.create(study=series.study, kind=PlacementKind.COMPARED, reason="test")
    record = as_json(
        stored(
            run_folder(house.run), series.series_instance_uid, ramp(), path="assemble/9.rfv"
        )
    )
    RegistrationFactory(
        run=house.run, series=series, reference=house.ct.series, matrix=SHIFT
    )
    return LayerFactory(
        run=house.run, series=series, position=9, label="CT (prior)",
        record={**record, "prior": True},
    )  # fmt: skip


# --- the list -----------------------------------------------------------------------------------

CHEST, HEAD = frozenset({"chest"}), frozenset({"head"})
regions = st.sampled_from([frozenset(), CHEST, HEAD, CHEST | HEAD])
kinds = st.frozensets(st.sampled_from(["CT", "MR", "PT"]))
contents = st.builds(
    Content,
    st.one_of(st.none(), st.dates(date(2020, 1, 1), date(2026, 1, 1))),
    regions, kinds, st.frozensets(st.sampled_from(["CT_NATIVE", "PET_AC"])),
)  # fmt: skip


@given(contents, contents, contents)
def test_ranking_is_an_order_and_the_body_part_comes_first(
    now: Content, one: Content, other: Content
) -> None:
    first, second = relevance(now, one), relevance(now, other)
    assert (first.rank < second.rank) or (first.rank >= second.rank)
    assert first.words and "{" not in first.words
    if first.same_region and second.same_region is False:
        assert first.rank < second.rank
    if first.rank[:3] == second.rank[:3] and None not in (first.days, second.days):
        assert (first.rank < second.rank) == (first.days < second.days)


def test_the_most_relevant_comes_first_and_says_why(api: Client, house: House) -> None:
    head = earlier(house, 10, description="Brain MRI", modality="MR")
    old = earlier(house, 900)
    chest = earlier(house, 180)
    earlier(house, -5)  # a later one is no prior
    listed = asked(api, house)["priors"]
    assert [one["case"] for one in listed] == [chest.pk, old.pk, head.pk]
    assert listed[0]["reason"] == "same body part, same modality (CT), 180 days earlier"
    assert listed[2]["reason"] == "another body part, another modality, 10 days earlier"
    assert [one["days"] for one in listed] == [180, 900, 10]
    assert listed[0]["view"] == f"/api/cases/{chest.pk}/view/"
    assert not listed[0]["in_case"] and listed[0]["layers"] == []


def test_other_people_and_other_sites_are_not_there(api: Client, house: House) -> None:
    earlier(house, patient=PatientFactory(site=house.case.site))
    stranger = PatientFactory(site=SiteFactory())
    linked = earlier(house, patient=stranger)
    assert asked(api, house)["priors"] == []
    for one, other in ((house.case.patient, stranger), (stranger, house.case.patient)):
        PatientLink.objects.create(
            site=one.site, patient=one, other=other, reason="same", by=house.reader
        )
    # Linked, but at a site that is not the reader's.
    assert asked(api, house)["priors"] == []
    refused(pair(api, house, house.finding, finding_of(linked)), "is not there")
    house.reader.sites.add(stranger.site)
    (entry,) = asked(api, house)["priors"]
    assert (entry["case"], entry["linked"], entry["site"]) == (
        linked.pk, True, stranger.site.name,
    )  # fmt: skip
    assert entry["patient"]["patient_id"] == stranger.patient_id
    made = ok(pair(api, house, house.finding, finding_of(linked)), 201)
    # A reader of this site alone sees that there is a pair, and nothing of the other site.
    alone, client = UserFactory(sites=[house.case.site]), Client()
    client.force_login(alone)
    (shown,) = asked(client, house)["pairs"]
    assert (shown["id"], shown["earlier"], shown["change"]) == (made["id"], None, None)
    assert asked(client, house)["sums"] == []


def test_the_earlier_cases_were_seen_and_the_trail_says_so(api: Client, house: House) -> None:
    case = earlier(house)
    asked(api, house)
    rows = AuditRecord.objects.filter(action="view", detail__what="priors")
    assert sorted(rows.values_list("case_id", flat=True)) == sorted([house.case.pk, case.pk])


# --- pairs --------------------------------------------------------------------------------------


def test_a_pair_has_change_percent_and_doubling_time(api: Client, house: House) -> None:
    case = earlier(house, 180)
    finding = house.finding  # 12.3 x 9.8 mm, 0.71 ml, another model than before
    made = ok(pair(api, house, finding, finding_of(case)), 201)
    rows = {row["name"]: row for row in made["change"]["rows"]}
    assert rows["long_axis"]["change"] == pytest.approx(4.3)
    assert rows["long_axis"]["percent"] == pytest.approx(53.75)
    assert (rows["long_axis"]["before_text"], rows["long_axis"]["change_text"]) == (
        "8.0 mm", "+4.3 mm",
    )  # fmt: skip
    assert made["change"]["days"] == 180
    doubling = made["change"]["doubling"]
    # 180 * ln 2 / ln(0.71 / 0.30)
    assert doubling["days"] == pytest.approx(144.826, abs=0.01)
    assert (doubling["basis"], doubling["grown"]) == ("of the volumes", True)
    assert "long axis 8.0 mm → 12.3 mm (+53.8 %)" in made["change"]["sentence"]
    assert "volume doubling time 145 days" in made["change"]["sentence"]
    total = asked(api, house)
    assert [one["id"] for one in total["pairs"]] == [made["id"]]
    (summed,) = total["sums"]
    assert (summed["before"], summed["after"], summed["count"]) == (8.0, 12.3, 1)
    assert AuditRecord.objects.filter(action="pair", detail__what="made").count() == 1


def test_volumes_of_two_methods_give_no_doubling_time_of_volumes(
    api: Client, house: House
) -> None:
    case = earlier(house, 180)
    finding_of(case).run.findings.update(method="another model")
    found = ok(pair(api, house, house.finding, finding_of(case)), 201)["change"]
    assert found["doubling"]["basis"] == "of the diameters, as of a sphere"
    assert any("different methods" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("days", "volume", "reason"),
    [(180, 0.9, "No growth."), (3, 0.3, "Less than 7 days")],
)
def test_no_number_where_there_is_no_doubling(
    api: Client, house: House, days: int, volume: float, reason: str
) -> None:
    case = earlier(house, days)
    finding_of(case).run.findings.update(volume_ml=volume)
    found = ok(pair(api, house, house.finding, finding_of(case)), 201)["change"]["doubling"]
    assert found["days"] is None and reason in found["reason"] and found["text"] == ""


def test_measurements_pair_across_kinds_and_nodes_count_their_short_axis(
    api: Client, house: House
) -> None:
    case = earlier(house, 180)
    url = f"/api/cases/{house.case.pk}/measurements/"
    cross = [[-10, 0, 0], [10, 0, 0], [0, -4, 0], [0, 4, 0]]
    ok(post(api, url, {"tool": "bidirectional", "points": cross}), 201)
    mark = house.case.measurements.get()
    made = ok(pair(api, house, mark, finding_of(case), is_node=True), 201)
    assert {row["name"]: row["after"] for row in made["change"]["rows"]} == {
        "long_axis": 20.0, "short_axis": 8.0,
    }  # fmt: skip
    # (20 + 8) / 2 against (8 + 6) / 2: twice the diameter is three doublings.
    assert made["change"]["doubling"]["days"] == pytest.approx(60)
    (summed,) = asked(api, house)["sums"]
    assert (summed["before"], summed["after"]) == (6.0, 8.0)
    ok(post(api, url, {"tool": "arrow", "points": [[0, 0, 0], [1, 1, 1]]}), 201)
    arrow = house.case.measurements.get(tool="arrow")
    refused(pair(api, house, arrow, finding_of(case)), "has no size")


def test_a_pair_is_taken_back_and_brought_back(api: Client, house: House) -> None:
    case = earlier(house)
    made = ok(pair(api, house, house.finding, finding_of(case)), 201)
    refused(pair(api, house, house.finding, finding_of(case)), "paired with a size of this study")
    assert api.delete(f"/api/prior-pairs/{made['id']}/").status_code == 204
    assert asked(api, house)["pairs"] == []
    back = ok(post(api, f"/api/prior-pairs/{made['id']}/restore/"))
    assert back["change"] == made["change"]
    told = AuditRecord.objects.filter(action="pair").order_by("id")
    assert [row.detail["what"] for row in told] == ["made", "deleted", "restored"]
    release_case(house.case, house.reader)
    refused(api.delete(f"/api/prior-pairs/{made['id']}/"), "Claim it first")


def test_history_follows_the_pairs_of_earlier_cases(api: Client, house: House) -> None:
    oldest, middle = earlier(house, 700), earlier(house, 180)
    finding_of(oldest).run.findings.update(long_axis_mm=5)
    PriorPair.objects.create(
        case=middle, finding=finding_of(middle), earlier_finding=finding_of(oldest),
        study=oldest.studies.get(), by=house.reader,
    )  # fmt: skip
    made = ok(pair(api, house, house.finding, finding_of(middle)), 201)
    (older,) = made["history"]
    assert (older["earlier"]["case"], older["change"]["days"]) == (oldest.pk, 700)
    assert older["change"]["rows"][0]["before"] == 5.0


# --- registered ---------------------------------------------------------------------------------


def test_a_registered_prior_proposes_what_lies_at_the_same_place(
    api: Client, house: House
) -> None:
    case = earlier(house)
    assert asked(api, house)["proposals"] == []
    layer = put_in(house, case)
    (proposal,) = asked(api, house)["proposals"]
    # SHIFT moves the earlier place 4 mm to the left of the current one.
    assert proposal["mm"] == 4.0
    assert proposal["earlier"] == {"kind": "finding", "id": finding_of(case).pk}
    (entry,) = asked(api, house)["priors"]
    assert (entry["in_case"], entry["case"]) == (True, case.pk)
    assert [one["id"] for one in entry["layers"]] == [layer.pk] and entry["layers"][0]["fused"]
    made = ok(pair(api, house, house.finding, finding_of(case)), 201)
    assert made["proposed_mm"] == 4.0
    assert asked(api, house)["proposals"] == []
    # Farther than 20 mm it is another lesion.
    api.delete(f"/api/prior-pairs/{made['id']}/")
    finding_of(case).run.findings.update(x_mm=0)
    assert asked(api, house)["proposals"] == []


def test_a_size_measured_on_the_prior_in_this_case_needs_its_study(
    api: Client, house: House
) -> None:
    case = earlier(house, 100)
    put_in(house, case)
    url = f"/api/cases/{house.case.pk}/measurements/"
    for length in (10, 8):
        body = {"tool": "length", "points": [[0, 0, 0], [length, 0, 0]]}
        ok(post(api, url, body), 201)
    now, then = house.case.measurements.order_by("id")
    refused(pair(api, house, now, then), "in which earlier study")
    made = ok(pair(api, house, now, then, study=case.studies.get().pk), 201)
    assert made["change"]["rows"][0]["percent"] == 25
    house.run.registrations.filter(series__study__cases=case).update(model="affine")
    api.delete(f"/api/prior-pairs/{made['id']}/")
    refused(pair(api, house, now, then, study=case.studies.get().pk), "changes sizes")


def test_register_puts_the_study_in_for_comparison_and_can_be_undone(
    api: Client, house: House
) -> None:
    case = earlier(house)
    study: Study = case.studies.get()
    url = f"/api/cases/{house.case.pk}/priors/{study.pk}/"
    assert asked(api, house)["priors"][0]["can_register"]
    assert api.post(url).status_code == 202
    told = {one.study_instance_uid: one.prior for one in series_inputs(house.case)}
    assert told[study.study_instance_uid] is True and sorted(told.values()) == [False, True]
    assert home_of(study) == case, "where it is read does not change"
    (entry,) = asked(api, house)["priors"]
    assert (entry["in_case"], entry["can_take_out"], entry["can_register"]) == (True, True, False)
    refused(api.post(url), "in this case already")
    assert api.delete(url).status_code == 204
    assert not house.case.studies.filter(pk=study.pk).exists()
    assert Case.objects.count() == 2, "no case of its own"
    refused(api.delete(url), "was not put in for comparison")


def test_only_the_reader_of_the_case_registers_and_only_an_earlier_study(
    api: Client, house: House
) -> None:
    later = earlier(house, -5).studies.get()
    refused(api.post(f"/api/cases/{house.case.pk}/priors/{later.pk}/"), "Only an earlier study")
    study = earlier(house).studies.get()
    other, client = UserFactory(sites=[house.case.site]), Client()
    client.force_login(other)
    refused(client.post(f"/api/cases/{house.case.pk}/priors/{study.pk}/"), "Claim it first")
    stranger = earlier(house, patient=PatientFactory(site=house.case.site)).studies.get()
    refused(api.post(f"/api/cases/{house.case.pk}/priors/{stranger.pk}/"), "another patient")


def test_what_is_compared_draws_nothing_after_it_and_leaves_with_its_patient(
    house: House, api: Client
) -> None:
    before = earlier(house, 300)
    study: Study = before.studies.get()
    assert api.post(f"/api/cases/{house.case.pk}/priors/{study.pk}/").status_code == 202
    # A study of those days belongs to the earlier images, not to this case.
    sibling = StudyFactory(patient=study.patient, study_date=study.study_date)
    SeriesFactory(study=sibling)
    assert join_study_to_case(sibling) not in (house.case, before)
    follow(house.case.pk)
    assert house.case.studies.filter(pk=study.pk).exists() and home_of(study) == before
    study.patient = PatientFactory(site=house.case.site)
    study.save()
    assert house.case in cases_to_follow()
    follow(house.case.pk)
    assert not house.case.studies.filter(pk=study.pk).exists()
    house.case.refresh_from_db()
    assert "another patient" in house.case.alert
