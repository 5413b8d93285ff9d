"""How well the images tell a true registration object from a wrong one.

    python -m tests.benchmarks.delivered [--heads 3] [--off 0 1 2 3 5 8 15 30]

Synthetic heads with known truth; each claim is the truth shifted by so many mm, in a direction
drawn by seed.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np

from analysis.contracts import FieldRecord
from analysis.deformation import Deformation
from analysis.grids import as_matrix
from analysis.phantoms.head import make_head
from analysis.registration.claims import Claim
from analysis.registration.delivered import judge_claim
from analysis.registration.spatial_registration import SpatialRegistration

ROLES = ("T1", "T2", "FLAIR", "PET")


def _no_field(_field: Deformation) -> FieldRecord:
    raise AssertionError("matrices only")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--off", type=float, nargs="+", default=[0, 1, 2, 3, 5, 8, 15, 30])
    options = parser.parse_args()
    heads = [make_head(seed, spacing_mm=(2.0, 2.0, 2.0)) for seed in range(options.heads)]
    source = SpatialRegistration("1.2.3", "1.2.4", False, "1.1", "20260101", "a benchmark", ())
    print("| series | off, mm | measured, mm: mean (max) | usable | doubtful | refused | s |")
    print("|---|---|---|---|---|---|---|")
    for role in ROLES:
        for off in options.off:
            verdicts: Counter[str] = Counter()
            measured: list[float] = []
            begun = time.monotonic()
            for seed, head in enumerate(heads):
                direction = np.random.default_rng(seed).normal(size=3)
                matrix = np.array(head.series[role].to_reference)
                matrix[:3, 3] += off * direction / np.linalg.norm(direction)
                record = judge_claim(
                    Claim(as_matrix(matrix), None, source),
                    head.series[role].volume, head.reference.volume, moving_uid="1",
                    reference_uid="2", seed=seed, threads=2, store=_no_field,
                )  # fmt: skip
                verdicts[record.verdict] += 1
                measured += [q.value for q in record.quality if q.name == "distance_to_delivered"]
            seconds = (time.monotonic() - begun) / len(heads)
            shown = f"{np.mean(measured):.1f} ({np.max(measured):.1f})" if measured else "-"
            print(
                f"| {role} | {off:g} | {shown} | {verdicts['usable']} | {verdicts['doubtful']} | "
                f"{verdicts['refused']} | {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
