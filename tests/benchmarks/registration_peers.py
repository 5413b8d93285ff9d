"""Radfuse and its peers on the same pairs: ``python -m tests.benchmarks.registration_peers``.

Every method runs in a process of its own, which measures wall and CPU seconds of the registration
alone (images are read and libraries imported before) and the process's peak memory. Results are
kept as JSON lines (``--out``), so that a long table can be made in pieces::

    python -m tests.benchmarks.registration_peers --perturbations 30 --out data/peers
    python -m tests.benchmarks.registration_peers --methods radfuse --groups brains --out data/peers
    python -m tests.benchmarks.registration_peers --table --out data/peers

The peers come with the optional extra ``peers``; one that is not installed is named and left out.
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
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from analysis.geometry import to_sitk
from tests.benchmarks.registration_methods import METHODS, THREADS
from tests.benchmarks.registration_pairs import (
    SUCCESS_MM,
    Pair,
    brains,
    gliomas,
    heads,
    perturbed,
    sarcomas,
    thoraces,
)

NEEDS = {
    "radfuse": "analysis", "simpleitk": "SimpleITK", "elastix": "itk", "greedy": "picsl_greedy",
    "ants": "ants",
}
GROUPS = {
    "brains": brains, "gliomas": gliomas, "sarcomas": sarcomas,
    "heads": lambda: heads(2), "thoraces": lambda: thoraces(2),
}
MAXIMUM = (30.0, 30.0)
"""Degrees and millimetres of the perturbations."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--perturbations", type=int, default=30, help="per pair of real images")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--pairs", nargs="+", default=[""], help="only pairs that hold this text")
    parser.add_argument("--out", type=Path, default=None, help="folder for the results")
    parser.add_argument("--table", action="store_true", help="only print what --out holds")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker[0], Path(options.worker[1]))
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        if not options.table:
            run(options.methods, options.groups, options.pairs, options.perturbations, out)
        return table(out)


