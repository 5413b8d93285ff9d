"""Synthetic patients as training samples, made once and kept in a cache folder.

``python -m analysis.training.patients --pathway lung --part train --count 90 --cache DIR``
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.contracts import Matrix
from analysis.fusion.bundle import Contract
from analysis.fusion.channels import prepare
from analysis.geometry import Grid, Volume
from analysis.phantoms.head import make_head
from analysis.phantoms.model import VERSION, Phantom
from analysis.phantoms.thorax import make_thorax
from analysis.resampling import resample
from analysis.training.plans import NOTE, PLANS, SEEDS, Plan


@dataclass(frozen=True, eq=False)
class Patient:
    """One synthetic patient on the model grid, every channel present."""

    seed: int
    image: npt.NDArray[np.float32]
    """[channel, z, y, x], normalised; half precision in the cache."""
    labels: npt.NDArray[np.uint8]
    """[output, z, y, x], 0 or 1."""
    high_risk: bool
    centres: npt.NDArray[np.float32]
    """(n, 3) lesion centres, fractional voxel (z, y, x)."""
    suspicious: npt.NDArray[np.bool_]
    """(n,) whether that lesion is of the suspicious kind."""
    diameters_mm: npt.NDArray[np.float32]


def draft_contract(plan: Plan) -> Contract:
    """A contract with what preparation needs, for a network that does not exist yet."""
    return Contract(
        pathway=plan.pathway,
        task="segmentation",
        channels=plan.channels,
        outputs=plan.outputs,
        primary=plan.primary,
        label=plan.heatmap_label,
        spacing_mm=plan.spacing_mm,
        window=plan.patch,
        normalisation=plan.normalisation,
        weights_sha256="",
        note=NOTE,
        intended_use=plan.intended_use,
        training_data="",
        minimum=plan.minimum,
    )


def make_phantom(plan: Plan, seed: int) -> Phantom:
    """The phantom of a seed. Odd seeds carry the target disease; voxel sizes take turns."""
    spacing = plan.phantom_spacings[seed // 2 % len(plan.phantom_spacings)]
    make = make_thorax if plan.body == "thorax" else make_head
    return make(seed, spacing_mm=spacing, positive=seed % 2 == 1)


def phantom_channels(phantom: Phantom) -> dict[str, tuple[Volume, Matrix]]:
    """Each series with its true transform to the reference."""
    return {role: (s.volume, s.to_reference) for role, s in phantom.series.items()}


def on_grid(label: Volume, grid: Grid) -> npt.NDArray[np.uint8]:
    """A binary label on the model grid: voxels of which at least half is inside."""
    share = label.with_array(np.asarray(label.array, dtype=bool).astype(np.float32))
    coarse, _ = resample(share, grid, fill=0.0)
    return np.asarray(np.asarray(coarse.array, dtype=np.float32) >= 0.5, dtype=np.uint8)


def make_patient(plan: Plan, seed: int) -> Patient:
    """Phantom -> model grid, by the same steps that inference takes."""
    phantom = make_phantom(plan, seed)
    reference = phantom.labels[plan.primary].grid
    prepared = prepare(phantom_channels(phantom), reference, draft_contract(plan))
    labels = np.stack([on_grid(phantom.labels[name], prepared.grid) for name in plan.outputs])
    centres = [prepared.grid.to_index(lesion.centre)[::-1] for lesion in phantom.lesions]
    return Patient(
        seed,
        prepared.image,
        labels,
        bool(phantom.high_risk),
        np.array(centres, dtype=np.float32).reshape(-1, 3),
        np.array([bool(lesion.suspicious) for lesion in phantom.lesions], dtype=bool),
        np.array([float(lesion.diameter_mm) for lesion in phantom.lesions], dtype=np.float32),
    )


def load_patient(plan: Plan, seed: int, cache: Path, version: str = VERSION) -> Patient:
    """From the cache, or made now and put there. Patients of another ``version`` of the phantoms
    can only come from the cache: ``FileNotFoundError`` if they are not there."""
    path = cache / f"{plan.pathway}-{version}-{seed}.npz"
    if path.is_file():
        with np.load(path) as data:
            return Patient(
                seed,
                data["image"].astype(np.float32),
                data["labels"],
                bool(data["high_risk"]),
                data["centres"],
                data["suspicious"],
                data["diameters_mm"],
            )
    if version != VERSION:
        raise FileNotFoundError(f"{path.name}: the phantoms are now at version {VERSION}")
    patient = make_patient(plan, seed)
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(
        partial,
        image=patient.image.astype(np.float16),
        labels=patient.labels,
        high_risk=patient.high_risk,
        centres=patient.centres,
        suspicious=patient.suspicious,
        diameters_mm=patient.diameters_mm,
    )
    partial.replace(path)
    return patient


def load_part(
    plan: Plan, part: str, count: int, cache: Path, version: str = VERSION
) -> list[Patient]:
    """The first ``count`` patients of ``train``, ``validation`` or ``test``."""
    patients = []
    for number in range(count):
        patients.append(load_patient(plan, SEEDS[part] + number, cache, version))
        if (number + 1) % 10 == 0:
            print(f"{plan.pathway} {part}: {number + 1}/{count} patients", file=sys.stderr)
    return patients


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pathway", choices=sorted(PLANS), required=True)
    parser.add_argument("--part", choices=sorted(SEEDS), required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    load_part(PLANS[options.pathway], options.part, options.count, options.cache)


if __name__ == "__main__":
    main()
