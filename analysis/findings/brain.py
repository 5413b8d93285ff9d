"""Glioma pathway: the network's lesion, its border on FLAIR, its enhancement on T1c, its uptake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from analysis.contracts import FindingRecord, Notice, Role
from analysis.findings.case import VERSION, Candidate, CaseImages, Layer, Mask
from analysis.findings.lung import MIN_PROBABILITY, components
from analysis.findings.pet import measure_pet
from analysis.findings.shape import (
    apply,
    as_point,
    crop,
    distance_inside,
    distance_outside,
    in_plane_axes,
    invert,
    largest_overlap,
    mask_points,
    points_box,
)
from analysis.findings.symmetry import MirrorPlane, mirror_plane
from analysis.geometry import Volume
from analysis.resampling import resample

MIN_VOLUME_ML = 0.3
MARGIN_MM = 25.0
REACH_MM = 3.0
"""The border may move this far from the network's."""
SHELL_MM = (6.0, 16.0)
"""Shell of brain around the lesion that stands for normal tissue."""
MIN_CONTRAST = 2.5
"""Lesion over surroundings, in robust standard deviations, below which no border is refined and
no enhancement is measured."""
WHITE_MATTER = 90
"""Percentile of the shell that stands for white matter on T1c, the brightest normal tissue."""
MIDLINE_MM = 5.0


@dataclass(frozen=True, eq=False)
class Level:
    """A half-maximum border on one sequence."""

    threshold: float
    lesion: float
    background: float
    spread: float


def _level(values: npt.NDArray[np.floating], inner: Mask, shell: Mask, top: float) -> Level | None:
    """The border between ``inner`` (its ``top`` percentile) and ``shell``; None without contrast.

    The spread is the median absolute deviation, scaled to a standard deviation.
    """
    if not inner.any() or shell.sum() < 50:
        return None
    lesion = float(np.percentile(values[inner], top))
    background = float(np.median(values[shell]))
    spread = 1.4826 * float(np.median(np.abs(values[shell] - background)))
    if lesion - background < MIN_CONTRAST * max(spread, 1e-6):
        return None
    return Level(0.5 * (lesion + background), lesion, background, spread)


def _sampled(layer: Layer | None, box: Volume) -> npt.NDArray[np.float64] | None:
    if layer is None:
        return None
    moved, _ = resample(layer.volume, box.grid, matrix=layer.matrix)
    return np.asarray(moved.array, dtype=np.float64)


def _shell(whole: Mask, box: Volume, tissue: Mask) -> Mask:
    gap = distance_outside(whole, box.grid)
    return np.asarray((gap > SHELL_MM[0]) & (gap <= SHELL_MM[1]) & tissue)


def _tissue(values: npt.NDArray[np.floating]) -> Mask:
    """Voxels with signal: neither air nor the dark fluid and skull of the sequence."""
    bright = values[values > 0.5 * values.mean()]
    if bright.size == 0:
        return np.zeros(values.shape, dtype=bool)
    return np.asarray(values > 0.5 * np.median(bright))


def _refined(
    seed: Mask, values: npt.NDArray[np.floating] | None, box: Volume
) -> tuple[Mask, Level | None]:
    """``seed`` with its border moved to the half-maximum of ``values`` within ``REACH_MM``."""
    if values is None:
        return seed, None
    depth = distance_inside(seed, box.grid)
    level = _level(values, depth > 0.3 * depth.max(), _shell(seed, box, _tissue(values)), 50)
    if level is None:
        return seed, None
    kept = depth > REACH_MM
    free = distance_outside(seed, box.grid) <= REACH_MM
    mask = kept | (free & (ndi.gaussian_filter(values, 0.5) > level.threshold))
    mask = largest_overlap(ndi.binary_opening(mask) | kept, seed)
    return np.asarray(ndi.binary_fill_holes(mask)), level


