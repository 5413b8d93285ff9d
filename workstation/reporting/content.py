"""What a signature covers: one canonical JSON text and its SHA-256.

The text holds the report, every finding with the reader's judgement, the measurements, the
decisions on registrations, the models used and the UIDs of the images read; a later version names
the hash of the one before (21 CFR 11.70: a signature cannot be cut off its record).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from workstation.accounts.models import User
from workstation.analyzing.fixing import DECIDED
from workstation.analyzing.models import Finding, LayerKind, Registration
from workstation.reading.fusion_state import in_force, latest_decision, layer_statuses
from workstation.reading.measurement_view import Screen, outdated, screen_of
from workstation.reading.models import FindingReview, Measurement, RegistrationDecisionKind
from workstation.receiving.models import Series
from workstation.reporting.models import Report, Version

FORMAT = 1


def canonical(content: Mapping[str, Any]) -> str:
    """The same content always gives the same text: sorted keys, no spaces, UTF-8 kept."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def report_content(
    report: Report,
    *,
    kind: str,
    number: int,
    sections: Mapping[str, list[str]],
    signer: User,
    meaning: str,
    signed_at: datetime,
    previous: Version | None,
) -> dict[str, Any]:
    """Everything a version states, as plain JSON values."""
    case = report.case
    patient = case.patient
    run = report.run
    return {
        "format": FORMAT,
        "kind": kind,
        "number": number,
        "previous_sha256": previous.sha256 if previous else "",
        "case": case.pk,
        "site": {"code": case.site.code, "name": case.site.name},
        "patient": {
            "name": patient.name,
            "patient_id": patient.patient_id,
            "issuer": patient.issuer,
            "birth_date": patient.birth_date.isoformat() if patient.birth_date else "",
            "sex": patient.sex,
            "synthetic": patient.synthetic,
        },
        "studies": [
            {
                "study_instance_uid": study.study_instance_uid,
                "accession_number": study.accession_number,
                "date": study.study_date.isoformat() if study.study_date else "",
                "description": study.description,
            }
            for study in case.studies.order_by("study_date", "pk")
        ],
        "series": sorted(
            Series.objects.filter(study__cases=case).values_list("series_instance_uid", flat=True)
        ),
        "sections": {name: list(texts) for name, texts in sections.items()},
        "findings": findings_of(report),
        "measurements": measurements_of(report),
        "registrations": registrations_of(report),
        "facts": {fact.name: fact.value for fact in run.facts.all()} if run else {},
        "run": {"number": run.number, "inputs_digest": run.inputs_digest} if run else None,
        "signature": {
            "name": ", ".join(part for part in (signer.display_name, signer.title) if part),
            "username": signer.username,
            "meaning": meaning,
            "at": signed_at.isoformat(),
        },
    }


def findings_of(report: Report) -> list[dict[str, Any]]:
    """Every finding of the report's run with the reader's judgement, by number."""
    if report.run is None:
        return []
    rows = report.run.findings.select_related("review__by").order_by("number")
    return [_finding(row) for row in rows]


def measurements_of(report: Report) -> list[dict[str, Any]]:
    """The reader's measurements that were not deleted, oldest first."""
    rows = report.case.measurements.shown().select_related("by").prefetch_related("values")
    found = list(rows.order_by("pk"))
    screen = screen_of(report.case)
    livers = {row.pk: row for row in found if row.purpose}
    return [_measurement(row, screen, livers) for row in found]


def _finding(finding: Finding) -> dict[str, Any]:
    review: FindingReview | None = getattr(finding, "review", None)
    edited = review is not None and review.state == "edited"
    return {
        "number": finding.number,
        "tracking_uid": finding.tracking_uid,
        "label": (review.label if edited and review.label else finding.label),
        "location": (review.location if edited and review.location else finding.location),
        "laterality": finding.laterality,
        "state": review.state if review else "pending",
        "comment": review.comment if review else "",
        "by": review.by.username if review else "",
        "position_lps_mm": [finding.x_mm, finding.y_mm, finding.z_mm],
        "long_axis_mm": finding.long_axis_mm,
        "short_axis_mm": finding.short_axis_mm,
        "volume_ml": finding.volume_ml,
        "suv_max": finding.suv_max,
        "suv_peak": finding.suv_peak,
        "suv_mean": finding.suv_mean,
        "probability": finding.probability,
        "method": finding.method,
    }


def _measurement(
    measurement: Measurement, screen: Screen, livers: dict[int, Measurement]
) -> dict[str, Any]:
    return {
        "name": measurement.name,
        "tool": measurement.tool,
        "label": measurement.label,
        "points_lps_mm": measurement.points,
        "outline_lps_mm": measurement.outline,
        "reference": measurement.evidence.get("reference", ""),
        "value": measurement.value,
        "unit": measurement.unit,
        "text": measurement.text,
        "notes": measurement.notes,
        "outdated": outdated(measurement, screen, livers),
        "values": [
            {
                "series": row.key,
                "name": row.name,
                "value": row.value,
                "unit": row.unit,
                "method": row.method,
                "voxels": row.voxels,
            }
            for row in measurement.values.all()
        ],
        "by": measurement.by.username,
    }


def registrations_of(report: Report) -> list[dict[str, Any]]:
    """How each series lay in the reference space, and whether it was fused, and who said so."""
    if report.run is None:
        return []
    rows = []
    for layer, status, registration in layer_statuses(report.run):
        if registration is None or layer.is_sibling or layer.kind != LayerKind.SERIES:
            continue  # siblings and deformed layers share the registration of their series
        decided = _decided(registration)
        by_hand = decided.get("decision") == RegistrationDecisionKind.NUDGED
        error = [q["value"] for q in status.quality if q["name"] == "estimated_error"]
        rows.append(
            {
                "series_instance_uid": layer.key,
                "state": status.state,
                "fused": status.fused,
                "verdict": status.verdict,
                "method": status.method,
                "version": status.version,
                "decision": decided.get("decision", ""),
                "decision_method": decided.get("method", ""),
                "decided_by": decided.get("by", ""),
                "decided_by_name": decided.get("name", ""),
                "decided_at": decided.get("at", ""),
                "evidence": decided.get("evidence", {}),
                "refined": status.refinement is not None,
                "matrix": status.matrix,
                "deformation": status.field,
                # Of what was computed: it says nothing about what was moved by hand.
                "estimated_error_mm": None if by_hand or not error else error[0],
            }
        )
    return rows


def _decided(registration: Registration) -> dict[str, Any]:
    """The reader's decision in force, of this run or of the one that this run took it from."""
    last = in_force(latest_decision(registration))
    if last is None:
        return dict(registration.parameters.get(DECIDED, {}))
    return {
        "decision": last.decision,
        "method": last.method,
        "by": last.by.username,
        "name": last.by.display_name,
        "at": last.at.isoformat(),
        "evidence": last.evidence,
    }
