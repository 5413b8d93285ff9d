"""No event sequence leaves the MOVES table, and every move leaves a row."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import CaseFactory
from workstation.worklist.models import Case, CaseState
from workstation.worklist.states import MOVES, InvalidMove, move

EVENTS = sorted({event for _, event in MOVES})


def test_every_state_can_be_reached_and_named() -> None:
    assert {state for state, _ in MOVES} | set(MOVES.values()) == set(CaseState)


@pytest.mark.django_db
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=st.lists(st.sampled_from(EVENTS), max_size=12))
def test_any_sequence_stays_in_the_table(events: list[str]) -> None:
    case = CaseFactory()
    expected = CaseState.RECEIVING
    made = 0
    for event in events:
        target = MOVES.get((expected, event))
        if target is None:
            with pytest.raises(InvalidMove):
                move(case.pk, event)
        else:
            move(case.pk, event)
            expected = target
            made += 1
    case.refresh_from_db()
    assert case.state == expected
    rows = list(case.events.all())
    assert len(rows) == made
    for earlier, later in pairwise(rows):
        assert earlier.to_state == later.from_state


@pytest.mark.django_db
def test_a_signed_case_cannot_be_claimed_or_signed_again() -> None:
    case = CaseFactory(state=CaseState.SIGNED)
    for event in ("claimed", "signed", "study_completed", "draft_saved"):
        with pytest.raises(InvalidMove):
            move(case.pk, event)
    assert Case.objects.get(pk=case.pk).state == CaseState.SIGNED
