"""The MOVES table of steps: nothing leaves it, and tokens fence."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.contracts import STEPS
from tests.factories import RunFactory, UserFactory
from workstation.analyzing import states
from workstation.analyzing.models import RunState, Step, StepEvent, StepState, StepTitle, state_of
from workstation.analyzing.states import FENCED, MOVES, InvalidMove, LostLease, move

EVENTS = sorted({event for _, event in MOVES})


def a_step(state: str = StepState.QUEUED) -> Step:
    return RunFactory(state=state).steps.get(name="assemble")


def test_the_documented_table_is_the_table() -> None:
    rows = re.findall(r"^\| (\w+) +\| ([\w, ]+?) +\| (\w+) +\|", states.__doc__ or "", re.M)
    documented = {
        (StepState(old), event): StepState(new)
        for event, olds, new in rows
        if event != "event"
        for old in (states.OPEN if olds == "any open" else olds.split(", "))
    }
    assert documented == MOVES


def test_the_titles_are_those_of_the_contract() -> None:
    assert tuple(StepTitle.values) == STEPS


@pytest.mark.django_db
@settings(max_examples=60, deadline=None)
@given(
    start=st.sampled_from([StepState.WAITING, StepState.QUEUED]),
    script=st.lists(
        st.tuples(st.sampled_from(EVENTS), st.sampled_from([None, "a", "b"])), max_size=12
    ),
)
def test_any_sequence_stays_in_the_table(
    start: StepState, script: list[tuple[str, str | None]]
) -> None:
    step = a_step(start)
    state, holder = start, ""
    for event, token in script:
        try:
            moved = move(step.pk, event, token=token)
        except LostLease:
            assert (event in FENCED and token != holder) or not holder
        except InvalidMove:
            assert (state, event) not in MOVES
        except ValueError:
            assert event == "claim" and token is None
        else:
            assert moved.state == MOVES[state, event]
            assert event not in FENCED or token == holder
            state = StepState(moved.state)
            holder = token or "" if state == StepState.RUNNING else ""
        step.refresh_from_db()
        assert (step.state, step.token) == (state, holder)
    chain = list(StepEvent.objects.filter(step=step).values_list("from_state", "to_state"))
    assert all(a[1] == b[0] for a, b in pairwise(chain))
    assert not chain or chain[-1][1] == state


@pytest.mark.django_db
def test_a_stale_token_moves_nothing() -> None:
    step = a_step()
    move(step.pk, "claim", token="first")
    move(step.pk, "orphaned")
    move(step.pk, "claim", token="second")
    for event in sorted(FENCED):
        with pytest.raises(LostLease):
            move(step.pk, event, token="first")
    step.refresh_from_db()
    assert (step.state, step.token) == (StepState.RUNNING, "second")


@pytest.mark.django_db
def test_every_move_is_written_down() -> None:
    step, user = a_step(StepState.FAILED), UserFactory()
    move(step.pk, "retry", by=user, reason="the disk was full")
    event = step.events.get()
    assert (event.event, event.from_state, event.to_state) == ("retry", "failed", "queued")
    assert (event.by, event.reason) == (user, "the disk was full")


@pytest.mark.django_db
def test_the_database_refuses_a_running_step_without_a_token() -> None:
    step = a_step()
    with pytest.raises(IntegrityError), transaction.atomic():
        Step.objects.filter(pk=step.pk).update(state=StepState.RUNNING)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["queued", "waiting"], RunState.WAITING),
        (["running", "waiting"], RunState.RUNNING),
        (["done", "queued"], RunState.RUNNING),
        (["done", "done"], RunState.DONE),
        (["done", "failed", "waiting"], RunState.FAILED),
        (["done", "cancelled"], RunState.CANCELLED),
        (["failed", "cancelled"], RunState.CANCELLED),
    ],
)
def test_the_state_of_a_run_follows_from_its_steps(steps: list[str], expected: RunState) -> None:
    assert state_of(steps) == expected
