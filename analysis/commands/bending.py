"""The deformable part of ``register``, apart because it loads PyTorch."""

from __future__ import annotations

from pathlib import Path

from analysis.contracts import RegistrationRecord
from analysis.deformation import Deformation
from analysis.errors import InputRefused
from analysis.geometry import Volume
from analysis.progress import Progress
from analysis.registration.cache import CachedDeform, Contents
from analysis.registration.deformable import DEFORMABLE_VERSION, deform_series
from analysis.registration.preparation import NothingToCompare


def bend(
    moving: Volume,
    reference: Volume,
    record: RegistrationRecord,
    *,
    seed: int,
    threads: int,
    device: str,
    masks: dict[str, Volume | None],
    cache: Path | None,
    contents: Contents,
    progress: Progress,
) -> tuple[RegistrationRecord, Deformation]:
    """As ``deform_series``, from ``cache`` if it was done before. Raises ``InputRefused``:
    ``mask_leaves_nothing``, or, where no mask was given, ``nothing_to_compare``."""
    deform = CachedDeform(cache, deform_series, DEFORMABLE_VERSION, contents)
    try:
        return deform(
            moving, reference, record, seed=seed, threads=threads, progress=progress,
            device=device, **masks,
        )  # fmt: skip
    except NothingToCompare as error:
        masked = any(mask is not None for mask in masks.values())
        code = "mask_leaves_nothing" if masked else "nothing_to_compare"
        raise InputRefused(code, f"{error}.") from error