def run(
    methods: list[str], groups: list[str], names: list[str], count: int, out: Path
) -> None:
    present = [name for name in methods if _installed(name)]
    for group in groups:
        for pair in GROUPS[group]():
            name = f"{pair.group}: {pair.name}"
            if not any(part in name for part in names):
                continue
            rng = np.random.default_rng(zlib.crc32(pair.name.encode()))
            fewer = count if pair.group == "brain averages" else max(2, count // 3)
            variants = [perturbed(pair, *MAXIMUM, rng) for _ in range(fewer)]
            with tempfile.TemporaryDirectory() as folder:
                job = _written(variants, Path(folder))
                for method in present:
                    rows = _results(method, job)
                    with (out / f"{method}.jsonl").open("a") as file:
                        for variant, row in zip(variants, rows, strict=True):
                            file.write(json.dumps(_judged(variant, row) | {"pair": name}) + "\n")
                    print(f"{name}: {method} done", file=sys.stderr, flush=True)


def _installed(method: str) -> bool:
    try:
        importlib.import_module(NEEDS[method])
    except ImportError as error:
        print(f"LEFT OUT: {method} is not installed ({error}); pip install '.[peers]'")
        return False
    return True


def _written(variants: list[Pair], folder: Path) -> Path:
    """The images as NIfTI files and the list of what to do."""

    def write(pair: Pair, which: str, name: str) -> str:
        volume = getattr(pair, which)
        array = np.asarray(volume.array)
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        path = folder / f"{name}.nii"
        sitk.WriteImage(to_sitk(volume.with_array(array)), str(path))
        return str(path)

    reference = write(variants[0], "reference", "reference")
    jobs = [
        [write(v, "moving", f"moving{n}"), reference, v.moving.modality, v.reference.modality]
        for n, v in enumerate(variants)
    ]
    path = folder / "jobs.json"
    path.write_text(json.dumps(jobs))
    return path


def _results(method: str, job: Path) -> list[dict[str, Any]]:
    answer = job.with_name(f"{method}.json")
    environment = os.environ | {
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS),
    }
    command = [sys.executable, "-m", __spec__.name, "--worker", method, str(job)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or not answer.exists():
        raise RuntimeError(f"{method} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    rows: list[dict[str, Any]] = json.loads(answer.read_text())
    return rows


def work(method: str, job: Path) -> int:
    """In the child: all registrations of one pair by one method."""
    rows = []
    for moving, reference, first, second in json.loads(job.read_text()):
        solve = METHODS[method](Path(moving), Path(reference), (first, second))
        wall, cpu = time.perf_counter(), _cpu()
        try:
            pull, note = solve()
            failed = ""
        except RuntimeError as error:
            pull, note, failed = np.eye(4), {}, str(error).strip().splitlines()[-1]
        rows.append(
            {
                "pull": pull.tolist(), "failed": failed, "note": note,
                "wall": time.perf_counter() - wall, "cpu": _cpu() - cpu,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    job.with_name(f"{method}.json").write_text(json.dumps(rows))
    return 0


def _cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def _judged(pair: Pair, row: dict[str, Any]) -> dict[str, Any]:
    errors = pair.errors(np.array(row["pull"]))
    return {
        "mean": float(errors.mean()), "max": float(errors.max()), "failed": row["failed"],
        "wall": row["wall"], "cpu": row["cpu"], "peak_mb": row["peak_mb"],
        "verdict": row["note"].get("verdict", ""),
    }


def table(out: Path) -> int:
    rows: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(out.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[row["pair"]][path.stem].append(row)
    order = [name for name in METHODS if any(name in found for found in rows.values())]
    for pair, found in rows.items():
        print(f"\n### {pair}\n\n{HEAD}")
        for method in order:
            if method in found:
                print(_line(method, found[method]))
    print(f"\n### All pairs that every method has, N equal\n\n{HEAD}")
    common = [pair for pair, found in rows.items() if all(m in found for m in order)]
    pooled = {}
    for method in order:
        every = []
        for pair in common:
            fewest = min(len(rows[pair][m]) for m in order)
            every += rows[pair][method][:fewest]
        pooled[method] = every
        print(_line(method, every))
    return 0 if not pooled.get("radfuse") else _verdict(pooled)


HEAD = (
    "| method | N | mean | median | p95 | max mm | success | wall s | CPU s | peak MB |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def _line(method: str, rows: list[dict[str, Any]]) -> str:
    """Errors are means over the target points of each run; max is the worst point of all runs."""
    if not rows:
        return f"| {method} | 0 |"
    mean = np.array([row["mean"] for row in rows])
    good = np.mean([row["mean"] < SUCCESS_MM and not row["failed"] for row in rows])
    verdicts = [row["verdict"] for row in rows if row["verdict"]]
    name = method
    if verdicts:
        name += " (" + ", ".join(
            f"{verdicts.count(v)} {v}" for v in ("usable", "doubtful", "refused")
            if v in verdicts
        ) + ")"
    return (
        f"| {name} | {len(rows)} | {mean.mean():.2f} | {np.median(mean):.2f} "
        f"| {np.percentile(mean, 95):.2f} | {max(row['max'] for row in rows):.2f} | {good:.0%} "
        f"| {np.median([row['wall'] for row in rows]):.2f} "
        f"| {np.median([row['cpu'] for row in rows]):.2f} "
        f"| {max(row['peak_mb'] for row in rows):.0f} |"
    )


def _verdict(pooled: dict[str, list[dict[str, Any]]]) -> int:
    """Against the peer with the best median error: is the target met?"""

    def median(method: str, what: str) -> float:
        return float(np.median([row[what] for row in pooled[method]]))

    peers = [m for m in pooled if m != "radfuse" and pooled[m]]
    if not peers:
        return 0
    best = min(peers, key=lambda m: median(m, "mean"))
    met = [
        median("radfuse", "mean") <= median(best, "mean"),
        median("radfuse", "cpu") <= 0.5 * median(best, "cpu"),
    ]
    print(f"\n{'met' if met[0] else 'NOT MET'}: median error no worse than the best peer ({best})")
    print(f"{'met' if met[1] else 'NOT MET'}: at most half of that peer's CPU time")
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
