"""The rules of the house that a machine can check: one job a file, nothing undocumented."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED_AT_TOP = {
    "manage.py", "pyproject.toml", "constraints.txt", "README.md", "LICENSE",
    "workstation", "analysis", "frontend", "templates", "tests", "deploy",
    ".ci", ".gitignore",
}  # fmt: skip
LONGEST_FILE = 400
MEGABYTE = 1024 * 1024


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]
    assert len(files) > 100, "the guard must see something to guard"
    return files


def test_the_top_level_is_closed() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert top <= ALLOWED_AT_TOP, f"not at the top level: {sorted(top - ALLOWED_AT_TOP)}"


def test_no_source_file_needs_a_table_of_contents() -> None:
    decisions = (ROOT / "deploy" / "DECISIONS.md").read_text()
    long = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix in (".py", ".ts", ".css")
        and "migrations" not in path.parts
        and len(path.read_text().splitlines()) > LONGEST_FILE
    ]
    unexplained = [name for name in long if name not in decisions]
    assert not unexplained, f"split by job, or explain in deploy/DECISIONS.md: {unexplained}"


def test_no_large_file_is_tracked() -> None:
    large = [path for path in tracked() if path.stat().st_size > 10 * MEGABYTE]
    assert not large


def test_every_room_has_its_readme() -> None:
    rooms = [path.parent for path in ROOT.glob("workstation/*/apps.py")]
    rooms += [path.parent for path in ROOT.glob("analysis/*/__init__.py")]
    rooms += [ROOT / name for name in ("workstation", "analysis", "frontend", "deploy", "tests")]
    assert len(rooms) > 12
    missing = [str(room.relative_to(ROOT)) for room in rooms if not (room / "README.md").exists()]
    assert not missing


def test_every_setting_is_documented_and_the_reverse() -> None:
    pattern = re.compile(r'env\.\w+\(\s*"(RADFUSE_\w+)"|env\.db_url\("(RADFUSE_\w+)"')
    source = (ROOT / "workstation" / "settings" / "base.py").read_text()
    read = {name for pair in pattern.findall(source) for name in pair if name}
    written = set(
        re.findall(r"^(RADFUSE_\w+)=", (ROOT / "deploy" / "env.example").read_text(), re.M)
    )
    assert read == written
    assert len(read) > 20


def test_work_is_finished_not_promised() -> None:
    promises = ["TO" + "DO", "FIX" + "ME", "X" * 3 + r"\b", "not implemented " + "yet"]
    words = re.compile("|".join(promises))
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix in (".py", ".ts", ".html", ".css", ".sh")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if words.search(line)
    ]
    assert not found


@pytest.mark.parametrize("module", ["workstation.urls", "workstation.asgi"])
def test_the_web_process_loads_no_torch_monai_or_simpleitk(module: str) -> None:
    """Asked of a real interpreter: import-linter cannot see what third parties import."""
    code = (
        "import os, sys, django;"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'workstation.settings.testing';"
        f"django.setup(); import {module};"
        "heavy = {'torch', 'monai', 'SimpleITK', 'highdicom'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-600:]


def test_live_refreshes_never_drop_the_last_notice() -> None:
    """htmx ``throttle`` swallows the end of a burst, and a list stays stale; ``delay`` does not."""
    pages = [path for path in tracked() if path.suffix == ".html"]
    assert any("radfuse:live-case" in path.read_text() for path in pages)
    assert not [str(path) for path in pages if "throttle:" in path.read_text()]