def find_lesions(case: CaseImages) -> tuple[list[Candidate], list[Notice]]:
    """Lesions from the network's ``whole`` (else ``core``) map."""
    name = "whole" if "whole" in case.outputs else next(iter(case.outputs))
    probability = case.outputs[name]
    reference = case.reference
    plane = mirror_plane(reference.volume)
    found: list[Candidate] = []
    for component in components(probability):
        if component.sum() * probability.grid.voxel_volume_ml < MIN_VOLUME_ML:
            continue
        points = mask_points(component, probability.grid)
        box = points_box(points, reference.volume.grid, MARGIN_MM)
        if box is None:
            continue
        part = crop(reference.volume, box)
        only = np.where(
            ndi.binary_dilation(component, iterations=2), np.asarray(probability.array), 0.0
        )
        soft, _ = resample(probability.with_array(only.astype(np.float32)), part.grid)
        seed = np.asarray(soft.array) >= MIN_PROBABILITY
        if seed.any():
            found.append(_lesion(case, part, box[0], seed, component, name, plane))
    notices = []
    if plane is None and case.suv_layer() is not None and found:
        notices.append(
            Notice(
                "no_mirror_plane",
                "The head is not symmetric enough in this field of view: no contralateral "
                "uptake was measured.",
            )
        )
    return found, notices


def _core(
    case: CaseImages, part: Volume, whole: Mask
) -> tuple[Mask | None, Mask | None, Level | None]:
    """(core, enhancing part, level on T1c) inside ``whole``; None for what cannot be told."""
    core: Mask | None = None
    if "core" in case.outputs:
        soft, _ = resample(case.outputs["core"], part.grid)
        core = (np.asarray(soft.array) >= MIN_PROBABILITY) & whole
    inner = core if core is not None and core.any() else whole
    values, level = _enhancement(case, part, whole, inner)
    if values is None or level is None:
        return core, None, None
    near = distance_outside(inner, part.grid) <= REACH_MM
    enhancing = near & whole & (values > level.threshold)
    enhancing = largest_overlap(enhancing, inner) if (enhancing & inner).any() else enhancing
    filled = np.stack([ndi.binary_fill_holes(plane) for plane in enhancing])
    return np.asarray(filled), np.asarray(enhancing), level


def _enhancement(
    case: CaseImages, part: Volume, whole: Mask, inner: Mask
) -> tuple[npt.NDArray[np.float64] | None, Level | None]:
    """(map, level) of contrast uptake: T1c minus T1 brought to the same scale around the lesion;
    without T1, T1c above white matter."""
    after, before = _sampled(case.layer("T1c"), part), _sampled(case.layer("T1"), part)
    if after is None:
        return None, None
    shell = _shell(whole, part, _tissue(after))
    if not shell.any():
        return None, None
    if before is None or float(np.median(before[shell])) <= 0.0:
        white = float(np.percentile(after[shell], WHITE_MATTER))
        values = np.maximum(after - white, 0.0)
        noise = 1.4826 * float(np.median(np.abs(after - ndi.uniform_filter(after, 3))[shell]))
        top = float(np.percentile(values[inner], 90))
        enough = top > 2 * MIN_CONTRAST * noise
        return values, Level(0.5 * top, top, 0.0, noise) if enough else None
    scale = float(np.median(after[shell]) / np.median(before[shell]))
    values = after - scale * before
    return values, _level(values, inner, shell, 90)


