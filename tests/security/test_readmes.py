"""The lists in the rooms' READMEs are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workstation.accounts.models import Role
from workstation.accounts.permissions import PERMISSIONS
from workstation.accounts.services import ACTIONS
from workstation.broker import QUEUES
from workstation.live import KINDS

ROOMS = Path(__file__).resolve().parents[2] / "workstation"


def rows_below(text: str, heading: str) -> dict[str, list[str]]:
    """First cell (in backquotes) -> the other cells, of the table below a heading."""
    section = text.split(heading, 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", section, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


def test_the_permission_table() -> None:
    text = (ROOMS / "accounts" / "README.md").read_text()
    told = {
        name: {role for role, cell in zip(Role.values, cells, strict=True) if cell == "yes"}
        for name, cells in rows_below(text, "## Permissions").items()
    }
    assert told == {name: {str(role) for role in roles} for name, roles in PERMISSIONS.items()}


def test_the_audit_actions() -> None:
    text = (ROOMS / "accounts" / "README.md").read_text()
    assert {k: v[0] for k, v in rows_below(text, "## Audit").items()} == ACTIONS


def test_queues_and_live_notices() -> None:
    text = (ROOMS / "README.md").read_text()
    assert {k: v[0] for k, v in rows_below(text, "## Queues").items()} == QUEUES
    assert rows_below(text, "## Live notices").keys() == KINDS.keys()


@pytest.mark.parametrize("room", ["accounts", "worklist", "reading", "reporting", "exporting"])
def test_every_file_of_a_room_is_described(room: str) -> None:
    text = (ROOMS / room / "README.md").read_text()
    for file in (ROOMS / room).glob("*.py"):
        if file.name not in ("__init__.py", "apps.py", "urls.py"):
            assert f"`{file.name}`" in text, file.name


@pytest.mark.parametrize("part", ["", "network", "services", "views"])
def test_every_file_of_the_receiving_room_is_described(part: str) -> None:
    text = (ROOMS / "receiving" / "README.md").read_text()
    files = [f for f in (ROOMS / "receiving" / part).glob("*.py") if f.name[0] != "_"]
    assert len(files) > 5
    named = [f"{part}/{file.name}" if part else file.name for file in files]
    missing = [name for name in named if f"`{name}`" not in text]
    assert not set(missing) - {"apps.py", "urls.py"}
