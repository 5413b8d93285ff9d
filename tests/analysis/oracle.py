"""A stand-in for the networks that knows the truth, coarsely: what a good network would say."""

from __future__ import annotations

import numpy as np
import scipy.ndimage as ndi

from analysis.contracts import ModelUse
from analysis.fusion import FusionOutput
from analysis.geometry import Grid, Volume, axial_grid
from analysis.phantoms.model import Phantom
from analysis.resampling import resample

MODEL_MM = 3.0
BLUR_VOXELS = 0.7


def probability_map(label: Volume, reference: Grid) -> Volume:
    """A label (0/1) as a blurred probability on the grid of the shipped networks."""
    grid = axial_grid(reference, MODEL_MM)
    soft, _ = resample(label.with_array(label.array.astype(np.float32)), grid, fill=0.0)
    blurred = np.clip(ndi.gaussian_filter(soft.array, BLUR_VOXELS), 0.0, 1.0)
    return Volume(blurred.astype(np.float32), grid, "1")


def maps_of(phantom: Phantom) -> dict[str, Volume]:
    """All maps of a phantom by the networks' output names."""
    grid = phantom.reference.volume.grid
    return {name: probability_map(label, grid) for name, label in phantom.labels.items()}


def fusion_output(phantom: Phantom, present: tuple[str, ...]) -> FusionOutput:
    maps = maps_of(phantom)
    model = ModelUse(
        "oracle", "1", "0" * 64, tuple(sorted(phantom.series)), present, "Knows the truth."
    )
    primary = "suspicious" if phantom.kind == "thorax" else "whole"
    return FusionOutput(
        heatmap=maps[primary],
        outputs=maps,
        model=model,
        probability=0.9,
        classifier=None,
        label="high risk",
    )
