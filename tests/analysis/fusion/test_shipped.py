"""The bundles that ship: complete, unaltered, small, and right on patients never trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from analysis.contracts import IDENTITY, Matrix
from analysis.errors import ModelError
from analysis.fusion import FusionOutput, infer
from analysis.fusion.bundle import SHIPPED, build, find_bundle, read_bundle
from analysis.geometry import Volume, grid_of, subgrid
from analysis.phantoms.head import make_head
from analysis.phantoms.model import Phantom
from analysis.phantoms.thorax import make_thorax
from analysis.resampling import resample
from analysis.training.card import NOT_MEASURED, SECTIONS
from analysis.training.scoring import dice

BUNDLES = ("glioma_fusion_cls", "glioma_fusion_seg", "lung_fusion_cls", "lung_fusion_seg")
TEN_MB = 10_000_000


@pytest.mark.parametrize("name", BUNDLES)
def test_bundle_is_complete_and_unaltered(name: str) -> None:
    folder = SHIPPED / name
    metadata = json.loads((folder / "configs" / "metadata.json").read_text("utf-8"))
    bundle = read_bundle(folder)
    weights = (folder / "models" / "model.pt").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == bundle.contract.weights_sha256
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < TEN_MB
    assert bundle.name == name
    assert "Apache License" in (folder / "LICENSE").read_text("utf-8")
    for key in ("version", "monai_version", "pytorch_version", "network_data_format", "task"):
        assert metadata[key], key
    assert metadata["radfuse"]["training_data"].startswith("Trained only on synthetic patients")
    assert bundle.contract.training["iterations_done"] >= 300
    inputs = metadata["network_data_format"]["inputs"]["image"]
    assert tuple(inputs["channel_def"].values()) == bundle.contract.channels
    assert build(folder, "network_def") is not None


@pytest.mark.parametrize("name", BUNDLES)
def test_card_names_its_weights_and_measured_them(name: str) -> None:
    bundle = read_bundle(SHIPPED / name)
    card = (SHIPPED / name / "docs" / "README.md").read_text("utf-8")
    for section in SECTIONS:
        assert f"\n## {section}\n" in card, section
    assert "NOT FOR DIAGNOSTIC USE" in card
    assert NOT_MEASURED not in card
    # Once where the weights are named, once in the table that was measured with them.
    assert bundle.contract.weights_sha256 in card
    assert card.count(bundle.contract.weights_sha256[:12]) >= 2


def channels(phantom: Phantom, *roles: str) -> dict[str, tuple[Volume, Matrix]]:
    return {r: (s.volume, s.to_reference) for r, s in phantom.series.items() if r in roles}


def value_at(volume: Volume, lps: np.ndarray) -> float:
    i, j, k = np.rint(volume.grid.to_index(lps)).astype(int)
    return float(volume.array[k, j, i])


def peak_place(output: FusionOutput) -> np.ndarray:
    array = output.heatmap.array
    k, j, i = np.unravel_index(int(np.argmax(array)), array.shape)
    return output.heatmap.grid.to_lps([i, j, k])


def inside(label: Volume, lps: np.ndarray) -> bool:
    i, j, k = np.rint(label.grid.to_index(lps)).astype(int)
    return bool(label.array[k, j, i])


@pytest.fixture(scope="module")
def thorax() -> Phantom:
    return make_thorax(7, spacing_mm=(2.0, 2.0, 3.0), positive=True)


@pytest.fixture(scope="module")
def both(thorax: Phantom) -> FusionOutput:
    return infer("lung", channels(thorax, "CT", "PET"), thorax.labels["nodule"].grid, threads=1)


def test_lung_peak_lies_in_the_avid_lesion(thorax: Phantom, both: FusionOutput) -> None:
    assert inside(thorax.labels["suspicious"], peak_place(both))
    assert float(both.heatmap.array.max()) > 0.8
    assert both.probability is not None
    assert both.probability > 0.5
    assert both.heatmap.unit == "1"
    assert both.heatmap.array.dtype == np.float32
    assert set(both.outputs) == {"nodule", "suspicious"}
    assert both.model.present == ("CT", "PET")
    assert not {n.code for n in both.notices} & {"missing_channel", "partial_channel"}


def test_heart_and_liver_stay_dark(thorax: Phantom, both: FusionOutput) -> None:
    """Physiological uptake is far below the lesion: nothing is marked away from every lesion."""
    marked = np.argwhere(both.heatmap.array >= 0.5)[:, ::-1]
    places = both.heatmap.grid.to_lps(marked)
    gaps = [
        np.linalg.norm(places - np.array(t.centre), axis=1) - t.diameter_mm
        for t in thorax.lesions
        if t.suspicious
    ]
    assert float(np.min(gaps, axis=0).max()) < 10.0


def test_missing_channel_is_accepted_and_named(thorax: Phantom, both: FusionOutput) -> None:
    output = infer("lung", channels(thorax, "CT"), thorax.labels["nodule"].grid, threads=1)
    assert output.model.present == ("CT",)
    assert output.model.channels == ("CT", "PET")
    (notice,) = [n for n in output.notices if n.code == "missing_channel"]
    assert "PET" in notice.message
    assert not np.array_equal(output.heatmap.array, both.heatmap.array)


def test_a_channel_that_ends_early_is_named(thorax: Phantom) -> None:
    """Only the lower two thirds of the PET are there: that is said."""
    given = channels(thorax, "CT", "PET")
    pet, matrix = given["PET"]
    planes = pet.grid.shape[0] * 2 // 3
    part = subgrid(pet.grid, (0, 0, 0), (planes, *pet.grid.shape[1:]))
    given["PET"] = replace(pet, array=pet.array[:planes], grid=part), matrix
    output = infer("lung", given, thorax.labels["nodule"].grid, threads=1)
    (notice,) = [n for n in output.notices if n.code == "partial_channel"]
    assert "The PET series covers" in notice.message
    assert "no uptake" in notice.message


def test_the_same_case_gives_the_same_answer(thorax: Phantom, both: FusionOutput) -> None:
    again = infer("lung", channels(thorax, "CT", "PET"), thorax.labels["nodule"].grid, threads=1)
    assert np.array_equal(again.heatmap.array, both.heatmap.array)
    assert again.probability == both.probability


def test_glioma_is_found_through_the_series_own_frames() -> None:
    """Every series lies in a frame of its own: only the matrices bring them together."""
    head = make_head(7, spacing_mm=(2.0, 2.0, 2.0), positive=True)
    roles = ("T1", "T1c", "T2", "FLAIR", "PET")
    output = infer("glioma", channels(head, *roles), head.labels["whole"].grid, threads=1)
    assert inside(head.labels["whole"], peak_place(output))
    assert value_at(output.outputs["core"], np.array(head.lesions[0].centre)) > 0.0
    assert output.label == "high-grade glioma"
    assert output.probability is not None
    assert output.probability > 0.5


def from_nifti(path: Path, role: str) -> Volume:
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    return Volume(array, grid_of(image), "1", "MR", role)


def test_a_real_glioma_without_pet_is_pointed_at(real_data: Path) -> None:
    """One real patient, skull-stripped, no PET: far from the phantoms. The peak lies in what
    fused algorithms call tumour; the overlap is about 0.5, which README.md says."""
    folder = real_data / "glioma-mr"
    stripped = folder / "sri24_skullstripped"
    names = {"T1": "t1", "T1c": "t1c", "T2": "t2", "FLAIR": "fla"}
    series = {
        role: (from_nifti(stripped / f"OtherEXampleFromTCIA_{name}_bet.nii.gz", role), IDENTITY)
        for role, name in names.items()
    }
    output = infer("glioma", series, series["T1c"][0].grid, threads=1)
    tumour = from_nifti(folder / "seg_fused" / "mav.nii.gz", "OTHER")
    assert inside(tumour, peak_place(output))
    label = tumour.with_array((tumour.array > 0).astype(np.float32))
    truth = np.asarray(resample(label, output.heatmap.grid)[0].array) >= 0.5
    assert dice(output.heatmap.array >= 0.5, truth) > 0.4
    assert output.model.present == ("T1", "T1c", "T2", "FLAIR")


def test_no_model_for_a_pathway_or_its_channels(thorax: Phantom) -> None:
    grid = thorax.labels["nodule"].grid
    with pytest.raises(ModelError) as refused:
        infer("general", channels(thorax, "CT", "PET"), grid)
    assert refused.value.code == "no_model"
    with pytest.raises(ModelError) as refused:
        infer("lung", {"MR": (thorax.series["CT"].volume, thorax.series["CT"].to_reference)}, grid)
    assert refused.value.code == "no_model"
    assert "CT or PET" in refused.value.message


def test_a_pet_that_is_not_in_suv_is_refused(thorax: Phantom) -> None:
    pet = thorax.series["PET"]
    counts = Volume(pet.volume.array, pet.volume.grid, "Bq/ml", "PT", "PET")
    with pytest.raises(ModelError) as refused:
        infer("lung", {"PET": (counts, pet.to_reference)}, thorax.labels["nodule"].grid, threads=1)
    assert refused.value.code == "wrong_unit"


def test_folder_without_bundles_has_no_model(tmp_path: Path) -> None:
    assert find_bundle(tmp_path, "lung", "segmentation") is None
