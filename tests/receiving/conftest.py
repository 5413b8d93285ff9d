"""Fixtures of the receiving room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.factories import SiteFactory, UserFactory
from tests.receiving.dicomweb import client_with_token
from workstation.accounts.models import Role


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Path:
    """An archive of its own for each test."""
    home = tmp_path / "home"
    settings.RADFUSE_HOME = home
    for name in ("ARCHIVE_DIR", "QUARANTINE_DIR", "UPLOADS_DIR"):
        folder = home / name.removesuffix("_DIR").lower()
        folder.mkdir(parents=True)
        setattr(settings, name, folder)
    settings.FILE_UPLOAD_TEMP_DIR = settings.UPLOADS_DIR
    return home


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def web(db: None) -> Client:
    """A program with a token for everything at the site ``north``."""
    site = SiteFactory(code="north")
    owner = UserFactory(role=Role.ADMINISTRATOR, sites=[site])
    return client_with_token(owner, site)
