"""The last test of every run: no patient identifier in any log line that the run caused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.patient_words import of_all_processes, remember, whole_run, words

MARK = "the whole run is watched"


def log_files(everything: Path) -> list[Path]:
    """The logs of the test processes, and of the processes that tests started."""
    shared = set(whole_run.folder.rglob("*.log"))
    return [whole_run.path, *sorted((shared | set(everything.rglob("*.log"))) - {whole_run.path})]


def test_no_patient_identifier_in_any_log_line_of_the_whole_run(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    logging.getLogger("workstation.test").warning(MARK)
    files = log_files(tmp_path_factory.getbasetemp())
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in files}
    assert MARK in texts[whole_run.path], "the log of this run is not being kept"
    known, tests = of_all_processes()
    if tests + len(request.session.items) > 500:
        assert len(known) > 50 and len(files) > 5, "a whole run meets patients and processes"
    found = {
        (word, path.name) for path, text in texts.items() for word in known if word in text
    }
    assert not found


def test_a_logged_name_would_be_found(tmp_path: Path) -> None:
    remember("Wintermeyer^Ottilie")
    (tmp_path / "listener.log").write_text("stored an object of Wintermeyer\n")
    try:
        text = log_files(tmp_path)[1].read_text()
        assert [word for word in words if word in text] == ["Wintermeyer"]
    finally:
        words.difference_update({"Wintermeyer", "Ottilie"})
