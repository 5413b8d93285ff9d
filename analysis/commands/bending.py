"""The deformable part of ``register``, apart because it loads PyTorch."""

from __future__ import annotations

from collections.abc import Callable

from analysis.contracts import RegistrationRecord
from analysis.deformation import Deformation
from analysis.errors import InputRefused
from analysis.geometry import Volume
from analysis.registration.deformable import deform_series


def bend(
    moving: Volume,
    reference: Volume,
    record: RegistrationRecord,
    *,
    seed: int,
    threads: int,
    device: str,
    masks: dict[str, Volume | None],
    progress: Callable[[float, str], None],
) -> tuple[RegistrationRecord, Deformation]:
    """As ``deform_series``; masks that leave nothing to compare are the caller's matter.

    Raises ``InputRefused`` (``mask_leaves_nothing``).
    """
    try:
        return deform_series(
            moving, reference, record, seed=seed, threads=threads, progress=progress,
            device=device, **masks,
        )  # fmt: skip
    except ValueError as error:
        if all(mask is None for mask in masks.values()):
            raise  # a defect
        raise InputRefused("mask_leaves_nothing", f"{error}.") from error
