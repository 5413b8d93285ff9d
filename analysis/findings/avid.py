"""PET-avid foci by threshold alone, where no network speaks.

A focus is avid when its SUVpeak (1 ml, so no single noisy voxel) reaches 2.5 and twice the median
of the body in view; voxels that touch at SUV 2.5 are one focus. One cut off by the edge of the
image, where no 1 ml sphere fits, counts by its hottest voxel. Its region is the 26-connected part
at or above 41 % of the maximum. Physiological uptake (brain, heart, kidneys, bladder ...) is *not*
taken out.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage as ndi

from analysis.contracts import FindingRecord, Notice
from analysis.findings.case import VERSION, Candidate, CaseImages, Mask
from analysis.findings.pet import GROW_SHARE, PEAK_RADIUS_MM, grow, suv_peak
from analysis.findings.shape import (
    NEIGHBOURS_26,
    apply,
    as_point,
    crop,
    in_plane_axes,
    mask_points,
    points_box,
)
from analysis.geometry import Volume
from analysis.resampling import resample

MIN_SUV = 2.5
MIN_RATIO = 2.0
BODY_SUV = 0.2
MIN_VOLUME_ML = 0.5
LIMIT = 10


def find_avid(case: CaseImages) -> tuple[list[Candidate], list[Notice]]:
    """The ten largest avid places by volume times SUVmax, and how many more there are."""
    pet = case.suv_layer()
    if pet is None:
        return [], []
    suv = np.asarray(pet.volume.array, dtype=np.float64)
    grid = pet.volume.grid
    body = suv[suv > BODY_SUV]
    background = float(np.median(body)) if body.size else 0.0
    least = max(MIN_SUV, MIN_RATIO * background)
    labels, _ = ndi.label(suv >= MIN_SUV, structure=NEIGHBOURS_26)
    places: list[tuple[float, tuple[int, int, int]]] = []
    for number, part in enumerate(ndi.find_objects(labels), start=1):
        inside = np.where(labels[part] == number, suv[part], -np.inf)
        top = np.unravel_index(int(inside.argmax()), inside.shape)
        z, y, x = (int(t) + s.start for t, s in zip(top, part, strict=True))
        if suv[z, y, x] < least:
            continue
        region = grow(suv, (z, y, x), labels == number)
        volume = float(region.sum()) * grid.voxel_volume_ml
        peak = suv_peak(pet.volume, region)
        if volume >= MIN_VOLUME_ML and (peak is None or peak[0] >= least):
            places.append((volume * float(suv[z, y, x]), (z, y, x)))
    places.sort(reverse=True)
    found = [
        candidate
        for _, top in places[:LIMIT]
        if (candidate := _measure(case, top, labels, background)) is not None
    ]
    notices = []
    if len(places) > LIMIT:
        notices.append(
            Notice(
                "more_avid_places",
                f"{len(places) - LIMIT} more PET-avid foci are not listed; the {LIMIT} "
                "largest by volume times SUVmax are.",
            )
        )
    if found:
        notices.append(
            Notice(
                "physiological_uptake",
                "PET-avid foci are found by threshold alone; physiological uptake is not "
                "taken out.",
            )
        )
    return found, notices


def _measure(
    case: CaseImages, top: tuple[int, int, int], labels: np.ndarray, background: float
) -> Candidate | None:
    pet = case.suv_layer()
    assert pet is not None  # find_avid has looked
    grid = pet.volume.grid
    suv = np.asarray(pet.volume.array, dtype=np.float64)
    region = grow(suv, top, labels == labels[top])
    z, y, x = top
    points = mask_points(region, grid)
    box = points_box(
        apply(pet.matrix, points), case.reference.volume.grid, 2 * max(grid.spacing)
    )
    if box is None:
        return None
    part = crop(case.reference.volume, box)
    own = Volume(region.astype(np.float32), grid, "1")
    soft, _ = resample(own, part.grid, matrix=pet.matrix)
    mask = np.asarray(soft.array) >= 0.5
    if not mask.any():
        return None
    axes = in_plane_axes(np.asarray(soft.array, dtype=np.float64), part.grid)
    peak = suv_peak(pet.volume, region)
    suv_max = float(suv[top])
    record = FindingRecord(
        number=0,
        tracking_uid="",
        label="PET-avid focus",
        location="",
        laterality="",
        probability=None,
        position=as_point(apply(pet.matrix, points).mean(axis=0)),
        long_axis_mm=round(axes.long_mm, 2),
        short_axis_mm=round(axes.short_mm, 2),
        volume_ml=round(float(region.sum()) * grid.voxel_volume_ml, 4),
        suv_max=round(suv_max, 4),
        suv_peak=round(peak[0], 4) if peak else None,
        suv_mean=round(float(suv[region].mean()), 4),
        suv_max_position=as_point(apply(pet.matrix, grid.to_lps((x, y, z)))),
        mean_value=round(float(np.asarray(part.array)[mask].mean()), 2),
        mean_unit=part.unit,
        method=f"{VERSION}: 41 % of SUVmax, 26-connected; found above SUV {MIN_SUV}",
        evidence={
            "version": VERSION,
            "pet_series": pet.uid,
            "suv_max_voxel_ijk": [x, y, z],
            "threshold_suv": round(GROW_SHARE * suv_max, 4),
            "background_suv": round(background, 4),
            "voxels": int(region.sum()),
            "suv_peak_radius_mm": PEAK_RADIUS_MM,
            "touches_edge": _touches_edge(region),
        },
    )
    return Candidate(record, mask, box[0])


def _touches_edge(region: Mask) -> bool:
    """Whether the region reaches the border of the PET, so that part of it may be missing."""
    return any(
        bool(region.take(end, axis=axis).any()) for axis in range(3) for end in (0, -1)
    )