def _lesion(
    case: CaseImages,
    part: Volume,
    start: tuple[int, int, int],
    seed: Mask,
    component: Mask,
    name: str,
    plane: MirrorPlane | None,
) -> Candidate:
    role: Role = "FLAIR" if case.layer("FLAIR") else "T2"
    whole, border = _refined(seed, _sampled(case.layer(role), part), part)
    core, enhancing, level = _core(case, part, whole)
    whole = whole | core if core is not None else whole
    ml = part.grid.voxel_volume_ml
    axes = in_plane_axes(whole.astype(np.float64), part.grid)
    points = mask_points(whole, part.grid)
    position = as_point(points.mean(axis=0))
    location, side = _place(np.asarray(position), plane)
    uptake_of = core if core is not None and core.any() else whole
    evidence: dict[str, Any] = {
        "version": VERSION,
        "reference_series": case.reference_uid,
        "whole_ml": round(float(whole.sum()) * ml, 3),
        "core_ml": None if core is None else round(float(core.sum()) * ml, 3),
        "enhancing_ml": None if enhancing is None else round(float(enhancing.sum()) * ml, 3),
        "network_map": name,
        "network_ml": round(float(seed.sum()) * ml, 3),
        "border_series": case.preferred.get(role, "") if border else "",
        "border_threshold": None if border is None else round(border.threshold, 2),
        "enhancement_series": case.preferred.get("T1c", "") if level else "",
        "enhancement_threshold": None if level is None else round(level.threshold, 2),
        "core_axes_mm": _core_axes(core, part),
        "axes_slice_k": axes.slice_index + start[0],
        "mirror_plane_correlation": None if plane is None else round(plane.correlation, 3),
    }
    pet = case.suv_layer()
    uptake = measure_pet(uptake_of, part.grid, pet, growing=False) if pet else None
    if uptake and pet:
        evidence["pet"] = uptake.evidence
        other = contralateral_mean(uptake_of, part, pet, plane)
        evidence["contralateral_suv_mean"] = other
        evidence["tumour_to_contralateral"] = (
            round(uptake.suv_mean / other, 3) if other else None
        )
    values = np.asarray(part.array)[whole]
    enhances = enhancing is not None and bool(enhancing.any())
    record = FindingRecord(
        number=0,
        tracking_uid="",
        label="Enhancing brain lesion" if enhances else "Brain lesion",
        location=location,
        laterality=side,
        probability=round(float(case.outputs[name].array[component].max()), 3),
        position=position,
        long_axis_mm=round(axes.long_mm, 2),
        short_axis_mm=round(axes.short_mm, 2),
        volume_ml=round(float(whole.sum()) * ml, 4),
        suv_max=round(uptake.suv_max, 4) if uptake else None,
        suv_peak=round(uptake.suv_peak, 4) if uptake and uptake.suv_peak else None,
        suv_mean=round(uptake.suv_mean, 4) if uptake else None,
        suv_max_position=uptake.suv_max_position if uptake else None,
        mean_value=round(float(values.mean()), 2),
        mean_unit=part.unit,
        method=f"{VERSION}: network lesion"
        + (f", half-maximum border on {role}" if border else "")
        + (", enhancement by half-maximum on T1c" if level else "")
        + (", SUV in the core" if uptake and uptake_of is core else ""),
        evidence=evidence,
    )
    return Candidate(record, whole, start)


def _core_axes(core: Mask | None, part: Volume) -> list[float] | None:
    if core is None or not core.any():
        return None
    axes = in_plane_axes(core.astype(np.float64), part.grid)
    return [round(axes.long_mm, 1), round(axes.short_mm, 1)]


def contralateral_mean(
    mask: Mask, part: Volume, pet: Layer, plane: MirrorPlane | None
) -> float | None:
    """Mean SUV of the region mirrored to the other side; None when it reaches the lesion itself
    (close to the midline), or there is no plane."""
    if plane is None:
        return None
    points = mask_points(mask, part.grid)
    sides = points @ plane.normal - plane.offset
    if float(np.abs(sides).min()) < MIDLINE_MM or sides.min() * sides.max() < 0:
        return None
    mirrored = apply(invert(pet.matrix), plane.mirror(points))
    index = pet.volume.grid.to_index(mirrored)[:, ::-1].T
    values = ndi.map_coordinates(
        np.asarray(pet.volume.array, dtype=np.float64), index, order=1, cval=np.nan
    )
    if np.isnan(values).any():
        return None
    return round(float(values.mean()), 4)


def _place(
    point: npt.NDArray[np.float64], plane: MirrorPlane | None
) -> tuple[str, Literal["right", "left", "midline", ""]]:
    """Side of the head about the symmetry plane; no lobe is claimed."""
    if plane is None:
        return "", ""
    gap = plane.side(point)
    if abs(gap) < MIDLINE_MM:
        return "midline", "midline"
    return ("left side of the head", "left") if gap > 0 else ("right side of the head", "right")
