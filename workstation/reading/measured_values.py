"""From points and layers to the numbers of a measurement: rows with unit, method and voxels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.utils.translation import gettext

from workstation.reading.measured_layers import Placed
from workstation.reading.measuring import CannotMeasure, lines, outlines
from workstation.reading.measuring.growing import Region, grow, hottest, run_lengths
from workstation.reading.measuring.peak import suv_peak
from workstation.reading.measuring.selecting import Ball, Selection, ball, planar
from workstation.reading.measuring.statistics import Statistics, statistics
from workstation.reading.models import MeasurementTool as Tool
from workstation.reading.units import in_words, is_suv

RADIUS_MM = (1.0, 150.0)
SHARES = {"41%": 0.41, "50%": 0.50}
LIVER_MM = 30.0
LIVER_TOLERANCE_MM = 3.0
POINTS = {
    Tool.LENGTH: 2, Tool.BIDIRECTIONAL: 4, Tool.ANGLE: 3, Tool.ELLIPSE: 3, Tool.SPHERE: 2,
    Tool.THRESHOLD: 2, Tool.PROBE: 1, Tool.ARROW: 2, Tool.TEXT: 1,
}  # fmt: skip
"""How many points a tool takes; a freehand outline takes 3 and more."""
DISTANCE = "Euclidean distance in patient coordinates (LPS, mm)"
SD_METHOD = "standard deviation of the population (divided by n)"
PEAK_METHOD = (
    "highest mean over a 1 ml sphere (r = 6.2035 mm, fractional voxels) centred on a voxel of the "
    "region"
)
MOST_OUTSIDE = 0.005
"""Less than half a per cent outside is not worth a note."""


@dataclass(frozen=True)
class Row:
    """One value; the fields of ``MeasuredValue``."""

    name: str
    value: float | None
    unit: str
    method: str
    key: str = ""
    layer_label: str = ""
    reason: str = ""
    voxels: int | None = None
    voxel: list[int] | None = None
    place: list[float] | None = None


@dataclass(frozen=True)
class Liver:
    """A liver sphere that a PERCIST threshold rests on."""

    measurement: int
    name: str
    mean: float
    sd: float
    width_mm: float


@dataclass(frozen=True)
class Measured:
    """What a measurement states. ``mask`` as in the README, without the layer's id."""

    rows: list[Row]
    text: str
    notes: list[str] = field(default_factory=list)
    outline: list[list[float]] | None = None
    mask: dict[str, Any] | None = None


def measure_lines(tool: str, points: list[list[float]]) -> Measured:
    """Length, RECIST axes, angle: geometry alone."""
    if tool == Tool.LENGTH:
        rows = [Row("length", lines.length(*points), "mm", DISTANCE)]
        return Measured(rows, _words(rows[0]))
    if tool == Tool.BIDIRECTIONAL:
        found = lines.axes(points)
        how = f"{DISTANCE}; the axes stand at {found.angle_deg:.1f} degrees"
        rows = [
            Row("long_axis", found.long_mm, "mm", f"{how}; the longer one"),
            Row("short_axis", found.short_mm, "mm", f"{how}; the shorter one"),
        ]
        return Measured(rows, f"{found.long_mm:.1f} × {found.short_mm:.1f} mm")
    rows = [Row("angle", lines.angle(*points), "deg", "angle between two arms in space")]
    return Measured(rows, _words(rows[0]))


def measure_outline(
    tool: str, points: list[list[float]], normal: list[float], layers: Sequence[Placed]
) -> Measured:
    """Ellipse and freehand: the outline's area, and the values of each layer inside it."""
    notes: list[str] = []
    shape: outlines.Shape
    if tool == Tool.ELLIPSE:
        plane, shape = outlines.ellipse(points, normal)
        how = "pi times the half axes"
    else:
        plane, shape, cut = outlines.freehand(points, normal)
        how = "shoelace formula over the outline's corners"
        if cut:
            notes.append("The outline crossed itself; the largest part is measured.")
    rows = [Row("area", shape.area, "mm2", f"{how}, in the reference space")]
    for one in layers:
        selection = planar(one.lattice, one.voxels, plane, shape)
        rows += _value_rows(one, selection, "outline", notes)
    return Measured(
        rows, _headline(rows), notes, plane.lifted(shape.corners).round(4).tolist()
    )


def measure_sphere(points: list[list[float]], layers: Sequence[Placed]) -> Measured:
    """A sphere's volume, and the values of each layer inside it; of a PET also the peak."""
    centre, radius = _sphere(points)
    rows = [Row("volume", 4 / 3 * np.pi * radius**3 / 1000, "ml", "4/3 pi r^3 of the sphere")]
    notes: list[str] = []
    for one in layers:
        found = ball(one.lattice, one.voxels, centre, radius)
        selection = _of_ball(found)
        rows += _value_rows(one, selection, "sphere", notes)
        if one.modality == "PT" and selection.values.size:
            rows.append(_peak_row(one, selection))
    return Measured(rows, _headline(rows), notes)


