"""With what a number was made: versions of this science and of the libraries below it."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

ANALYSIS_VERSION = "0.1.0"
"""Version of the science; raise it whenever a result can change."""

LIBRARIES = ("numpy", "scipy", "pydicom", "SimpleITK", "scikit-image", "torch", "monai")


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def versions(*names: str) -> dict[str, str]:
    """Installed versions of the named distributions (all of ours if none is named), and our own.

    Reads package metadata only: imports nothing.
    """
    found = {name: _version(name) for name in (names or LIBRARIES)}
    return {"analysis": ANALYSIS_VERSION, **found}


def provenance(*, seed: int | None = None, device: str = "cpu", **more: Any) -> dict[str, Any]:
    """The evidence block of a result: versions, seed, device, and whatever else is named."""
    block: dict[str, Any] = {
        "versions": versions(),
        "python": platform.python_version(),
        "device": device,
    }
    if seed is not None:
        block["seed"] = seed
    return block | more
