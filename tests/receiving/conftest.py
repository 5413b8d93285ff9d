"""Fixtures of the receiving room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.factories import RemoteNodeFactory, SiteFactory, UserFactory
from tests.receiving.dicomweb import client_with_token
from workstation.accounts.models import Role
from workstation.receiving.listener import Listener, start_listener
from workstation.receiving.models import RemoteNode
from workstation.receiving.network import admitting


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


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> RemoteNode:
    """A scanner that may send. Nobody was seen or refused yet."""
    monkeypatch.setattr(admitting, "_noted", admitting.Often(admitting.NOTE_SECONDS))
    monkeypatch.setattr(admitting, "_seen", admitting.Often(admitting.SEEN_SECONDS))
    return RemoteNodeFactory(site__code="north", ae_title="SCANNER")


@pytest.fixture
def listener(node: RemoteNode) -> Iterator[Listener]:
    """A running listener that knows this scanner."""
    running = start_listener("127.0.0.1", 0, "RADFUSE")
    yield running
    running.stop()
