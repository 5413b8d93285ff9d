"""Folders of their own for each test, and a case with stored volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.reading.house import House, build


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.RUNS_DIR = tmp_path / "runs"


@pytest.fixture
def house(db: None) -> House:
    return build()


@pytest.fixture
def api(house: House) -> Client:
    """Signed in as the reader who holds the case."""
    client = Client()
    client.force_login(house.reader)
    return client
