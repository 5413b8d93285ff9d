"""A case on the reader's screen: real stored volumes with values that are known everywhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from analysis.contracts import VolumeRecord
from tests.analyzing.results import ramp, stored
from tests.factories import (
    CaseFactory,
    FindingFactory,
    InstanceFactory,
    LayerFactory,
    PatientFactory,
    RegistrationFactory,
    RunFactory,
    SeriesFactory,
    StudyFactory,
    UserFactory,
)
from workstation.accounts.models import User
from workstation.analyzing.models import Finding, Layer, Registration, Run
from workstation.analyzing.requests import inputs_digest, run_folder
from workstation.analyzing.run_inputs import inputs_of
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import claim_case

SHIFT = [[1.0, 0, 0, 4.0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
"""PET LPS -> CT LPS: 4 mm to the left."""
INSIDE = [-6.0, -18.0, 103.0]
"""LPS of CT voxel (i, j, k) = (2, 1, 1); its stored value is 112."""


@dataclass
class House:
    reader: User
    case: Case
    run: Run
    ct: Layer
    pet: Layer
    heatmap: Layer
    segmentation: Layer
    registration: Registration
    finding: Finding


def build() -> House:
    """CT (reference), PET (registered by SHIFT, slope 0.01), heatmap and segmentation."""
    patient = PatientFactory(birth_date="1961-02-03", issuer="HOSP")
    study = StudyFactory(patient=patient, patient_age="064Y", accession_number="ACC-7")
    series = [SeriesFactory(study=study, modality=modality) for modality in ("CT", "PT")]
    for one in series:
        InstanceFactory(series=one)
    case = CaseFactory(
        patient=patient, studies=[study], state=CaseState.READY, modalities="CT PT"
    )
    run = RunFactory(case=case)
    folder = run_folder(run)
    ct, pet = (
        LayerFactory(
            run=run, series=one, is_reference=not position, position=position, label=label,
            role=label, unit=unit,
            record=as_json(
                stored(
                    folder, one.series_instance_uid, ramp(), path=f"assemble/{position}.rfv",
                    slope=slope, role=label, unit=unit, coarse=2,
                )
            ),
        )
        for position, (one, label, unit, slope) in enumerate(
            zip(series, ("CT", "PET"), ("[hnsf'U]", "g/ml{SUVbw}"), (1.0, 0.01), strict=True)
        )
    )  # fmt: skip
    heat = (ramp() % 256).astype(np.uint8)
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 1, 2] = 1
    derived = [
        LayerFactory(
            run=run, series=None, kind=kind, key=kind, label=kind, role="OTHER", unit="1",
            position=1000 + n,
            record=as_json(
                stored(folder, kind, array, path=f"m/{kind}.rfv", slope=slope, unit="1")
            ),
        )
        for n, (kind, array, slope) in enumerate(
            (("heatmap", heat, 1 / 255), ("segmentation", labels, 1.0))
        )
    ]  # fmt: skip
    RegistrationFactory(run=run, series=series[0], reference=series[0], state="reference")
    registration = RegistrationFactory(
        run=run, series=series[1], reference=series[0], matrix=SHIFT
    )
    reader = UserFactory(sites=[case.site])
    claim_case(case, reader)
    case.refresh_from_db()
    finding = FindingFactory(run=run)
    run.inputs, run.inputs_digest = inputs_of(case), inputs_digest(case)
    run.save()
    return House(reader, case, run, ct, pet, *derived, registration, finding)


def as_json(record: VolumeRecord) -> dict[str, object]:
    return asdict(replace(record, window=(400.0, 40.0)))
