"""SUVbw against published truth, worked examples, vendors' oddities, and every refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes

from analysis.errors import InputRefused
from analysis.suv import HALF_LIVES, suv_of
from analysis.suv.times import mean_activity_time
from tests.analysis.dicom_series import drug

Change = Callable[[Dataset], None]


def pet(change: Change | None = None, **tags: object) -> Dataset:
    """A BQML/START slice one hour after the injection of 370 MBq into 70 kg."""
    item = Dataset()
    item.RadionuclideTotalDose = 370e6
    item.RadionuclideHalfLife = 6586.2
    item.RadiopharmaceuticalStartTime = "100000"
    ds = Dataset()
    ds.Modality = "PT"
    ds.RadiopharmaceuticalInformationSequence = Sequence([item])
    ds.Units, ds.DecayCorrection, ds.CorrectedImage = "BQML", "START", ["DECY", "ATTN", "SCAT"]
    ds.PatientWeight = 70
    ds.SeriesDate = ds.AcquisitionDate = "20260101"
    ds.SeriesTime = ds.AcquisitionTime = "110000"
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    if change:
        change(ds)
    return ds


def refusal(*instances: Dataset) -> InputRefused:
    with pytest.raises(InputRefused) as caught:
        suv_of(instances)
    assert "2026" not in caught.value.message
    return caught.value


# --- worked examples of clinical.md 1.5 ----------------------------------------------------------


def test_worked_example_start() -> None:
    suv = suv_of([pet()])
    assert 5000 * suv.factor == pytest.approx(1.3817, abs=5e-5)
    assert suv.evidence["dose_at_scan_bq"] == pytest.approx(253.3142e6, rel=1e-6)
    assert suv.evidence["uptake_s"] == 3600
    assert suv.notices == ()


def test_worked_example_other_patient() -> None:
    def change(ds: Dataset) -> None:
        drug(ds).RadionuclideTotalDose = 259e6
        drug(ds).RadiopharmaceuticalStartTime = "095800"

    assert 25000 * suv_of([pet(change, PatientWeight=82.5)]).factor == pytest.approx(
        11.7793, abs=5e-5
    )


def test_worked_example_admin() -> None:
    assert 12000 * suv_of([pet(DecayCorrection="ADMIN")]).factor == pytest.approx(2.2703, abs=5e-5)


def test_mean_activity_time() -> None:
    assert mean_activity_time(120, 6586.2) == pytest.approx(59.9369, abs=5e-5)


# --- clocks --------------------------------------------------------------------------------------


def test_injection_before_midnight() -> None:
    def change(ds: Dataset) -> None:
        drug(ds).RadiopharmaceuticalStartTime = "233000"

    suv = suv_of([pet(change, SeriesTime="003000", AcquisitionTime="003000")])
    assert suv.evidence["uptake_s"] == 3600
    assert [n.code for n in suv.notices] == ["pet_injection_previous_day"]


def test_dated_injection_wins_over_the_bare_time() -> None:
    def change(ds: Dataset) -> None:
        drug(ds).RadiopharmaceuticalStartDateTime = "20251231233000.00"

    suv = suv_of([pet(change, SeriesTime="003000", AcquisitionTime="003000")])
    assert suv.evidence["uptake_s"] == 3600
    assert suv.notices == ()


def test_offset_of_the_injection_is_brought_to_the_dataset() -> None:
    def change(ds: Dataset) -> None:
        drug(ds).RadiopharmaceuticalStartDateTime = "20260101090000+0000"
        ds.TimezoneOffsetFromUTC = "+0100"

    assert suv_of([pet(change)]).evidence["uptake_s"] == 3600


def test_dates_that_contradict_are_refused() -> None:
    def change(ds: Dataset) -> None:
        drug(ds).RadiopharmaceuticalStartDateTime = "20240101100000"

    assert refusal(pet(change)).code == "pet_times_contradict"


def test_scan_starting_just_before_the_injection_is_dynamic() -> None:
    def change(ds: Dataset) -> None:
        drug(ds).RadiopharmaceuticalStartTime = "110041"

    suv = suv_of([pet(change)])
    assert suv.evidence["uptake_s"] == -41
    assert [n.code for n in suv.notices] == ["pet_scan_before_injection"]


def test_long_uptake_is_said() -> None:
    suv = suv_of([pet(SeriesTime="170000", AcquisitionTime="170000")])
    assert [n.code for n in suv.notices] == ["pet_long_uptake"]


def test_reprocessed_ge_uses_its_private_scan_time() -> None:
    ds = pet(SeriesTime="150000", AcquisitionTime="110300")
    ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20260101110000.00")
    suv = suv_of([ds])
    assert suv.evidence["uptake_s"] == 3600
    assert suv.evidence["scan_time_from"].startswith("GE")


def test_reprocessed_series_is_computed_back_from_its_frames() -> None:
    """Two beds of a reprocessed series, whose decay factors point to 11:00:00."""
    beds = []
    for start, clock in ((0, "110000"), (180, "110300")):
        middle = start + mean_activity_time(180, 6586.2)
        ds = pet(SeriesTime="150000", AcquisitionTime=clock, ActualFrameDuration=180000)
        ds.DecayFactor = 2 ** (middle / 6586.2)
        beds.append(ds)
    suv = suv_of(beds)
    assert suv.evidence["uptake_s"] == pytest.approx(3600, abs=0.01)
    assert [n.code for n in suv.notices] == ["pet_scan_time_computed"]


def test_reprocessed_series_without_frame_times_says_what_was_taken() -> None:
    suv = suv_of([pet(SeriesTime="150000", AcquisitionTime="110300"), pet(SeriesTime="150000")])
    assert suv.evidence["uptake_s"] == 3600
    assert [n.code for n in suv.notices] == ["pet_scan_time_earliest"]


def test_series_time_against_frame_times_is_said() -> None:
    ds = pet(AcquisitionTime="112000", ActualFrameDuration=120000, FrameReferenceTime=60000)
    assert [n.code for n in suv_of([ds]).notices] == ["pet_scan_times_disagree"]


# --- units ---------------------------------------------------------------------------------------


def philips(element: int, value: float) -> Dataset:
    ds = pet(Units="CNTS")
    block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", value if element == 0x00 else 0.0)
    if element == 0x09:
        block.add_new(0x09, "DS", value)
    return ds


def test_philips_suv_factor() -> None:
    suv = suv_of([philips(0x00, 0.000421)])
    assert (suv.factor, suv.branch) == (0.000421, "philips-suv-factor")


def test_philips_activity_factor() -> None:
    suv = suv_of([philips(0x09, 2.0)])
    assert suv.factor == pytest.approx(2 * suv_of([pet()]).factor)
    assert suv.branch == "philips-activity-factor/START"


def test_philips_block_is_found_by_its_creator() -> None:
    """Another maker's block comes first, so the Philips block is not number 0x10."""
    ds = pet(Units="CNTS")
    ds.private_block(0x7053, "SOMEONE ELSE", create=True).add_new(0x00, "DS", 9.0)
    ds.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", 0.5)
    assert suv_of([ds]).factor == 0.5


