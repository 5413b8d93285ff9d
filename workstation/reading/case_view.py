"""The JSON a viewer starts from: patient, layers, fusion states, findings, outlines.

Its shape is written down in this room's README; ``frontend/src/viewer/api.ts`` mirrors it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workstation.accounts.models import User
from workstation.accounts.permissions import allowed
from workstation.accounts.preferences import preferences_of
from workstation.analyzing.models import (
    Finding,
    Layer,
    LayerKind,
    Registration,
    Run,
)
from workstation.analyzing.recording import ResultInvalid, outlines_of
from workstation.analyzing.services import run_summary
from workstation.analyzing.shown import current_run
from workstation.reading.alignment_changes import CHANGED, alignment_json
from workstation.reading.fusion_state import FusionStatus, layer_statuses
from workstation.reading.kept_decisions import decision_notices
from workstation.reading.measurement_view import Screen, marks_json
from workstation.reading.models import FindingReview
from workstation.reading.more_notices import more_notices
from workstation.reading.stream import VERSION
from workstation.receiving.models import RoleSource, Series
from workstation.receiving.services.tagging import role_label
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import holds

Originals = dict[int | None, tuple[int, int | None]]
"""Series -> its main layer and its registration."""
CODECS = {"int16": 1, "uint8": 2}


def case_view(case: Case, user: User) -> dict[str, Any]:
    """Everything the viewer needs before the first slice arrives."""
    run = current_run(case)
    statuses = layer_statuses(run) if run else []
    reference = next((layer.pk for layer, _, _ in statuses if layer.is_reference), None)
    notices = list(run.notices.select_related("series")) if run else []
    head = _case(case, user)
    may_run_again = head["can"]["decide_registration"] and case.state == CaseState.READING
    alignment = alignment_json(run, statuses, may_run_again)
    # The main volume of each series: what a deformed layer was made from.
    originals = {
        layer.series_id: (layer.pk, registration.pk if registration else None)
        for layer, _, registration in statuses
        if layer.kind == LayerKind.SERIES and not layer.is_sibling
    }
    by_series: dict[int, list[dict[str, str]]] = {}
    for notice in notices:
        if notice.series_id:
            by_series.setdefault(notice.series_id, []).append(_notice(notice))
    own = {layer.key: layer for layer, _, _ in statuses if layer.kind == LayerKind.SERIES}
    decisions = decision_notices(run, {key: one.label for key, one in own.items()}) if run else []
    for told in decisions:
        about = own.get(told["subject"])
        if about is not None and about.series_id:
            by_series.setdefault(about.series_id, []).append(told)
    return {
        "case": head,
        "patient": _patient(case),
        "studies": _studies(case),
        "run": run_summary(run),
        "reference": reference,
        "layers": [
            _layer(
                layer, status, registration, by_series.get(layer.series_id or 0, []), originals
            )
            for layer, status, registration in statuses
        ],
        "alignment": alignment,
        "outlines": _outlines(run, statuses) if run else [],
        "findings": [finding_json(f) for f in _findings(run)] if run else [],
        **marks_json(case, Screen(statuses)),
        "notices": [
            *more_notices(case, run),
            *_alignment_notice(alignment),
            *decisions,
            *(_notice(notice) for notice in notices),
        ],
        "preferences": preferences_of(user, "viewer."),
        "stream": {"path": f"/ws/cases/{case.pk}/slices/", "version": VERSION},
    }


def _case(case: Case, user: User) -> dict[str, Any]:
    mine = holds(case, user)
    writing = mine and case.state in (CaseState.READING, CaseState.DRAFT)
    claim = getattr(case, "claim", None)
    return {
        "id": case.pk,
        "title": case.title,
        "state": case.state,
        "priority": case.priority_name,
        "pathway": case.pathway,
        "problem": case.problem,
        "new_images": case.new_images,
        "held_by": claim.user.display_name if claim else "",
        "held_by_me": mine,
        "can": {
            "review": writing and allowed(user, "finding.review"),
            "measure": writing and allowed(user, "measurement.make"),
            "decide_registration": writing and allowed(user, "registration.decide"),
            "report": writing and allowed(user, "report.edit"),
            "sign": writing and allowed(user, "report.sign"),
        },
    }


def _patient(case: Case) -> dict[str, Any]:
    patient = case.patient
    ages = [age for age in case.studies.values_list("patient_age", flat=True) if age]
    return {
        "name": patient.display_name,
        "patient_id": patient.patient_id,
        "issuer": patient.issuer,
        "sex": patient.sex,
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else "",
        "age": ages[-1] if ages else "",
        "site": case.site.name,
        "synthetic": patient.synthetic,
    }


def _studies(case: Case) -> list[dict[str, Any]]:
    return [
        {
            "id": study.pk,
            "date": study.study_date.isoformat() if study.study_date else "",
            "description": study.description,
            "accession": study.accession_number,
            "modalities": sorted({series.modality for series in study.series.all()}),
            "from": study.site.name if study.site_id != case.site_id else "",
        }
        for study in case.studies.select_related("site")
        .order_by("study_date", "pk")
        .prefetch_related("series")
    ]


def _layer(
    layer: Layer,
    status: FusionStatus,
    registration: Registration | None,
    notices: list[dict[str, str]],
    originals: Originals,
) -> dict[str, Any]:
    record = layer.record
    return {
        "id": layer.pk,
        "key": layer.key,
        "series": layer.series_id,
        "volume": {
            "number": record.get("number", 1),
            "count": record.get("count", 1),
            "setting": record.get("setting", ""),
            "main": not layer.is_sibling,
        },
        "kind": layer.kind,
        "label": layer.label,
        "role": layer.role,
        "series_role": _series_role(layer.series),
        "prior": bool(record.get("prior", False)),
        "study_date": record.get("study_date", ""),
        "modality": record["modality"],
        "unit": layer.unit,
        "shape": record["levels"][0]["shape"],
        "affine": record["affine"],
        "dtype": record["dtype"],
        "codec": CODECS[record["dtype"]],
        "slope": record["slope"],
        "intercept": record["intercept"],
        "levels": [{"shape": v["shape"], "factors": v["factors"]} for v in record["levels"]],
        "value_range": record["value_range"],
        "window": record["window"],
        "synthetic": record["synthetic"],
        "lossy": record["lossy"],
        "matrix": status.matrix,
        "registration_id": registration.pk if registration else None,
        "deformed": _deformed(layer, originals),
        "fusion": status.as_json(),
        "model": _model(record),
        "notices": notices,
    }


def _deformed(layer: Layer, originals: Originals) -> dict[str, Any] | None:
    """What a deformed layer was made from, and by what; None for all others."""
    if layer.kind != LayerKind.DEFORMED or layer.series_id not in originals:
        return None
    of, registration = originals[layer.series_id]
    return {
        "registration": registration,
        "refinement": layer.refinement_id,
        "of": of,
        "outside_share": layer.record["source"].get("outside_share", 0.0),
    }


def _alignment_notice(alignment: dict[str, Any]) -> list[dict[str, str]]:
    if not alignment["message"]:
        return []
    text = {"code": CHANGED, "message": alignment["message"]}
    return [{**text, "severity": "warning", "subject": ""}]


def _series_role(series: Series | None) -> dict[str, Any] | None:
    """What the archive says the series is, and why; None for maps and what nobody looked at."""
    if series is None or not series.role:
        return None
    return {
        "code": series.role,
        "label": role_label(series),
        "reason": series.role_reason,
        "by_hand": series.role_source == RoleSource.MANUAL,
    }


def _model(record: dict[str, Any]) -> str:
    """Name and version of the model that made a layer; empty for images."""
    source = record.get("source", {})
    return " ".join(str(source[key]) for key in ("model", "version") if source.get(key))


def _outlines(
    run: Run, statuses: list[tuple[Layer, FusionStatus, Registration | None]]
) -> list[dict[str, Any]]:
    """Delivered contours in the reference space; those of a series that is not fused are listed
    without being drawn."""
    by_series = {layer.key: (layer, status) for layer, status, _ in statuses}
    by_frame = {
        layer.record["frame_of_reference_uid"]: (layer, status)
        for layer, status, _ in reversed(statuses)
        if layer.record["frame_of_reference_uid"]
    }
    try:
        outlines = outlines_of(run)
    except ResultInvalid:
        # The run is being done again; the outlines come back with it.
        return []
    found = []
    for outline in outlines:
        place = by_series.get(outline.series_instance_uid) or by_frame.get(
            outline.frame_of_reference_uid
        )
        if place is None:
            continue
        layer, status = place
        matrix = np.array(status.matrix)
        found.append(
            {
                "number": outline.number,
                "name": outline.name,
                "color": outline.color,
                "layer": layer.pk,
                "fused": status.fused,
                "polygons": [
                    (np.array(polygon) @ matrix[:3, :3].T + matrix[:3, 3]).round(3).tolist()
                    for polygon in outline.polygons
                ],
            }
        )
    return found


def _findings(run: Run) -> list[Finding]:
    return list(run.findings.select_related("review__by").order_by("number"))


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding with the reader's judgement."""
    review: FindingReview | None = getattr(finding, "review", None)
    return {
        "id": finding.pk,
        "number": finding.number,
        "label": finding.label,
        "location": finding.location,
        "laterality": finding.laterality,
        "probability": finding.probability,
        "position": [finding.x_mm, finding.y_mm, finding.z_mm],
        "long_axis_mm": finding.long_axis_mm,
        "short_axis_mm": finding.short_axis_mm,
        "volume_ml": finding.volume_ml,
        "suv_max": finding.suv_max,
        "suv_peak": finding.suv_peak,
        "suv_mean": finding.suv_mean,
        "method": finding.method,
        "review": {
            "state": review.state if review else "pending",
            "by": review.by.display_name if review else "",
            "at": review.at.isoformat() if review else None,
            "comment": review.comment if review else "",
            "label": review.label if review else "",
            "location": review.location if review else "",
        },
    }


def _notice(notice: Any) -> dict[str, str]:
    return {
        "code": notice.code,
        "message": notice.message,
        "severity": notice.severity,
        "subject": notice.series.series_instance_uid if notice.series else "",
    }
