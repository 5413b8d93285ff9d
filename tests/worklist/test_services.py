"""Assembly of cases, claims, priorities."""

from __future__ import annotations

import threading
from datetime import date

import pytest
from django.db import connections

from tests.factories import CaseFactory, PatientFactory, SiteFactory, StudyFactory, UserFactory
from workstation.accounts.models import AuditRecord, User
from workstation.worklist.models import Case, CaseState, Claim
from workstation.worklist.services import (
    ClaimRefused,
    claim_case,
    finish_analysis,
    join_study_to_case,
    note_draft_saved,
    note_signed,
    release_case,
    study_completed,
)


@pytest.mark.django_db
def test_studies_of_one_patient_within_sixty_days_become_one_case() -> None:
    patient = PatientFactory()
    pet = StudyFactory(patient=patient, study_date=date(2026, 9, 1))
    mr = StudyFactory(patient=patient, study_date=date(2026, 9, 20))
    old = StudyFactory(patient=patient, study_date=date(2025, 1, 1))
    first = join_study_to_case(pet)
    assert join_study_to_case(mr) == first
    assert join_study_to_case(mr) == first, "joining is idempotent"
    assert join_study_to_case(old) != first
    assert set(first.studies.all()) == {pet, mr}


@pytest.mark.django_db
def test_the_same_id_at_two_sites_is_two_cases() -> None:
    one = StudyFactory(patient=PatientFactory(site=SiteFactory(), patient_id="1"))
    two = StudyFactory(patient=PatientFactory(site=SiteFactory(), patient_id="1"))
    assert join_study_to_case(one) != join_study_to_case(two)


@pytest.mark.django_db
def test_a_signed_case_takes_no_more_studies() -> None:
    case = CaseFactory(state=CaseState.SIGNED)
    later = StudyFactory(patient=case.patient)
    assert join_study_to_case(later) != case


@pytest.mark.django_db
def test_images_arriving_while_reading_are_announced_and_the_reader_keeps_the_case() -> None:
    case = CaseFactory(state=CaseState.READING)
    study_completed(case)
    case.refresh_from_db()
    assert (case.state, case.new_images) == (CaseState.READING, True)


@pytest.mark.django_db
def test_a_failed_analysis_leaves_the_case_readable_with_its_reason() -> None:
    case = CaseFactory(state=CaseState.ANALYSING)
    finish_analysis(case.pk, pathway="lung", problem="Not enough memory.")
    case.refresh_from_db()
    assert (case.state, case.problem) == (CaseState.READY, "Not enough memory.")


@pytest.mark.django_db
def test_second_reader_is_refused_with_the_holders_name() -> None:
    case = CaseFactory(state=CaseState.READY)
    first, second = UserFactory(), UserFactory()
    claim_case(case, first)
    claim_case(case, first)
    with pytest.raises(ClaimRefused, match=first.display_name):
        claim_case(case, second)
    assert AuditRecord.objects.filter(action="claim", case_id=case.pk).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_readers_at_the_same_moment_get_one_claim() -> None:
    case = CaseFactory(state=CaseState.READY)
    readers = [UserFactory() for _ in range(4)]
    gate = threading.Barrier(len(readers))
    outcomes: list[bool] = []

    def attempt(user: User) -> None:
        gate.wait()
        try:
            claim_case(Case.objects.get(pk=case.pk), user)
            outcomes.append(True)
        except ClaimRefused:
            outcomes.append(False)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=attempt, args=(user,)) for user in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]
    assert Claim.objects.filter(case=case).count() == 1


@pytest.mark.django_db
def test_release_keeps_the_draft_and_only_the_holder_or_a_lead_may() -> None:
    case = CaseFactory(state=CaseState.READY)
    reader, other = UserFactory(), UserFactory()
    claim_case(case, reader)
    note_draft_saved(case.pk, reader)
    with pytest.raises(ClaimRefused):
        release_case(case, other)
    release_case(case, other, forced=True)
    case.refresh_from_db()
    assert case.state == CaseState.DRAFT
    assert not Claim.objects.filter(case=case).exists()
    claim_case(case, other)


@pytest.mark.django_db
def test_signing_frees_the_case_and_stamps_the_time() -> None:
    case = CaseFactory(state=CaseState.READY)
    reader = UserFactory()
    claim_case(case, reader)
    note_signed(case.pk, reader)
    case.refresh_from_db()
    assert case.state == CaseState.SIGNED
    assert case.signed_at is not None
    assert not Claim.objects.filter(case=case).exists()

