"""kill -9, for real: Valkey, Dramatiq workers, clock and children are processes of their own.

The promise: the run ends in the same result within a minute, or shows a reason and a retry.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.flow.house import House, shape_of, wait_until

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(900)]

A_MINUTE = 60.0
AGAIN = """
from django.db import transaction
from workstation.analyzing.services import start_run
from workstation.worklist.models import Case
from workstation.worklist.services import study_completed
with transaction.atomic():
    case = Case.objects.select_for_update().get()
    study_completed(case)
    start_run(case, "again")
"""
FAKE_CASE = """
from django.db import transaction
from tests.factories import CaseFactory, InstanceFactory, SeriesFactory
with transaction.atomic():
    case = CaseFactory(state="receiving")
    InstanceFactory(series=SeriesFactory(study=case.studies.get(), modality="PT"))
"""
REFINE = """
from tests.factories import UserFactory
from workstation.analyzing.models import Registration
from workstation.analyzing.refinements import start_refinement
start_refinement(
    Registration.objects.get(run__number=1, state="registered"), UserFactory(),
    model="deformable", start=[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    start_method="hand",
)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    # A short path: the broker's socket name may have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="rf") as folder:
        yield Path(folder)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def running(house: House, run: int, step: str) -> bool:
    return house.steps(run).get(step) == "running"


def test_every_process_may_be_killed_in_the_middle(home: Path) -> None:
    """With a stand-in child whose steps last long enough to be hit; every process has its turn."""
    house = House(home, RADFUSE_STEP_COMMAND=f"{sys.executable},-m,tests.analyzing.fake_child")
    try:
        house.start()
        house.shell(FAKE_CASE)
        house.wait_done(1)
        undisturbed = house.result(1)
        assert undisturbed["finding"] and undisturbed["draftsentence"]

        # Now the same images again; each step takes long the first time.
        seconds = {"assemble": 3, "register": 3, "infer": 60, "measure": 3}
        slow = ",".join(f"{step}:once-slow-{s}" for step, s in seconds.items())
        for queue in ("cpu", "gpu"):
            house.kill(f"worker-{queue}")
        house.env["RADFUSE_MODELS_DIR"] = slow
        for queue in ("cpu", "gpu"):
            house.start_worker(queue)
        # Meanwhile a reader's "refine from here" over the first run's images, on the other worker.
        first = home / "runs" / "1" / "1"
        (first / "refine.txt").write_text("once-slow-60")
        house.shell(REFINE)
        wait_until((first / "refine.pid").exists, "the refinement to be in the middle")
        house.shell(AGAIN)

        wait_until(lambda: running(house, 2, "assemble"), "assemble to begin")
        pid_file = home / "runs" / "1" / "2" / "assemble.pid"
        wait_until(pid_file.exists, "the child to be in the middle")
        killed = time.monotonic()
        children = house.kill("worker-cpu")
        assert children, "the worker had a child in the middle of a step"
        children += (refining := house.kill("worker-gpu"))
        assert refining, "and so had the other"
        house.start_worker("cpu")  # as the launcher does
        house.start_worker("gpu")
        wait_until(lambda: all(map(gone, children)), "the child to die with its worker", 10)
        wait_until(lambda: house.steps(2)["assemble"] == "done", "assemble to be done again")
        refinement = "SELECT state, attempts, error, verdict FROM analyzing_refinement"
        wait_until(lambda: house.rows(refinement)[0][0] == "done", "the refinement to be redone")
        assert time.monotonic() - killed < A_MINUTE, house.story()
        assert house.rows(refinement) == [("done", 2, "", "usable")]
        assert house.rows("SELECT count(*) FROM analyzing_layer WHERE kind = 'deformed'") == [(1,)]

        wait_until(lambda: running(house, 2, "register"), "register to begin")
        house.kill("valkey")
        house.start_valkey()
        wait_until((home / "runs" / "1" / "2" / "infer.pid").exists, "infer to be in the middle")
        house.kill("worker-flow")
        house.kill("clock")
        house.start_worker("flow")
        house.spawn("clock", sys.executable, "manage.py", "clock")
        house.terminate("worker-gpu")  # an orderly stop costs no attempt
        assert house.steps(2)["infer"] == "queued", house.story()
        house.start_worker("gpu")
        measuring = home / "runs" / "1" / "2" / "measure.pid"
        wait_until(measuring.exists, "measure to be in the middle")
        os.kill(int(measuring.read_text()), 9)  # as the system does when memory runs out
        house.wait_done(2)
        assert shape_of(house.result(2)) == shape_of(undisturbed)
        attempts = dict(
            house.rows(
                "SELECT s.name, s.attempts FROM analyzing_step s JOIN analyzing_run r "
                "ON r.id = s.run_id WHERE r.number = 2"
            )
        )
        assert attempts == {"assemble": 2, "register": 1, "infer": 1, "measure": 2, "draft": 1}
        states = house.rows("SELECT state, activity, problem FROM worklist_case")
        wait_until(
            lambda: house.rows("SELECT state, activity, problem FROM worklist_case")
            == [("ready", "", "")],
            f"the case to be ready: {states}",
        )
    finally:
        house.stop()


def test_a_step_that_kills_its_child_every_time_ends_with_a_reason(home: Path) -> None:
    house = House(
        home,
        RADFUSE_STEP_COMMAND=f"{sys.executable},-m,tests.analyzing.fake_child",
        RADFUSE_MODELS_DIR="register:killed",
    )
    try:
        house.start()
        house.shell(FAKE_CASE)
        wait_until(lambda: house.steps(1).get("register") == "failed", "register to fail")
        (error,) = house.rows("SELECT error FROM analyzing_step WHERE name = 'register'")[0]
        assert "memory ran out" in error and "Tried 3 times" in error
        (problem,) = wait_until(
            lambda: [r for r in house.rows("SELECT problem FROM worklist_case") if r[0]],
            "the case to say why",
        )[0]
        assert problem == f"Registration: {error}"
    finally:
        house.stop()


def test_the_real_analysis_ends_in_the_same_result(home: Path) -> None:
    """A small digital patient through the real child process, its worker killed in the middle."""
    dicom = home / "dicom"
    subprocess.run(
        [sys.executable, "-m", "analysis.phantoms", str(dicom), "--kind", "thorax", "--seed", "3",
         "--positive", "--spacing", "4", "4", "8"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    house = House(home)
    try:
        house.start()
        house.shell(
            "from workstation.accounts.models import Site; "
            "Site.objects.create(code='demo', name='Demo')"
        )
        house.manage("import_dicom", str(dicom), "--site", "demo")
        house.wait_done(1, 500)
        undisturbed = house.result(1)
        assert undisturbed["layer"] and undisturbed["draftsentence"]
        house.shell(AGAIN)
        # Not register: the second time its results are taken from where they were kept.
        wait_until(lambda: running(house, 2, "infer"), "infer to begin")
        killed = time.monotonic()
        children = house.kill("worker-gpu")
        house.start_worker("gpu")
        wait_until(lambda: all(map(gone, children)), "the child to die with its worker", 10)
        wait_until(
            lambda: house.rows(
                "SELECT 1 FROM analyzing_step s JOIN analyzing_run r ON r.id = s.run_id "
                "WHERE r.number = 2 AND s.name = 'infer' AND s.attempts = 2"
            ),
            "infer to be taken up again",
        )
        assert time.monotonic() - killed < A_MINUTE, house.story()
        house.wait_done(2, 500)
        assert shape_of(house.result(2)) == shape_of(undisturbed)
    finally:
        house.stop()
