"""Small digital patients, made once for all tests of this folder."""

from __future__ import annotations

import pytest

from analysis.phantoms.head import make_head
from analysis.phantoms.model import LesionSpec, Phantom
from analysis.phantoms.thorax import make_thorax

COARSE = (4.0, 4.0, 4.0)


@pytest.fixture(scope="session")
def thorax() -> Phantom:
    return make_thorax(7, spacing_mm=COARSE, positive=True)


@pytest.fixture(scope="session")
def head() -> Phantom:
    return make_head(7, spacing_mm=(3.0, 3.0, 3.0), positive=True)


@pytest.fixture(scope="session")
def still() -> Phantom:
    """The same patient as ``head``, not moved, without noise."""
    return make_head(7, spacing_mm=(3.0, 3.0, 3.0), positive=True, aligned=True, noise=0.0)


@pytest.fixture(scope="session")
def low_grade() -> Phantom:
    return make_head(7, spacing_mm=(3.0, 3.0, 3.0), positive=False, aligned=True)


@pytest.fixture(scope="session")
def fine_thorax() -> Phantom:
    """At the resolution of the demo, with one nodule of each size that matters."""
    specs = [
        LesionSpec(11.0, 8.0, True),
        LesionSpec(14.0, 0.8, False, spiculated=True),
        LesionSpec(20.0, 5.0, True, spiculated=True),
        LesionSpec(30.0, 4.0, True),
    ]
    return make_thorax(8, lesions=specs)
