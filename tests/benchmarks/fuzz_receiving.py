"""Damaged files by the ten thousand: ``python -m tests.benchmarks.fuzz_receiving``.

Every input goes over C-STORE to a running listener process and over STOW-RS to a running web
server; every 25th time a good file must be stored both ways. Stops at the first broken promise
(an answer that is neither stored nor refused, no answer in 20 s, a process that died).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.receiving.fuzzing import Findings, House, count_good, fuzz, lost
from tests.receiving.mutations import good_seeds, mutants, seed_of
from tests.receiving.objects import ct, encode, structure_set
from tests.receiving.servers import ROOT

DATA = Path(os.environ.get("RADFUSE_DATA", ROOT.parent / "shared" / "data")) / "dicom-variety"
LARGEST_SEED = 140_000


def print_table(found: Findings) -> None:
    rows = sorted({(way, kind) for way, kind, _ in found.table})
    results = sorted({what for _, _, what in found.table})
    print("".join(f"{name:<18}" for name in ("way in", "damage", *results)))
    for way, kind in rows:
        counts = [f"{found.table[way, kind, what]:<18}" for what in results]
        print(f"{way:<18}{kind:<18}" + "".join(counts))
    totals: Counter[str] = Counter()
    for (_, _, what), count in found.table.items():
        totals[what] += count
    print(f"{'all':<36}" + "".join(f"{totals[what]:<18}" for what in results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    paths = [p for p in sorted(DATA.rglob("*")) if p.is_file() and p.stat().st_size < LARGEST_SEED]
    seeds = good_seeds(
        [path for path in paths if "malformed" not in path.parts],
        {"ct": ct(1), "structures": encode(structure_set())},
    )
    broken = [
        seed_of("malformed", data)
        for path in sorted((DATA / "malformed").glob("*.dcm"))
        if (data := path.read_bytes())[128:132] == b"DICM"
    ]
    broken = [seed for seed in broken if seed.sop_class and seed.syntax]
    inputs = [("malformed", seed, seed.data) for seed in broken]
    inputs_made = mutants(seeds, options.inputs - len(inputs), options.seed)
    home = Path(tempfile.mkdtemp(prefix="fuzz-home-"))
    house = House(home / "home")
    try:
        peak = house.listener.peak_memory()
        began = time.monotonic()
        found = fuzz(house, (*inputs, *inputs_made), [*seeds, *broken])
        rng = random.Random(options.seed)
        house.garbage(rng.randbytes(rng.choice((1, 6, 74, 500, 9000))) for _ in range(200))
        house.check_alive()
        seconds = time.monotonic() - began
        print_table(found)
        print(
            f"\n{options.inputs} inputs, {len(seeds)} good files as their origin, both ways in "
            f"{seconds:.0f} s; slowest answer {found.slowest:.2f} s; {found.good} good files sent "
            f"between, {count_good(house)} stored; 200 times garbage on the DICOM port; peak "
            f"memory of the listener {peak} MiB before, {house.listener.peak_memory()} MiB after"
        )
        print(f"refused without a row in quarantine: {lost(house, found)}")
        print("verify_archive:", house.listener.manage("verify_archive").stdout.strip()[-200:])
    finally:
        house.close()
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
