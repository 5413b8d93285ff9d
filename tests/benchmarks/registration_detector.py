"""What does the failure detector catch? ``python -m tests.benchmarks.registration_detector``

True pairs, moved by 20 degrees and 30 mm, must not be refused and should be usable. Impossible
pairs must never be usable: another patient of the same body part (synthetic and real), another
body part, left and right exchanged, noise. Every pair goes the rigid, affine, same-frame and
deformable way (``--paths``). Prints every pair, then sensitivity and specificity of each way.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from analysis.contracts import RegistrationRecord
from analysis.geometry import FloatArray, Grid, Volume, as_matrix
from analysis.phantoms.head import make_head
from analysis.phantoms.model import Phantom
from analysis.phantoms.thorax import make_thorax
from analysis.registration import register_series
from analysis.registration.deformable import deform_series
from analysis.registration.preparation import NothingToCompare, build_pyramid
from tests.benchmarks import registration_pairs as pairs

Path_ = Callable[[str, Volume, Volume], RegistrationRecord]
Case = tuple[str, str, Volume, Volume]
"""Kind ("true", "other patient", ...), name, moving, reference."""

FIGURES = {
    "estimated_error": "error mm", "local_distance": "local mm", "local_misfit": "misfit",
    "body_agreement": "outline", "shared_information": "shared", "sharpness": "sharp",
    "mirror_gain": "mirror", "inverse_consistency": "inverse mm", "start_spread": "spread mm",
}


def flipped(volume: Volume) -> Volume:
    """Left and right exchanged on the same grid: what a wrong export produces."""
    return volume.with_array(volume.array[:, :, ::-1].copy())


def slab(volume: Volume, begin: float, end: float) -> Volume:
    """The slices between two shares of the volume."""
    count = volume.grid.shape[0]
    low, high = int(begin * count), int(end * count)
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_lps([0, 0, low])
    grid = Grid((high - low, *volume.grid.shape[1:]), affine)
    return Volume(volume.array[low:high], grid, volume.unit, volume.modality, volume.role)


def moved(moving: Volume, reference: Volume, seed: int) -> Volume:
    pair = pairs.Pair("", "", moving, reference, np.eye(4), np.zeros((1, 3)))
    return pairs.perturbed(pair, 20, 30, np.random.default_rng(seed)).moving


def synthetic(heads: list[Phantom], thoraces: list[Phantom]) -> Iterator[Case]:
    for head, thorax in zip(heads, thoraces, strict=True):
        reference, ct = head.reference.volume, thorax.reference.volume
        pet = thorax.series["PET"].volume
        for role in ("T1", "T2", "FLAIR", "PET"):
            series = head.series[role].volume
            yield "true", f"head {role} -> T1c", moved(series, reference, head.seed), reference
            yield "flipped", f"head {role} flipped", flipped(series), reference
            yield "other part", f"head {role} -> thorax CT", series, ct
        yield "true", "head T2 upper 60 %", slab(head.series["T2"].volume, 0.4, 1.0), reference
        yield "true", "thorax PET -> CT", moved(pet, ct, thorax.seed), ct
        yield "flipped", "thorax PET flipped", flipped(pet), ct
        yield "other part", "thorax PET -> head T1c", pet, reference
        yield "other part", "thorax CT -> head PET", ct, head.series["PET"].volume
        rng = np.random.default_rng(head.seed)
        noise = rng.normal(100, 20, reference.array.shape).astype(np.float32)
        yield "noise", "noise -> T1c", reference.with_array(noise), reference
        step = np.array(reference.grid.spacing[::-1])
        half = np.array(reference.array.shape) / 2 * step
        places = np.indices(reference.array.shape).T * step - half
        ball = np.linalg.norm(places, axis=-1).T < 85
        yield "noise", "ball of noise -> T1c", reference.with_array(
            np.where(ball, noise, 0).astype(np.float32)
        ), reference
        yield "other part", "top fifth -> bottom third", slab(
            head.series["T1"].volume, 0.8, 1.0
        ), slab(reference, 0.0, 0.33)
    for n, head in enumerate(heads):
        other = heads[(n + 1) % len(heads)]
        if other is head:
            break
        for role in ("T1", "T2", "FLAIR", "PET"):
            yield (
                "other patient", f"{role} of head {other.seed} -> {head.seed}",
                other.series[role].volume, head.reference.volume,
            )
    for n, thorax in enumerate(thoraces):
        other = thoraces[(n + 1) % len(thoraces)]
        if other is thorax:
            break
        ct = thorax.reference.volume
        name = f"of thorax {other.seed} -> {thorax.seed}"
        yield "other patient", f"PET {name}", other.series["PET"].volume, ct
        yield "other patient", f"CT {name}", other.reference.volume, ct


def real() -> Iterator[Case]:
    brains = {pair.name.split()[0]: pair for pair in pairs.brains()}
    gliomas = {pair.name.split()[0]: pair for pair in pairs.gliomas(truth=False)}
    sarcomas = {pair.name: pair for pair in pairs.sarcomas()}
    t1, t1c = brains["T2"].reference, gliomas["T1"].reference
    for group in (brains, gliomas, sarcomas):
        for n, (name, pair) in enumerate(group.items()):
            yield "true", f"{pair.group} {name}", moved(pair.moving, pair.reference, n), (
                pair.reference
            )
            if group is not sarcomas:
                yield "flipped", f"{pair.group} {name}", flipped(pair.moving), pair.reference
    for name, pair in gliomas.items():
        yield "other patient", f"glioma {name} -> average T1", pair.moving, t1
    for name, pair in brains.items():
        yield "other patient", f"average {name} -> glioma T1c", pair.moving, t1c
    for kind in ("MR", "PET"):
        first, second = (sarcomas[f"{p} {kind} -> CT"] for p in ("STS_001", "STS_005"))
        yield "other patient", f"STS_005 {kind} -> STS_001 CT", second.moving, first.reference
        yield "other patient", f"STS_001 {kind} -> STS_005 {kind}", first.moving, second.moving
    yield "other part", "sarcoma CT -> average T1", sarcomas["STS_001 PET -> CT"].reference, t1


def linear(model: Literal["rigid", "affine"]) -> Path_:
    def register(_kind: str, moving: Volume, reference: Volume) -> RegistrationRecord:
        return register_series(
            moving, reference, moving_uid="m", reference_uid="r", same_frame=False, seed=1,
            threads=2, model=model,
        )  # fmt: skip

    return register


def in_one_frame(kind: str, moving: Volume, reference: Volume) -> RegistrationRecord:
    """As if both had one frame of reference: a true pair lies where it belongs (the rigid path's
    result), an impossible one with its middle on the other's, which is the worst case."""
    found = rigid_result(moving, reference) if kind == "true" else np.eye(4)
    if kind != "true":
        middles = [build_pyramid(volume).middle.centroid for volume in (reference, moving)]
        found[:3, 3] = middles[0] - middles[1]
    grid = Grid(moving.grid.shape, found @ moving.grid.affine)
    return register_series(
        replace(moving, grid=grid), reference, moving_uid="m", reference_uid="r", same_frame=True,
        seed=1, threads=2,
    )  # fmt: skip


