"""Deformable registration measured against known fields, beside its peers.

    python -m tests.benchmarks.deformable [--methods radfuse elastix greedy ants] [--pairs 0 1 2]

Every run is a process of its own (for its peak memory), on ``--threads`` threads. All methods start
from the same place: images already aligned rigidly. Peers, with their documented settings, come
with the extra ``peers``: itk-elastix (default B-spline map), greedy (NCC 2x2x2, 100x50x10; NMI for
pairs of different contrast), ANTs (SyNOnly). ``RADFUSE_DATA`` names the folder of real images.

Columns: error in mm over points of the anatomy (mean, median, 95th percentile, maximum), seconds of
wall and CPU of the registration alone, peak memory of the process, smallest Jacobian determinant
and share of cell corners with 0 or less.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from analysis.contracts import IDENTITY, QualityFigure, RegistrationRecord
from analysis.deformation import Deformation
from analysis.geometry import Grid, Volume, to_sitk
from analysis.registration.deformable import deform_series
from tests.benchmarks.deformable_pairs import Pair, pairs

DATA = Path(os.environ.get("RADFUSE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
ELASTIX_TRIES = 3
"""It crashes now and then; seconds include the failed tries."""
Outcome = tuple[Deformation, str]
Method = Callable[[Pair, int], Outcome]


def unmoved(pair: Pair, _threads: int) -> Outcome:
    zero = np.zeros((*pair.reference.grid.shape, 3), np.float32)
    return Deformation(zero, pair.reference.grid), ""


def radfuse(pair: Pair, threads: int) -> Outcome:
    start = RegistrationRecord(
        "moving", "reference", "registered", IDENTITY, "identity", "1", "usable",
        quality=(QualityFigure("estimated_error", 0.0, "mm", "known"),),
    )
    record, field = deform_series(pair.moving, pair.reference, start, seed=1, threads=threads)
    figures = {q.name: q.value for q in record.quality}
    told = f"{record.verdict}, estimated {figures.get('estimated_error', float('nan')):.2f}"
    return field, told if record.model == "deformable" else "kept rigid"


def elastix(pair: Pair, _threads: int) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{folder}/{name}.mha" for name in ("fixed", "moving", "field")]
        for volume, name in zip((pair.reference, pair.moving), names, strict=False):
            sitk.WriteImage(sitk.Cast(to_sitk(volume), sitk.sitkFloat32), name)
        # In the scratch folder: it leaves a copy of the field where it runs.
        command = [sys.executable, str(Path(__file__).with_name("elastix_bspline.py")), *names]
        for _ in range(ELASTIX_TRIES):
            if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode == 0:
                break
        array = sitk.GetArrayFromImage(sitk.ReadImage(names[2]))
    return _from_array(array, pair.reference.grid), ""


def greedy(pair: Pair, threads: int) -> Outcome:
    module = importlib.import_module("picsl_greedy")
    metric = "NCC 2x2x2" if _one_contrast(pair) else "NMI"
    tool = module.Greedy3D()
    tool.execute(
        f"-d 3 -threads {threads} -m {metric} -i fixed moving -o warp "
        "-n 100x50x10 -s 1.732vox 0.7071vox",
        fixed=sitk.Cast(to_sitk(pair.reference), sitk.sitkFloat32),
        moving=sitk.Cast(to_sitk(pair.moving), sitk.sitkFloat32),
        warp=None,
    )
    return _from_array(sitk.GetArrayFromImage(tool["warp"]), pair.reference.grid), ""


def ants(pair: Pair, _threads: int) -> Outcome:
    module = importlib.import_module("ants")

    def image(volume: Volume) -> object:
        return module.from_numpy(
            np.ascontiguousarray(volume.array.astype(np.float32).transpose(2, 1, 0)),
            origin=[float(v) for v in volume.grid.affine[:3, 3]],
            spacing=list(volume.grid.spacing), direction=volume.grid.direction,
        )

    with tempfile.TemporaryDirectory() as folder:
        found = module.registration(
            image(pair.reference), image(pair.moving), type_of_transform="SyNOnly",
            initial_transform="Identity", outprefix=f"{folder}/ants",
        )
        (warp,) = [name for name in found["fwdtransforms"] if name.endswith(".nii.gz")]
        array = sitk.GetArrayFromImage(sitk.ReadImage(warp))
    return _from_array(array, pair.reference.grid), ""


METHODS: dict[str, Method] = {
    "unmoved": unmoved, "radfuse": radfuse, "elastix": elastix, "greedy": greedy, "ants": ants,
}  # fmt: skip


def _one_contrast(pair: Pair) -> bool:
    return "T2" not in pair.name


def _from_array(array: np.ndarray, grid: Grid) -> Deformation:
    return Deformation(np.ascontiguousarray(array, dtype=np.float32), grid)


def measure_one(method: str, number: int, threads: int) -> dict[str, object]:
    pair = list(pairs(DATA))[number]()
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    field, told = METHODS[method](pair, threads)
    wall, cpu = time.perf_counter() - wall, sum(os.times()[:4]) - cpu
    own, children = (
        resource.getrusage(who).ru_maxrss / 2**20
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    peak = max(own, children)
    error = np.linalg.norm(field.to_moving(pair.points) - pair.truth, axis=1)
    return {
        "pair": pair.name, "method": method, "told": told, "lost": int(np.isnan(error).sum()),
        "error": [float(v) for v in (
            np.nanmean(error), np.nanmedian(error), np.nanpercentile(error, 95), np.nanmax(error)
        )],
        "wall": wall, "cpu": cpu, "peak": peak, "jacobian": field.smallest_jacobian(),
        "folded": field.folded_share(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    count = len(list(pairs(DATA)))
    parser.add_argument("--pairs", nargs="+", type=int, default=list(range(count)))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", action="store_true", help="one method, one pair, as JSON")
    options = parser.parse_args()
    if options.one:
        found = measure_one(options.methods[0], options.pairs[0], options.threads)
        sys.stdout.write(f"\n{json.dumps(found)}\n")
        return
    columns = ("pair", "method", "mean", "median", "p95", "max", "wall s", "CPU s", "peak GB",
               "min J", "J <= 0")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    limits = {
        name: str(options.threads)
        for name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS")
    }
    for number in options.pairs:
        for method in options.methods:
            command = [sys.executable, "-m", "tests.benchmarks.deformable", "--one"]
            command += ["--methods", method, "--pairs", str(number)]
            command += ["--threads", str(options.threads)]
            done = subprocess.run(
                command, capture_output=True, text=True, env={**os.environ, **limits}
            )
            if done.returncode != 0:
                why = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
                print(f"| {number} | {method} | failed: {why} |", flush=True)
                continue
            _print(json.loads(done.stdout.strip().splitlines()[-1]))


def _print(found: dict[str, object]) -> None:
    error = found["error"]
    assert isinstance(error, list)
    numbers = " | ".join(f"{value:.2f}" for value in error)
    told = f" ({found['told']})" if found["told"] else ""
    print(
        f"| {found['pair']} | {found['method']}{told} | {numbers} | {found['wall']:.0f} | "
        f"{found['cpu']:.0f} | {found['peak']:.1f} | {found['jacobian']:.2f} | "
        f"{found['folded']:.2%} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
