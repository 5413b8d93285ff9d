"""What depends on the database once more, on the production database.

A throw-away PostgreSQL server is started, which gets every migration, and the tests that lock,
race, protect rows, search, and ask inside JSON run on it. The rest is the same on both.
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
TESTS = (
    "accounts/test_audit_is_append_only.py",
    "accounts/test_preferences.py::test_a_value_is_kept_for_its_owner_alone_until_taken_back",
    "accounts/test_preferences.py::test_what_the_database_could_not_keep_is_refused",
    "receiving/test_archive_pages.py",
    "receiving/test_services.py",
    "receiving/test_identity.py",
    "receiving/test_conflicts.py",
    "worklist/test_services.py",
    "worklist/test_list_page.py",
    "worklist/test_comparing.py",
    "analyzing/test_run_services.py",
    "reporting/test_services.py",
    "auditing/test_retention.py",
    "reading/test_measurement_changes.py",
    "flow/test_advance.py",
    "flow/test_entered_values.py::test_new_images_ask_again_for_what_they_change_and_for_nothing_else",
)  # fmt: skip

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


def test_what_depends_on_the_database_holds_on_postgresql(server: str) -> None:
    tests = [f"tests/{name}" for name in TESTS]
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow",
            "-k", "not any_order and not no_sequence and not any_sequence", *tests,
        ],
        cwd=ROOT,
        env={**os.environ, "RADFUSE_TEST_DATABASE_URL": server},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
