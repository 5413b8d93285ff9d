"""A small case whose images, segmentation and findings are real files, read, judged and signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from django.test import RequestFactory
from pydicom.uid import generate_uid

from analysis.contracts import (
    IDENTITY,
    DraftResult,
    FindingRecord,
    InferResult,
    MeasureResult,
    RegisterResult,
    RegistrationRecord,
    SentenceRecord,
    StepName,
    StepResult,
    to_json,
)
from analysis.geometry import Grid, Volume
from analysis.pipeline import run_step
from analysis.volume_store import write_volume
from tests.analysis.dicom_frames import Plane, write_enhanced
from tests.analysis.dicom_series import make_series
from tests.factories import PASSWORD, SiteFactory, UserFactory, uid
from workstation.accounts.models import Site, User
from workstation.analyzing.models import Run
from workstation.analyzing.recording import load_result
from workstation.analyzing.requests import run_folder, step_request
from workstation.analyzing.services import claim_step, finish_step, start_run
from workstation.exporting.models import Export
from workstation.exporting.services import request_exports
from workstation.reading.services import review_finding
from workstation.receiving.models import Series, Study
from workstation.receiving.services import store_instance
from workstation.reporting.models import Version
from workstation.reporting.services import (
    MEANINGS,
    addend_report,
    prepare_report,
    seal,
    sign_report,
)
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import claim_case, join_study_to_case, study_completed

SHAPE = (8, 24, 20)
SPACING = np.array([1.5, 2.0, 4.0])
"""(x, y, z) mm: three different values, so that a swapped axis shows."""
SHIFT = (
    (0.0, -1.0, 0.0, 5.0),
    (1.0, 0.0, 0.0, -7.0),
    (0.0, 0.0, 1.0, 2.5),
    (0.0, 0.0, 0.0, 1.0),
)
"""PET LPS -> CT LPS of the test case: a quarter turn and a shift."""
PERSON = {
    "PatientName": "SYNTHETIC^Ada",
    "PatientID": "EX-1",
    "IssuerOfPatientID": "HOSP",
    "PatientBirthDate": "19610203",
    "PatientSex": "F",
    "StudyID": "S1",
    "AccessionNumber": "ACC-7",
    "StudyDate": "20260105",
    "StudyTime": "101500",
    "StudyDescription": "PET/CT thorax",
    "ReferringPhysicianName": "Refer^Rita",
}
PLACEHOLDER = "Q" * 200
"""For bytes that no encoder would write; as long as they are."""
REQUEST = RequestFactory().post("/")


def ct_affine(tilt_degrees: float = 0.0) -> np.ndarray:
    """Supine head-first; with a tilt the slices step sideways (along y)."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-14.0, -23.0, 100.0)
    affine[1, 2] = SPACING[2] * np.tan(np.radians(tilt_degrees))
    return affine


@dataclass
class House:
    """The case and everybody in it."""

    site: Site
    reader: User
    case: Case
    run: Run
    ct_folder: Path
    labels: Volume
    """What the analysis stored: finding numbers [z, y, x]."""

    def judge(self, **states: str) -> House:
        """``judge(f1="accepted", f2="rejected")`` by the reader."""
        for name, state in states.items():
            finding = self.run.findings.get(number=int(name[1:]))
            review_finding(
                finding, self.reader, state=state, comment="seen" if state == "edited" else ""
            )
        return self

    def sign(self) -> Version:
        report = self.case.report
        return sign_report(
            report, self.reader, REQUEST, password=PASSWORD, meaning=MEANINGS[0], seen=seal(report)
        )

    def addend(self, text: str) -> Version:
        return addend_report(
            self.case.report, self.reader, REQUEST, text=text, password=PASSWORD,
            meaning=MEANINGS[0],
        )  # fmt: skip

    def export(self) -> Export:
        """Judge both findings as accepted, rejected if nobody did; sign; ask for the export."""
        for finding in self.run.findings.filter(review=None):
            self.judge(**{f"f{finding.number}": "accepted"})
        version = self.sign()
        self.case.refresh_from_db()
        request_exports(self.case)
        return version.export

    @property
    def ct_headers(self) -> list[pydicom.Dataset]:
        """Of the CT, by position."""
        found = [pydicom.dcmread(path) for path in self.ct_folder.glob("*.dcm")]
        return sorted(found, key=lambda ds: float(ds.ImagePositionPatient[2]))


