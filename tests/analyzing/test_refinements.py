"""Refine from here: its states, its lease, and a worker's turn with a real child process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from dramatiq.middleware import Shutdown

from tests.factories import UserFactory
from workstation.accounts.models import User
from workstation.analyzing import performing
from workstation.analyzing.models import (
    Layer,
    LayerKind,
    Refinement,
    RefinementEvent,
    RefinementState,
    Registration,
    Run,
)
from workstation.analyzing.performing import perform_refinement, stop_child
from workstation.analyzing.refinement_states import MOVES, InvalidMove, LostLease, move
from workstation.analyzing.refinements import (
    RefinementRefused,
    cancel_refinement,
    claim_refinement,
    discard_refinement,
    fail_refinement,
    remove_leftover_files,
    retry_refinement,
    return_orphaned_refinements,
    send_due_refinements,
    start_refinement,
)
from workstation.analyzing.requests import refinement_folder, run_folder
from workstation.flow import tidy

IDENTITY = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
S = RefinementState


@pytest.fixture(autouse=True)
def _fake(settings: Any) -> Iterator[None]:
    settings.STEP_COMMAND = [sys.executable, "-m", "tests.analyzing.fake_child"]
    settings.HEARTBEAT_SECONDS = 0.3
    stop_child()
    yield
    stop_child()


@pytest.fixture
def registration(run: Run, do_step: Callable[[Run, str], Any]) -> Registration:
    """The second series of a run that came as far as its registration."""
    do_step(run, "assemble")
    do_step(run, "register")
    return run.registrations.exclude(state="reference").get()


@pytest.fixture
def reader(registration: Registration) -> User:
    return UserFactory(sites=[registration.run.case.site])


def ask(registration: Registration, reader: User, model: str = "rigid") -> Refinement:
    return start_refinement(
        registration, reader, model=model, start=IDENTITY, start_method="hand"
    )


def behave(registration: Registration, how: str) -> None:
    (run_folder(registration.run) / "refine.txt").write_text(how)


def test_the_table_of_moves_leads_nowhere_from_an_end() -> None:
    ends = set(S) - {old for old, _ in MOVES}
    assert ends == {S.CANCELLED, S.DISCARDED}


@pytest.mark.parametrize("model", ["rigid", "affine"])
def test_a_refinement_is_done_and_changes_nothing_by_itself(
    registration: Registration, reader: User, model: str
) -> None:
    row = ask(registration, reader, model)
    perform_refinement(row.pk)
    row.refresh_from_db()
    assert (row.state, row.verdict, row.attempts, row.token) == (S.DONE, "usable", 1, "")
    assert row.matrix[0][3] == 1.0 and row.peak_memory_mb
    registration.refresh_from_db()
    assert registration.matrix == IDENTITY
    assert [e.event for e in row.events.all()] == ["ask", "claim", "finish"]
    assert row.events.first().by == reader


def test_a_deformable_result_brings_its_layer_beside_the_original(
    registration: Registration, reader: User
) -> None:
    row = ask(registration, reader, "deformable")
    perform_refinement(row.pk)
    row.refresh_from_db()
    assert row.deformation["path"].startswith(f"refine/{row.pk}/")
    layer = Layer.objects.get(kind=LayerKind.DEFORMED)
    assert (layer.refinement, layer.series) == (row, registration.series)
    assert layer.run.layers.filter(kind=LayerKind.SERIES).count() == 2
    discard_refinement(row, reader)
    row.refresh_from_db()
    assert row.state == S.DISCARDED and row.verdict == "usable"
    assert not Layer.objects.filter(kind=LayerKind.DEFORMED).exists()


def test_a_refused_result_is_on_record_without_a_layer(
    registration: Registration, reader: User
) -> None:
    behave(registration, "refused")
    row = ask(registration, reader, "deformable")
    perform_refinement(row.pk)
    row.refresh_from_db()
    assert (row.state, row.verdict, row.reasons) == (S.DONE, "refused", ["It folds."])
    assert not Layer.objects.filter(kind=LayerKind.DEFORMED).exists()


def test_one_at_a_time(registration: Registration, reader: User) -> None:
    row = ask(registration, reader)
    with pytest.raises(RefinementRefused, match="under way"):
        ask(registration, reader, "affine")
    with pytest.raises(IntegrityError), transaction.atomic():
        Refinement.objects.create(
            registration=registration, model="rigid", start_matrix=IDENTITY, by=reader
        )
    cancel_refinement(row, reader)
    second = ask(registration, reader)
    token = claim_refinement(second.pk, "w")
    fail_refinement(second.pk, str(token), "x", "It failed.", retriable=False)
    third = ask(registration, reader)
    with pytest.raises(RefinementRefused, match="under way"):
        retry_refinement(second, reader)
    cancel_refinement(third, reader)
    assert retry_refinement(second, reader).state == S.QUEUED


@pytest.mark.parametrize(
    ("behaviour", "state", "code"),
    [
        ("refuse", S.FAILED, "pet_no_dose"),
        ("nonsense", S.FAILED, "result_invalid"),
        ("killed", S.QUEUED, "child_killed"),
    ],
)
def test_failures_stand_in_the_row(
    registration: Registration, reader: User, behaviour: str, state: str, code: str
) -> None:
    behave(registration, behaviour)
    row = ask(registration, reader)
    perform_refinement(row.pk)
    row.refresh_from_db()
    assert (row.state, row.error_code, row.token) == (state, code, "")
    assert row.error and row.matrix is None


def test_gone_images_are_a_reason(registration: Registration, reader: User) -> None:
    row = ask(registration, reader)
    registration.run.layers.all().delete()
    perform_refinement(row.pk)
    row.refresh_from_db()
    assert row.state == S.FAILED and "gone" in row.error
    with pytest.raises(RefinementRefused, match="not stored"):
        ask(registration, reader)


def test_a_cancelled_one_stops_and_drops_its_result(
    registration: Registration, reader: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(registration, "slow-20")
    row = ask(registration, reader)
    real = performing.beat_refinement

    def cancelled_meanwhile(*args: Any) -> bool:
        cancel_refinement(row, reader)
        return real(*args)

    monkeypatch.setattr(performing, "beat_refinement", cancelled_meanwhile)
    perform_refinement(row.pk)
    row.refresh_from_db()
    assert (row.state, row.matrix) == (S.CANCELLED, None)
    with pytest.raises(RefinementRefused, match="cancelled"):
        cancel_refinement(row, reader)


def test_files_of_what_ended_without_a_result_go(
    registration: Registration, reader: User, settings: Any
) -> None:
    long_ago = timezone.now() - timedelta(seconds=settings.ORPHAN_SECONDS + 1)
    folders = {}
    for state in (S.CANCELLED, S.FAILED, S.DISCARDED, S.DONE, S.CANCELLED):
        row = Refinement.objects.create(
            registration=registration, model="rigid", start_matrix=IDENTITY,
            start_method="computed", by=reader, state=state, finished_at=long_ago,
        )  # fmt: skip
        folders[row.pk] = run_folder(registration.run) / refinement_folder(row)
        folders[row.pk].mkdir(parents=True)
        (folders[row.pk] / "half").write_bytes(b"x")
    # Of the last one a child may still be writing.
    Refinement.objects.filter(pk=row.pk).update(finished_at=timezone.now())
    tidy()
    assert [folder.exists() for folder in folders.values()] == [False] * 3 + [True] * 2
    assert remove_leftover_files() == 0


def test_a_worker_that_is_stopped_hands_it_back(
    registration: Registration, reader: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(registration, "hang")
    row = ask(registration, reader)

    def stopped(*args: Any) -> bool:
        raise Shutdown

    monkeypatch.setattr(performing, "beat_refinement", stopped)
    with pytest.raises(Shutdown):
        perform_refinement(row.pk)
    row.refresh_from_db()
    assert (row.state, row.attempts) == (S.QUEUED, 0)


def test_an_orphan_returns_and_ends_in_quarantine_with_a_reason(
    registration: Registration, reader: User, settings: Any
) -> None:
    row = ask(registration, reader)
    for attempt in range(settings.STEP_MAX_ATTEMPTS):
        token = claim_refinement(row.pk, "w")
        assert token, attempt
        assert return_orphaned_refinements() == 0, "it spoke a moment ago"
        long_ago = timezone.now() - timedelta(seconds=settings.ORPHAN_SECONDS + 1)
        Refinement.objects.filter(pk=row.pk).update(heartbeat_at=long_ago)
        assert return_orphaned_refinements() == 1
        with pytest.raises(LostLease):
            fail_refinement(row.pk, token, "late", "late", retriable=True)
    row.refresh_from_db()
    assert row.state == S.FAILED and "3 attempts" in row.error
    with pytest.raises(InvalidMove):
        move(row.pk, "claim", token="x")
    assert RefinementEvent.objects.filter(event="orphaned").count() == 2


def test_a_lost_message_is_sent_again(
    registration: Registration, reader: User, sent: Callable[..., list[tuple[str, int]]]
) -> None:
    rows: list[Refinement] = []
    assert sent(lambda: rows.append(ask(registration, reader))) == [("run_refinement", rows[0].pk)]
    assert sent(send_due_refinements) == []
    long_ago = timezone.now() - timedelta(minutes=1)
    Refinement.objects.update(sent_at=long_ago)
    assert sent(send_due_refinements) == [("run_refinement", rows[0].pk)]
