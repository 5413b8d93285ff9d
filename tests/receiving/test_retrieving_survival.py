"""kill -9 of the process that fetches, in the middle: the same result after its row came back."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.receiving.objects import ct, uid
from tests.receiving.pacs import orthanc, wait_until
from tests.receiving.servers import ListenerProcess

IMAGES = 120
PREPARE = """
from workstation.receiving.models import *
from workstation.receiving.services.retrieving import Wanted, request_retrieval
node = RemoteNode.objects.get()
node.host, node.port, node.may_be_queried = "127.0.0.1", {port}, True
node.save()
request_retrieval(node, Wanted("{study}"))
"""
FETCH = "from workstation.receiving.network.actors import retrieve_actor; retrieve_actor(1)"
SWEEP = """
from django.utils import timezone
from workstation.receiving.services import send_due_network_jobs
send_due_network_jobs(timezone.now())
"""


@pytest.mark.peer
@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_retrieval(tmp_path: Path) -> None:
    home = ListenerProcess(tmp_path / "home", titles=("ORTHANC",), RADFUSE_ORPHAN_SECONDS="1")
    home.prepare()
    with orthanc(tmp_path / "orthanc") as archive:
        archive.put(*(ct(number) for number in range(IMAGES)))
        home.manage("shell", "-v0", "-c", PREPARE.format(port=archive.dicom, study=uid("study")))
        process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v0", "-c", FETCH], cwd=ROOT,
            env=home.environment,
        )  # fmt: skip
        try:
            wait_until(lambda: _one(home, "SELECT count(*) FROM receiving_instance") > 5)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
        before = _one(home, "SELECT count(*) FROM receiving_instance")
        assert 5 < before < IMAGES
        assert _one(home, "SELECT state FROM receiving_retrieval") == "running"
        time.sleep(1.5)
        home.manage("shell", "-v0", "-c", SWEEP)
        assert _one(home, "SELECT state FROM receiving_retrieval") == "waiting"
        home.manage("shell", "-v0", "-c", FETCH)
    assert _one(home, "SELECT state FROM receiving_retrieval") == "done"
    assert _one(home, "SELECT attempts FROM receiving_retrieval") == 2
    assert _one(home, "SELECT completed FROM receiving_retrieval") == IMAGES
    assert _one(home, "SELECT count(*) FROM receiving_instance") == IMAGES
    checked = home.manage("verify_archive", check=False)
    assert checked.returncode == 0, checked.stdout


def _one(home: ListenerProcess, sql: str) -> object:
    with closing(sqlite3.connect(home.home / "radfuse.sqlite3", timeout=30)) as database:
        return database.execute(sql).fetchone()[0]
