"""Every row of the public golden table ``analysis/suv/vectors.csv``, twice: the table's own columns
against each other (a spreadsheet could do it), and our code against the table."""

from __future__ import annotations

import csv
import hashlib
import math
from functools import cache
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from analysis.entries import EnteredValue
from analysis.errors import InputRefused
from analysis.suv import VARIANTS, suv_of

TABLE = Path(__file__).resolve().parents[2] / "analysis" / "suv" / "vectors.csv"
ROWS = list(csv.DictReader(TABLE.open(newline="")))
SYNTHETIC = [row for row in ROWS if not row["file"]]
REAL = [row for row in ROWS if row["file"]]
FIGURES = ("to_bq_ml", "body_size", "dose_bq", "elapsed_s", "half_life_s")

OF_THE_DRUG = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)
OF_THE_IMAGE = (
    "Units", "SUVType", "DecayCorrection", "PatientWeight", "PatientSize", "PatientSex",
    "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "TimezoneOffsetFromUTC",
    "FrameReferenceTime", "ActualFrameDuration", "DecayFactor",
)  # fmt: skip


def header(row: dict[str, str]) -> Dataset:
    """The DICOM header that a row describes; an empty cell is an absent attribute."""
    ds, drug = Dataset(), Dataset()
    for keyword in OF_THE_IMAGE:
        if row[keyword]:
            setattr(ds, keyword, row[keyword])
    for keyword in OF_THE_DRUG:
        if row[keyword]:
            setattr(drug, keyword, row[keyword])
    if row["CorrectedImage"]:
        ds.CorrectedImage = row["CorrectedImage"].split("\\")
    if row["RadionuclideCode"]:
        code = Dataset()
        code.CodeValue = row["RadionuclideCode"]
        drug.RadionuclideCodeSequence = Sequence([code])
    ds.RadiopharmaceuticalInformationSequence = Sequence([drug])
    for column, element in (("PhilipsSUVFactor", 0x00), ("PhilipsActivityFactor", 0x09)):
        if row[column]:
            block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
            block.add_new(element, "DS", row[column])
    if row["GEScanDateTime"]:
        block = ds.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x0D, "DT", row["GEScanDateTime"])
    return ds


def entered(row: dict[str, str]) -> list[EnteredValue]:
    found = [
        EnteredValue(name, float(row[f"entered_{name}"]))
        for name in ("weight_kg", "dose_mbq", "height_m")
        if row[f"entered_{name}"]
    ]
    return found + ([EnteredValue("sex", row["entered_sex"])] if row["entered_sex"] else [])


@cache
def read(path: Path) -> Dataset:
    return dcmread(path, stop_before_pixels=True)


def check(row: dict[str, str], ds: Dataset) -> None:
    variant = VARIANTS[row["variant"]]
    if row["expected_refusal"]:
        with pytest.raises(InputRefused) as caught:
            suv_of([ds], variant, entered(row))
        assert caught.value.code == row["expected_refusal"]
        assert len(caught.value.message) > 20
        return
    suv = suv_of([ds], variant, entered(row))
    assert suv.factor == pytest.approx(float(row["expected_factor"]), rel=1e-8)
    assert suv.unit == row["expected_unit"]
    assert suv.evidence["variant"] == variant.name and "inputs" in suv.evidence
    if not row["file"]:
        assert [notice.code for notice in suv.notices] == row["expected_notices"].split()


def test_the_table_covers_what_it_claims() -> None:
    names = [row["case"] for row in ROWS]
    assert len(set(names)) == len(names)
    assert {row["variant"] for row in SYNTHETIC if row["expected_factor"]} == VARIANTS.keys()
    for row in ROWS:
        assert bool(row["expected_refusal"]) != bool(row["expected_factor"]), row["case"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
def test_the_columns_give_the_factor(row: dict[str, str]) -> None:
    """The arithmetic of the README, on the table alone."""
    if row["expected_refusal"]:
        assert not any(row[column] for column in (*FIGURES, "maker_factor"))
        return
    if row["maker_factor"]:
        factor = float(row["maker_factor"])
        if row["body_size"]:
            factor *= float(row["body_size"]) / (1000 * float(row["weight_kg"]))
    else:
        to_bqml, size, dose, elapsed, half_life = (float(row[column]) for column in FIGURES)
        factor = to_bqml * size / (dose * math.exp2(-elapsed / half_life))
    assert factor == pytest.approx(float(row["expected_factor"]), rel=1e-10)


@pytest.mark.parametrize("row", SYNTHETIC, ids=lambda row: row["case"])
def test_a_header_gives_its_factor_or_reason(row: dict[str, str]) -> None:
    check(row, header(row))


@pytest.mark.parametrize("row", REAL, ids=lambda row: row["case"])
def test_a_real_file_gives_its_factor_or_reason(row: dict[str, str], real_data: Path) -> None:
    path = real_data / row["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
    check(row, read(path))


def test_every_real_pet_file_has_a_row(real_data: Path) -> None:
    files = {
        str(path.relative_to(real_data))
        for folder in ("pet-vendors", "pet-suv-truth")
        for path in (real_data / folder).rglob("*.dcm")
    }
    assert files == {row["file"] for row in REAL}


def test_worked_examples() -> None:
    """The figures printed in clinical.md 1.5, to their printed digits."""
    factors = {row["case"]: float(row["expected_factor"] or 0) for row in ROWS}
    sizes = {row["case"]: float(row["body_size"] or 0) for row in ROWS}
    assert 5000 * factors["start"] == pytest.approx(1.3817, abs=5e-5)
    assert 5000 * factors["start-lbm-janma"] == pytest.approx(1.1025, abs=5e-5)
    assert 5000 * factors["start-lbm-james128"] == pytest.approx(1.1156, abs=5e-5)
    assert sizes["start-lbm-james120"] == pytest.approx(57_800, abs=0.5)
    assert 5000 * factors["start-bsa"] == pytest.approx(0.3648, abs=5e-5)
    assert sizes["start-ibw"] == pytest.approx(72_380, abs=0.5)
    assert 25000 * factors["start-other-patient"] == pytest.approx(11.7793, abs=5e-5)
    assert 12000 * factors["admin"] == pytest.approx(2.2703, abs=5e-5)
    assert sizes["woman-170-lbm-janma"] == pytest.approx(62_999.8, abs=0.1)
    assert sizes["woman-165-lbm-james128"] == pytest.approx(50_119.0, abs=0.1)
