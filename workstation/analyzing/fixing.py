"""Registrations that a reader decided, handed to a new run so that nothing computes them again."""

from __future__ import annotations

import hashlib
import shutil
from typing import Any

from pydantic import TypeAdapter

from analysis.contracts import IDENTITY, FieldRecord, QualityFigure, RegistrationRecord
from workstation.analyzing.models import Registration, Run
from workstation.analyzing.requests import run_folder

DECIDED = "decided"
"""Key of ``Registration.parameters`` under which the new run finds who decided: ``badge`` is what
the screen says, ``by``, ``at`` and ``run`` (its number) lead back to the decision, ``field`` to the
file of a deformation."""
FIELD_GONE = "its deformation is no longer stored; only the affine part is used"

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
    if field and fused:
        decided = {**decided, "field": {"run": registration.run_id, "path": field["path"]}}
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


def carry_fields(run: Run) -> None:
    """Copy the deformations of the new run's fixed registrations to where they name them, from the
    runs that hold them. Of one that is gone the affine part stays, and the record says so."""
    changed = False
    for uid, record in run.fixed_registrations.items():
        if record["deformation"] is None:
            continue
        held = record["parameters"][DECIDED]["field"]
        source = run_folder(Run.objects.get(pk=held["run"])) / held["path"]
        path = run_folder(run) / _field_path(uid)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, path)
        except FileNotFoundError:
            record |= {"deformation": None, "model": "affine", "reasons": [FIELD_GONE]}
            changed = True
    if changed:
        run.save(update_fields=["fixed_registrations"])
