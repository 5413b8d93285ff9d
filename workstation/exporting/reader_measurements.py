"""The reader's measurements as groups of TID 1500: what has a standard code, with its place in
space. What has none is named and said to be left out, so that nobody takes the list for complete.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from highdicom import sr

from workstation.exporting import codes as terms
from workstation.exporting.sources import Sources

Group = (
    sr.PlanarROIMeasurementsAndQualitativeEvaluations
    | sr.VolumetricROIMeasurementsAndQualitativeEvaluations
    | sr.MeasurementsAndQualitativeEvaluations
)
GEOMETRY: dict[str, tuple[Any, Any]] = {
    "length": (terms.LENGTH, terms.MILLIMETRE),
    "long_axis": (terms.LONG_AXIS, terms.MILLIMETRE),
    "short_axis": (terms.SHORT_AXIS, terms.MILLIMETRE),
    "angle": (terms.ANGLE, terms.DEGREE),
    "area": (terms.AREA, terms.SQUARE_MILLIMETRE),
    "volume": (terms.VOLUME, terms.MILLILITRE),
}
"""Name of a value without a series -> (concept, unit)."""
STATISTICS: dict[str, Any] = {
    "mean": terms.MEAN, "sd": terms.DEVIATION, "min": terms.MINIMUM, "max": terms.MAXIMUM,
    "peak": terms.PEAK,
}  # fmt: skip
QUANTITIES: dict[str, tuple[Any, Any]] = {
    "[hnsf'U]": (terms.ATTENUATION, terms.HOUNSFIELD),
    "g/ml{SUVbw}": (terms.SUV, terms.SUV_UNIT),
}
"""Unit of a series -> (concept, unit). Values in other units have no code that says it all."""


def reader_groups(sources: Sources) -> list[Group]:
    """One group per measurement of the signed content, by number."""
    return [
        _group(sources, one)
        for one in sources.content["measurements"]
        if "name" in one  # signed before measurements had one: values without rows
    ]


def _group(sources: Sources, one: dict[str, Any]) -> Group:
    found = _measurements(sources, one)
    if not found or one["reference"] != sources.reference.key:
        return _left_out(sources, one)
    common: dict[str, Any] = {
        "tracking_identifier": _tracking(sources, one),
        "measurements": found,
        "finding_type": terms.MARK,
    }
    points = np.array(one["points_lps_mm"])
    if one["outline_lps_mm"]:
        outline = np.array(one["outline_lps_mm"])
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=sr.ImageRegion3D(
                graphic_type="POLYGON",
                graphic_data=np.vstack([outline, outline[:1]]),
                frame_of_reference_uid=sources.frame_of_reference_uid,
            ),
            **common,
        )
    if one["tool"] == "sphere":
        radius = float(np.linalg.norm(points[1] - points[0]))
        ends = [points[0] + sign * radius * axis for axis in np.eye(3) for sign in (-1, 1)]
        return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_volume_surface=sr.VolumeSurface(
                graphic_type="ELLIPSOID",
                graphic_data=np.array(ends),
                frame_of_reference_uid=sources.frame_of_reference_uid,
                source_series=sr.SourceSeriesForSegmentation(
                    referenced_series_instance_uid=sources.reference.key
                ),
            ),
            **common,
        )
    return sr.MeasurementsAndQualitativeEvaluations(**common)


def _measurements(sources: Sources, one: dict[str, Any]) -> list[sr.Measurement]:
    found: list[sr.Measurement] = []
    told: dict[str, str] = {}
    for value in one["values"]:
        if value["value"] is None:
            continue
        # Geometry stands; values are of an alignment or of voxels that are no longer there.
        if value["series"] and one.get("outdated"):
            continue
        if not value["series"]:
            found += _geometry(sources, one, value)
            continue
        # One series per quantity: a second CT's mean could not be told from the first one's.
        if one["tool"] == "threshold" or told.setdefault(value["unit"], value["series"]) == (
            value["series"]
        ):
            found += _statistic(value)
    return found


def _geometry(
    sources: Sources, one: dict[str, Any], value: dict[str, Any]
) -> list[sr.Measurement]:
    if value["name"] not in GEOMETRY:
        return []  # a probe from before values had rows, whose series is gone
    concept, unit = GEOMETRY[value["name"]]
    line = _line(one, value["name"])
    return [
        sr.Measurement(
            name=concept,
            value=round(float(value["value"]), 4),
            unit=unit,
            referenced_coordinates=None
            if line is None
            else [
                sr.CoordinatesForMeasurement3D(
                    graphic_type="POLYLINE",
                    graphic_data=line,
                    frame_of_reference_uid=sources.frame_of_reference_uid,
                )
            ],
        )
    ]


def _line(one: dict[str, Any], name: str) -> np.ndarray | None:
    """Where a length or an angle was drawn; regions are named by their group."""
    points = np.array(one["points_lps_mm"])
    if one["tool"] in ("length", "angle"):
        return points
    if one["tool"] != "bidirectional":
        return None
    first, second = points[:2], points[2:]
    long_first = np.linalg.norm(first[1] - first[0]) >= np.linalg.norm(second[1] - second[0])
    return first if long_first == (name == "long_axis") else second


def _statistic(value: dict[str, Any]) -> list[sr.Measurement]:
    number = round(float(value["value"]), 4)
    name = value["name"]
    if name == "volume":
        return [sr.Measurement(terms.METABOLIC_VOLUME, number, terms.MILLILITRE)]
    if name == "tlg" and value["unit"] == "g/ml{SUVbw}.ml":
        return [sr.Measurement(terms.TOTAL_LESION_GLYCOLYSIS, number, terms.GRAM)]
    if name in STATISTICS and value["unit"] in QUANTITIES:
        concept, unit = QUANTITIES[value["unit"]]
        return [sr.Measurement(concept, number, unit, derivation=STATISTICS[name])]
    return []


def _tracking(sources: Sources, one: dict[str, Any]) -> sr.TrackingIdentifier:
    words = " ".join(f"{one['name']} {one['tool']} {one['label']}".split())
    return sr.TrackingIdentifier(
        uid=sources.uid_for(f"measurement {one['name']}"), identifier=words
    )


def _left_out(sources: Sources, one: dict[str, Any]) -> sr.MeasurementsAndQualitativeEvaluations:
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(sources, one),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name=terms.MARK, value=terms.NOT_CODED)
        ],
    )
