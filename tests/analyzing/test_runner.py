"""The child process, for real: hung, killed, crashed, garbled, greedy, cancelled, and warm."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from analysis.contracts import SeriesInput, StepRequest
from tests.conftest import ROOT
from workstation.analyzing.runner import Child, ChildFailure, LeaseLost, Limits

FAKE = [sys.executable, "-m", "tests.analyzing.fake_child"]
PATIENT = Limits(deadline_s=60, beat_s=0.3)


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child(FAKE, cwd=str(ROOT))
    yield child
    child.stop()


def request(tmp_path: Path, behaviour: str = "", step: str = "assemble") -> StepRequest:
    series = SeriesInput("1.2.3", "1.2", "CT", "Axial", ())
    return StepRequest(step=step, run_dir=str(tmp_path), series=(series,), models_dir=behaviour)


def always(fraction: float, text: str) -> bool:
    return True


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_step_is_done_and_the_child_stays_warm(child: Child, tmp_path: Path) -> None:
    outcome = child.run(request(tmp_path), PATIENT, always)
    assert outcome.result == "assemble/result.json"
    assert (tmp_path / outcome.result).is_file()
    assert outcome.peak_memory_mb > 5
    pid = child.pid
    child.run(request(tmp_path, step="register"), PATIENT, always)
    assert child.pid == pid


def test_progress_reaches_the_heartbeat(child: Child, tmp_path: Path) -> None:
    beats: list[tuple[float, str]] = []

    def beat(fraction: float, text: str) -> bool:
        beats.append((fraction, text))
        return True

    child.run(request(tmp_path, "slow-1.5"), PATIENT, beat)
    assert len(beats) >= 3
    assert beats[-1] == (0.5, "working on assemble")


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("killed", "child_killed", "memory ran out"),
        ("crash", "child_crashed", "SIGSEGV"),
        ("exit", "child_ended", "exit code 7"),
        ("garbage", "child_garbled", "not understood"),
        ("incomplete", "child_garbled", "not understood"),
    ],
)
def test_a_broken_child_is_explained_ended_and_replaced(
    child: Child, tmp_path: Path, behaviour: str, code: str, words: str
) -> None:
    with pytest.raises(ChildFailure, match=words) as caught:
        child.run(request(tmp_path, behaviour), PATIENT, always)
    assert (caught.value.code, caught.value.retriable) == (code, True)
    assert child.pid is None
    child.run(request(tmp_path), PATIENT, always)


def test_a_hung_child_is_killed_at_the_deadline(child: Child, tmp_path: Path) -> None:
    started = time.monotonic()
    child.run(request(tmp_path), PATIENT, always)
    pid = child.pid or 0
    with pytest.raises(ChildFailure, match="within 1 seconds") as caught:
        child.run(request(tmp_path, "hang"), Limits(deadline_s=1, beat_s=0.3), always)
    assert caught.value.code == "deadline" and caught.value.retriable
    assert time.monotonic() - started < 30
    assert gone(pid)


def test_a_greedy_child_is_stopped(child: Child, tmp_path: Path) -> None:
    limits = Limits(deadline_s=60, beat_s=0.3, memory_mb=250)
    with pytest.raises(ChildFailure, match="250 MiB") as caught:
        child.run(request(tmp_path, "hungry"), limits, always)
    assert caught.value.code == "memory_limit" and caught.value.retriable


@pytest.mark.parametrize(
    ("behaviour", "code", "retriable", "warm"),
    [("refuse", "pet_no_dose", False, True), ("shortage", "out_of_memory", True, False)],
)
def test_the_childs_own_words_pass_through(
    child: Child, tmp_path: Path, behaviour: str, code: str, retriable: bool, warm: bool
) -> None:
    with pytest.raises(ChildFailure) as caught:
        child.run(request(tmp_path, behaviour), PATIENT, always)
    assert (caught.value.code, caught.value.retriable) == (code, retriable)
    assert (child.pid is not None) == warm


def test_a_lost_lease_kills_the_child(child: Child, tmp_path: Path) -> None:
    child.run(request(tmp_path), PATIENT, always)
    pid = child.pid or 0
    with pytest.raises(LeaseLost):
        child.run(request(tmp_path, "hang"), PATIENT, lambda fraction, text: False)
    assert gone(pid)


def test_an_interruption_of_the_worker_kills_the_child(child: Child, tmp_path: Path) -> None:
    child.run(request(tmp_path), PATIENT, always)
    pid = child.pid or 0

    def interrupted(fraction: float, text: str) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child.run(request(tmp_path, "hang"), PATIENT, interrupted)
    assert gone(pid)


def test_a_program_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(ChildFailure, match="could not be started") as caught:
        Child([str(tmp_path / "nothing")], cwd=str(tmp_path)).run(
            request(tmp_path), PATIENT, always
        )
    assert caught.value.retriable


def test_the_child_sees_no_secrets(tmp_path: Path) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import os, json, sys\n"
        "sys.stdin.readline()\n"
        f"open({str(tmp_path / 'env')!r}, 'w').write('\\n'.join(os.environ))\n"
        "print(json.dumps({'event': 'done', 'result': 'x'}), flush=True)\n"
    )
    assert "RADFUSE_SECRET_KEY" in os.environ
    child = Child([sys.executable, str(spy)], cwd=str(tmp_path), env={"OMP_NUM_THREADS": "2"})
    child.run(request(tmp_path), PATIENT, always)
    child.stop()
    names = (tmp_path / "env").read_text().split()
    assert "PATH" in names and "OMP_NUM_THREADS" in names
    assert not [n for n in names if n.startswith(("RADFUSE_", "DJANGO_"))]
