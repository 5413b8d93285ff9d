"""Fixtures of every room. What is missing is skipped aloud at home and fails in CI."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from django.db import connection
from django.utils import translation

from tests.patient_words import leave_behind, watch_headers, whole_run
from workstation.broker import broker
from workstation.catalogues import compile_catalogues
from workstation.receiving.headers import Header

ROOT = Path(__file__).resolve().parents[1]
IN_CI = bool(os.environ.get("CI"))


LAST = "tests/security/test_whole_run_logs.py"


def pytest_configure(config: pytest.Config) -> None:
    """From the first test to the last, keep log lines and the names of patients.
    What set-up makes of the catalogues is made here for those who run pytest alone."""
    watch_headers(Header)
    compile_catalogues()


def pytest_runtest_setup() -> None:
    """Each time: importing ``workstation.asgi`` sets logging up anew, without this handler; and the
    last page of the test before may have been Chinese."""
    logging.getLogger().addHandler(whole_run)
    translation.deactivate()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What the last test needs to know of this process."""
    leave_behind(session.testscollected)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that searches the run's logs comes when everything else has logged."""
    items.sort(key=lambda item: item.nodeid.startswith(LAST))


def missing(what: str) -> NoReturn:
    """Skip at home, fail in CI: a test may never vanish."""
    if IN_CI:
        pytest.fail(f"CI lacks {what}")
    pytest.skip(f"needs {what}")


def need(program: str) -> str:
    """The path of a program that the test drives, e.g. ``storescu``."""
    path = shutil.which(program)
    if path is None:
        missing(f"the program {program}")
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images (``RADFUSE_DATA``)."""
    folder = Path(os.environ.get("RADFUSE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        missing(f"the real images ({folder}); name their folder in RADFUSE_DATA")
    return folder


APPEND_ONLY = ("accounts_auditrecord", "reporting_version")
_triggers: dict[str, str] = {}


def _existing_triggers() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        return {n: sql for n, sql in cursor.fetchall() if n.startswith(APPEND_ONLY)}


@pytest.fixture(autouse=True)
def _append_only_tables(request: pytest.FixtureRequest) -> Iterator[None]:
    """The append-only triggers are there for every test that uses the database; they step aside
    only while a transactional test's flush deletes every row. (PostgreSQL flushes by TRUNCATE,
    which row triggers do not see.)"""
    marker = request.node.get_closest_marker("django_db")
    names = request.fixturenames
    transactional = "transactional_db" in names or "live_server" in names
    transactional = transactional or bool(marker and marker.kwargs.get("transaction", False))
    if not (transactional or marker or "db" in names):
        yield
        return
    request.getfixturevalue("transactional_db" if transactional else "db")
    if connection.vendor != "sqlite":
        yield
        return
    present = _existing_triggers()
    _triggers.update(present)
    assert any(name.startswith(APPEND_ONLY[0]) for name in _triggers), "triggers are missing"
    with connection.cursor() as cursor:
        for name in _triggers.keys() - present.keys():
            cursor.execute(_triggers[name])
    yield
    if transactional:
        with connection.cursor() as cursor:
            for name in _existing_triggers():
                cursor.execute(f'DROP TRIGGER "{name}"')


@pytest.fixture(autouse=True)
def _no_messages_left() -> None:
    """Messages that an earlier test sent and nobody took must not reach this test's worker."""
    broker.flush_all()
