"""Registrations that a reader decided, handed to a new run so that nothing computes them again."""

from __future__ import annotations

import hashlib
import shutil
from typing import Any

from pydantic import TypeAdapter

from analysis.contracts import IDENTITY, FieldRecord, QualityFigure, RegistrationRecord
from workstation.analyzing.models import Registration, Run
from workstation.analyzing.requests import run_folder
from workstation.analyzing.volume_files import VolumeUnreadable

DECIDED = "decided"
"""Key of ``Registration.parameters`` under which the new run finds who decided: ``badge`` is what
the screen says, ``by``, ``at`` and ``run`` (its number) lead back to the decision."""

_FIELD: TypeAdapter[FieldRecord] = TypeAdapter(FieldRecord)
_RECORD: TypeAdapter[RegistrationRecord] = TypeAdapter(RegistrationRecord)


def fixed_registration(
    registration: Registration,
    *,
    fused: bool,
    state: str,
    matrix: list[list[float]],
    method: str,
    version: str,
    model: str,
    quality: tuple[dict[str, Any], ...],
    field: dict[str, Any] | None,
    decided: dict[str, Any],
) -> dict[str, Any]:
    """A RegistrationRecord as JSON for ``Run.fixed_registrations``.

    A series that the reader rejected comes back as not registered. A deformation goes along (see
    :func:`carry_fields`), so that its layer is drawn again; networks and measurements use only the
    affine part.
    """
    uid = registration.series.series_instance_uid
    kept = {**field, "path": _field_path(uid)} if field and fused else None
    record = RegistrationRecord(
        series_instance_uid=uid,
        reference_series_uid=registration.reference.series_instance_uid,
        state=state if fused else "not_registered",
        matrix=tuple(tuple(row) for row in matrix) if fused else IDENTITY,
        method=method[:200],
        version=version,
        verdict="usable" if fused else "refused",
        reasons=() if fused else (str(decided["badge"]),),
        quality=tuple(QualityFigure(**figure) for figure in quality),
        parameters={DECIDED: decided},
        model=model,
        deformation=_FIELD.validate_python(kept) if kept else None,
    )
    return dict(_RECORD.dump_python(record, mode="json"))


def _field_path(uid: str) -> str:
    """Relative to the new run's folder, outside the folders that its steps empty."""
    return f"fixed/{hashlib.sha256(uid.encode()).hexdigest()[:16]}.npz"


def carry_fields(source: Run, target: Run, fields: dict[str, dict[str, Any]]) -> None:
    """Copy deformations (by SeriesInstanceUID, as ``source`` records them) to where the fixed
    registrations of ``target`` name them. Raises ``VolumeUnreadable`` if one is gone."""
    for uid, field in fields.items():
        path = run_folder(target) / _field_path(uid)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(run_folder(source) / field["path"], path)
        except FileNotFoundError:
            raise VolumeUnreadable("The stored deformation is gone; refine again.") from None
