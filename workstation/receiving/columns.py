"""From a header to the columns of the tables, and where a header contradicts a patient's row."""

from __future__ import annotations

from datetime import date
from typing import Any

from workstation.receiving.headers import Header
from workstation.receiving.models import Patient
from workstation.receiving.names import name_key

SYNTHETIC = "SYNTHETIC"
"""Names of digital patients begin with this word, and screens say so."""
Person = dict[str, str | date | None]


def patient_columns(header: Header) -> dict[str, Any]:
    return {
        **person(header),
        "name_key": name_key(header.patient_name),
        "synthetic": header.patient_name.upper().startswith(SYNTHETIC),
    }


def study_columns(header: Header) -> dict[str, Any]:
    return {
        "accession_number": header.accession_number,
        "study_date": header.study_date,
        "study_time": header.study_time,
        "description": header.study_description,
        "referring_physician": header.referring_physician,
        "patient_age": header.patient_age,
        "header": header.evidence,
    }


def series_columns(header: Header) -> dict[str, Any]:
    return {
        "modality": header.modality,
        "series_number": header.series_number,
        "description": header.series_description,
        "body_part": header.body_part,
        "frame_of_reference_uid": header.frame_of_reference_uid,
    }


def instance_columns(header: Header) -> dict[str, Any]:
    return {
        "sop_instance_uid": header.sop_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "is_image": header.is_image,
        "instance_number": header.instance_number,
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": header.number_of_frames,
    }


def person(header: Header) -> Person:
    return {
        "name": header.patient_name,
        "birth_date": header.birth_date,
        "sex": header.sex,
    }


def blanks_filled(patient: Patient, header: Header) -> Person:
    """What the header knows and the patient's row does not yet."""
    filled = {
        column: new
        for column, new in person(header).items()
        if new and not getattr(patient, column)
    }
    if "name" in filled:
        filled["name_key"] = name_key(header.patient_name)
    return filled


def contradictions(patient: Patient, header: Header) -> list[str]:
    """A sentence for the reader for each way in which the header names another person."""
    return [
        f"Images came with another patient {column.replace('_', ' ')} ({new}) than this patient "
        f"ID has ({getattr(patient, column)}). Make sure that they belong to the same person."
        for column, new in person(header).items()
        if _plain(new) and _plain(getattr(patient, column)) not in ("", _plain(new))
    ]


def _plain(value: object) -> str:
    """Names differ in case, trailing carets and script groups without being other names."""
    return str(value or "").split("=")[0].rstrip("^ ").casefold()
