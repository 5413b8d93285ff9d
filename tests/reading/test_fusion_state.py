"""Promise 1: what is fused, and what the badge says."""

from __future__ import annotations

import pytest

from tests.factories import (
    CaseFactory,
    LayerFactory,
    RegistrationFactory,
    RunFactory,
    SeriesFactory,
    UserFactory,
)
from workstation.accounts.models import AuditRecord, User
from workstation.analyzing.models import Registration
from workstation.reading.aligning import decide_registration
from workstation.reading.fusion_state import IDENTITY, layer_statuses, status_of
from workstation.reading.services import ReviewRefused
from workstation.worklist.models import CaseState
from workstation.worklist.services import claim_case

pytestmark = pytest.mark.django_db

SHIFTED = [[1.0, 0, 0, 2.5], [0, 1.0, 0, -1.0], [0, 0, 1.0, 4.0], [0, 0, 0, 1.0]]


@pytest.fixture
def reader() -> User:
    return UserFactory()


@pytest.fixture
def registration(reader: User) -> Registration:
    case = CaseFactory(state=CaseState.READY)
    claim_case(case, reader)
    SeriesFactory(study=case.studies.first(), modality="PT")
    return RegistrationFactory(run=RunFactory(case=case))


@pytest.mark.parametrize(
    ("state", "verdict", "fused", "badge"),
    [
        ("reference", "usable", True, "Reference series"),
        ("same_frame", "usable", True, "Same frame of reference"),
        ("same_frame", "doubtful", False, "Doubtful: not fused until you accept it"),
        ("registered", "usable", True, "Registered"),
        ("registered", "doubtful", False, "Doubtful: not fused until you accept it"),
        ("not_registered", "refused", False, "Not registered: not fused"),
        ("registered", "refused", False, "Not registered: not fused"),
    ],
)
def test_before_any_decision(
    registration: Registration, state: str, verdict: str, fused: bool, badge: str
) -> None:
    registration.state, registration.verdict = state, verdict
    status = status_of(registration)
    assert (status.fused, status.badge) == (fused, badge)


def test_a_doubtful_registration_is_fused_once_accepted(
    registration: Registration, reader: User
) -> None:
    registration.verdict = "doubtful"
    registration.save()
    status = decide_registration(registration, reader, decision="accepted")
    assert status.fused
    assert reader.display_name in status.badge
    assert AuditRecord.objects.get(action="decide_registration").detail == {"decision": "accepted"}


def test_a_refused_registration_cannot_be_accepted_but_can_be_aligned_by_hand(
    registration: Registration, reader: User
) -> None:
    registration.state, registration.verdict = "not_registered", "refused"
    registration.reasons = ["The two images do not overlap."]
    registration.save()
    with pytest.raises(ReviewRefused, match="do not overlap"):
        decide_registration(registration, reader, decision="accepted")
    status = decide_registration(registration, reader, decision="nudged", matrix=SHIFTED)
    assert status.fused
    assert status.matrix == SHIFTED


def test_rejecting_unfuses_and_the_latest_decision_counts(
    registration: Registration, reader: User
) -> None:
    assert not decide_registration(registration, reader, decision="rejected").fused
    assert decide_registration(registration, reader, decision="accepted").fused
    assert registration.decisions.count() == 2
    registration.refresh_from_db()
    assert registration.matrix == IDENTITY, "what was computed stays as it was"


@pytest.mark.parametrize(
    "matrix",
    [
        None,
        [[1, 0], [0, 1]],
        [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[1, 0, 0, float("nan")], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[1, 0, 0, 1e9], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    ],
)
def test_a_nudge_is_rigid_and_near(
    registration: Registration, reader: User, matrix: object
) -> None:
    with pytest.raises(ReviewRefused):
        decide_registration(registration, reader, decision="nudged", matrix=matrix)


def test_only_the_holder_decides(registration: Registration) -> None:
    with pytest.raises(ReviewRefused, match="do not hold"):
        decide_registration(registration, UserFactory(), decision="rejected")


def test_a_layer_without_registration_is_not_fused(registration: Registration) -> None:
    run = registration.run
    reference = LayerFactory(run=run, is_reference=True)
    registration.delete()
    other = LayerFactory(run=run, series=registration.series, key="other", position=1)
    statuses = {layer.pk: status for layer, status, _ in layer_statuses(run)}
    assert statuses[reference.pk].fused
    assert not statuses[other.pk].fused
