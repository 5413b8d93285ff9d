"""Earlier and missing studies by rule: what is chosen, and that it is fetched, once."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as some

from tests.factories import RemoteNodeFactory
from tests.receiving.objects import ct, uid
from tests.receiving.pacs import Orthanc, orthanc, work
from workstation import flow
from workstation.receiving.models import (
    Inquiry,
    PriorRule,
    RemoteNode,
    Retrieval,
    Study,
    StudyNotice,
)
from workstation.receiving.network.asking import FoundSeries, FoundStudy
from workstation.receiving.prior_choice import Choice, Current, Wish, choose
from workstation.receiving.regions import overlap, regions_of
from workstation.receiving.services import store_instance
from workstation.worklist.models import Case

TODAY = date(2026, 1, 5)
CHEST = frozenset({"chest"})
CURRENT = Current(
    "1.1", TODAY, "P1", "", "Müller^Anna", date(1961, 2, 3), CHEST, frozenset({"1.1.1"}),
    frozenset({"1.9"}),
)  # fmt: skip
WISH = Wish(frozenset({"CT"}), True, TODAY - timedelta(days=5 * 365), 2)


def found(uid: str = "1.2", **more: Any) -> FoundStudy:
    values = {
        "patient_id": "P1", "patient_name": "MULLER^ANNA", "birth_date": date(1961, 2, 3),
        "study_date": date(2025, 1, 1), "description": "CT Thorax", "modalities": ("CT",), **more,
    }  # fmt: skip
    return FoundStudy(uid, **values)


def pick(*studies: FoundStudy, wish: Wish = WISH, series: Any = None) -> Choice:
    series = series or [FoundSeries("1.2.1", "CT")]
    return choose(list(studies), CURRENT, wish, lambda _: series)


def uids(choice: Choice) -> list[str]:
    return [one.study.study_instance_uid for one in choice.picks]


def test_the_newest_of_the_same_region_and_modality() -> None:
    choice = pick(
        found("1.9"), found("1.2"), found("1.3", modalities=("MR",)),
        found("1.4", description="CT Knie"), found("1.5", study_date=date(2019, 1, 1)),
        found("1.6", study_date=date(2026, 2, 1)), found("1.7", patient_id="P10"),
        found("1.8"), found("1.10"), found("1.11", study_date=None),
    )  # fmt: skip
    assert uids(choice) == ["1.2", "1.8"]
    assert choice.contradictions == []


def test_another_person_under_the_same_id_is_not_fetched_and_said() -> None:
    choice = pick(
        found("1.2", birth_date=date(1999, 1, 1)), found("1.3", patient_name="Schmidt^Anna"),
        found("1.4", patient_name="Müller^Anna^Maria"), found("1.5", issuer="OTHER"),
    )  # fmt: skip
    assert uids(choice) == ["1.4", "1.5"], "our study names no issuer"
    assert len(choice.contradictions) == 2
    assert "1999-01-01" in choice.contradictions[0] and "Schmidt^Anna" in choice.contradictions[1]


def test_two_issuers_are_two_people() -> None:
    of_ward = Current(**{**CURRENT.__dict__, "issuer": "WARD"})
    choice = choose([found(issuer="OTHER")], of_ward, WISH, lambda _: [])
    assert choice == Choice()


def test_a_body_part_that_nobody_tells_is_fetched_and_said() -> None:
    choice = pick(found(description="Untersuchung 3"))
    assert uids(choice) == ["1.2"]
    assert choice.unknown == ["A study whose body part the node does not tell was fetched."]
    coded = pick(
        found(description="Thorax"), series=[FoundSeries("1.2.1", "CT", body_part="KNEE")]
    )
    assert uids(coded) == [], "a code is believed before words"


def test_missing_series_of_the_study_itself() -> None:
    series = [FoundSeries("1.1.1", "CT"), FoundSeries("1.1.2", "CT"), FoundSeries("1.1.3", "PT")]
    choice = pick(found("1.1", study_date=TODAY), series=series)
    assert [one.series for one in choice.picks] == [("1.1.2",)]


@given(
    some.lists(
        some.builds(
            found,
            some.sampled_from(["1.2", "1.3", "1.4", "1.9"]),
            patient_id=some.sampled_from(["P1", "P2"]),
            study_date=some.none() | some.dates(date(2015, 1, 1), date(2027, 1, 1)),
            modalities=some.sampled_from([(), ("CT",), ("MR",), ("PT", "CT")]),
            description=some.sampled_from(["", "Thorax", "Kopf", "胸部"]),
        ),
        max_size=8,
    )
)
def test_whatever_a_node_answers_only_what_the_rule_allows_is_fetched(
    studies: list[FoundStudy],
) -> None:
    choice = pick(*studies)
    assert len(choice.picks) <= WISH.at_most
    for one in choice.picks:
        assert one.study.patient_id == "P1"
        assert one.study.study_date and WISH.since <= one.study.study_date <= TODAY
        assert "CT" in one.study.modalities
        assert one.study.study_instance_uid not in CURRENT.studies_here


@pytest.mark.parametrize(
    ("parts", "words", "regions"),
    [
        (["CHEST"], ["Kopf"], {"chest"}),
        (["ABDOMENPELVIS"], [], {"abdomen", "pelvis"}),
        (["unknown"], ["CT Schädel nativ"], {"head"}),
        ([""], ["IRM cérébrale"], {"head"}),
        ([""], ["胸部平扫"], {"chest"}),
        ([""], ["WHOLEBODY_PET"], {"whole body"}),
        ([""], ["TAP with contrast"], set()),
        ([], ["MRT LWS"], {"spine"}),
    ],
)
def test_regions(parts: list[str], words: list[str], regions: set[str]) -> None:
    assert regions_of(parts, words) == regions


def test_the_whole_body_shows_everything() -> None:
    assert overlap(frozenset({"whole body"}), frozenset({"leg"}))
    assert not overlap(frozenset({"head"}), frozenset({"leg"}))


# --- with an archive ------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Any:
    with orthanc(tmp_path / "orthanc") as running:
        yield running


@pytest.fixture
def rule(archive: Orthanc) -> PriorRule:
    node = RemoteNodeFactory(
        site__code="north", ae_title="ORTHANC", host="127.0.0.1", port=archive.dicom,
        may_be_queried=True,
    )  # fmt: skip
    return PriorRule.objects.create(
        site=node.site, name="chest", node=node, when_modalities="CT", fetch_modalities="CT",
        years=3, at_most=2,
    )  # fmt: skip


def prior(name: str, day: str, **more: Any) -> bytes:
    return ct(
        1, SOPInstanceUID=uid(name, 1), StudyInstanceUID=uid(name), StudyDate=day,
        SeriesInstanceUID=uid(name, "series"), **more,
    )  # fmt: skip


def complete(settings: Any) -> None:
    """The quiet time of everything has passed."""
    settings.QUIET_SECONDS = settings.COUNTED_QUIET_SECONDS = 0
    flow.sweep()
    work()


@pytest.mark.peer
@pytest.mark.django_db(transaction=True)
def test_priors_come_by_themselves_once_and_start_nothing(
    archive: Orthanc, rule: PriorRule, settings: Any
) -> None:
    archive.put(
        prior("p1", "20250101"), prior("p2", "20240101"), prior("p3", "20230601"),
        prior("old", "20200101"), prior("knee", "20250601", StudyDescription="Knie"),
        prior("stranger", "20250701", PatientBirthDate="19990101"),
    )  # fmt: skip
    store_instance(rule.site, [ct(1)], source="test")
    complete(settings)
    inquiry = Inquiry.objects.get()
    assert (inquiry.state, inquiry.error) == ("answered", "")
    assert inquiry.result == "2 to fetch. 1 left out: another name or birth date."
    wanted = set(Retrieval.objects.values_list("study_instance_uid", flat=True))
    assert wanted == {uid("p1"), uid("p2")}
    states = set(Retrieval.objects.values_list("state", "error"))
    assert states == {("done", "")}
    row = Retrieval.objects.first()
    assert row is not None
    assert (row.rule, row.because_of.study_instance_uid) == (rule, uid("study"))
    notice = StudyNotice.objects.get()
    assert (notice.code, notice.level) == ("prior_of_another", "warn")
    for _ in range(2):
        complete(settings)
    assert Study.objects.filter(completed_at=None).count() == 0
    assert (Inquiry.objects.count(), Retrieval.objects.count(), Study.objects.count()) == (1, 2, 3)
    assert Case.objects.count() == 1, "priors open no case of their own"


@pytest.mark.peer
@pytest.mark.django_db(transaction=True)
def test_a_ct_that_is_missing_beside_its_pet(
    archive: Orthanc, rule: PriorRule, settings: Any
) -> None:
    pet = ct(1, Modality="PT", SeriesInstanceUID=uid("pet"), SOPInstanceUID=uid("pet", 1))
    archive.put(pet, ct(1), ct(2))
    PriorRule.objects.update(when_modalities="PT", same_body_part=False)
    store_instance(rule.site, [pet], source="test")
    complete(settings)
    row = Retrieval.objects.get()
    assert (row.state, row.series_instance_uids) == ("done", [uid("series")])
    study = Study.objects.get()
    assert set(study.series.values_list("modality", flat=True)) == {"CT", "PT"}
    complete(settings)
    assert (Case.objects.count(), Retrieval.objects.count()) == (1, 1)


@pytest.mark.peer
@pytest.mark.django_db(transaction=True)
def test_a_node_that_is_away_is_asked_again(
    archive: Orthanc, rule: PriorRule, settings: Any
) -> None:
    archive.put(prior("p1", "20250101"))
    port = RemoteNode.objects.values_list("port", flat=True).get()
    RemoteNode.objects.update(port=1)
    store_instance(rule.site, [ct(1)], source="test")
    complete(settings)
    inquiry = Inquiry.objects.get()
    assert (inquiry.state, inquiry.attempts) == ("waiting", 1)
    assert "cannot be reached" in inquiry.error
    RemoteNode.objects.update(port=port)
    Inquiry.objects.update(next_attempt_at=timezone.now())
    complete(settings)
    assert Retrieval.objects.get().state == "done"


@pytest.mark.django_db
@pytest.mark.parametrize("off", ["rule", "node", "modality"])
def test_rules_that_do_not_apply_ask_nothing(settings: Any, off: str) -> None:
    node = RemoteNodeFactory(host="127.0.0.1", port=1, may_be_queried=off != "node")
    PriorRule.objects.create(
        site=node.site, name="r", node=node, active=off != "rule",
        when_modalities="MR" if off == "modality" else "",
    )  # fmt: skip
    store_instance(node.site, [ct(1)], source="test")
    settings.QUIET_SECONDS = settings.COUNTED_QUIET_SECONDS = 0
    flow.sweep()
    assert not Inquiry.objects.exists()
