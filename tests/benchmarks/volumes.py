"""How fast a full-size series becomes a stored volume: ``python -m tests.benchmarks.volumes``.

A synthetic 512 x 512 x 300 CT is written as DICOM, loaded, stored and read back; the real lossy
neck CT follows when ``RADFUSE_DATA`` (default ``../shared/data``) is there.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from analysis.volume_store import read_volume, write_volume
from analysis.volumes import load_series, scan_folder
from tests.analysis.dicom_series import make_series


def measure(name: str, folder: Path, work: Path) -> None:
    """Print one row: seconds to scan, load, store and read back; size and ratio of the store."""
    start = time.perf_counter()
    (series,), _ = scan_folder([folder])
    scanned = time.perf_counter()
    loaded = load_series(series)
    read = time.perf_counter()
    path = work / "assemble" / "v.rfv"
    record = write_volume(path, loaded.volume, run_dir=work, key="k", label="CT", role="CT")
    stored = time.perf_counter()
    again = read_volume(work, record)
    done = time.perf_counter()
    assert np.array_equal(again.array, loaded.volume.array)
    size, raw = path.stat().st_size / 2**20, loaded.volume.array.size * 2 / 2**20
    shape = "x".join(map(str, loaded.volume.array.shape))
    print(
        f"{name:<16}{shape:>14}{scanned - start:>8.2f}{read - scanned:>8.2f}{stored - read:>8.2f}"
        f"{done - stored:>8.2f}{size:>10.1f}{raw / size:>8.2f}"
    )


def main() -> None:
    print(f"{'series':<16}{'shape':>14}{'scan s':>8}{'load s':>8}{'store s':>8}{'read s':>8}"
          f"{'MiB':>10}{'ratio':>8}")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        rng = np.random.default_rng(1)
        y, x = np.mgrid[0:512, 0:512]
        body = np.where((x - 256) ** 2 + (y - 256) ** 2 < 200**2, 40, -1000)
        array = (body + rng.normal(0, 12, (300, 512, 512))).astype(np.int16)
        make_series(work / "ct", array, affine=np.diag([0.7, 0.7, 1.0, 1.0]))
        measure("synthetic CT", work / "ct", work)
        neck = Path(os.environ.get("RADFUSE_DATA", "../shared/data")) / "neck-ct-lossy"
        if neck.is_dir():
            measure("neck CT (J2K)", neck, work)


if __name__ == "__main__":
    main()
