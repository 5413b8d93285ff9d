"""Windows, colour maps and opacities of server-drawn slices: the viewer's own, in numpy.

The mirror of ``colormaps.ts`` and ``presets.ts`` in ``frontend/src/viewer``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workstation.analyzing.models import Layer, LayerKind

COLORMAPS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "grey": ((0, 0, 0, 0), (1, 1, 1, 1)),
    "hot-iron": ((0, 0, 0, 0), (0.5, 1, 0, 0), (0.75, 1, 0.5, 0), (1, 1, 1, 1)),
    "probability": (
        (0, 0.2, 0, 0.35), (0.35, 0.48, 0.12, 0.75), (0.7, 0.45, 0.5, 1), (1, 0.75, 1, 1),
    ),
    "viridis": (
        (0, 0.267, 0.005, 0.329), (0.25, 0.229, 0.322, 0.546), (0.5, 0.128, 0.567, 0.551),
        (0.75, 0.369, 0.789, 0.383), (1, 0.993, 0.906, 0.144),
    ),
    "finding": ((0, 0.77, 0.64, 1), (1, 0.77, 0.64, 1)),
}  # fmt: skip
"""Points of (position, red, green, blue), 0..1, linear between."""
SHADES = 256


def is_pet(layer: Layer) -> bool:
    return layer.record["modality"] == "PT" or layer.role == "PET"


def default_colormap(layer: Layer, is_base: bool) -> str:
    if layer.kind == LayerKind.HEATMAP:
        return "probability"
    if layer.kind == LayerKind.SEGMENTATION:
        return "finding"
    return "hot-iron" if is_pet(layer) and not is_base else "grey"


def _opacity(layer: Layer, is_base: bool) -> tuple[tuple[float, float], ...]:
    """(fraction of the window, opacity)."""
    if is_base:
        return (0, 1), (1, 1)
    if layer.kind == LayerKind.SEGMENTATION:
        return (0, 0), (0.49, 0), (0.5, 0.3), (1, 0.3)
    if layer.kind == LayerKind.HEATMAP:
        return (0, 0), (0.1, 0), (0.4, 0.5), (1, 0.5)
    if is_pet(layer):
        return (0, 0), (0.2, 0.5), (1, 0.5)
    if layer.kind == LayerKind.DEFORMED:
        return (0, 0), (0.004, 0.5), (1, 0.5)
    return (0, 0.5), (1, 0.5)


def shades(layer: Layer, colormap: str, is_base: bool) -> npt.NDArray[np.float32]:
    """Red, green, blue (0..255) and opacity (0..1) of 256 steps of the window. PET alone is read
    black on white."""
    at = np.linspace(0, 1, SHADES)
    stops = np.array(COLORMAPS[colormap], dtype=np.float64)
    table = np.empty((SHADES, 4), np.float32)
    for channel in range(3):
        table[:, channel] = 255 * np.interp(at, stops[:, 0], stops[:, channel + 1])
    if is_base and is_pet(layer):
        table[:, :3] = 255 - table[:, :3]
    curve = np.array(_opacity(layer, is_base), dtype=np.float64)
    table[:, 3] = np.interp(at, curve[:, 0], curve[:, 1])
    return table
