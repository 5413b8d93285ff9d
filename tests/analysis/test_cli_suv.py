"""``python -m analysis suv``: factor with inputs, or the refusal, as one JSON object."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from analysis.__main__ import main
from tests.analysis.dicom_series import make_series

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "analysis" / "suv" / "vectors.csv"


def suv(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["suv", *map(str, arguments)])
    return code, json.loads(capfd.readouterr().out)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Two PET slices with everything an SUV needs but the weight."""

    def change(_: int, ds: Any) -> None:
        del ds.PatientWeight

    make_series(tmp_path / "pet", np.ones((2, 4, 4), np.int16), modality="PT", change=change)
    return tmp_path / "pet"


def test_a_real_file_in_a_shell(real_data: Path) -> None:
    row = next(
        row for row in csv.DictReader(VECTORS.open(newline="")) if "STS_015" in row["file"]
    )
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "suv", str(real_data / row["file"])],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["factor"] == pytest.approx(float(row["expected_factor"]), rel=1e-9)
    assert (found["state"], found["unit"]) == ("computed", "g/ml{SUVbw}")
    origins = {used["name"]: used["origin"] for used in found["inputs"]}
    assert origins["weight_kg"] == "PatientWeight (0010,1030)"
    assert origins["dose_bq"] == "RadionuclideTotalDose (0018,1074)"
    assert found["other_variants"]["SUVlbm(Janma)"]["per_suv"] < 1
    assert found["seconds_wall"] > 0 and found["peak_memory_mb"] > 10


def test_a_refusal_is_an_answer(series: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, found = suv(capfd, series)
    assert (code, found["state"], found["factor"]) == (0, "refused", None)
    assert found["refusal"]["code"] == "pet_no_weight"
    assert "PatientWeight" in found["refusal"]["reason"]


def test_a_missing_weight_can_be_given(series: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, found = suv(capfd, series, "--weight-kg", 70)
    assert (code, found["state"]) == (0, "computed")
    assert found["entered"] == ["weight 70 kg entered by hand"]
    assert [n["code"] for n in found["notices"]] == ["pet_entered"]


def test_another_variant(series: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ("--weight-kg", 70, "--height-m", 1.75, "--sex", "M", "--variant", "lbm-janma")
    _, found = suv(capfd, series, *arguments)
    assert (found["variant"], found["unit"]) == ("SUVlbm(Janma)", "g/ml{SUVlbm(Janma)}")
    _, weight = suv(capfd, series, "--weight-kg", 70)
    assert found["factor"] / weight["factor"] == pytest.approx(55.8571 / 70, rel=1e-6)


def test_bad_input_is_said(
    series: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: object) -> str:
        code, found = suv(capfd, *arguments)
        assert code == 2
        return str(found["error"]["code"])

    assert refused(tmp_path / "nowhere") == "no_such_file"
    assert refused(series, "--weight-kg", 70000) == "pet_entry"
    image = tmp_path / "pet.nii.gz"
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkFloat32), str(image))
    assert refused(image) == "not_dicom"
    make_series(tmp_path / "ct", np.ones((2, 4, 4), np.int16), modality="CT")
    assert refused(tmp_path / "ct") == "no_such_series"


def test_several_series_are_named(series: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = make_series(
        series / "other", np.ones((2, 4, 4), np.int16), modality="PT", seed="other"
    )
    code, found = suv(capfd, series)
    assert (code, found["error"]["code"]) == (2, "several_series")
    assert other.series_instance_uid in found["error"]["message"]
    code, found = suv(capfd, series, "--series", other.series_instance_uid)
    assert (code, found["state"]) == (0, "computed")
    assert found["series"]["series_instance_uid"] == other.series_instance_uid
