"""A CT case of its own database for the streaming benchmark: ``manage.py shell`` runs ``make``."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from analysis.geometry import Volume, as_matrix
from analysis.grids import Grid
from analysis.volume_store import write_volume
from tests.analysis.dicom_series import make_series
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

AFFINE = np.diag([0.7, 0.7, 1.0, 1.0])


def body(slices: int) -> np.ndarray:
    """512 x 512 CT that compresses as real chest CT does: about 160 KB a slice."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:512, 0:512]
    inside = (x - 256) ** 2 / 1.4 + (y - 256) ** 2 < 190**2
    lung = (np.abs(x - 256) - 90) ** 2 + (y - 250) ** 2 < 75**2
    tissue = np.where(inside, np.where(lung, -850, 40), -1000)
    noise = np.where(inside, 14.0, 3.0)
    return np.stack(
        [np.rint(tissue + rng.normal(0, 1, (512, 512)) * noise) for _ in range(slices)]
    ).astype(np.int16)


def make(home: str, slices: int, readers: int) -> None:
    """Rows, the store file, the same slices as DICOM, the same frames for the bare server."""
    folder = Path(home)
    array = body(slices)
    study = StudyFactory(patient=PatientFactory())
    series = SeriesFactory(study=study, modality="CT")
    case = CaseFactory(
        patient=study.patient, studies=[study], state=CaseState.READY, modalities="CT"
    )
    run = RunFactory(case=case)
    volume = Volume(array, Grid(array.shape, AFFINE), "[hnsf'U]", "CT", "CT")
    path = run_folder(run) / "assemble" / "ct.rfv"
    record = write_volume(
        path, volume, run_dir=run_folder(run), key=series.series_instance_uid, label="CT",
        role="CT", series_instance_uid=series.series_instance_uid,
    )  # fmt: skip
    layer = LayerFactory(
        run=run, series=series, is_reference=True, position=0, label="CT", role="CT",
        record=asdict(record),
    )  # fmt: skip
    RegistrationFactory(
        run=run, series=series, reference=series, state="reference", matrix=as_matrix(np.eye(4))
    )
    sessions = [
        sign_in(UserFactory(sites=[case.site], username=f"reader{n}")).session_key
        for n in range(readers)
    ]
    stored = path.read_bytes()
    with (folder / "frames.bin").open("wb") as out:
        for level in (len(record.levels) - 1, 0):
            entry = record.levels[level]
            for k in range(entry.shape[0]):
                payload = stored[entry.offsets[k] : entry.offsets[k + 1]]
                header = struct.pack(
                    "<HBBIHHIIII", 0x4652, 2, 1, layer.pk, level, 0, k, len(payload), k,
                    zlib.crc32(payload),
                )  # fmt: skip
                frame = header + struct.pack("<I", zlib.crc32(header)) + payload
                out.write(struct.pack("<I", len(frame)) + frame)
    make_series(folder / "dicom", array, affine=AFFINE)
    found = {"case": case.pk, "layer": layer.pk, "slices": slices, "sessions": sessions}
    (folder / "case.json").write_text(json.dumps(found))
