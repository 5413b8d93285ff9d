"""Cases follow rules, hands, merges, moves and links; signed and claimed ones are protected."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.factories import (
    CaseFactory,
    ClaimFactory,
    InstanceFactory,
    PatientFactory,
    RemoteNodeFactory,
    SeriesFactory,
    SiteFactory,
    StudyFactory,
    UserFactory,
)
from workstation.accounts.models import AuditRecord, Role, Site, User
from workstation.receiving.models import Patient, Retrieval, Study
from workstation.receiving.services import (
    CannotChange,
    link_patients,
    merge_patients,
    move_study,
    undo_change,
    undo_link,
)
from workstation.worklist.models import AssemblyRule, Case, CaseState, Placement
from workstation.worklist.services import (
    CannotPlace,
    cases_to_follow,
    ensure_default_rules,
    follow,
    join_prior_to_case,
    join_study_to_case,
    preview,
    put_in,
    reassemble,
    rules_of,
    save_rule,
    studies_without_case,
    take_out,
)

pytestmark = pytest.mark.django_db
DAY = date(2026, 9, 1)


def study(patient: Patient, days: int, modality: str = "CT", text: str = "Chest CT") -> Study:
    made = StudyFactory(patient=patient, study_date=DAY + timedelta(days=days), description=text)
    InstanceFactory(series=SeriesFactory(study=made, modality=modality, description=text))
    return made


def sweep() -> None:
    for one in studies_without_case():
        join_study_to_case(one)
    for pk in cases_to_follow().values_list("pk", flat=True):
        follow(pk)


def lead(*sites: Site) -> User:
    return UserFactory(role=Role.LEAD, sites=list(sites))


def administrator(*sites: Site) -> User:
    return UserFactory(role=Role.ADMINISTRATOR, sites=list(sites))


def reason_of(case: Case, one: Study) -> str:
    return Placement.objects.get(case=case, study=one).reason


def test_a_site_starts_with_the_shipped_rules_once() -> None:
    site = SiteFactory()
    assert [rule.name for rule in rules_of(site)][-1] == "Same patient"
    AssemblyRule.objects.filter(site=site).exclude(name="Same patient").update(active=False)
    ensure_default_rules(site)
    assert [rule.name for rule in rules_of(site)] == ["Same patient"]


def test_the_reason_is_kept_with_the_case() -> None:
    patient = PatientFactory()
    pet = study(patient, 0, "PT", "PET whole body")
    case = join_study_to_case(pet)
    chest = study(patient, 12)
    assert join_study_to_case(chest) == case
    assert reason_of(case, chest) == "joined by rule “Lung PET/CT”: 12 days apart"
    assert reason_of(case, pet) == "the first study of its case"


def test_a_study_joins_the_case_that_fits_best() -> None:
    patient = PatientFactory()
    pet = join_study_to_case(study(patient, 0, "PT", "PET whole body"))
    knee = join_study_to_case(study(patient, 100, "MR", "Knee"))
    assert knee != pet
    assert join_study_to_case(study(patient, 55)) == pet, "by its own rule, not by the fallback"


def test_more_knowledge_takes_a_study_out_of_a_case_nobody_reads() -> None:
    patient = PatientFactory()
    one = study(patient, 0, "CT", "Head CT")
    other = study(patient, 20, "CT", "Head")
    other.series.update(role="CT_VENOUS")
    case = join_study_to_case(one)
    assert join_study_to_case(other) == case
    other.series.update(role="CTA")
    one.series.update(role="CT_NATIVE")
    assert reassemble(other) != case
    case.refresh_from_db()
    assert case.state == CaseState.RECEIVING
    assert list(case.studies.all()) == [one]


@pytest.mark.parametrize("state", [CaseState.READING, CaseState.DRAFT, CaseState.SIGNED])
def test_what_is_read_stays_together(state: CaseState) -> None:
    patient = PatientFactory()
    one, other = study(patient, 0), study(patient, 20)
    case = join_study_to_case(one)
    join_study_to_case(other)
    Case.objects.filter(pk=case.pk).update(state=state)
    AssemblyRule.objects.filter(site=case.site).update(within_days=1)
    follow(case.pk)
    assert case.studies.count() == 2
    assert Case.objects.count() == 1


def test_a_changed_rule_is_previewed_audited_and_then_followed() -> None:
    patient = PatientFactory()
    one, other = study(patient, 0), study(patient, 20)
    case = join_study_to_case(one)
    join_study_to_case(other)
    rules = rules_of(case.site)
    assert preview(case.site, rules) == []
    [fallback] = [rule for rule in rules if rule.name == "Same patient"]
    fallback.within_days = 10
    [change] = preview(case.site, rules)
    assert change.cases == [case] and "would be read as 2 cases" in change.text
    assert case.studies.count() == 2, "a preview changes nothing"
    save_rule(fallback, lead(case.site))
    assert AuditRecord.objects.get(action="assemble").detail["within_days"] == 10
    follow(case.pk)
    assert Case.objects.exclude(state=CaseState.CLOSED).count() == 2
    fallback.within_days = 30
    [change] = preview(case.site, rules)
    assert "2 studies in 2 cases would be read as 1 case" in change.text
    save_rule(fallback, lead(case.site))
    for pk in Case.objects.values_list("pk", flat=True):
        follow(pk)
    assert Case.objects.exclude(state=CaseState.CLOSED).count() == 1


def test_hands_stick_and_are_audited() -> None:
    patient = PatientFactory()
    one, other, third = study(patient, 0), study(patient, 20), study(patient, 300)
    user = UserFactory(sites=[patient.site])
    case = join_study_to_case(one)
    join_study_to_case(other)
    take_out(case, other, user, "another question")
    assert list(case.studies.all()) == [one]
    alone = join_study_to_case(other)
    assert alone != case
    for pk in (case.pk, alone.pk):
        follow(pk)
        follow(pk)
    assert list(case.studies.all()) == [one] and list(alone.studies.all()) == [other]
    apart = join_study_to_case(third)
    put_in(case, third, user, "the prior")
    apart.refresh_from_db()
    assert apart.state == CaseState.CLOSED
    follow(case.pk)
    assert set(case.studies.all()) == {one, third}
    assert "the prior" in reason_of(case, third)
    actions = [row.detail["action"] for row in AuditRecord.objects.filter(action="assemble")]
    assert sorted(actions) == ["put in", "taken out"]


def test_hands_cannot_mix_people_or_touch_what_is_signed() -> None:
    case = join_study_to_case(study(PatientFactory(), 0))
    user = UserFactory(sites=[case.site])
    stranger = study(PatientFactory(site=case.site), 0)
    with pytest.raises(CannotPlace, match="another patient"):
        put_in(case, stranger, user, "why not")
    with pytest.raises(CannotPlace, match="only study"):
        take_out(case, case.studies.get(), user, "empty")
    Case.objects.filter(pk=case.pk).update(state=CaseState.SIGNED)
    with pytest.raises(CannotPlace, match="signed"):
        put_in(case, study(case.patient, 0), user, "late")


def test_a_merge_takes_the_case_along_and_the_undo_brings_it_back() -> None:
    site = SiteFactory()
    source, target = PatientFactory(site=site), PatientFactory(site=site)
    case = join_study_to_case(study(source, 0))
    change = merge_patients(source, target, lead(site), "same person")
    sweep()
    case.refresh_from_db()
    assert case.patient == target and case.state == CaseState.RECEIVING
    undo_change(change, lead(site))
    sweep()
    case.refresh_from_db()
    assert case.patient == source


def test_two_open_cases_become_one_by_a_merge_and_two_again_by_its_undo() -> None:
    site = SiteFactory()
    source, target = PatientFactory(site=site), PatientFactory(site=site)
    pet, chest = study(source, 0, "PT", "PET whole body"), study(target, 5)
    first, second = join_study_to_case(pet), join_study_to_case(chest)
    change = merge_patients(source, target, lead(site), "same person")
    sweep()
    first.refresh_from_db()
    assert first.state == CaseState.CLOSED and not first.studies.exists()
    assert set(second.studies.all()) == {pet, chest}
    undo_change(change, lead(site))
    sweep()
    first.refresh_from_db()
    assert (first.state, first.patient) == (CaseState.RECEIVING, source)
    assert list(first.studies.all()) == [pet] and list(second.studies.all()) == [chest]


def test_the_reader_is_told_when_a_study_turns_out_to_be_somebody_elses() -> None:
    patient = PatientFactory()
    target = PatientFactory(site=patient.site)
    one, other = study(patient, 0), study(patient, 5)
    case = join_study_to_case(one)
    join_study_to_case(other)
    Case.objects.filter(pk=case.pk).update(state=CaseState.READING)
    ClaimFactory(case=case)
    move_study(other, target, lead(patient.site), "wrong arm band")
    sweep()
    case.refresh_from_db()
    assert list(case.studies.all()) == [one] and case.state == CaseState.READING
    assert "another patient's" in case.alert
    assert join_study_to_case(other).patient == target


def test_a_signed_report_keeps_its_patient_until_an_addendum_is_signed() -> None:
    patient = PatientFactory()
    target = PatientFactory(site=patient.site)
    wrong = study(patient, 0)
    case = CaseFactory(patient=patient, studies=[wrong], state=CaseState.SIGNED)
    with pytest.raises(CannotChange, match=f"case {case.pk}"):
        move_study(wrong, target, lead(patient.site), "wrong arm band")
    with pytest.raises(CannotChange, match="addendum"):
        merge_patients(patient, target, lead(patient.site), "same")
    Case.objects.filter(pk=case.pk).update(state=CaseState.ADDENDED)
    move_study(wrong, target, lead(patient.site), "wrong arm band")
    sweep()
    case.refresh_from_db()
    assert case.patient == patient and list(case.studies.all()) == [wrong]
    wrong.refresh_from_db()
    again = join_study_to_case(wrong)
    assert again != case and again.patient == target
    sweep()
    assert Case.objects.count() == 2


def test_a_merge_after_an_addendum_needs_no_second_report() -> None:
    patient = PatientFactory()
    target = PatientFactory(site=patient.site)
    CaseFactory(patient=patient, studies=[study(patient, 0)], state=CaseState.ADDENDED)
    merge_patients(patient, target, lead(patient.site), "emergency ID")
    sweep()
    assert Case.objects.count() == 1


def test_linked_patients_are_read_along_and_each_site_keeps_its_own_case() -> None:
    here, there = SiteFactory(), SiteFactory()
    one, other = PatientFactory(site=here), PatientFactory(site=there)
    pet, chest = study(one, 0, "PT", "PET whole body"), study(other, 5)
    far = study(other, 400)
    case, theirs = join_study_to_case(pet), join_study_to_case(chest)
    join_study_to_case(far)
    link = link_patients(one, other, administrator(here, there), "same person")
    sweep()
    assert set(case.studies.all()) == {pet, chest}
    assert set(theirs.studies.all()) == {pet, chest}
    assert "linked patient at another site" in reason_of(case, chest)
    assert (case.site, theirs.site) == (here, there)
    late = study(other, 7)
    sweep()
    assert late in case.studies.all(), "later studies follow"
    # The rows stay filtered: a reader of one site sees the other's study only in the case.
    reader = UserFactory(sites=[here])
    assert list(Study.objects.for_user(reader)) == [pet]
    assert list(Case.objects.for_user(reader)) == [case]
    undo_link(link, administrator(here, there))
    sweep()
    assert list(case.studies.all()) == [pet]
    assert set(theirs.studies.all()) == {chest, late}


def test_a_new_study_at_the_other_site_always_gets_a_case_of_its_own_site() -> None:
    here, there = SiteFactory(), SiteFactory()
    one, other = PatientFactory(site=here), PatientFactory(site=there)
    case = join_study_to_case(study(one, 0))
    link_patients(one, other, administrator(here, there), "same person")
    chest = study(other, 5)
    case.studies.add(chest)
    assert chest in studies_without_case()
    assert join_study_to_case(chest).site == there


def test_a_study_that_both_sites_have_is_read_once() -> None:
    here, there = SiteFactory(), SiteFactory()
    one, other = PatientFactory(site=here), PatientFactory(site=there)
    own = study(one, 0)
    case = join_study_to_case(own)
    copy = StudyFactory(patient=other, study_instance_uid=own.study_instance_uid,
                        study_date=own.study_date)
    join_study_to_case(copy)
    link_patients(one, other, administrator(here, there), "same person")
    sweep()
    assert list(case.studies.all()) == [own]


def test_a_link_ends_with_the_reader_being_told() -> None:
    here, there = SiteFactory(), SiteFactory()
    one, other = PatientFactory(site=here), PatientFactory(site=there)
    case = join_study_to_case(study(one, 0))
    join_study_to_case(study(other, 5))
    boss = administrator(here, there)
    link = link_patients(one, other, boss, "same person")
    sweep()
    Case.objects.filter(pk=case.pk).update(state=CaseState.READING)
    undo_link(link, boss)
    sweep()
    case.refresh_from_db()
    assert case.studies.count() == 1 and "not this person" in case.alert


def test_a_fetched_prior_that_no_longer_fits_leaves_without_a_case_of_its_own() -> None:
    patient = PatientFactory()
    new, prior = study(patient, 0), study(patient, -20)
    case = join_study_to_case(new)
    Retrieval.objects.create(
        site=patient.site, node=RemoteNodeFactory(site=patient.site), because_of=new,
        study_instance_uid=prior.study_instance_uid,
    )  # fmt: skip
    assert join_prior_to_case(prior) == case
    AssemblyRule.objects.filter(site=case.site).update(within_days=1)
    follow(case.pk)
    sweep()
    assert list(case.studies.all()) == [new] and Case.objects.count() == 1
