"""The JSON of measurements and key images, and whether they still stand."""

from __future__ import annotations

from typing import Any

from workstation.analyzing.shown import current_run
from workstation.reading.fusion_state import layer_statuses
from workstation.reading.measured_layers import Statuses, fingerprint, on_screen
from workstation.reading.measured_values import title_of
from workstation.reading.models import KeyImage, MeasuredValue, Measurement
from workstation.reading.units import in_words
from workstation.worklist.models import Case


class Screen:
    """The layers as they lie now, to compare what was measured with."""

    def __init__(self, statuses: Statuses) -> None:
        self.shown = on_screen(statuses)
        self.known = {layer.key for layer, _, _ in statuses}
        self.reference = next((layer.key for layer, _, _ in statuses if layer.is_reference), "")

    def layer(self, key: str) -> int | None:
        """The id of the layer that shows a series now."""
        return self.shown[key][0].pk if key in self.shown else None

    def key(self, layer: int) -> str | None:
        """The other way round."""
        return next((key for key, (one, _, _) in self.shown.items() if one.pk == layer), None)

    def same_space(self, evidence: dict[str, Any]) -> bool:
        """Whether points of back then are points of the reference space on screen."""
        return evidence.get("reference", self.reference) == self.reference

    def changed(self, key: str, before: dict[str, Any], label: str) -> str:
        """Why values of a series are no longer those of the images on screen; empty if they are."""
        if key not in self.shown:
            gone = "not fused at present" if key in self.known else "no longer part of the analysis"
            return f"{label} is {gone}."
        now = fingerprint(*self.shown[key])
        if now["voxels"] != before["voxels"]:
            return f"{label} was analysed anew and has other voxel values."
        return f"{label} was aligned anew." if now != before else ""


def screen_of(case: Case) -> Screen:
    run = current_run(case)
    return Screen(layer_statuses(run) if run else [])


def marks_json(case: Case, screen: Screen) -> dict[str, Any]:
    """``measurements`` and ``key_images`` of a case, oldest first."""
    measurements = list(
        case.measurements.shown().select_related("by").prefetch_related("values").order_by("id")
    )
    livers = {row.pk: row for row in measurements if row.purpose}
    images = case.key_images.shown().select_related("by").defer("picture").order_by("id")
    return {
        "measurements": [measurement_json(row, screen, livers) for row in measurements],
        "key_images": [key_image_json(row, screen) for row in images],
    }


def hidden_json(case: Case) -> list[dict[str, Any]]:
    """What was deleted and can be restored, oldest first."""
    rows: list[Measurement | KeyImage] = [
        *case.measurements.hidden().select_related("hidden_by"),
        *case.key_images.hidden().select_related("hidden_by").defer("picture"),
    ]
    return [
        {
            "id": row.pk,
            "kind": "measurement" if isinstance(row, Measurement) else "key_image",
            "name": row.name,
            "tool": getattr(row, "tool", ""),
            "text": row.text if isinstance(row, Measurement) else row.label,
            "by": row.hidden_by.display_name if row.hidden_by else "",
            "at": row.hidden_at.isoformat() if row.hidden_at else None,
        }
        for row in sorted(rows, key=lambda one: (one.hidden_at, one.pk))
    ]


def measurement_json(
    row: Measurement, screen: Screen, livers: dict[int, Measurement] | None = None
) -> dict[str, Any]:
    """One measurement as the viewer shows it. ``livers``: those shown, if they are at hand."""
    mask = row.mask and {"layer": screen.layer(row.mask["key"]), **row.mask}
    return {
        "id": row.pk,
        "number": row.number,
        "name": row.name,
        "tool": row.tool,
        "label": row.label,
        "purpose": row.purpose,
        "points": row.points,
        "plane": row.plane,
        "threshold": row.threshold,
        "value": row.value,
        "unit": row.unit,
        "text": row.text,
        "values": [_value(one, screen) for one in row.values.all()],
        "notes": row.notes,
        "outline": row.outline,
        "mask": mask,
        "layers": [pk for key in row.layers if (pk := screen.layer(key)) is not None],
        "drawn": screen.same_space(row.evidence),
        "outdated": outdated(row, screen, livers),
        "run": row.evidence.get("run"),
        "by": row.by.display_name,
        "at": row.at.isoformat(),
        "changed_at": row.changed_at.isoformat(),
    }


def _value(row: MeasuredValue, screen: Screen) -> dict[str, Any]:
    return {
        "layer": screen.layer(row.key) if row.key else None,
        "key": row.key,
        "layer_label": row.layer_label,
        "name": row.name,
        "title": title_of(row.name, row.unit, row.key),
        "value": row.value,
        "unit": row.unit,
        "text": in_words(row.value, row.unit) if row.value is not None else "",
        "reason": row.reason,
        "method": row.method,
        "voxels": row.voxels,
        "voxel": row.voxel,
        "position": row.place,
    }


def outdated(
    row: Measurement, screen: Screen, livers: dict[int, Measurement] | None = None
) -> str:
    """Why the values of a measurement are not of the images as they lie now; empty if they are."""
    if not screen.same_space(row.evidence):
        return "Measured when another series was the reference: its place is of that space."
    labels = {one.key: one.layer_label for one in row.values.all()}
    for key, before in row.evidence.get("placed", {}).items():
        if why := screen.changed(key, before, labels.get(key, "A series")):
            return f"{why} These values are from before; measure again."
    liver = row.evidence.get("liver")
    if liver and not _liver_stands(row, liver, livers):
        return f"The liver sphere {liver['name']} was changed or deleted. Measure again."
    return ""


def _liver_stands(
    row: Measurement, liver: dict[str, Any], livers: dict[int, Measurement] | None
) -> bool:
    if livers is None:
        livers = {one.pk: one for one in row.case.measurements.shown().exclude(purpose="")}
    sphere = livers.get(liver["measurement"])
    if sphere is None:
        return False
    key = row.mask["key"] if row.mask else ""
    values = {one.name: one.value for one in sphere.values.all() if one.key == key}
    return (values.get("mean"), values.get("sd")) == (liver["mean"], liver["sd"])


def key_image_json(row: KeyImage, screen: Screen) -> dict[str, Any]:
    """One key image; its layers as they are called on screen now."""
    layers = [
        {"layer": screen.layer(one["key"]), **one} for one in row.state.get("layers", [])
    ]
    has_picture = bool(row.picture_type)
    return {
        "id": row.pk,
        "number": row.number,
        "name": row.name,
        "label": row.label,
        "state": {**row.state, "layers": layers},
        "picture": f"/api/key-images/{row.pk}/picture/" if has_picture else None,
        "drawn": screen.same_space(row.evidence),
        "by": row.by.display_name,
        "at": row.at.isoformat(),
    }
