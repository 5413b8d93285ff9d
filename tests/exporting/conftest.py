"""Folders of their own for each test, and cases built on demand."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from tests.exporting.house import Build, House, build
from workstation.broker import broker


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.RADFUSE_HOME = tmp_path / "home"
    for name in ("ARCHIVE", "RUNS", "QUARANTINE", "UPLOADS", "EXPORTS"):
        folder = settings.RADFUSE_HOME / name.lower()
        folder.mkdir(parents=True)
        setattr(settings, f"{name}_DIR", folder)
    broker.flush_all()


@pytest.fixture
def make_case(db: None, tmp_path: Path) -> Build:
    """``make_case(findings=0, tilt_degrees=12, ...)``."""
    images = tmp_path / "images"
    images.mkdir()
    return functools.partial(build, images)


@pytest.fixture
def house(make_case: Build) -> House:
    """A PET/CT with two findings; PET in a frame of its own, registered."""
    return make_case()