@pytest.mark.parametrize(("kind", "codes"), [("BW", []), (None, ["pet_suv_type_assumed"])])
def test_gml_is_suv_already(kind: str | None, codes: list[str]) -> None:
    ds = pet(Units="GML", PatientWeight=None)
    if kind:
        ds.SUVType = kind
    suv = suv_of([ds])
    assert (suv.factor, [n.code for n in suv.notices]) == (1.0, codes)


@pytest.mark.parametrize("kind", ["LBM", "LBMJANMA", "LBMJAMES128", "BSA", "IBW"])
def test_gml_of_another_type_is_not_suvbw(kind: str) -> None:
    assert refusal(pet(Units="GML", SUVType=kind)).code == "pet_suv_type"


# --- refusals ------------------------------------------------------------------------------------


def _drug(**tags: object) -> Change:
    def change(ds: Dataset) -> None:
        for keyword, value in tags.items():
            setattr(drug(ds), keyword, value)

    return change


def _without(keyword: str) -> Change:
    return lambda ds: delattr(ds, keyword)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("pet_units", lambda ds: setattr(ds, "Units", "PROPCPS")),
        ("pet_units", _without("Units")),
        ("pet_units", lambda ds: setattr(ds, "Units", "CNTS")),
        ("pet_not_attenuation_corrected", lambda ds: setattr(ds, "CorrectedImage", "DECY")),
        ("pet_not_attenuation_corrected", _without("CorrectedImage")),
        ("pet_not_decay_corrected", lambda ds: setattr(ds, "CorrectedImage", "ATTN")),
        ("pet_not_decay_corrected", lambda ds: setattr(ds, "DecayCorrection", "NONE")),
        ("pet_not_decay_corrected", _without("DecayCorrection")),
        ("pet_no_weight", _without("PatientWeight")),
        ("pet_no_weight", lambda ds: setattr(ds, "PatientWeight", 0)),
        ("pet_no_weight", lambda ds: setattr(ds, "PatientWeight", 70000)),
        ("pet_no_dose", _without("RadiopharmaceuticalInformationSequence")),
        ("pet_no_dose", _drug(RadionuclideTotalDose=0)),
        ("pet_no_dose", _drug(RadionuclideTotalDose=None)),
        ("pet_dose_unit", _drug(RadionuclideTotalDose=370)),
        ("pet_dose_unit", _drug(RadionuclideTotalDose=0.37)),
        ("pet_no_half_life", _drug(RadionuclideHalfLife=0)),
        ("pet_no_injection_time", _drug(RadiopharmaceuticalStartTime=None)),
        ("pet_no_injection_time", _drug(RadiopharmaceuticalStartTime="25xx")),
        ("pet_times_contradict", _drug(RadiopharmaceuticalStartTime="113000")),
    ],
)
def test_refusals(code: str, change: Change) -> None:
    assert refusal(pet(change)).code == code


