"""The database rooms once more, on the production database.

A throw-away PostgreSQL server is started and the tests that lock, race and protect rows run on it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("accounts", "worklist", "reporting", "analyzing", "flow", "auditing")
FILES = tuple(
    f"tests/receiving/test_{name}.py" for name in ("identity", "conflicts", "archive_pages")
)

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(900)]


def programs() -> Path:
    """The newest installed server's folder (Debian keeps it off the PATH)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    if path is None:
        missing("PostgreSQL's server programs (package postgresql)")
    return Path(path).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a running server. PostgreSQL refuses to run as root, so root steps down."""
    folder = programs()
    as_user: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="radfuse-pg-") as home:
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(home, account.pw_uid, account.pw_gid)
            as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

        def run(*command: str) -> None:
            done = subprocess.run(
                command, cwd=home, capture_output=True, text=True, check=False, **as_user
            )  # type: ignore[call-overload]
            assert done.returncode == 0, done.stderr

        data = f"{home}/data"
        run(str(folder / "initdb"), "-D", data, "-U", "radfuse", "--auth=trust", "--no-sync")
        control = str(folder / "pg_ctl")
        port = free_port()
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={port} -k {home} "
            "-c fsync=off -c max_connections=50"
        )
        run(control, "-w", "-D", data, "-l", f"{home}/log", "-o", options, "start")
        try:
            yield f"postgres://radfuse@127.0.0.1:{port}/postgres"
        finally:
            run(control, "-D", data, "-m", "fast", "stop")


def test_the_database_rooms_hold_on_postgresql(server: str) -> None:
    folders = [f"tests/{room}" for room in ROOMS]
    assert all((ROOT / folder).is_dir() for folder in folders)
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow",
            *folders, *FILES,
        ],
        cwd=ROOT,
        env={**os.environ, "RADFUSE_TEST_DATABASE_URL": server},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
