"""CT 512 x 512 x 300 and a registered PET for ``slow_line``: ``manage.py shell`` runs ``make``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from analysis.geometry import Volume, as_matrix
from analysis.grids import Grid
from analysis.volume_store import write_volume
from tests.benchmarks.streaming_case import AFFINE, body
from tests.factories import (
    CaseFactory,
    LayerFactory,
    PatientFactory,
    RegistrationFactory,
    RunFactory,
    SeriesFactory,
    StudyFactory,
    UserFactory,
)
from tests.reading.socket_server import sign_in
from workstation.analyzing.requests import run_folder
from workstation.worklist.models import CaseState


def uptake(slices: int) -> np.ndarray:
    """PET of 200 x 200 in SUV: background, organs, hot spots and counting noise."""
    rng = np.random.default_rng(2)
    z, y, x = np.mgrid[0:slices, 0:200, 0:200].astype(np.float32)
    inside = (x - 90) ** 2 / 1.4 + (y - 90) ** 2 < 66**2
    picture = np.where(inside, 1.0, 0.02).astype(np.float32)
    for _ in range(12):
        at = rng.uniform([0, 50, 50], [slices, 130, 130])
        away = (z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2
        picture += rng.uniform(2, 12) * np.exp(-away / (2 * rng.uniform(2, 12) ** 2))
    noise = rng.normal(0, 1, picture.shape).astype(np.float32)
    return np.maximum(picture + noise * 0.12 * np.sqrt(picture), 0)


def make(home: str, slices: int) -> None:
    folder = Path(home)
    study = StudyFactory(patient=PatientFactory())
    case = CaseFactory(
        patient=study.patient, studies=[study], state=CaseState.READY, modalities="CT PT"
    )
    run = RunFactory(case=case)
    made, first = [], None
    for position, (modality, label, unit, array, affine) in enumerate(
        (
            ("CT", "CT", "[hnsf'U]", body(slices), AFFINE),
            ("PT", "PET", "g/ml{SUVbw}", uptake(slices // 2), np.diag([2.036, 2.036, 2.0, 1.0])),
        )
    ):
        series = SeriesFactory(study=study, modality=modality)
        first = first or series
        volume = Volume(array, Grid(array.shape, affine), unit, modality, label)
        path = run_folder(run) / "assemble" / f"{label}.rfv"
        record = write_volume(
            path, volume, run_dir=run_folder(run), key=series.series_instance_uid, label=label,
            role=label, series_instance_uid=series.series_instance_uid,
        )  # fmt: skip
        layer = LayerFactory(
            run=run, series=series, is_reference=not position, position=position, label=label,
            role=label, unit=unit, record=asdict(record),
        )  # fmt: skip
        RegistrationFactory(
            run=run, series=series, reference=first,
            state="same_frame" if position else "reference", matrix=as_matrix(np.eye(4)),
        )  # fmt: skip
        coarsest = record.levels[-1]
        made.append(
            {
                "id": layer.pk, "label": label, "slices": array.shape[0],
                "levels": [level.shape for level in record.levels],
                "bytes": [level.offsets[-1] - level.offsets[0] for level in record.levels],
                "coarse_slices": coarsest.shape[0],
            }
        )  # fmt: skip
    reader = UserFactory(sites=[case.site], username="reader")
    (folder / "case.json").write_text(
        json.dumps({"case": case.pk, "layers": made, "session": sign_in(reader).session_key})
    )
