"""How true are sizes and SUV? ``python -m tests.benchmarks.measurement [--patients N]``

Lesions of known volume and uptake in synthetic thoraces; the candidate is the coarse truth (see
tests/analysis/oracle), so that the table shows the measuring and not the network. SUV is compared

* with the *noise-free image of the same simulated scanner*, measured with the same tools: what
  noise and the tools do to the number (the product's promise: within 5 %);
* with the *true uptake*: what the scanner's blur takes away. Small lesions lose signal. That is
  physics (partial volume), not corrected here, and the reason not to compare small lesions
  between scanners.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict

import numpy as np

from analysis.contracts import FindingRecord
from analysis.findings.case import CaseImages, Layer
from analysis.findings.measure import measure_case
from analysis.phantoms.model import LesionSpec, Phantom
from analysis.phantoms.thorax import make_thorax
from tests.analysis.oracle import maps_of

DIAMETERS = (6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 28.0)
UPTAKE = 8.0
BOOST = 4.0
FIGURES = ("suv_max", "suv_peak", "suv_mean")


def findings_of(phantom: Phantom, noise_free: bool) -> tuple[FindingRecord, ...]:
    """The measured findings; with ``noise_free`` only the PET is exchanged for its twin."""
    layers = []
    for role, series in phantom.series.items():
        volume = series.noise_free if noise_free and role == "PET" else series.volume
        layers.append(Layer(role, role, role, series.frame, volume, series.to_reference))
    # Finding is not the question here: faint places of the coarse map count as found.
    maps = {
        name: found.with_array(np.clip(BOOST * np.asarray(found.array), 0, 1))
        for name, found in maps_of(phantom).items()
    }
    case = CaseImages("lung", "CT", tuple(layers), {r: r for r in phantom.series}, maps)
    return measure_case(case, lambda _fraction, _text: None).findings


def nearest(findings: tuple[FindingRecord, ...], place: tuple[float, ...]) -> FindingRecord | None:
    near = [f for f in findings if np.linalg.norm(np.subtract(f.position, place)) < 5.0]
    return near[0] if near else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.4, 1.4, 2.0))
    options = parser.parse_args()
    rows: dict[float, list[dict[str, float]]] = defaultdict(list)
    missed = 0
    for seed in range(options.patients):
        specs = [LesionSpec(d, UPTAKE, True, seed % 2 == 1) for d in DIAMETERS]
        phantom = make_thorax(9000 + seed, lesions=specs, spacing_mm=tuple(options.spacing))
        noisy, clean = findings_of(phantom, False), findings_of(phantom, True)
        for truth in phantom.lesions:
            one, twin = nearest(noisy, truth.centre), nearest(clean, truth.centre)
            if one is None or twin is None:
                missed += 1
                continue
            row = {"volume": one.volume_ml / truth.volume_ml - 1}
            for name in FIGURES:
                value, still = getattr(one, name), getattr(twin, name)
                if value is not None and still is not None:
                    row[name] = value / still - 1
                    row[f"{name}_recovery"] = still / truth.uptake_suv
            rows[round(truth.diameter_mm)].append(row)
        print(f"patient {seed + 1} of {options.patients}", file=sys.stderr)
    report(rows, missed)
    return 0


def report(rows: dict[float, list[dict[str, float]]], missed: int) -> None:
    head = "".join(f"{name:>22}" for name in ("volume", *FIGURES))
    print("Error in % (mean ± SD, worst): volume against truth, SUV against the noise-free image")
    print(f"{'mm':>4}{'n':>4}{head}")
    for diameter, group in sorted(rows.items()):
        cells = ""
        for name in ("volume", *FIGURES):
            v = 100 * np.array([r[name] for r in group if name in r])
            worst = v[np.abs(v).argmax()]
            cells += f"{v.mean():+8.1f} ±{v.std():4.1f} ({worst:+5.1f})"
        print(f"{diameter:4.0f}{len(group):4d}{cells}")
    print("\nRecovery: noise-free image over true uptake (small lesions lose signal to blur)")
    print(f"{'mm':>4}" + "".join(f"{name:>12}" for name in FIGURES))
    for diameter, group in sorted(rows.items()):
        means = [np.mean([r[f"{n}_recovery"] for r in group if f"{n}_recovery" in r])
                 for n in FIGURES]
        print(f"{diameter:4.0f}" + "".join(f"{m:12.2f}" for m in means))
    big = [r for d, group in rows.items() if d > 10 for r in group]
    print(f"\nmissed: {missed}")
    print(f"volume within 10 % above 10 mm: {_share(big, 'volume', 0.10)}")
    every = [r for group in rows.values() for r in group]
    for name in FIGURES:
        print(f"{name} within 5 % of noise-free: {_share(every, name, 0.05)}, "
              f"above 10 mm {_share(big, name, 0.05)}")


def _share(rows: list[dict[str, float]], name: str, limit: float) -> str:
    values = [abs(r[name]) for r in rows if name in r]
    return f"{sum(v <= limit for v in values)} of {len(values)}"


if __name__ == "__main__":
    sys.exit(main())
