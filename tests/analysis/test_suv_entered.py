"""An SUV that stands on an entered value says so wherever it goes: layer, findings, draft."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.contracts import STEPS, DraftResult, MeasureResult, SeriesInput, StepRequest
from analysis.entries import EnteredValue
from analysis.pipeline import read_result, run_step
from analysis.volumes import load_series
from tests.analysis.dicom_series import make_series

ENTRY = EnteredValue("weight_kg", 70.0, "Ada Reader")


@pytest.fixture
def series(tmp_path: Path) -> SeriesInput:
    """A PET without weight."""

    def change(_: int, ds: Any) -> None:
        del ds.PatientWeight

    array = np.full((4, 8, 8), 5000, np.int16)
    return make_series(tmp_path / "pet", array, modality="PT", change=change)


def test_without_it_the_images_are_shown_without_suv(series: SeriesInput) -> None:
    loaded = load_series(series)
    assert (loaded.volume.unit, loaded.label) == ("Bq/ml", "PET")
    assert "pet_no_weight" in {n.code for n in loaded.notices if n.severity == "refused"}


def test_with_it_the_layer_says_who_entered_it(series: SeriesInput) -> None:
    loaded = load_series(replace(series, entered=(ENTRY,)))
    assert loaded.volume.unit == "g/ml{SUVbw}"
    assert loaded.label == "PET (SUVbw by entered value)"
    assert loaded.source["suv"]["entered"] == ["weight 70 kg entered by Ada Reader"]
    [notice] = [n for n in loaded.notices if n.code == "pet_entered"]
    assert "weight 70 kg entered by Ada Reader" in notice.message
    assert loaded.source["suv"]["variants"]["SUVlbm(Janma)"]["refused"] == "pet_no_height"


def test_findings_and_draft_say_it_too(tmp_path: Path) -> None:
    """A ball of SUV 8 in a body of SUV 1, from a PET without weight."""

    def change(_: int, ds: Any) -> None:
        del ds.PatientWeight

    z, y, x = np.ogrid[:32, :40, :40]
    array = np.full((32, 40, 40), 0, np.int16)
    array[(y - 20) ** 2 + (x - 20) ** 2 < 18**2 + 0 * z] = 3600
    array[(z - 16) ** 2 + (y - 20) ** 2 + (x - 14) ** 2 < 16] = 28800
    pet = make_series(
        tmp_path / "pet", array, modality="PT", change=change, affine=np.diag([4.0, 4, 4, 1])
    )
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for step in STEPS:
        request = StepRequest(step, str(run_dir), (replace(pet, entered=(ENTRY,)),))
        run_step(request, lambda share, text: None)
    findings = read_result(run_dir, MeasureResult).findings
    assert [f.evidence["suv_entered"] for f in findings] == [
        ["weight 70 kg entered by Ada Reader"]
    ]
    assert findings[0].suv_max is not None and 6 < findings[0].suv_max < 10
    told = " ".join(s.text for s in read_result(run_dir, DraftResult).sentences)
    assert "SUV normalised to body weight with weight 70 kg entered by Ada Reader" in told
