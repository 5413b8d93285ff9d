"""The main pages' and searches' queries have an index for every large table, on PostgreSQL.

The planner may choose otherwise for a small table; that it can is asked here, with the benchmark's
own questions. How long they take with a million rows: ``python -m tests.benchmarks.scale``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.receiving.servers import postgresql_programs

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(300)]


def test_no_query_must_read_a_large_table_from_end_to_end() -> None:
    try:
        postgresql_programs()
    except FileNotFoundError as error:
        missing(str(error))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RADFUSE_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.scale", "--explain", "--studies", "500",
         "--instances", "5000"],
        cwd=ROOT, env=clean, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    for page in ("worklist", "archive", "case", "QIDO"):
        assert page in done.stdout