def build(
    tmp_path: Path,
    *,
    findings: int = 2,
    tilt_degrees: float = 0.0,
    with_pet: bool = True,
    charset: str | list[str] = "ISO_IR 192",
    person: dict[str, str] | None = None,
    name_bytes: bytes = b"",
    enhanced: bool = False,
) -> House:
    """Write DICOM, receive it, assemble it with the real pipeline, add known findings, claim.

    ``name_bytes``: the patient name as some sender encoded it in ``charset``.
    ``enhanced``: the CT is one multi-frame object of two contrast phases, frames shuffled.
    """
    site = SiteFactory(name="Nordklinik")
    reader = UserFactory(sites=[site], first_name="Ada", last_name="Läsare", title="MD")
    who = {**PERSON, **(person or {})}
    rng = np.random.default_rng(7)
    folder = tmp_path / "ct"

    def encode(k: int, ds: pydicom.Dataset) -> None:
        ds.SpecificCharacterSet = charset
        if name_bytes:
            ds.PatientName = PLACEHOLDER[: len(name_bytes)]

    pixels = rng.integers(-100, 100, SHAPE).astype(np.int16)
    if enhanced:
        _two_phases(folder, pixels, {**who, "SpecificCharacterSet": charset})
    else:
        make_series(folder, pixels, affine=ct_affine(tilt_degrees), change=encode, seed="ct", **who)
    if with_pet:
        pet = rng.integers(0, 900, (6, 10, 10)).astype(np.int16)
        spread = np.diag([3.0, 3.0, 5.0, 1.0])
        make_series(
            tmp_path / "pet", pet, modality="PT", affine=spread, change=encode, seed="pet",
            FrameOfReferenceUID=uid("pet frame"), **who,
        )  # fmt: skip
    for path in sorted(tmp_path.glob("*/*.dcm")):
        data = path.read_bytes()
        if name_bytes:
            data = data.replace(PLACEHOLDER[: len(name_bytes)].encode(), name_bytes)
        outcome = store_instance(site, [data], source="test")
        assert outcome.study_id is not None, outcome
    study = Study.objects.get(site=site)
    study.completed_at = study.last_received_at
    study.save(update_fields=["completed_at"])
    case = join_study_to_case(study)
    study_completed(case)
    run = start_run(case, "first images")
    labels = _do_steps(run, findings)
    case.refresh_from_db()
    case.state = CaseState.READY
    case.save(update_fields=["state"])
    claim_case(case, reader)
    case.refresh_from_db()
    prepare_report(run)
    return House(site, reader, case, run, folder, labels)


def _two_phases(folder: Path, pixels: np.ndarray, who: dict[str, str]) -> None:
    affine = ct_affine()
    planes = [
        Plane(
            (pixels[k] + 1024 + phase).astype(np.uint16),
            [float(v) for v in affine[:3, 3] + k * affine[:3, 2]],
            {"TemporalPositionIndex": phase + 1, "AcquisitionDateTime": f"2026010510150{phase}",
             "RescaleSlope": 1.0, "RescaleIntercept": -1024.0, "RescaleType": "HU"},
            spacing=(SPACING[1], SPACING[0]),
        )
        for phase in range(2)
        for k in range(len(pixels))
    ]  # fmt: skip
    order = np.random.default_rng(3).permutation(len(planes))
    write_enhanced(
        folder, [planes[n] for n in order], "CT", SeriesInstanceUID=uid("ct"),
        StudyInstanceUID=generate_uid(entropy_srcs=["study"]),
        FrameOfReferenceUID=generate_uid(entropy_srcs=["frame"]), **who,
    )  # fmt: skip


def _do_steps(run: Run, findings: int) -> Volume:
    step = run.steps.get(name="assemble")
    token = claim_step(step.pk, "test")
    assert token
    run_step(step_request(step), lambda fraction, text: None)
    finish_step(step.pk, token, load_result(step, "assemble/result.json"), peak_memory_mb=1)
    reference = run.layers.get(is_reference=True)
    assert reference.role == "CT"
    series = Series.objects.filter(study__cases=run.case)
    records = [
        RegistrationRecord(
            one.series_instance_uid,
            reference.key,
            "reference" if one.modality == "CT" else "registered",
            SHIFT if one.modality == "PT" else IDENTITY,
            "Mattes mutual information, rigid",
            "1",
            "usable",
        )
        for one in series
    ]
    _record(run, "register", RegisterResult(tuple(records)))
    _record(run, "infer", InferResult(None, None, None, None, ""))
    shape = tuple(reference.record["levels"][0]["shape"])
    grid = Grid(shape, np.array(reference.record["affine"]))
    array = np.zeros(shape, np.uint8)
    array[2:4, 5:9, 6:11] = 1
    array[5, 12:15, 3:5] = 2
    array[array > findings] = 0
    volume = Volume(array, grid, "1", "SEG")
    folder = run_folder(run)
    stored = write_volume(
        folder / "measure" / "segmentation.rfv", volume, run_dir=folder, key="segmentation",
        label="Segmentation", quantise="labels",
    ) if findings else None  # fmt: skip
    made = tuple(_finding(number, volume) for number in range(1, findings + 1))
    _record(run, "measure", MeasureResult(made, stored))
    sentences = [SentenceRecord("impression", "See findings.", 0, "checked")]
    sentences += [SentenceRecord("findings", f"Nodule {f.number}.", f.number) for f in made]
    _record(run, "draft", DraftResult(tuple(sentences)))
    return volume


def _finding(number: int, labels: Volume) -> FindingRecord:
    count = int((labels.array == number).sum())
    return FindingRecord(
        number=number,
        tracking_uid=uid("finding", number),
        label="Lung nodule",
        location="right upper lung zone",
        laterality="right",
        probability=0.5 + number / 10,
        position=(1.0, 2.0, 3.0),
        long_axis_mm=10.0 + number,
        short_axis_mm=7.5,
        volume_ml=count * labels.grid.voxel_volume_ml,
        suv_max=5.25 if number == 1 else None,
        suv_peak=4.5 if number == 1 else None,
        suv_mean=3.125 if number == 1 else None,
        method="Radfuse lung finder 1",
    )


def _record(run: Run, name: StepName, result: StepResult) -> None:
    step = run.steps.get(name=name)
    token = claim_step(step.pk, "test")
    assert token
    folder = run_folder(run) / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_bytes(to_json(result))
    finish_step(step.pk, token, load_result(step, f"{name}/result.json"), peak_memory_mb=1)


Build = Callable[..., House]
