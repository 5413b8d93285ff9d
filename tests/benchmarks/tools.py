"""How long the numbers of the measuring tools take: ``python -m tests.benchmarks.tools``.

A CT of 512 x 512 x 300 (0.8 x 0.8 x 1 mm) and a PET of 200 x 200 x 300 (2 x 2 x 1 mm), noisy so
that they compress as badly as real ones, are stored and measured from the files. Nothing is cached
from one row to the next. The database and HTTP are not part of it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import django
import numpy as np
from scipy.spatial.transform import Rotation

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workstation.settings.testing")
django.setup()

# Models can only be imported once Django is set up.
from tests.analyzing.results import stored  # noqa: E402
from workstation.analyzing.models import Layer  # noqa: E402
from workstation.analyzing.volume_files import StoredVolume  # noqa: E402
from workstation.reading.measured_layers import LayerVoxels, Placed  # noqa: E402
from workstation.reading.measured_values import (  # noqa: E402
    Measured,
    measure_outline,
    measure_sphere,
    measure_threshold,
)
from workstation.reading.measuring.lattices import Lattice  # noqa: E402

REPEATS = 5


def volume(folder: Path, name: str, shape: tuple[int, int, int], unit: str) -> StoredVolume:
    rng = np.random.default_rng(1)
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    array = (300 * np.sin(k / 20) * np.cos(j / 30) * np.sin(i / 25)).astype(np.float32)
    array += rng.normal(0, 12, shape).astype(np.float32)
    array[shape[0] // 2 - 8 : shape[0] // 2 + 8, shape[1] // 2, shape[2] // 2] = 2000
    record = stored(
        folder, "1.2", array.astype(np.int16), path=f"{name}.rfv", role=name, unit=unit
    )
    return StoredVolume(record, folder)


def placed(one: StoredVolume, spacing: tuple[float, float, float]) -> Placed:
    """Opened anew, so that no slice is decoded yet."""
    affine = np.diag([*spacing, 1.0])
    lattice = Lattice(one.levels[0].shape, affine, np.eye(4))
    record = one.record
    return Placed(
        Layer(), record.key, record.label, record.unit, record.modality, lattice, LayerVoxels(one)
    )


def row(name: str, act: Callable[[], Measured]) -> None:
    seconds, cpu = [], []
    for _ in range(REPEATS):
        start, used = time.perf_counter(), time.process_time()
        result = act()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    voxels = max(r.voxels or 0 for r in result.rows)
    wall, busy = (1000 * sorted(times)[REPEATS // 2] for times in (seconds, cpu))
    print(f"{name:<48}{voxels:>10}{wall:>10.0f}{busy:>10.0f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ct = volume(Path(folder), "CT", (300, 512, 512), "[hnsf'U]")
        pet = volume(Path(folder), "PT", (300, 200, 200), "g/ml{SUVbw}")

        def both() -> list[Placed]:
            return [placed(ct, (0.8, 0.8, 1.0)), placed(pet, (2.0, 2.0, 1.0))]

        def square(half: float, turn: Rotation) -> list[list[float]]:
            corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * half
            return (turn.apply(corners) + np.array([200.0, 200.0, 150.0])).tolist()

        print(f"{'measurement of CT and PET':<48}{'voxels':>10}{'ms':>10}{'CPU ms':>10}")
        planes = {
            "axial": Rotation.identity(),
            "sagittal": Rotation.from_euler("y", 90, True),
            "oblique 30 degrees": Rotation.from_euler("x", 30, True),
        }
        for name, turn in planes.items():
            normal = turn.apply([0.0, 0.0, 1.0]).tolist()
            for half in (10.0, 50.0):
                points = square(half, turn)
                row(
                    f"{name}, square of {2 * half:.0f} mm",
                    lambda p=points, n=normal: measure_outline("freehand", p, n, both()),
                )
        for radius in (10.0, 30.0, 60.0):
            points = [[200.0, 200.0, 150.0], [200.0 + radius, 200.0, 150.0]]
            row(f"sphere, radius {radius:.0f} mm", lambda p=points: measure_sphere(p, both()))
        for radius in (30.0, 100.0):
            points = [[200.0, 200.0, 150.0], [200.0 + radius, 200.0, 150.0]]
            row(
                f"PET volume at 41 % in a sphere of {radius:.0f} mm",
                lambda p=points: measure_threshold(p, {"method": "41%"}, both()[1], None),
            )


if __name__ == "__main__":
    main()
