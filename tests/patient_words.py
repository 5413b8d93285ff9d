"""Every patient identifier that a test run meets, and every log line that it causes.

``tests/conftest.py`` installs both at the start of the run; the last test of the run
(``tests/security/test_whole_run_logs.py``) looks for the ones in the others. A run of several
processes shares the folder ``RADFUSE_TEST_RUN``, and that test is a run of its own after it.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from workstation.logs import WithoutValues

SHORTEST = 6
"""Shorter words, e.g. "Anna" or "123", stand in any text."""
OF_THE_PROGRAM = {
    "synthetic", "anonymous", "anonymized", "anonymised", "patient", "unknown", "demo patient",
    "radfuse", "instance", "series",
}  # fmt: skip
words: set[str] = set()


def remember(*values: object) -> None:
    """Take in IDs, names (each component) and dates of a patient."""
    for value in values:
        for part in re.split(r"[\^=\\\s]+", str(value or "")):
            plain = part.strip()
            if len(plain) >= SHORTEST and plain.casefold() not in OF_THE_PROGRAM:
                words.add(plain)


def watch_headers(header_class: Any) -> None:
    """Remember whom each header names that the program reads in this process."""
    made = header_class.__init__

    def init(self: Any, *args: Any, **values: Any) -> None:
        made(self, *args, **values)
        birth = self.birth_date.strftime("%Y%m%d") if self.birth_date else ""
        remember(self.patient_id, self.patient_name, self.accession_number, birth)

    header_class.__init__ = init


class WholeRun(logging.FileHandler):
    """Writes what the product's own handler would write, to one file for each process."""

    def __init__(self) -> None:
        self._own = None
        shared = os.environ.get("RADFUSE_TEST_RUN")
        if not shared:
            self._own = tempfile.TemporaryDirectory(prefix="radfuse-logs-")
        self.folder = Path(shared or self._own.name)
        super().__init__(self.folder / f"in-process-{os.getpid()}.log", encoding="utf-8")
        self.setFormatter(WithoutValues("%(asctime)s %(levelname)s %(name)s %(message)s"))

    @property
    def path(self) -> Path:
        return Path(self.baseFilename)


whole_run = WholeRun()


def leave_behind(tests: int) -> None:
    """At the end of a process: its words and how many tests it ran, for the last test."""
    text = "\n".join(sorted(words))
    (whole_run.folder / f"words-{os.getpid()}.txt").write_text(text, encoding="utf-8")
    (whole_run.folder / f"tests-{os.getpid()}.txt").write_text(str(tests))


def of_all_processes() -> tuple[set[str], int]:
    """The words of this process and of those before it, and how many tests those ran."""
    found, tests = set(words), 0
    for path in whole_run.folder.glob("words-*.txt"):
        found.update(path.read_text(encoding="utf-8").splitlines())
    for path in whole_run.folder.glob("tests-*.txt"):
        tests += int(path.read_text())
    return found, tests
