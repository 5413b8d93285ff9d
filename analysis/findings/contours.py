"""Contours that came with the images (RTSTRUCT), measured on the grid they were drawn on.

The same structure is often delivered once per series (on CT, on MR, on PET). Contours that
overlap by half (Dice) are one finding, measured on the reference series' contour where there is
one; the others are listed in the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.contracts import FindingRecord, Notice, OutlineRecord
from analysis.errors import InputRefused
from analysis.findings.case import VERSION, Candidate, CaseImages, Layer, Mask
from analysis.findings.pet import GROW_SHARE, grow, suv_peak
from analysis.findings.shape import (
    apply,
    as_point,
    crop,
    in_plane_axes,
    invert,
    mask_points,
    points_box,
)
from analysis.geometry import Volume, as_matrix
from analysis.outlines import mask_of
from analysis.resampling import resample

SAME_DICE = 0.5


@dataclass(frozen=True, eq=False)
class Contour:
    """One delivered region as voxels: exact on its own grid, resampled on the reference's."""

    outline: OutlineRecord
    layer: Layer
    own: Mask
    """On the layer's grid."""
    on_reference: Mask
    """On the whole reference grid."""

    @property
    def volume_ml(self) -> float:
        return float(self.own.sum()) * self.layer.volume.grid.voxel_volume_ml


def _layer_of(case: CaseImages, outline: OutlineRecord) -> Layer | None:
    by_series = [x for x in case.layers if x.uid == outline.series_instance_uid]
    by_frame = [x for x in case.layers if x.frame and x.frame == outline.frame_of_reference_uid]
    return next(iter(by_series + by_frame), None)


def _rasterise(case: CaseImages, outline: OutlineRecord) -> Contour | Notice:
    layer = _layer_of(case, outline)
    if layer is None:
        return Notice(
            "contour_not_placed",
            f"The delivered contour {outline.name} belongs to a series that is not fused; it is "
            "not measured.",
        )
    try:
        own = mask_of(outline, layer.volume.grid)
    except InputRefused as refusal:
        return Notice(refusal.code, refusal.message, "refused", layer.uid)
    if not own.any():
        return Notice(
            "contour_empty", f"The delivered contour {outline.name} lies outside its series."
        )
    if layer.uid == case.reference_uid:
        return Contour(outline, layer, own, own)
    moved, _ = resample(
        Volume(own, layer.volume.grid, "1"),
        case.reference.volume.grid,
        matrix=layer.matrix,
        interpolation="labels",
    )
    return Contour(outline, layer, own, np.asarray(moved.array, dtype=np.bool_))


def _dice(a: Mask, b: Mask) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 0.0


def _groups(case: CaseImages, contours: list[Contour]) -> list[list[Contour]]:
    """Contours of one structure together, the one on the reference series first."""
    order = sorted(
        contours, key=lambda c: (c.layer.uid != case.reference_uid, c.outline.number)
    )
    groups: list[list[Contour]] = []
    for contour in order:
        for group in groups:
            if _dice(group[0].on_reference, contour.on_reference) >= SAME_DICE:
                group.append(contour)
                break
        else:
            groups.append([contour])
    return groups


def find_contours(case: CaseImages) -> tuple[list[Candidate], list[Notice]]:
    """A finding for every delivered structure that lies in a fused series."""
    contours: list[Contour] = []
    notices: list[Notice] = []
    for outline in case.outlines:
        result = _rasterise(case, outline)
        if isinstance(result, Notice):
            notices.append(result)
        else:
            contours.append(result)
    found = [_measure(case, group) for group in _groups(case, contours)]
    return [candidate for candidate in found if candidate is not None], notices


def _on_pet(contour: Contour, pet: Layer) -> Mask:
    """The contour on the PET's grid: its own voxels when it was drawn there."""
    if contour.layer.uid == pet.uid:
        return contour.own
    to_pet = np.asarray(invert(pet.matrix)) @ np.asarray(contour.layer.matrix)
    moved, _ = resample(
        Volume(contour.own, contour.layer.volume.grid, "1"),
        pet.volume.grid,
        matrix=as_matrix(to_pet),
        interpolation="labels",
    )
    return np.asarray(moved.array, dtype=np.bool_)


def _uptake(case: CaseImages, group: list[Contour]) -> dict[str, Any]:
    """SUV figures inside the contour drawn on PET, else inside the group's first; {} without."""
    pet = case.suv_layer()
    if pet is None:
        return {}
    contour = next((c for c in group if c.layer.uid == pet.uid), group[0])
    inside = _on_pet(contour, pet)
    if not inside.any():
        return {}
    suv = np.asarray(pet.volume.array, dtype=np.float64)
    top = np.unravel_index(int(np.where(inside, suv, -np.inf).argmax()), suv.shape)
    z, y, x = (int(v) for v in top)
    peak = suv_peak(pet.volume, inside)
    grown = grow(suv, (z, y, x), inside)
    return {
        "suv_max": round(float(suv[z, y, x]), 4),
        "suv_mean": round(float(suv[inside].mean()), 4),
        "suv_peak": round(peak[0], 4) if peak else None,
        "suv_max_position": as_point(apply(pet.matrix, pet.volume.grid.to_lps((x, y, z)))),
        "evidence": {
            "pet_series": pet.uid,
            "contour": contour.outline.name,
            "suv_max_voxel_ijk": [x, y, z],
            "suv_mean_region": "inside the contour",
            "mtv_threshold_suv": round(GROW_SHARE * float(suv[z, y, x]), 4),
            "mtv_ml": round(float(grown.sum()) * pet.volume.grid.voxel_volume_ml, 3),
        },
    }


def _measure(case: CaseImages, group: list[Contour]) -> Candidate | None:
    first = group[0]
    points = mask_points(first.on_reference, case.reference.volume.grid)
    if points.size == 0:
        return None
    box = points_box(points, case.reference.volume.grid, 0.0)
    if box is None:
        return None
    part = crop(case.reference.volume, box)
    (z0, y0, x0), (z1, y1, x1) = box
    mask = first.on_reference[z0:z1, y0:y1, x0:x1]
    axes = in_plane_axes(first.own.astype(np.float64), first.layer.volume.grid)
    uptake = _uptake(case, group)
    values = np.asarray(part.array)[mask]
    record = FindingRecord(
        number=0,
        tracking_uid="",
        label=f"Delivered contour {first.outline.name}",
        location="",
        laterality="",
        probability=None,
        position=as_point(points.mean(axis=0)),
        long_axis_mm=round(axes.long_mm, 2),
        short_axis_mm=round(axes.short_mm, 2),
        volume_ml=round(first.volume_ml, 4),
        suv_max=uptake.get("suv_max"),
        suv_peak=uptake.get("suv_peak"),
        suv_mean=uptake.get("suv_mean"),
        suv_max_position=uptake.get("suv_max_position"),
        mean_value=round(float(values.mean()), 2),
        mean_unit=part.unit,
        method=f"{VERSION}: contour delivered by the sender, filled on its own slices",
        evidence={
            "version": VERSION,
            "contours": [
                {
                    "name": c.outline.name,
                    "series": c.layer.uid,
                    "role": c.layer.role,
                    "volume_ml": round(c.volume_ml, 3),
                }
                for c in group
            ],
            "axes_series": first.layer.uid,
            "axes_slice_k": axes.slice_index,
            "pet": uptake.get("evidence"),
        },
    )
    return Candidate(record, mask, box[0])