def measure_threshold(
    points: list[list[float]], threshold: dict[str, Any], pet: Placed, liver: Liver | None
) -> Measured:
    """The PET volume that grows from the hottest voxel of a sphere, and stays inside it."""
    centre, radius = _sphere(points)
    suv = is_suv(pet.unit)
    if threshold["method"] in ("fixed", "percist") and not suv:
        raise CannotMeasure(
            gettext(
                "{label} has no SUV (its values are in {unit}), and this threshold is one of SUV. "
                "Enter what the header lacks, or take 41 % or 50 % of the maximum."
            ).format(label=pet.label, unit=pet.unit)
        )
    sphere = ball(pet.lattice, pet.voxels, centre, radius, margin=1)
    if sphere is None or not sphere.mask.any():
        raise CannotMeasure(gettext("{label} does not reach this sphere.").format(label=pet.label))
    level, how, notes = _level(threshold, hottest(sphere), liver, pet.unit)
    method = f"voxels at or above {in_words(level, pet.unit)} ({how}), 26-connected to the hottest"
    region = grow(pet.lattice, sphere, level, method)
    rows = _region_rows(pet, region, suv, how)
    if sphere.outside > MOST_OUTSIDE:
        notes.append(_outside_note(pet, "sphere", sphere.outside))
    if region.goes_on:
        notes.append(
            "The region goes on beyond the sphere. Make the sphere larger, or mind that it ends "
            "there."
        )
    if region.at_edge:
        notes.append("The region touches the edge of the image; part of it may be missing.")
    box, counts = run_lengths(region)
    mask = {"key": pet.key, "shape": list(pet.lattice.shape), "box": box, "counts": counts}
    return Measured(rows, _headline(rows), notes, mask=mask)


def _level(
    threshold: dict[str, Any], most: float, liver: Liver | None, unit: str
) -> tuple[float, str, list[str]]:
    """Threshold in the PET's unit, how it came about, and notes."""
    method = threshold["method"]
    if method in SHARES:
        if most <= 0:
            raise CannotMeasure(gettext("There is no uptake in this sphere."))
        return SHARES[method] * most, f"{SHARES[method]:.0%} of the maximum", []
    if method == "fixed":
        return float(threshold["value"]), "fixed", []
    if liver is None:
        raise CannotMeasure(
            gettext(
"PERCIST needs the liver: place a sphere of 3 cm in healthy right liver on this PET, "
            "with the purpose liver, then try again."
)
        )
    notes = []
    if abs(liver.width_mm - LIVER_MM) > LIVER_TOLERANCE_MM:
        notes.append(
            f"The liver sphere {liver.name} is {liver.width_mm:.0f} mm wide; PERCIST asks for "
            "30 mm."
        )
    how = (
        f"PERCIST: 1.5 x {liver.mean:.2f} + 2 x {liver.sd:.2f} of the liver {liver.name}; the "
        "region is the same in SUV and SUL"
    )
    return 1.5 * liver.mean + 2 * liver.sd, how, notes


def _region_rows(pet: Placed, region: Region, suv: bool, how: str) -> list[Row]:
    found = statistics(region.selection)
    assert found is not None  # a region holds its hottest voxel
    by_name = {row.name: row for row in _statistic_rows(pet, region.selection, found)}
    ml = found.count * pet.lattice.voxel_ml
    method = region.selection.method
    return [
        by_name["max"],
        _peak_row(pet, region.selection),
        by_name["mean"],
        by_name["sd"],
        by_name["min"],
        _row(pet, "volume", ml, "ml", f"voxels times voxel volume; {method}", found.count),
        _row(
            pet, "tlg", found.mean * ml if suv else None, f"{pet.unit}.ml" if suv else "",
            "SUVmean times MTV", found.count,
            reason="" if suv else f"{pet.label} has no SUV.",
        ),
        _row(pet, "threshold", region.threshold, pet.unit, how),
    ]  # fmt: skip


def _value_rows(
    one: Placed, selection: Selection, where: str, notes: list[str]
) -> list[Row]:
    found = statistics(selection)
    if found is None:
        reason = (
            "Outside the field of view."
            if selection.outside > 1 - MOST_OUTSIDE
            else f"No voxel centre lies inside the {where}."
        )
        return [
            _row(one, name, None, one.unit, selection.method, 0, reason=reason)
            for name in ("mean", "sd", "min", "max")
        ]
    if selection.outside > MOST_OUTSIDE:
        notes.append(_outside_note(one, where, selection.outside))
    return _statistic_rows(one, selection, found)


