"""What can be compared over time: measurements and findings as sizes with their units.

A size of a case belongs to the day of the images that the case is about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from django.utils.translation import gettext

from workstation.analyzing.models import Finding
from workstation.reading.measurement_view import Screen
from workstation.reading.models import Measurement, MeasurementTool
from workstation.reading.priors import content_of, current_studies, findings_of
from workstation.reading.units import is_suv
from workstation.worklist.models import Case

MEASUREMENT, FINDING = "measurement", "finding"
Tool = MeasurementTool
COMPARED = (
    Tool.LENGTH, Tool.BIDIRECTIONAL, Tool.ELLIPSE, Tool.FREEHAND, Tool.SPHERE, Tool.THRESHOLD,
)  # fmt: skip
"""Tools that measure a size; an angle or a probe does not grow."""
CENTRED = (Tool.ELLIPSE, Tool.SPHERE, Tool.THRESHOLD)
"""Whose first point is the centre."""
GEOMETRY = {
    "length": "long_axis", "long_axis": "long_axis", "short_axis": "short_axis", "area": "area",
    "volume": "volume",
}  # fmt: skip
UPTAKE = {"max": "suv_max", "peak": "suv_peak"}


@dataclass(frozen=True)
class Size:
    value: float
    unit: str
    method: str


@dataclass(frozen=True)
class Item:
    """One measurement or finding of a case. ``place``: LPS mm in that case's reference space as it
    is now, None where it was measured in another. ``outdated``: why it is not of the images on
    screen any more, or empty."""

    kind: str
    pk: int
    name: str
    label: str
    case: int
    day: date | None
    sizes: dict[str, Size] = field(default_factory=dict)
    place: tuple[float, float, float] | None = None
    outdated: str = ""

    @property
    def key(self) -> tuple[str, int]:
        return self.kind, self.pk

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "id": self.pk,
            "name": self.name,
            "label": self.label,
            "case": self.case,
            "date": self.day.isoformat() if self.day else "",
            "position": list(self.place) if self.place else None,
            "outdated": self.outdated,
        }


def of_measurement(row: Measurement, day: date | None, screen: Screen) -> Item:
    """``row`` with its values; ``day`` of the images that it measures."""
    sizes: dict[str, Size] = {}
    for one in row.values.all():
        name = GEOMETRY.get(one.name, "") if not one.key else ""
        if one.key and one.name == "volume":
            name = "mtv"
        elif one.key and is_suv(one.unit):
            name = UPTAKE.get(one.name, "")
        if name and one.value is not None:
            sizes.setdefault(name, Size(one.value, one.unit, one.method))
    points = np.asarray(row.points, dtype=np.float64)
    middle = points[0] if row.tool in CENTRED else points.mean(axis=0)
    drawn = screen.same_space(row.evidence)
    x, y, z = (float(v) for v in middle)
    return Item(
        MEASUREMENT, row.pk, row.name, row.label, row.case_id, day, sizes,
        (x, y, z) if drawn else None,
    )  # fmt: skip


def of_finding(row: Finding, day: date | None, shown: bool = True) -> Item:
    """A finding as the reader left it. ``shown``: it belongs to the run on screen."""
    review = getattr(row, "review", None)
    method = row.method
    sizes = {
        "long_axis": Size(row.long_axis_mm, "mm", method),
        "short_axis": Size(row.short_axis_mm, "mm", method),
        "volume": Size(row.volume_ml, "ml", method),
    }
    # Their formula is not kept with a finding, so they are compared with findings alone.
    for name, value in (("finding_suv_max", row.suv_max), ("finding_suv_peak", row.suv_peak)):
        if value is not None:
            sizes[name] = Size(value, "SUV", method)
    again = gettext("The images were analysed anew since; pair the new finding.")
    return Item(
        FINDING, row.pk, gettext("Finding {number}").format(number=row.number),
        (review.label if review else "") or row.label, row.run.case_id, day, sizes,
        (row.x_mm, row.y_mm, row.z_mm) if shown else None, "" if shown else again,
    )  # fmt: skip


def items_of(case: Case, screen: Screen) -> list[Item]:
    """What of a case can be compared, measurements first."""
    day = content_of(current_studies(case)).day
    rows = case.measurements.shown().filter(tool__in=COMPARED).prefetch_related("values")
    found = [of_measurement(row, day, screen) for row in rows.order_by("id")]
    found += [of_finding(row, day) for row in findings_of(case)]
    return found
