"""An earlier study that a case only compares with changes nothing of how the case waits."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.utils import timezone

from tests.factories import (
    ClaimFactory,
    InstanceFactory,
    PatientFactory,
    SeriesFactory,
    StudyFactory,
    UserFactory,
)
from workstation.receiving.models import Patient, Study
from workstation.worklist.models import Case
from workstation.worklist.services import (
    CannotPlace,
    compare_with,
    join_study_to_case,
    stop_comparing,
    take_out,
)

pytestmark = pytest.mark.django_db


def study(patient: Patient, day: date, text: str, modality: str, days_ago: int) -> Study:
    made: Study = StudyFactory(
        patient=patient, study_date=day, description=text, completed_at=timezone.now(),
        received_at=timezone.now() - timedelta(days=days_ago),
    )  # fmt: skip
    InstanceFactory(series=SeriesFactory(study=made, modality=modality, description=text))
    return made


@pytest.fixture
def pair() -> tuple[Case, Study, Study]:
    """(case of the new study, the new study, one of years before)."""
    patient = PatientFactory()
    earlier = study(patient, date(2023, 1, 1), "Brain MR", "MR", 900)
    now = study(patient, date(2026, 9, 1), "Chest CT", "CT", 0)
    join_study_to_case(earlier)
    return join_study_to_case(now), now, earlier


def test_a_study_for_comparison_changes_neither_the_target_nor_the_title(
    pair: tuple[Case, Study, Study],
) -> None:
    case, _, earlier = pair
    home = earlier.cases.get()
    waits_since = Case.objects.get(pk=case.pk).received_at
    compare_with(case, earlier, UserFactory(sites=[case.site]))
    case.refresh_from_db()
    assert set(case.studies.values_list("pk", flat=True)) >= {earlier.pk}
    assert case.received_at == waits_since
    assert (case.title, case.modalities) == ("Chest CT", "CT")
    assert join_study_to_case(earlier) == home


def test_the_last_study_of_its_own_does_not_leave_a_case_to_a_prior(
    pair: tuple[Case, Study, Study],
) -> None:
    case, now, earlier = pair
    user = UserFactory(sites=[case.site])
    ClaimFactory(case=case, user=user)
    compare_with(case, earlier, user)
    with pytest.raises(CannotPlace):
        take_out(case, now, user, "read apart")
    stop_comparing(case, earlier, user)
    assert list(case.studies.all()) == [now]
