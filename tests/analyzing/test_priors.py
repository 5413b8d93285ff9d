"""What the science is told of priors, and where it keeps registrations."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from django.utils import timezone

from tests.factories import (
    CaseFactory,
    InstanceFactory,
    PatientFactory,
    RemoteNodeFactory,
    SeriesFactory,
    StudyFactory,
)
from workstation.analyzing.requests import run_folder, series_inputs, step_request
from workstation.analyzing.services import remove_volumes, start_run
from workstation.receiving.models import Retrieval

pytestmark = pytest.mark.django_db


def test_a_study_fetched_by_rule_is_a_prior_and_has_its_date() -> None:
    patient = PatientFactory()
    studies = [
        StudyFactory(patient=patient, study_date=day, completed_at=timezone.now())
        for day in (date(2026, 9, 1), date(2025, 3, 5), date(2026, 8, 30))
    ]
    for study in studies:
        InstanceFactory(series=SeriesFactory(study=study, modality="CT"))
    case = CaseFactory(patient=patient, site=patient.site)
    case.studies.set(studies)
    Retrieval.objects.create(
        site=patient.site, node=RemoteNodeFactory(site=patient.site), because_of=studies[0],
        study_instance_uid=studies[1].study_instance_uid,
    )  # fmt: skip
    told = {(item.study_date, item.prior) for item in series_inputs(case)}
    # An older study that came by itself is part of the same work-up, not a prior.
    assert told == {("2026-09-01", False), ("2025-03-05", True), ("2026-08-30", False)}


def test_registrations_are_kept_beside_the_runs_and_go_with_the_case(
    settings: object, tmp_path: Path, django_capture_on_commit_callbacks: object
) -> None:
    settings.RUNS_DIR = tmp_path  # type: ignore[attr-defined]
    study = StudyFactory(completed_at=timezone.now())
    InstanceFactory(series=SeriesFactory(study=study))
    case = CaseFactory(patient=study.patient, site=study.patient.site)
    case.studies.set([study])
    folders = set()
    for _ in range(2):
        run = start_run(case, "test")
        request = step_request(run.steps.get(name="register"))
        folders.add(request.cache_dir)
        assert Path(request.cache_dir).parent == run_folder(run).parent
    (folder,) = map(Path, folders)
    folder.mkdir(parents=True)
    (folder / "entry.json").write_text("{}")
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        remove_volumes(case)
    assert not folder.exists()
