"""Reading stored deformation fields without the science, as ``volume_files`` reads volumes."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from analysis.contracts import FieldRecord
from analysis.deformation import Deformation
from analysis.errors import StepFailed
from workstation.analyzing.models import Run
from workstation.analyzing.requests import run_folder
from workstation.analyzing.volume_files import VolumeUnreadable

Field = Deformation
_RECORD: TypeAdapter[FieldRecord] = TypeAdapter(FieldRecord)


def read_field(run: Run, record: dict[str, Any]) -> Field:
    """The field that a row's ``deformation`` (or the signed content) names, its hash checked.

    Raises ``VolumeUnreadable`` with a reason for the reader.
    """
    try:
        described = _RECORD.validate_python(record)
    except ValidationError as error:
        raise VolumeUnreadable("The record of a deformation does not fit.") from error
    folder = run_folder(run).resolve()
    path = (folder / described.path).resolve()
    if not path.is_relative_to(folder):
        raise VolumeUnreadable("A stored deformation lies outside its run's folder.")
    try:
        return Deformation.read(path, sha256=described.sha256)
    except StepFailed as error:
        raise VolumeUnreadable(error.message) from error
