"""The steps of a run on synthetic and real patients, with the truth known.

The networks are replaced by an oracle that says what a good network would (tests/analysis/oracle),
so that these tests judge the chain around them; tests/analysis/fusion judges the networks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

import analysis.pipeline as pipeline
from analysis.contracts import (
    AssembleResult,
    DraftResult,
    InferResult,
    MeasureResult,
    RegisterResult,
    SeriesInput,
    StepName,
    StepRequest,
)
from analysis.errors import InputRefused, ModelError, StepFailed
from analysis.phantoms.dicom import write_dicom
from analysis.phantoms.head import make_head
from analysis.phantoms.model import LesionSpec, Phantom
from analysis.phantoms.thorax import make_thorax
from analysis.pipeline import read_result, run_step
from analysis.volume_store import read_stored, read_volume
from analysis.volumes import scan_folder
from tests.analysis.oracle import fusion_output

Run = Callable[..., Path]
ALL: tuple[StepName, ...] = ("assemble", "register", "infer", "measure", "draft")
SHIFT = (6.0, -4.0, 5.0)
"""Where the T1 of the head was moved to, LPS mm."""
Case = tuple[Phantom, Sequence[SeriesInput]]


def silent(_fraction: float, _text: str) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def thorax(tmp_path_factory: pytest.TempPathFactory) -> Case:
    lesions = (
        LesionSpec(20.0, 8.0, True),
        LesionSpec(13.0, 7.0, True, spiculated=True),
        LesionSpec(12.0, 0.8, False),
    )
    phantom = make_thorax(21, lesions=lesions, spacing_mm=(1.6, 1.6, 2.0))
    folder = tmp_path_factory.mktemp("thorax")
    write_dicom(phantom, folder)
    return phantom, scan_folder([folder])[0]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """All five series in one frame, but for T1, which a shift puts into a frame of its own."""
    phantom = make_head(3, positive=True, spacing_mm=(2.0, 2.0, 2.0), aligned=True)
    folder = tmp_path_factory.mktemp("head")
    write_dicom(phantom, folder)
    series = scan_folder([folder])[0]
    (moved,) = [s for s in series if s.description == "AX T1 PRE"]
    for path in moved.paths:
        ds = dcmread(path)
        ds.FrameOfReferenceUID = "2.25.77"
        ds.ImagePositionPatient = [float(v) + d for v, d in
                                   zip(ds.ImagePositionPatient, SHIFT, strict=True)]
        ds.save_as(path)
    return phantom, series


def run_steps(
    series: Sequence[SeriesInput],
    out: Path,
    phantom: Phantom | None = None,
    steps: Sequence[StepName] = ALL,
) -> Path:
    """Run steps into a folder; with a phantom, the oracle takes the networks' place."""

    def networks(pathway: str, channels: dict, reference: object, **_: object) -> object:
        if phantom is None:
            raise ModelError("no_model", f"No model is installed for the {pathway} pathway.")
        return fusion_output(phantom, tuple(sorted(channels)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "run_networks", networks)
        for step in steps:
            run_step(StepRequest(step, str(out), tuple(series)), silent)
    return out


@pytest.fixture(scope="module")
def thorax_run(thorax: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    phantom, series = thorax
    return run_steps(series, tmp_path_factory.mktemp("run"), phantom)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def start(
        series: Sequence[SeriesInput],
        phantom: Phantom | None = None,
        steps: Sequence[StepName] = ALL,
    ) -> Path:
        return run_steps(series, tmp_path / "run", phantom, steps)

    return start


def test_thorax_ends_in_the_nodules_that_were_put_in(thorax: Case, thorax_run: Path) -> None:
    phantom, out = thorax[0], thorax_run
    assembled = read_result(out, AssembleResult)
    assert assembled.pathway == "lung"
    assert all(v.synthetic for v in assembled.volumes)
    states = {r.state for r in read_result(out, RegisterResult).registrations}
    assert states == {"reference", "same_frame"}

    measured = read_result(out, MeasureResult)
    assert len(measured.findings) == len(phantom.lesions)
    for truth in phantom.lesions:
        finding = min(
            measured.findings,
            key=lambda f: float(np.linalg.norm(np.subtract(f.position, truth.centre))),
        )
        assert np.linalg.norm(np.subtract(finding.position, truth.centre)) < 1.0
        assert finding.volume_ml == pytest.approx(truth.volume_ml, rel=0.10)
        assert finding.laterality == truth.laterality
        mean_diameter = (finding.long_axis_mm + finding.short_axis_mm) / 2
        assert mean_diameter == pytest.approx(truth.diameter_mm, rel=0.15)
        assert finding.suv_max is not None
        # Blur only takes away: no lesion is hotter than it was made (but for noise).
        assert finding.suv_max < 1.1 * truth.uptake_suv + 0.5


def test_every_number_leads_back_to_its_voxels(thorax_run: Path) -> None:
    out = thorax_run
    assembled, measured = read_result(out, AssembleResult), read_result(out, MeasureResult)
    volumes = {v.series_instance_uid: v for v in assembled.volumes}
    assert measured.segmentation is not None
    labels = read_stored(out, measured.segmentation)
    for finding in measured.findings:
        evidence = finding.evidence["pet"]
        i, j, k = evidence["suv_max_voxel_ijk"]
        pet = read_volume(out, volumes[evidence["pet_series"]])
        assert float(pet.array[k, j, i]) == pytest.approx(finding.suv_max, abs=1e-3)
        assert pet.grid.to_lps((i, j, k)) == pytest.approx(finding.suv_max_position, abs=0.02)
        i, j, k = finding.evidence["centre_voxel_ijk"]
        assert labels[k, j, i] == finding.number
        assert (labels == finding.number).sum() == finding.evidence["voxels"]


def test_the_same_input_gives_the_same_bytes_again(
    thorax: Case, thorax_run: Path, run: Run
) -> None:
    phantom, series = thorax
    first, again = thorax_run, run(series, phantom)
    # A rerun over old files leaves nothing of them.
    (again / "measure" / "stray.rfv").write_bytes(b"old")
    run(series, phantom, ("measure", "draft"))
    assert not (again / "measure" / "stray.rfv").exists()
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) > 8
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for file in files:
        assert (first / file).read_bytes() == (again / file).read_bytes(), file


def test_head_ends_in_its_tumour(head: Case, run: Run) -> None:
    phantom, series = head
    out = run(series, phantom)
    assembled = read_result(out, AssembleResult)
    assert assembled.pathway == "glioma"
    roles = {v.series_instance_uid: v.role for v in assembled.volumes}
    assert roles[assembled.reference_series_uid] == "T1c"
    registered = read_result(out, RegisterResult).registrations
    assert {roles[r.series_instance_uid]: r.state for r in registered} == {
        "T1c": "reference",
        "T1": "registered",
        "T2": "same_frame",
        "FLAIR": "same_frame",
        "PET": "same_frame",
    }
    moved = next(r for r in registered if roles[r.series_instance_uid] == "T1")
    place = np.array(moved.matrix) @ (*np.add(phantom.lesions[0].centre, SHIFT), 1.0)
    assert np.linalg.norm(place[:3] - phantom.lesions[0].centre) < 1.0

    (finding,) = read_result(out, MeasureResult).findings
    truth = phantom.labels["whole"]
    ml = truth.grid.voxel_volume_ml
    assert finding.label == "Enhancing brain lesion"
    assert finding.laterality == phantom.lesions[0].laterality
    assert finding.volume_ml == pytest.approx(float(truth.array.sum()) * ml, rel=0.2)
    assert finding.evidence["core_ml"] == pytest.approx(phantom.lesions[0].volume_ml, rel=0.2)
    assert 0 < finding.evidence["enhancing_ml"] < finding.evidence["core_ml"]
    assert finding.evidence["tumour_to_contralateral"] > 1.2
    record = read_result(out, MeasureResult).segmentation
    assert record is not None
    mask, known = read_stored(out, record) == 1, truth.array > 0
    assert 2 * (mask & known).sum() / (mask.sum() + known.sum()) > 0.85


def test_ct_alone_of_a_pet_ct_is_read_without_uptake(thorax: Case, run: Run) -> None:
    phantom, series = thorax
    out = run([s for s in series if s.modality == "CT"], phantom)
    findings = read_result(out, MeasureResult).findings
    assert len(findings) == len(phantom.lesions)
    assert all(f.suv_max is None for f in findings)
    text = " ".join(s.text for s in read_result(out, DraftResult).sentences)
    assert "SUV" not in text


def test_pet_without_dose_is_shown_but_not_measured(
    thorax: Case, run: Run, tmp_path: Path
) -> None:
    phantom, series = thorax
    changed = []
    for item in series:
        if item.modality == "PT":
            folder = tmp_path / "no_dose"
            folder.mkdir()
            for n, path in enumerate(item.paths):
                ds = dcmread(path)
                del ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose
                ds.save_as(folder / f"{n}.dcm")
            item = SeriesInput(
                item.series_instance_uid, item.study_instance_uid, item.modality,
                item.description, tuple(str(p) for p in sorted(folder.iterdir())),
            )
        changed.append(item)
    out = run(changed, phantom)
    assembled = read_result(out, AssembleResult)
    assert "pet_no_dose" in {n.code for n in assembled.notices}
    assert len(assembled.volumes) == 2
    assert all(f.suv_max is None for f in read_result(out, MeasureResult).findings)
    text = " ".join(s.text for s in read_result(out, DraftResult).sentences)
    assert "no SUV" in text


def test_without_a_model_the_case_still_ends_in_a_draft(thorax: Case, run: Run) -> None:
    _, series = thorax
    out = run(series, phantom=None)
    inferred = read_result(out, InferResult)
    assert inferred.heatmap is None
    assert {n.code for n in inferred.notices} == {"no_model"}
    notices = {n.code for n in read_result(out, MeasureResult).notices}
    assert "no_network_findings" in notices
    assert not any("network" in s.text for s in read_result(out, DraftResult).sentences)


def test_pet_only_is_its_own_reference(thorax: Case, run: Run) -> None:
    _, series = thorax
    out = run([s for s in series if s.modality == "PT"])
    assembled = read_result(out, AssembleResult)
    assert assembled.pathway == "general"
    findings = read_result(out, MeasureResult).findings
    assert any(f.suv_max is not None and f.suv_max > 5 for f in findings)


def test_a_refused_series_is_a_notice_and_the_rest_goes_on(
    thorax: Case, run: Run, tmp_path: Path
) -> None:
    _, series = thorax
    text = tmp_path / "not_dicom.dcm"
    text.write_text("hello")
    bad = SeriesInput("9.9", "9", "CT", "", (str(text),))
    out = run([*series, bad], steps=("assemble",))
    assembled = read_result(out, AssembleResult)
    assert len(assembled.volumes) == len(series)
    (notice,) = [n for n in assembled.notices if n.severity == "refused"]
    assert notice.subject == "9.9"
    assert notice.message


def test_a_case_without_a_usable_series_is_refused(run: Run, tmp_path: Path) -> None:
    text = tmp_path / "not_dicom.dcm"
    text.write_text("hello")
    with pytest.raises(InputRefused) as refusal:
        run([SeriesInput("9.9", "9", "CT", "", (str(text),))], steps=("assemble",))
    assert refusal.value.code == "no_usable_series"
    assert not (tmp_path / "run" / "assemble" / "result.json").exists()


def test_two_patients_are_never_fused(thorax: Case, run: Run, tmp_path: Path) -> None:
    _, series = thorax
    pet = next(s for s in series if s.modality == "PT")
    folder = tmp_path / "stranger"
    folder.mkdir()
    for n, path in enumerate(pet.paths):
        ds = dcmread(path)
        ds.PatientID = "SOMEBODY-ELSE"
        ds.save_as(folder / f"{n}.dcm")
    stranger = SeriesInput(
        pet.series_instance_uid, pet.study_instance_uid, "PT", "",
        tuple(str(p) for p in sorted(folder.iterdir())),
    )
    others = [s for s in series if s.modality == "CT"]
    with pytest.raises(InputRefused) as refusal:
        run([*others, stranger], steps=("assemble",))
    assert refusal.value.code == "several_patients"


def test_a_step_out_of_order_says_which_is_missing(thorax: Case, run: Run) -> None:
    _, series = thorax
    with pytest.raises(StepFailed) as failure:
        run(series, steps=("register",))
    assert failure.value.code == "step_missing"
    assert "'assemble'" in failure.value.message


@pytest.mark.parametrize(
    ("patient", "volume_ml", "suv_in_crop"), [("STS_001", 365, 25.4), ("STS_005", 585, 6.72)]
)
def test_real_sarcoma_shows_its_delivered_tumour(
    real_data: Path, run: Run, patient: str, volume_ml: float, suv_in_crop: float
) -> None:
    series, _ = scan_folder([real_data / "sarcoma-ct-mr-pet" / patient])
    out = run(series)
    assembled = read_result(out, AssembleResult)
    assert assembled.pathway == "general"
    pet = next(v for v in assembled.volumes if v.role == "PET")
    assert pet.value_range[1] == pytest.approx(suv_in_crop, abs=0.05)
    assert {r.state for r in read_result(out, RegisterResult).registrations} == {
        "reference",
        "same_frame",
    }
    measured = read_result(out, MeasureResult)
    tumour = measured.findings[0]
    assert tumour.label.startswith("Delivered contour GTV_Mass")
    assert tumour.volume_ml == pytest.approx(volume_ml, rel=0.03)
    assert [c["volume_ml"] for c in tumour.evidence["contours"]] == pytest.approx(
        [volume_ml] * 3, rel=0.03
    )
    assert tumour.suv_max is not None
    assert 3 < tumour.suv_max <= suv_in_crop + 0.05
    assert sum(f.label.startswith("Delivered") for f in measured.findings) == 1
    assert measured.segmentation is not None
    labels = read_stored(out, measured.segmentation)
    ml = abs(np.linalg.det(np.array(measured.segmentation.affine)[:3, :3])) / 1000
    assert (labels == 1).sum() * ml == pytest.approx(volume_ml, rel=0.03)
    shutil.rmtree(out)
