"""SUV against published truth, worked examples, several slices, variants, entered values, refusals.
One slice at a time, by variant and vendor: ``test_suv_vectors.py``."""

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

from analysis.entries import EnteredValue
from analysis.errors import InputRefused
from analysis.suv import HALF_LIVES, VARIANTS, native_unit, other_variants, suv_of
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


def test_only_a_weight_that_helps_is_asked_for() -> None:
    """Where the scanner computed the SUVbw, its own weight alone leads to another body size."""
    assert "Enter it" in refusal(pet(_without("PatientWeight"))).message
    ds = pet(Units="GML", PatientWeight=None, PatientSex="F", PatientSize=1.7)
    with pytest.raises(InputRefused) as caught:
        suv_of([ds], VARIANTS["bsa"], [EnteredValue("weight_kg", 70.0)])
    assert caught.value.code == "pet_no_weight"
    assert "nter it" not in caught.value.message
    assert "The scanner used its own" in caught.value.message


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


def test_slices_that_disagree_about_weight_or_dose() -> None:
    assert refusal(pet(), pet(PatientWeight=71)).code == "pet_slices_disagree"
    other = pet(_drug(RadionuclideTotalDose=371e6))
    assert refusal(pet(), other).code == "pet_slices_disagree"


def test_two_injections_are_not_guessed_apart() -> None:
    ds = pet()
    ds.RadiopharmaceuticalInformationSequence.append(drug(pet()))
    assert refusal(ds).code == "pet_several_injections"


# --- variants and entered values (every formula: test_suv_vectors.py) ----------------------------


def test_the_other_variants_stand_beside_the_first() -> None:
    ds = pet(PatientSize=1.75, PatientSex="F")
    suv = suv_of([ds])
    others = other_variants([ds], suv)
    assert set(others) == {v.name for v in VARIANTS.values()} - {"SUVbw"}
    for variant in VARIANTS.values():
        if variant.name in others:
            factor = suv.factor * others[variant.name]["per_suv"]
            assert factor == pytest.approx(suv_of([ds], variant).factor)
            assert others[variant.name]["unit"] == variant.unit
    bare = other_variants([pet()], suv)
    assert {name: found["refused"] for name, found in bare.items()} == {
        "SUVlbm(James128)": "pet_no_height", "SUVlbm(James120)": "pet_no_height",
        "SUVlbm(Janma)": "pet_no_height", "SUVbsa": "pet_no_height", "SUVibw": "pet_no_height",
    }  # fmt: skip


def test_units_are_those_of_the_standard() -> None:
    """James with 120 has no unit of its own in the standard; the others are its context group."""
    known = {code.value for code in codes.cid85.concepts.values()}
    ours = {v.unit for v in VARIANTS.values()}
    assert ours - known == {"g/ml{SUVlbm(James120)}"}


def test_an_entered_weight_names_who_entered_it() -> None:
    entry = EnteredValue("weight_kg", 70.0, "A. Reader")
    suv = suv_of([pet(PatientWeight=0)], entered=[entry])
    assert suv.factor == pytest.approx(suv_of([pet()]).factor)
    assert suv.evidence["entered"] == ["weight 70 kg entered by A. Reader"]
    [notice] = suv.notices
    assert "entered by A. Reader" in notice.message
    origins = {used["name"]: used["origin"] for used in suv.evidence["inputs"]}
    assert origins["weight_kg"] == "entered by A. Reader"
    assert origins["dose_bq"] == "RadionuclideTotalDose (0018,1074)"


def test_a_usable_header_is_never_replaced() -> None:
    suv = suv_of([pet()], entered=[EnteredValue("weight_kg", 90.0, "A. Reader")])
    assert suv.factor == suv_of([pet()]).factor
    assert "entered" not in suv.evidence
    assert [n.code for n in suv.notices] == ["pet_entry_not_used"]


@pytest.mark.parametrize(
    ("units", "kind", "unit"),
    [
        ("BQML", "", "Bq/ml"),
        ("GML", "LBMJANMA", "g/ml{SUVlbm(Janma)}"),
        ("GML", "LBM", "g/ml"),
        ("CM2ML", "", "cm2/ml{SUVbsa}"),
        ("", "", ""),
    ],
)
def test_a_pet_shown_as_it_came_says_what_it_holds(units: str, kind: str, unit: str) -> None:
    assert native_unit([pet(Units=units, SUVType=kind)]) == unit


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