def _statistic_rows(one: Placed, selection: Selection, found: Statistics) -> list[Row]:
    how, count = selection.method, found.count
    return [
        _row(one, "mean", found.mean, one.unit, f"mean of {how}", count),
        _row(one, "sd", found.sd, one.unit, f"{SD_METHOD} of {how}", count),
        _row(one, "min", found.least, one.unit, f"lowest of {how}", count, at=found.least_at),
        _row(one, "max", found.most, one.unit, f"highest of {how}", count, at=found.most_at),
    ]


def _peak_row(one: Placed, selection: Selection) -> Row:
    found = suv_peak(one.lattice, one.voxels, selection.voxels)
    count = len(selection.values)
    if found is None:
        reason = "No 1 ml sphere around a voxel of the region lies wholly in the image."
        return _row(one, "peak", None, one.unit, PEAK_METHOD, count, reason=reason)
    return _row(one, "peak", found.value, one.unit, PEAK_METHOD, count, at=found.voxel)


def _row(
    one: Placed,
    name: str,
    value: float | None,
    unit: str,
    method: str,
    voxels: int | None = None,
    *,
    at: tuple[int, int, int] | None = None,
    reason: str = "",
) -> Row:
    place = None
    if at is not None:
        lps = one.lattice.place_of(np.array(at))[0]
        place = [float(v) for v in lps.round(4)] if np.isfinite(lps).all() else None
    return Row(
        name, value, unit, method[:300], one.key, one.label, reason, voxels,
        list(at) if at is not None else None, place,
    )  # fmt: skip


def _sphere(points: list[list[float]]) -> tuple[np.ndarray, float]:
    centre, surface = np.asarray(points, dtype=np.float64)
    radius = float(np.linalg.norm(surface - centre))
    if not RADIUS_MM[0] <= radius <= RADIUS_MM[1]:
        raise CannotMeasure(
            gettext(
                "A sphere has a radius of {radius_mm_0:.0f} to {radius_mm_1:.0f} mm; this one has "
                "{radius:.1f} mm."
            ).format(radius_mm_0=RADIUS_MM[0], radius_mm_1=RADIUS_MM[1], radius=radius)
        )
    return centre, radius


def _of_ball(found: Ball | None) -> Selection:
    method = "voxels whose centre lies in the sphere"
    if found is None:
        nothing = np.empty((0, 3), dtype=np.int64)
        return Selection(np.empty(0), nothing, 1.0, method)
    return found.selection(method)


def _outside_note(one: Placed, where: str, share: float) -> str:
    percent = max(1, round(100 * share))
    return (
        f"{one.label}: {percent} % of the {where} lies outside the image; values are of the rest."
    )


# --- words --------------------------------------------------------------------------------------

TITLES = {
    "length": "Length", "long_axis": "Long axis", "short_axis": "Short axis", "angle": "Angle",
    "area": "Area", "volume": "Volume", "mean": "Mean", "sd": "SD", "min": "Min", "max": "Max",
    "peak": "Peak", "tlg": "TLG", "threshold": "Threshold", "value": "Value",
}  # fmt: skip


def title_of(name: str, unit: str, key: str = "") -> str:
    """How a value is called on screen, e.g. ``SUVmax``; the metabolic volume is the MTV."""
    if is_suv(unit) and name in ("max", "peak", "mean", "min"):
        return f"SUV{name}"
    return "MTV" if name == "volume" and key else TITLES[name]


def _words(row: Row) -> str:
    return in_words(row.value, row.unit) if row.value is not None else ""


def _headline(rows: Sequence[Row]) -> str:
    parts = [_words(row) for row in rows[:1] if not row.key]
    parts += list(_layer_words(rows))
    return ", ".join(parts)[:300]


def _layer_words(rows: Sequence[Row]) -> Iterator[str]:
    """Per layer: of an SUV max, peak and volume, of anything else mean and SD."""
    for key in dict.fromkeys(row.key for row in rows if row.key):
        mine = {row.name: row for row in rows if row.key == key}
        mean = mine["mean"]
        if mean.value is None:
            yield f"{mean.layer_label} -"
        elif is_suv(mean.unit) or "tlg" in mine:
            told = [mine[n] for n in ("max", "peak", "volume") if n in mine]
            words = [
                f"{title_of(r.name, r.unit, r.key)} {_words(r)}" for r in told if _words(r)
            ]
            yield f"{mean.layer_label} {', '.join(words)}"
        else:
            sd = in_words(mine["sd"].value or 0.0, mean.unit)
            yield f"{mean.layer_label} {in_words(mean.value, mean.unit).split(' ')[0]} ± {sd}"
