"""Merge, move, link: what arrives later follows, and an undo restores every row exactly."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import PatientFactory, SiteFactory, StudyFactory, UserFactory
from tests.receiving.objects import ct, uid
from workstation.accounts.models import AuditRecord, Role, Site, User
from workstation.receiving.models import IdentityChange, Patient, PatientLink, Study
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services import (
    CannotChange,
    follow_merges,
    link_patients,
    linked_to,
    merge_patients,
    move_study,
    possibly_same,
    resolve,
    store_instance,
    undo_change,
    undo_link,
)

pytestmark = pytest.mark.django_db


def administrator(*sites: Site) -> User:
    return UserFactory(role=Role.ADMINISTRATOR, sites=list(sites))


def send(site: Site, number: int, patient_id: str, study: str = "s", **values: Any) -> Outcome:
    values = {"PatientName": "Same^Name", "SeriesInstanceUID": uid("series", study)} | values
    data = ct(number, PatientID=patient_id, StudyInstanceUID=uid(study), **values)
    return store_instance(site, [data], source="test")


def rows() -> dict[str, list[tuple[Any, ...]]]:
    """Whose is what: everything a merge or move may touch."""
    studies = Study.objects.order_by("pk").values_list("pk", "patient_id", "received_as_id")
    patients = Patient.objects.order_by("pk").values_list("pk", "merged_into_id", "name")
    return {"studies": list(studies), "patients": list(patients)}


def two_patients(site: Site) -> tuple[Patient, Patient]:
    send(site, 1, "TEMP-1", "first")
    send(site, 2, "4711", "second")
    return Patient.objects.get(patient_id="TEMP-1"), Patient.objects.get(patient_id="4711")


def test_a_study_that_was_being_stored_during_a_merge_follows_it() -> None:
    site = SiteFactory()
    boss = administrator(site)
    first, second = two_patients(site)
    third = PatientFactory(site=site)
    merges = [
        merge_patients(first, second, boss, "emergency ID"),
        merge_patients(second, third, boss, "and once more"),
    ]
    late = StudyFactory(site=site, patient=first)  # by who had looked before the merges
    assert (follow_merges(), follow_merges()) == (1, 0)
    late.refresh_from_db()
    assert (late.patient, late.received_as) == (third, first)
    for merge, patient in ((merges[1], second), (merges[0], first)):
        undo_change(merge, boss)
        late.refresh_from_db()
        assert late.patient == patient
    assert follow_merges() == 0


def test_a_merge_is_followed_by_what_arrives_later_and_undone_exactly() -> None:
    site = SiteFactory()
    boss = administrator(site)
    source, target = two_patients(site)
    before = rows()
    change = merge_patients(source, target, boss, "emergency ID")
    assert set(target.studies.values_list("study_instance_uid", flat=True)) == {
        uid("first"), uid("second")
    }  # fmt: skip
    # More images of an old study, and a new study, both under the old ID; and under the new ID.
    assert send(site, 3, "TEMP-1", "first").result is Result.STORED
    assert send(site, 4, "TEMP-1", "third").result is Result.STORED
    assert send(site, 5, "4711", "first").result is Result.STORED
    third = Study.objects.get(study_instance_uid=uid("third"))
    assert (third.patient, third.received_as) == (target, source)
    undo_change(change, boss)
    third.refresh_from_db()
    assert (third.patient, third.received_as) == (source, None)
    after = rows()
    after["studies"] = [row for row in after["studies"] if row[0] != third.pk]
    assert after == before
    assert AuditRecord.objects.filter(action="identify").count() == 2


def test_a_moved_study_takes_more_of_its_images_and_comes_back_exactly() -> None:
    site = SiteFactory()
    boss = administrator(site)
    source, target = two_patients(site)
    before = rows()
    wrong = source.studies.get()
    change = move_study(wrong, target, boss, "wrong arm band")
    assert send(site, 3, "TEMP-1", "first").result is Result.STORED
    assert send(site, 4, "TEMP-1", "fourth").result is Result.STORED
    assert Study.objects.get(study_instance_uid=uid("fourth")).patient == source
    wrong.refresh_from_db()
    assert (wrong.patient, wrong.received_as) == (target, source)
    assert send(site, 5, "OTHER", "first").result is Result.QUARANTINED
    undo_change(change, boss)
    known = {row[0] for row in before["studies"]}
    assert [row for row in rows()["studies"] if row[0] in known] == before["studies"]


def test_merges_in_a_row_are_resolved_and_undone_from_the_last() -> None:
    site = SiteFactory()
    boss = administrator(site)
    one, two, three = (PatientFactory(site=site) for _ in range(3))
    study = StudyFactory(patient=one)
    first = merge_patients(one, two, boss, "same")
    second = merge_patients(two, three, boss, "same")
    assert resolve(Patient.objects.get(pk=one.pk)) == three
    study.refresh_from_db()
    assert (study.patient, study.received_as) == (three, one)
    with pytest.raises(CannotChange, match="later change"):
        undo_change(first, boss)
    undo_change(second, boss)
    undo_change(first, boss)
    study.refresh_from_db()
    assert (study.patient, study.received_as) == (one, None)
    with pytest.raises(CannotChange, match="already"):
        undo_change(first, boss)


def test_a_move_there_and_back_leaves_no_trace_in_the_study() -> None:
    site = SiteFactory()
    boss = administrator(site)
    one, two = PatientFactory(site=site), PatientFactory(site=site)
    study = StudyFactory(patient=one)
    move_study(study, two, boss, "wrong")
    back = move_study(study, one, boss, "it was right")
    study.refresh_from_db()
    assert (study.patient, study.received_as) == (one, None)
    undo_change(back, boss)
    study.refresh_from_db()
    assert (study.patient, study.received_as) == (two, one)


@pytest.mark.parametrize("reason", ["", "   "])
def test_nothing_changes_without_a_reason(reason: str) -> None:
    site = SiteFactory()
    source, target = two_patients(site)
    with pytest.raises(CannotChange, match="why"):
        merge_patients(source, target, administrator(site), reason)
    assert not IdentityChange.objects.exists()


def test_patients_of_two_sites_are_never_merged() -> None:
    one, other = PatientFactory(), PatientFactory()
    boss = administrator(one.site, other.site)
    with pytest.raises(CannotChange, match="two sites"):
        merge_patients(one, other, boss, "same")
    with pytest.raises(CannotChange, match="two sites"):
        move_study(StudyFactory(patient=one), other, boss, "same")
    with pytest.raises(CannotChange, match="same patient"):
        merge_patients(one, one, boss, "same")


def test_the_same_id_at_two_sites_stays_two_patients() -> None:
    here, there = SiteFactory(), SiteFactory()
    send(here, 1, "4711")
    send(there, 1, "4711")
    assert Patient.objects.filter(patient_id="4711").count() == 2
    assert Study.objects.count() == 2


def test_only_an_administrator_of_both_sites_links_and_both_sides_are_written() -> None:
    one, other = PatientFactory(), PatientFactory()
    for user in (
        administrator(one.site),
        administrator(other.site),
        UserFactory(role=Role.LEAD, sites=[one.site, other.site]),
    ):
        with pytest.raises(CannotChange, match="both sites"):
            link_patients(one, other, user, "same person")
    boss = administrator(one.site, other.site)
    link = link_patients(one, other, boss, "same person")
    assert linked_to(one) == [other] and linked_to(other) == [one]
    assert [row.site for row in PatientLink.objects.order_by("pk")] == [one.site, other.site]
    with pytest.raises(CannotChange, match="already"):
        link_patients(other, one, boss, "again")
    with pytest.raises(CannotChange, match="both sites"):
        undo_link(link, administrator(one.site))
    undo_link(link, boss)
    assert linked_to(one) == linked_to(other) == []
    assert PatientLink.objects.filter(undone_by=boss).count() == 2
    link_patients(one, other, boss, "after all")


def test_a_link_follows_a_merge() -> None:
    one, other = PatientFactory(), PatientFactory()
    new = PatientFactory(site=one.site)
    link_patients(one, other, administrator(one.site, other.site), "same person")
    merge_patients(one, new, administrator(one.site), "two IDs")
    new.refresh_from_db()
    assert linked_to(new) == [other]
    assert linked_to(Patient.objects.get(pk=other.pk)) == [new]


def test_the_same_person_is_suggested_and_never_merged() -> None:
    here, there = SiteFactory(), SiteFactory()
    for site, patient_id, born in (
        (here, "1", "19610203"), (here, "2", "19610203"), (there, "3", "19610203"),
        (here, "4", "19610204"),
    ):  # fmt: skip
        send(site, int(patient_id), patient_id, patient_id, PatientBirthDate=born)
    first = Patient.objects.get(patient_id="1")
    both = {p.patient_id for p in possibly_same(first, administrator(here, there))}
    assert both == {"2", "3"}
    assert [p.patient_id for p in possibly_same(first, administrator(here))] == ["2"]
    assert Patient.objects.count() == 4 and not Patient.objects.exclude(merged_into=None).exists()
