"""How fast, and in how much memory, series become volumes and volumes change their grid:
``python -m tests.benchmarks.volumes``.

Synthetic CTs of 512 x 512 x 300 and 600 are written as DICOM, loaded, stored and read back; the
real lossy neck CT follows when ``RADFUSE_DATA`` (default ``../shared/data``) is there. Then a layer
of 400 x 400 x 400 is put onto the grid of the large CT in every way that there is. Each row is a
process of its own, so its peak memory (resident, libraries included) is that of nothing else.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from analysis.deformation import Deformation
from analysis.geometry import Grid, Volume, as_matrix
from analysis.resampling import resample
from analysis.volume_store import read_volume, write_volume
from analysis.volumes import load_series, scan_folder
from tests.analysis.dicom_series import make_series

LARGE = Grid((600, 512, 512), np.diag([0.7, 0.7, 1.0, 1.0]))
WAYS = ("linear", "cubic", "nearest", "labels", "deformed", "to 3 mm")


def peak_mib() -> float:
    """Peak resident memory of this process. ``ru_maxrss`` would count the parent before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_series(name: str, folder: Path, work: Path) -> None:
    """Print one row: seconds to scan, load, store and read back; size and ratio of the store."""
    start = time.perf_counter()
    (series,), _ = scan_folder([folder])
    scanned = time.perf_counter()
    loaded = load_series(series)
    read, loading_mib = time.perf_counter(), peak_mib()
    path = work / "assemble" / "v.rfv"
    record = write_volume(path, loaded.volume, run_dir=work, key="k", label="CT", role="CT")
    stored, storing_mib = time.perf_counter(), peak_mib()
    again = read_volume(work, record)
    done = time.perf_counter()
    assert all(np.array_equal(a, b) for a, b in zip(again.array, loaded.volume.array, strict=True))
    size, raw = path.stat().st_size / 2**20, loaded.volume.array.size * 2 / 2**20
    shape = "x".join(map(str, loaded.volume.array.shape))
    print(
        f"{name:<16}{shape:>14}{scanned - start:>8.2f}{read - scanned:>8.2f}{stored - read:>8.2f}"
        f"{done - stored:>8.2f}{size:>10.1f}{raw / size:>8.2f}{loading_mib:>10.0f}"
        f"{storing_mib:>10.0f}",
        flush=True,
    )


def moved_by(grid: Grid) -> np.ndarray:
    """Some degrees and millimetres about the middle of ``grid``."""
    middle, motion = np.eye(4), np.eye(4)
    middle[:3, 3] = grid.centre
    motion[:3, :3] = Rotation.from_euler("xyz", (6, -4, 8), degrees=True).as_matrix()
    motion[:3, 3] = (7, -5, 6)
    return np.asarray(middle @ motion @ np.linalg.inv(middle))


def measure_resampling(way: str) -> None:
    """Print one row: 400 x 400 x 400 of 1 mm onto 512 x 512 x 600 (``to 3 mm``: onto a model's
    grid), and the peak memory before and after."""
    rng = np.random.default_rng(2)
    array = rng.integers(-1000, 1500, (400, 400, 400), dtype=np.int16)
    affine = np.eye(4)
    affine[:3, 3] = LARGE.centre - 199.5
    source = Grid((400, 400, 400), affine)
    target = LARGE
    if way == "to 3 mm":
        target = Grid((134, 134, 134), np.diag([3.0, 3.0, 3.0, 1.0]))
        target.affine[:3, 3] = affine[:3, 3]
    if way == "labels":
        k, j, i = np.ogrid[:400, :400, :400]
        array = np.zeros(source.shape, np.uint8)
        for n in range(1, 21):
            z, y, x = rng.integers(40, 360, 3)
            array[(k - z) ** 2 + (j - y) ** 2 + (i - x) ** 2 < rng.integers(4, 30) ** 2] = n
    volume = Volume(array, source, "1" if way == "labels" else "[hnsf'U]")
    more: dict[str, object] = {"matrix": as_matrix(moved_by(LARGE))}
    if way == "deformed":
        nodes = Grid((100, 60, 60), np.diag([6.0, 6.0, 6.0, 1.0]))
        field = rng.normal(0, 2, (*nodes.shape, 3)).astype(np.float32)
        more = {"deformation": Deformation(field, nodes, as_matrix(moved_by(LARGE)))}
    if way in ("cubic", "nearest", "labels"):
        more["interpolation"] = way
    before, start = peak_mib(), time.perf_counter()
    moved, inside = resample(volume, target, **more)
    seconds = time.perf_counter() - start
    size = (moved.array.nbytes + inside.nbytes) / 2**20
    print(f"{way:<16}{seconds:>10.2f}{before:>12.0f}{peak_mib():>12.0f}{size:>12.0f}"
          f"{inside.mean():>10.2f}", flush=True)  # fmt: skip


def row(*arguments: str) -> None:
    """Run one measurement in a process of its own; what it prints appears here."""
    subprocess.run([sys.executable, "-m", "tests.benchmarks.volumes", *arguments], check=True)


def write_ct(folder: Path, slices: int) -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:512, 0:512]
    body = np.where((x - 256) ** 2 + (y - 256) ** 2 < 200**2, 40, -1000)
    noise = rng.normal(0, 12, (50, 512, 512)).astype(np.int16)
    array = np.concatenate([body.astype(np.int16) + noise] * (slices // 50))
    make_series(folder, array, affine=np.diag([0.7, 0.7, 1.0, 1.0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", nargs=2, metavar=("NAME", "FOLDER"), help="one row only")
    parser.add_argument("--resample", choices=WAYS, help="one row only")
    options = parser.parse_args()
    if options.resample:
        return measure_resampling(options.resample)
    if options.series:
        with tempfile.TemporaryDirectory() as name:
            return measure_series(options.series[0], Path(options.series[1]), Path(name))
    print(f"{'series':<16}{'shape':>14}{'scan s':>8}{'load s':>8}{'store s':>8}{'read s':>8}"
          f"{'MiB':>10}{'ratio':>8}{'load MiB':>10}{'store MiB':>10}", flush=True)  # fmt: skip
    for slices in (300, 600):
        with tempfile.TemporaryDirectory() as name:
            write_ct(Path(name), slices)
            row("--series", "synthetic CT", name)
    neck = Path(os.environ.get("RADFUSE_DATA", "../shared/data")) / "neck-ct-lossy"
    if neck.is_dir():
        row("--series", "neck CT (J2K)", str(neck))
    print(f"\n{'400^3 onto':<16}{'seconds':>10}{'before MiB':>12}{'peak MiB':>12}"
          f"{'result MiB':>12}{'covered':>10}", flush=True)  # fmt: skip
    for way in WAYS:
        row("--resample", way)
    return None


if __name__ == "__main__":
    main()