def rigid_result(moving: Volume, reference: Volume) -> FloatArray:
    record = linear("rigid")("", moving, reference)
    return np.array(record.parameters.get("rejected_matrix", record.matrix))


def deformed(_kind: str, moving: Volume, reference: Volume) -> RegistrationRecord:
    """As the product does it: rigid, then bent unless that was refused."""
    record = linear("rigid")("", moving, reference)
    return deform_series(moving, reference, record, seed=1, threads=2)[0]


def bent(_kind: str, moving: Volume, reference: Volume) -> RegistrationRecord:
    """What bending alone would see: the rigid result it starts from counts as usable, whatever it
    was. A pair for which bending wins nothing keeps the rigid verdict."""
    record = linear("rigid")("", moving, reference)
    matrix = as_matrix(np.array(record.parameters.get("rejected_matrix", record.matrix)))
    start = replace(record, verdict="usable", state="registered", matrix=matrix, reasons=())
    try:
        found, _ = deform_series(moving, reference, start, seed=1, threads=2)
    except NothingToCompare:
        return record
    return found if found.model == "deformable" else record


PATHS: dict[str, Path_] = {
    "rigid": linear("rigid"), "affine": linear("affine"), "same frame": in_one_frame,
    "deformable": deformed, "bending alone": bent,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=3, help="synthetic heads and thoraces")
    parser.add_argument(
        "--paths", nargs="+", choices=list(PATHS), default=list(PATHS)[:-1],
        help="how pairs are registered; bending alone: every pair from where the rigid path ends, "
        "its verdict believed, which the product never does",
    )  # fmt: skip
    parser.add_argument(
        "--most", type=int, default=10**6, help="pairs of each kind (bending takes a while)"
    )  # fmt: skip
    parser.add_argument("--spacing", type=float, nargs=3, default=(2.0, 2.0, 2.0))
    options = parser.parse_args()
    seeds = range(1000, 1000 + options.patients)
    spacing = tuple(options.spacing)
    cases: list[Iterator[Case]] = []
    if options.patients:
        cases.append(synthetic(
            [make_head(seed, spacing_mm=spacing, positive=True) for seed in seeds],
            [make_thorax(seed, spacing_mm=spacing) for seed in seeds],
        ))
    if pairs.DATA.is_dir():
        cases.append(real())
    else:
        print(f"Real images skipped: {pairs.DATA} is not there (RADFUSE_DATA).")
    print("| path | kind | pair | verdict | " + " | ".join(FIGURES.values()) + " | CPU s |")
    print("|---|---|---|---|" + "---|" * (len(FIGURES) + 1))
    taken: dict[str, int] = defaultdict(int)
    verdicts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, name, moving, reference in (case for group in cases for case in group):
        taken[kind] += 1
        if taken[kind] > options.most:
            continue
        for path in options.paths:
            begin = time.process_time()
            record = PATHS[path](kind, moving, reference)
            verdicts[path, kind].append(record.verdict)
            figures = {figure.name: figure.value for figure in record.quality}
            cells = " | ".join(f"{figures.get(key, float('nan')):.2f}" for key in FIGURES)
            print(
                f"| {path} | {kind} | {name} | {record.verdict} | {cells} "
                f"| {time.process_time() - begin:.1f} |", flush=True,
            )  # fmt: skip
    print("\n| path | kind | pairs | usable | doubtful | refused |\n|---|---|---|---|---|---|")
    for (path, kind), found in verdicts.items():
        counts = " | ".join(str(found.count(v)) for v in ("usable", "doubtful", "refused"))
        print(f"| {path} | {kind} | {len(found)} | {counts} |")
    passed = 0
    print()
    for path in options.paths:
        of = {kind: found for (p, kind), found in verdicts.items() if p == path}
        true = of.pop("true", [])
        impossible = [v for found in of.values() for v in found]
        passed += impossible.count("usable")
        print(
            f"{path}: sensitivity (impossible pairs not usable) "
            f"{len(impossible) - impossible.count('usable')}/{len(impossible)}, specificity (true "
            f"pairs usable) {true.count('usable')}/{len(true)}, true pairs not refused "
            f"{len(true) - true.count('refused')}/{len(true)}"
        )
    return 1 if passed else 0


if __name__ == "__main__":
    raise SystemExit(main())
