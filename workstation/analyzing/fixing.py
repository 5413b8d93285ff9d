"""Registrations that a reader decided, handed to a new run so that nothing computes them again."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from analysis.contracts import IDENTITY, QualityFigure, RegistrationRecord
from workstation.analyzing.models import Registration

DECIDED = "decided"
"""Key of ``Registration.parameters`` under which the new run finds who decided: ``badge`` is what
the screen says, ``by``, ``at`` and ``run`` (its number) lead back to the decision."""

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
    decided: dict[str, Any],
) -> dict[str, Any]:
    """A RegistrationRecord as JSON for ``Run.fixed_registrations``.

    A series that the reader rejected comes back as not registered. Of a deformable alignment only
    the affine part goes along: networks and measurements do not use a field.
    """
    record = RegistrationRecord(
        series_instance_uid=registration.series.series_instance_uid,
        reference_series_uid=registration.reference.series_instance_uid,
        state=state if fused else "not_registered",
        matrix=tuple(tuple(row) for row in matrix) if fused else IDENTITY,
        method=method[:200],
        version=version,
        verdict="usable" if fused else "refused",
        reasons=() if fused else (str(decided["badge"]),),
        quality=tuple(QualityFigure(**figure) for figure in quality),
        parameters={DECIDED: decided},
        model="affine" if model == "deformable" else model,
    )
    return dict(_RECORD.dump_python(record, mode="json"))
