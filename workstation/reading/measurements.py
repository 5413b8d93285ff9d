"""Making and changing measurements. The numbers are ``measured_values.py``'s."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.analyzing.models import Run
from workstation.reading.marks import lock_case, next_number, note_mark, statuses_of
from workstation.reading.measured_layers import (
    Statuses,
    chosen_keys,
    fingerprint,
    on_screen,
    open_layers,
)
from workstation.reading.measured_values import (
    POINTS,
    Liver,
    Measured,
    Row,
    measure_lines,
    measure_outline,
    measure_sphere,
    measure_threshold,
)
from workstation.reading.measuring import CannotMeasure
from workstation.reading.models import MeasuredValue, Measurement, MeasurementTool
from workstation.reading.services import ReviewRefused, check_points, check_reading, probe
from workstation.worklist.models import Case

Tool = MeasurementTool
LINES = (Tool.LENGTH, Tool.BIDIRECTIONAL, Tool.ANGLE)
PLANAR = (Tool.ELLIPSE, Tool.FREEHAND)
WORDS = (Tool.ARROW, Tool.TEXT)
FREEHAND_POINTS = (3, 2000)
METHODS = ("41%", "50%", "fixed", "percist")
MOST_LAYERS = 20
LIVER = "liver"
COMPUTED = (
    "label", "points", "plane", "purpose", "threshold", "layers", "outline", "mask", "value",
    "unit", "text", "notes", "evidence",
)  # fmt: skip
"""Columns that belong together: points and what was computed from them."""
PROBED = "trilinear sample of the stored volume (segmentation: nearest voxel)"


def make_measurement(
    case: Case,
    user: User,
    *,
    tool: str,
    points: Any,
    plane: Any = None,
    layers: Collection[int] | None = None,
    label: str = "",
    purpose: str = "",
    threshold: Any = None,
    sent: UUID | None = None,
    address: str = "",
) -> Measurement:
    """Compute and keep a measurement (README, Measurements). Raises :class:`ReviewRefused`, or
    ``VolumeUnreadable``.

    ``sent``: the browser's id of the mark. Sent again, because the answer was lost, it is still one
    mark, with the points and label of the last time.
    """
    check_reading(case, user)
    row = Measurement(case=case, tool=tool, by=user, sent=sent)
    _describe(row, points=points, plane=plane, label=label, purpose=purpose, threshold=threshold)
    if there := _sent_before(case, sent):
        return _sent_again(there, row, user, address)
    run, statuses = statuses_of(case)
    row.layers = _keys(tool, statuses, layers)
    # Reading voxels takes its time: nobody waits for the case, or for SQLite's one writer, so long.
    values = _compute(row, run, statuses)
    with transaction.atomic():
        locked = lock_case(case.pk, user)
        there = _sent_before(locked, sent)
        if there is None:
            row.number = next_number(locked.measurements)
            row.save()
            _keep(row, values)
            note_mark("made", row, locked, user, address)
    return row if there is None else _sent_again(there, row, user, address)


def _sent_before(case: Case, sent: UUID | None) -> Measurement | None:
    return case.measurements.filter(sent=sent).first() if sent else None


def _sent_again(there: Measurement, now: Measurement, user: User, address: str) -> Measurement:
    """The row of a mark that was stored although its browser never heard so."""
    if there.tool != now.tool:
        raise ReviewRefused(gettext("Another mark was sent by this id."))
    changes = {
        name: getattr(now, name)
        for name in ("points", "label")
        if getattr(now, name) != getattr(there, name)
    }
    return change_measurement(there, user, address=address, **changes) if changes else there


def change_measurement(
    measurement: Measurement,
    user: User,
    *,
    address: str = "",
    layers: Collection[int] | None = None,
    **changes: Any,
) -> Measurement:
    """New label, points, plane, purpose, threshold or layers; all but a label compute again."""
    row = measurement
    check_reading(row.case, user)
    now = {
        "points": row.points, "plane": row.plane, "label": row.label, "purpose": row.purpose,
        "threshold": row.threshold,
    }  # fmt: skip
    _describe(row, **{**now, **changes})
    values: list[Row] | None = None
    if not set(changes) <= {"label"} or layers is not None:
        run, statuses = statuses_of(row.case)
        if layers is not None:
            row.layers = _keys(row.tool, statuses, layers)
        values = _compute(row, run, statuses)
    with transaction.atomic():
        locked = lock_case(row.case_id, user)
        stored = Measurement.objects.select_for_update().get(pk=row.pk)
        if stored.hidden_at is not None:
            raise ReviewRefused(gettext("This measurement was deleted. Restore it first."))
        if "label" not in changes:
            row.label = stored.label  # another window may have written it meanwhile
        if row.tool in WORDS:
            row.text = row.label
        told = ["label", "text"] if row.tool in WORDS else ["label"]
        row.save(update_fields=["changed_at", *(told if values is None else COMPUTED)])
        if values is not None:
            _keep(row, values)
        note_mark("changed", row, locked, user, address)
    return row


# --- what was asked -----------------------------------------------------------------------------


def _describe(
    row: Measurement, *, points: Any, plane: Any, label: str, purpose: str, threshold: Any
) -> None:
    """Check what the reader drew and said against the tool; nothing is computed yet."""
    tool = row.tool
    if tool not in Tool.values:
        raise ReviewRefused(
            gettext("The tool is one of {values}.").format(values=", ".join(Tool.values))
        )
    row.points = _points(tool, points)
    row.plane = _plane(tool, plane)
    row.label = label.strip()[:200]
    if tool == Tool.TEXT and not row.label:
        raise ReviewRefused(gettext("A text needs words."))
    if purpose and (purpose != LIVER or tool != Tool.SPHERE):
        raise ReviewRefused(gettext("The only purpose is liver, of a sphere."))
    row.purpose = purpose
    row.threshold = _threshold(threshold) if tool == Tool.THRESHOLD else None


def _points(tool: str, points: Any) -> list[list[float]]:
    if tool != Tool.FREEHAND:
        return check_points(points, POINTS[Tool(tool)])
    least, most = FREEHAND_POINTS
    count = len(points) if isinstance(points, list) else 0
    if not least <= count <= most:
        raise ReviewRefused(
            gettext("A freehand outline has {least} to {most} points.").format(
                least=least, most=most
            )
        )
    return check_points(points, count)


def _plane(tool: str, plane: Any) -> dict[str, Any] | None:
    if plane is None:
        if tool in PLANAR:
            raise ReviewRefused(gettext("This tool needs its plane."))
        return None
    normal = plane.get("normal") if isinstance(plane, dict) else None
    [checked] = check_points([normal], 1)
    size = math.hypot(*checked)
    if size < 1e-6:
        raise ReviewRefused(gettext("The plane's normal has no direction."))
    return {"normal": [v / size for v in checked]}


def _threshold(threshold: Any) -> dict[str, Any]:
    method = threshold.get("method") if isinstance(threshold, dict) else None
    if method not in METHODS:
        raise ReviewRefused(
            gettext("The threshold is one of {join}.").format(join=", ".join(METHODS))
        )
    if method != "fixed":
        return {"method": method, "value": None}
    value = threshold.get("value")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= 1000:
        raise ReviewRefused(gettext("A fixed threshold is an SUV above 0, e.g. 4.0."))
    return {"method": method, "value": float(value)}


# --- computing ----------------------------------------------------------------------------------


def _keys(tool: str, statuses: Statuses, layers: Collection[int] | None) -> list[str]:
    """The series that a measurement is of; none for geometry alone."""
    if tool in LINES or tool in WORDS:
        return []
    return chosen_keys(statuses, layers, everything=tool == Tool.PROBE)


def _compute(row: Measurement, run: Run | None, statuses: Statuses) -> list[Row]:
    """Headline, outline, mask and what they rest on, onto a described measurement; its values.
    Nothing is written."""
    try:
        measured, evidence = _measured(row, run, statuses)
    except CannotMeasure as reason:
        raise ReviewRefused(str(reason)) from None
    shown = on_screen(statuses)
    reference = next((layer.key for layer, _, _ in statuses if layer.is_reference), "")
    row.evidence = {
        "run": run.number if run else None,
        "reference": reference,
        "placed": {key: fingerprint(*shown[key]) for key in row.layers if key in shown},
        **evidence,
    }
    row.notes = measured.notes + _not_measured(row, statuses)
    row.outline, row.mask = measured.outline, measured.mask
    first = measured.rows[0] if measured.rows else None
    row.value, row.unit = (first.value, first.unit) if first else (None, "")
    row.text = measured.text
    return measured.rows


def _keep(row: Measurement, values: list[Row]) -> None:
    row.values.all().delete()
    MeasuredValue.objects.bulk_create(
        MeasuredValue(measurement=row, position=n, **vars(one)) for n, one in enumerate(values)
    )


def _not_measured(row: Measurement, statuses: Statuses) -> list[str]:
    shown = on_screen(statuses)
    labels = {
        layer.key: layer.label
        for layer, _, _ in statuses
        if layer.key in row.layers and layer.key not in shown
    }
    return [f"{label} is not fused, so it was not measured." for label in labels.values()]


def _measured(
    row: Measurement, run: Run | None, statuses: Statuses
) -> tuple[Measured, dict[str, Any]]:
    """The numbers, and what else they rest on."""
    tool = row.tool
    if tool in WORDS:
        return Measured([], row.label), {}
    if tool in LINES:
        return measure_lines(tool, row.points), {}
    if run is None:
        raise CannotMeasure(gettext("There are no images to measure yet."))
    if tool == Tool.PROBE:
        return _probed(row, statuses), {}
    if len(row.layers) > MOST_LAYERS:
        raise CannotMeasure(
            gettext("Choose at most {most_layers} series to measure.").format(
                most_layers=MOST_LAYERS
            )
        )
    with open_layers(statuses, row.layers) as layers:
        if tool in PLANAR:
            return measure_outline(tool, row.points, row.plane["normal"], layers), {}
        if tool == Tool.SPHERE:
            return measure_sphere(row.points, layers), {}
        pets = [one for one in layers if one.modality == "PT"]
        if len(pets) != 1:
            raise CannotMeasure(
                gettext("There is no fused PET to grow in.")
                if not pets
                else gettext("Choose one PET: the volume grows in one series.")
            )
        [pet] = pets
        row.layers = [pet.key]
        liver = None
        if row.threshold["method"] == "percist":
            liver = liver_of(row.case, pet.key, statuses)
        measured = measure_threshold(row.points, row.threshold, pet, liver)
        return measured, {"liver": vars(liver)} if liver else {}


def _probed(row: Measurement, statuses: Statuses) -> Measured:
    """The value of every layer at the point; those that do not reach it are left out."""
    keys = {layer.pk: key for key, (layer, _, _) in on_screen(statuses).items()}
    wanted = [pk for pk, key in keys.items() if key in row.layers]
    found = [v for v in probe(row.case, row.points[0], wanted) if v["value"] is not None]
    if not found:
        raise CannotMeasure(gettext("No fused image reaches this point."))
    rows = [
        Row(
            "value", v["value"], v["unit"], PROBED, keys.get(v["layer"], ""), v["label"]
        )
        for v in found
    ]  # fmt: skip
    return Measured(rows, ", ".join(f"{v['label']} {v['text']}" for v in found)[:300])


def liver_of(case: Case, key: str, statuses: Statuses) -> Liver | None:
    """The newest liver sphere with values of this series, as the series lies now.

    Raises :class:`CannotMeasure` if its values are outdated.
    """
    spheres = case.measurements.shown().filter(purpose=LIVER, values__key=key)
    newest = spheres.order_by("-id").first()
    if newest is None:
        return None
    values = {row.name: row.value for row in newest.values.filter(key=key)}
    if values.get("mean") is None or values.get("sd") is None:
        return None
    here = on_screen(statuses).get(key)
    if here is None or newest.evidence.get("placed", {}).get(key) != fingerprint(*here):
        raise CannotMeasure(
            gettext(
                "The liver sphere {name} was measured before the images were aligned or analysed "
                "anew. Move it, or place another one."
            ).format(name=newest.name)
        )
    centre, surface = newest.points
    return Liver(
        newest.pk, newest.name, values["mean"], values["sd"], 2 * math.dist(centre, surface)
    )
