"""From the reader's form to the stored layer: real files, the real first step, both times."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from pydicom.uid import PositronEmissionTomographyImageStorage

from analysis.pipeline import result_path, run_step
from tests.analysis.dicom_series import make_series
from tests.factories import (
    CaseFactory,
    ClaimFactory,
    InstanceFactory,
    PatientFactory,
    SeriesFactory,
    StudyFactory,
    UserFactory,
)
from workstation.analyzing.models import Layer, Run
from workstation.analyzing.recording import load_result
from workstation.analyzing.requests import step_request
from workstation.analyzing.services import claim_step, finish_step, latest_run, start_run
from workstation.receiving.storage import path_of
from workstation.worklist.models import Case, CaseState


@pytest.fixture
def case(db: None, tmp_path: Path) -> Case:
    """A case whose only series is a PET without weight, its bytes in the archive."""

    def change(_: int, ds: Any) -> None:
        del ds.PatientWeight

    files = make_series(
        tmp_path / "pet", np.full((12, 16, 16), 5000, np.int16), modality="PT", change=change
    )
    study = StudyFactory(patient=PatientFactory())
    series = SeriesFactory(
        study=study, modality="PT", series_instance_uid=files.series_instance_uid
    )
    for path in files.paths:
        data = Path(path).read_bytes()
        instance = InstanceFactory(
            series=series, sha256=hashlib.sha256(data).hexdigest(), size=len(data),
            sop_class_uid=PositronEmissionTomographyImageStorage,
        )  # fmt: skip
        path_of(instance.sha256).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, path_of(instance.sha256))
    return CaseFactory(patient=study.patient, studies=[study], state=CaseState.READING)


def assemble(run: Run) -> Layer:
    """What a worker and its child do with the first step."""
    step = run.steps.get(name="assemble")
    token = claim_step(step.pk, "test")
    assert token
    run_step(step_request(step), lambda share, text: None)
    finish_step(step.pk, token, load_result(step, result_path("assemble")))
    return run.layers.get()


def test_a_weight_turns_activity_into_suv(case: Case, client: Client) -> None:
    reader = UserFactory(sites=[case.site], first_name="Ada", last_name="Reader")
    ClaimFactory(case=case, user=reader)
    client.force_login(reader)
    run = start_run(case, "first images")
    assert assemble(run).unit == "Bq/ml"
    assert "no usable patient weight" in client.get(
        reverse("analyzing:pet-values", args=[case.pk])
    ).content.decode()

    series = case.studies.get().series.get()
    client.post(
        reverse("analyzing:pet-enter", args=[case.pk, series.pk]),
        {"quantity": "weight_kg", "value": "70", "reason": "patient's file"},
    )
    layer = assemble(start_run(case, "a value entered for SUV"))
    assert (layer.unit, layer.label) == ("g/ml{SUVbw}", "PET (SUVbw by entered value)")
    again = latest_run(case)
    assert again is not None
    notice = again.notices.get(code="pet_entered")
    assert "weight 70 kg entered by Ada Reader" in notice.message
    assert notice.series == series
    page = client.get(reverse("analyzing:pet-values", args=[case.pk])).content.decode()
    assert "70 kg" in page and "entered by Ada Reader" in page
    # The case page has the place for it.
    case.modalities = "PT"
    case.save()
    assert 'id="pet-slot"' in client.get(reverse("reading:case", args=[case.pk])).content.decode()
