"""Lung pathway: the network's candidates, refined on the CT, measured on CT and PET."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.ndimage as ndi

from analysis.contracts import FindingRecord, Notice
from analysis.findings.case import VERSION, Candidate, CaseImages, Mask
from analysis.findings.nodule import Nodule, refine
from analysis.findings.pet import measure_pet
from analysis.findings.shape import (
    NEIGHBOURS_26,
    as_point,
    crop,
    distance_outside,
    in_plane_axes,
    mask_points,
    points_box,
)
from analysis.geometry import Grid, Volume
from analysis.pathways.content import body_air
from analysis.resampling import resample

MIN_PROBABILITY = 0.5
MIN_DIAMETER_MM = 4.0
"""Smaller spots are noise on most scans; Fleischner 2017 follows none up below 6 mm."""
MARGIN_MM = 30.0
"""Box around a candidate: background shell, lung closing and PET growing need so much."""
MIDLINE_MM = 8.0


@dataclass(frozen=True, eq=False)
class LungMap:
    """Where the lungs lie, coarsely: top and bottom (LPS z) and the middle between them (LPS x)."""

    top: float
    bottom: float
    middle: float

    def place(self, point: tuple[float, float, float]) -> tuple[str, Literal["right", "left", ""]]:
        """("right upper lung zone", "right"): thirds of lung height, not lobes. Within
        ``MIDLINE_MM`` of the middle no side is named."""
        thirds = (point[2] - self.bottom) / max(1.0, self.top - self.bottom)
        zone = "upper" if thirds > 2 / 3 else "middle" if thirds > 1 / 3 else "lower"
        if abs(point[0] - self.middle) < MIDLINE_MM:
            return f"near the midline, height of the {zone} lung zone", ""
        side: Literal["right", "left"] = "right" if point[0] < self.middle else "left"
        return f"{side} {zone} lung zone", side


def lung_map(ct: Volume) -> LungMap | None:
    """Extent of the lungs of a CT in HU. None when there is no air of lung density."""
    seen = body_air(ct)
    pieces, count = ndi.label(ndi.binary_opening(seen.lung_like), structure=NEIGHBOURS_26)
    if count == 0:
        return None
    volumes = np.bincount(pieces.ravel())
    volumes[0] = 0
    points = mask_points(volumes[pieces] >= 0.1 * volumes.max(), seen.grid)
    x, z = points[:, 0], points[:, 2]
    low, high = np.percentile(x, [2, 98])
    return LungMap(float(z.max()), float(z.min()), float(low + high) / 2)


def components(probability: Volume) -> list[Mask]:
    """The connected places (26) where a map is above one half, most probable first."""
    labels, count = ndi.label(
        np.asarray(probability.array) >= MIN_PROBABILITY, structure=NEIGHBOURS_26
    )
    masks = [np.asarray(labels == n) for n in range(1, count + 1)]
    return sorted(masks, key=lambda m: -float(probability.array[m].max()))


def _on_grid(component: Mask, source: Grid, target: Grid) -> Mask:
    """A component of the model grid on a part of the CT grid (at least its middle voxel)."""
    moved, _ = resample(Volume(component, source, "1"), target, interpolation="labels")
    return np.asarray(moved.array, dtype=np.bool_)


def find_nodules(case: CaseImages) -> tuple[list[Candidate], list[Notice]]:
    """Nodules from the network's ``nodule`` map (and ``suspicious``, where it has more)."""
    reference = case.reference
    maps = [case.outputs[name] for name in ("nodule", "suspicious") if name in case.outputs]
    whole = maps[0].with_array(np.maximum.reduce([np.asarray(m.array) for m in maps]))
    lungs = lung_map(reference.volume)
    found: list[Candidate] = []
    unmeasured = 0
    for component in components(whole):
        box = points_box(mask_points(component, whole.grid), reference.volume.grid, MARGIN_MM)
        if box is None:
            continue
        ct = crop(reference.volume, box)
        seed = _on_grid(component, whole.grid, ct.grid)
        nodule = refine(ct, seed) if seed.any() else None
        if nodule is None:
            unmeasured += 1
            continue
        candidate = _candidate(case, component, nodule, ct, box[0], lungs)
        if candidate is not None:
            found.append(candidate)
    notices = []
    if unmeasured:
        notices.append(
            Notice(
                "candidate_not_measurable",
                f"{unmeasured} candidate(s) of the network do not stand out from the lung on CT "
                "and were not measured; look at the probability map.",
            )
        )
    return found, notices


def _probability(case: CaseImages, name: str, component: Mask) -> float | None:
    if name not in case.outputs:
        return None
    return round(float(case.outputs[name].array[component].max()), 3)


def _candidate(
    case: CaseImages,
    component: Mask,
    nodule: Nodule,
    ct: Volume,
    start: tuple[int, int, int],
    lungs: LungMap | None,
) -> Candidate | None:
    grid = ct.grid
    equivalent = (6000.0 * nodule.volume_ml / np.pi) ** (1 / 3)
    if equivalent < MIN_DIAMETER_MM:
        return None
    near = distance_outside(nodule.mask, grid) <= 2 * max(grid.spacing)
    axes = in_plane_axes(nodule.shares * near, grid)
    points = mask_points(nodule.mask, grid)
    position = as_point(points.mean(axis=0))
    location, side = lungs.place(position) if lungs else ("", "")
    pet = case.suv_layer()
    uptake = measure_pet(nodule.mask, grid, pet) if pet else None
    suspicious = _probability(case, "suspicious", component)
    hu = np.asarray(ct.array)[nodule.mask]
    k = axes.slice_index + start[0]
    evidence = {
        "version": VERSION,
        "ct_series": case.reference_uid,
        "nodule_probability": _probability(case, "nodule", component),
        "suspicious_probability": suspicious,
        "threshold_hu": round(nodule.threshold_hu, 1),
        "nodule_hu": round(nodule.nodule_hu, 1),
        "background_hu": round(nodule.background_hu, 1),
        "opening_mm": round(nodule.opening_mm, 2),
        "volume_method": "voxel shares between nodule and lung density",
        "voxels": int(nodule.mask.sum()),
        "mean_diameter_mm": round((axes.long_mm + axes.short_mm) / 2, 1),
        "axes_slice_k": k,
        "centre_voxel_ijk": [round(float(v)) for v in _index(case, position)],
        "pet": uptake.evidence if uptake else None,
    }
    record = FindingRecord(
        number=0,
        tracking_uid="",
        label="Lung nodule",
        location=location,
        laterality=side,
        probability=suspicious if suspicious is not None else evidence["nodule_probability"],  # type: ignore[arg-type]
        position=position,
        long_axis_mm=round(axes.long_mm, 2),
        short_axis_mm=round(axes.short_mm, 2),
        volume_ml=round(nodule.volume_ml, 4),
        suv_max=round(uptake.suv_max, 4) if uptake else None,
        suv_peak=round(uptake.suv_peak, 4) if uptake and uptake.suv_peak else None,
        suv_mean=round(uptake.suv_mean, 4) if uptake else None,
        suv_max_position=uptake.suv_max_position if uptake else None,
        mean_value=round(float(hu.mean()), 1),
        mean_unit=ct.unit,
        method=f"{VERSION}: network candidate, half-maximum border on CT, partial-voxel volume",
        evidence=evidence,
    )
    return Candidate(record, nodule.mask, start)


def _index(case: CaseImages, position: tuple[float, float, float]) -> tuple[float, ...]:
    return tuple(case.reference.volume.grid.to_index(position))