def test_no_scan_time() -> None:
    ds = pet()
    for keyword in ("SeriesTime", "AcquisitionTime"):
        delattr(ds, keyword)
    assert refusal(ds).code == "pet_no_scan_time"


def test_slices_that_disagree_about_units() -> None:
    assert refusal(pet(), pet(Units="CNTS")).code == "pet_units"


@pytest.mark.parametrize(
    ("element", "name"),
    [
        ("F", "_18Fluorine"),
        ("C", "_11Carbon"),
        ("Ga", "_68Gallium"),
        ("N", "_13Nitrogen"),
        ("O", "_15Oxygen"),
        ("Rb", "_82Rubidium"),
        ("Cu", "_64Copper"),
        ("Zr", "_89Zirconium"),
    ],
)
def test_missing_half_life_comes_from_the_nuclide_code_and_is_said(element: str, name: str) -> None:
    """The codes are those of the standard's dictionary, not of our memory."""
    item = Dataset()
    item.CodeValue = getattr(codes.SCT, name).value

    def change(ds: Dataset) -> None:
        drug(ds).RadionuclideHalfLife = 0
        drug(ds).RadionuclideCodeSequence = Sequence([item])

    ds = pet(change, DecayCorrection="ADMIN")
    suv = suv_of([ds])
    assert suv.evidence["half_life_s"] == HALF_LIVES[element]
    assert [n.code for n in suv.notices] == ["pet_half_life_from_code"]


# --- real files ----------------------------------------------------------------------------------


def _values(ds: Dataset) -> np.ndarray:
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    return ds.pixel_array * slope + intercept


def test_published_suv_volume(real_data: Path) -> None:
    """Our SUV of one slice against the published SUV volume of the same scan."""
    folder = real_data / "pet-suv-truth"
    ds = dcmread(next(folder.glob("*.dcm")))
    ours = _values(ds) * suv_of([ds]).factor
    truth = sitk.ReadImage(str(folder / "STS_032_IBSI_SUV.nii.gz"))
    spacing, origin = np.array(truth.GetSpacing()), np.array(truth.GetOrigin())
    # The truth is a crop: its corner lies at these pixels of our slice, our slice in its plane k.
    place = (np.array([float(v) for v in ds.ImagePositionPatient]) - origin) / spacing
    assert place == pytest.approx(np.rint(place), abs=0.02)
    left, top, k = -round(place[0]), -round(place[1]), round(place[2])
    theirs = sitk.GetArrayFromImage(truth)[k]
    crop = ours[top : top + theirs.shape[0], left : left + theirs.shape[1]]
    assert np.corrcoef(crop.ravel(), theirs.ravel())[0, 1] > 0.99999
    ratio = np.median(theirs[theirs > 0.5] / crop[theirs > 0.5])
    assert ratio == pytest.approx(0.99997, abs=2e-5)


def test_qiba_digital_reference(real_data: Path) -> None:
    ds = dcmread(next((real_data / "pet-vendors" / "qiba_dro").glob("*.dcm")))
    suv = _values(ds) * suv_of([ds]).factor
    assert suv.max() == pytest.approx(4.11, abs=0.005)
    assert suv.min() == pytest.approx(-0.11, abs=0.005)
    common = np.round(suv[suv > 0.5], 2)
    found, counts = np.unique(common, return_counts=True)
    assert found[counts.argmax()] == pytest.approx(1.00, abs=0.005)
    assert np.any(np.abs(suv - 4.0) < 0.005)


EXPECTED_REFUSALS = {
    "acrin_flt_breast_ACRIN-FLT-Breast_034_021": "pet_units",
    "acrin_nsclc_fdg_pet_ACRIN-NSCLC-FDG-PET-196_023": "pet_no_weight",
    "breast_diagnosis_BreastDx-01-0005_008": "pet_times_contradict",
    "cptac_luad_C3N-04173_014": "pet_times_contradict",
    "pseudo_phi_dicom_data_8834647487_010": "pet_times_contradict",
    "qin_breast_QIN-BREAST-01-0010_003": "pet_times_contradict",
    "acrin_flt_breast_ACRIN-FLT-Breast_007_016": "pet_not_attenuation_corrected",
    "acrin_flt_breast_ACRIN-FLT-Breast_038_015": "pet_not_attenuation_corrected",
    "acrin_flt_breast_ACRIN-FLT-Breast_039_019": "pet_not_attenuation_corrected",
    "acrin_nsclc_fdg_pet_ACRIN-NSCLC-FDG-PET-020_002": "pet_not_attenuation_corrected",
    "acrin_nsclc_fdg_pet_ACRIN-NSCLC-FDG-PET-034_001": "pet_not_decay_corrected",
    "acrin_nsclc_fdg_pet_ACRIN-NSCLC-FDG-PET-051_003": "pet_not_decay_corrected",
    "acrin_nsclc_fdg_pet_ACRIN-NSCLC-FDG-PET-065_009": "pet_not_decay_corrected",
    "acrin_nsclc_fdg_pet_ACRIN-NSCLC-FDG-PET-148_008": "pet_not_decay_corrected",
    "anti_pd_1_lung_PD-1-Lung-00033_021": "pet_not_attenuation_corrected",
    "anti_pd_1_lung_PD-1-Lung-00033_023": "pet_not_attenuation_corrected",
    "naf_prostate_NaF-PROSTATE-01-0002_014": "pet_not_attenuation_corrected",
    "naf_prostate_NaF-PROSTATE-01-0009_012": "pet_not_attenuation_corrected",
    "nsclc_radiogenomics_AMC-012_029": "pet_not_attenuation_corrected",
    "acrin_flt_breast_ACRIN-FLT-Breast_062_005": "pet_units",
    "acrin_flt_breast_ACRIN-FLT-Breast_062_028": "pet_units",
    "cmb_crc_CMB-CRC-MSB-08170_023": "pet_units",
    "cmb_mml_CMB-MML-MSB-06305_027": "pet_units",
    "cptac_ucec_C3N-01344_010": "pet_no_weight",
    "pseudo_phi_dicom_data_7255997752_017": "pet_units",
    "tcga_prad_TCGA-VP-A879_006": "pet_times_contradict",
}
"""Files of pet-vendors that cannot give an SUV, and why."""

EXPECTED_BRANCHES = {
    "tcga_lusc_TCGA-60-2726_027": "GML",
    "acrin_nsclc_fdg_pet_ACRIN-NSCLC-FDG-PET-157_005": "philips-suv-factor",
    "anti_pd_1_lung_PD-1-Lung-00033_020": "philips-suv-factor",
    "nsclc_radiogenomics_R01-077_027": "philips-suv-factor",
}
"""Every other file is BQML/START."""


def test_every_vendor_file_gives_a_factor_or_its_reason(real_data: Path) -> None:
    found, branches = {}, {}
    files = sorted((real_data / "pet-vendors").glob("*/*.dcm"))
    for path in files:
        try:
            suv = suv_of([dcmread(path, stop_before_pixels=True)])
        except InputRefused as error:
            found[path.stem] = error.code
            continue
        branches[path.stem] = suv.branch
        if suv.branch == "BQML/START":
            # A dose of some hundred MBq in an adult: the factor lies in a narrow range.
            assert 5e-5 < suv.factor < 2e-3, path.stem
    assert len(files) == 61
    assert found == EXPECTED_REFUSALS
    assert branches == {
        path.stem: EXPECTED_BRANCHES.get(path.stem, "BQML/START")
        for path in files
        if path.stem not in EXPECTED_REFUSALS
    }


def test_philips_factor_agrees_with_the_formula(real_data: Path) -> None:
    """Two ways to the same SUV: the maker's factor, and activity with weight and decayed dose."""
    checked = 0
    for path in sorted((real_data / "pet-vendors" / "philips").glob("*.dcm")):
        ds = dcmread(path, stop_before_pixels=True)
        try:
            block = ds.private_block(0x7053, "Philips PET Private Group")
            suv_factor, activity = float(block[0x00].value), float(block[0x09].value)
        except KeyError:
            continue
        if ds.Units != "BQML" or ds.DecayCorrection != "START":
            continue
        ours = suv_of([ds]).factor
        checked += 1
        assert ours == pytest.approx(suv_factor / activity, rel=0.02), path.stem
    assert checked >= 3
