"""Series with several volumes through the first two steps of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.assembling import CHANNELS_FILE
from analysis.contracts import (
    AssembleResult,
    InferResult,
    MeasureResult,
    RegisterResult,
    SeriesInput,
    StepName,
    StepRequest,
)
from analysis.drafting.draft import draft_report
from analysis.errors import InputRefused
from analysis.pipeline import run_step
from analysis.volume_store import read_volume
from analysis.volumes import load_volume, plan_series
from tests.analysis.dicom_frames import volume, write_classic, write_enhanced

rng = np.random.default_rng(5)
SHAPE = (12, 24, 24)


def blob(scale: float) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    ball = ((x - 12) ** 2 + (y - 12) ** 2 + (3 * (z - 6)) ** 2) < 80
    return (ball * 800 * scale + rng.integers(0, 20, SHAPE) + 100).astype(np.uint16)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[SeriesInput, SeriesInput]:
    folder = tmp_path_factory.mktemp("dicom")
    ct = write_classic(
        folder / "ct", volume(blob(1.0), RescaleSlope=1.0, RescaleIntercept=-1024.0), "CT",
        SeriesInstanceUID="1.2.9",
    )  # fmt: skip
    planes = [p for b in (0.0, 500.0, 1000.0) for p in volume(
        blob(1 / (1 + b / 500)), DiffusionBValue=b)]  # fmt: skip
    order = rng.permutation(len(planes))
    dwi = write_enhanced(folder / "dwi", [planes[n] for n in order], SeriesInstanceUID="1.2.8")
    ct = SeriesInput("1.2.9", "1.2.3", "CT", "CT", ct.paths)
    return ct, SeriesInput("1.2.8", "1.2.3", "MR", "DWI", dwi.paths)


def run(step: StepName, run_dir: Path, case: tuple[SeriesInput, ...]) -> object:
    return run_step(StepRequest(step, str(run_dir), case), lambda fraction, text: None)


def test_all_volumes_are_stored_and_the_series_is_registered_once(
    tmp_path: Path, case: tuple[SeriesInput, SeriesInput]
) -> None:
    assembled = run("assemble", tmp_path, case)
    assert isinstance(assembled, AssembleResult)
    assert [(v.key, v.label, v.number, v.count, v.setting) for v in assembled.volumes] == [
        ("1.2.8", "DWI b 0", 1, 3, "b 0"),
        ("1.2.8#2", "DWI b 500", 2, 3, "b 500"),
        ("1.2.8#3", "DWI b 1000", 3, 3, "b 1000"),
        ("1.2.9", "CT", 1, 1, ""),
    ]
    assert [v.speaks for v in assembled.volumes] == [True, False, False, True]
    assert len({v.path for v in assembled.volumes}) == 4
    assert assembled.reference_series_uid == "1.2.9"
    channels = json.loads((tmp_path / "assemble" / CHANNELS_FILE).read_text())
    assert set(channels.values()) == {"1.2.8", "1.2.9"}
    plan = plan_series(case[1])
    for record, planned in zip(assembled.volumes[:3], plan.volumes, strict=True):
        stored = read_volume(tmp_path, record)
        assert np.array_equal(stored.array, load_volume(plan, planned).volume.array)
        assert sorted(record.frame_numbers) == sorted(f.number for f in planned.frames)
        assert set(record.sop_instance_uids) == {record.sop_instance_uids[0]}
    registered = run("register", tmp_path, case)
    assert isinstance(registered, RegisterResult)
    assert [r.series_instance_uid for r in registered.registrations] == ["1.2.9", "1.2.8"]
    draft = draft_report(
        assembled, registered, InferResult(None, None, None, None), MeasureResult((), None)
    )
    technique = " ".join(s.text for s in draft.sentences if s.section == "technique")
    assert "DWI b 0 (one of 3 volumes)" in technique
    assert "b 1000" not in technique


def test_a_series_without_any_usable_volume_is_refused_with_its_reason(
    tmp_path: Path, case: tuple[SeriesInput, SeriesInput]
) -> None:
    planes = [*volume(blob(1.0)[:4]), *volume(blob(0.5)[:4])]
    bad = write_enhanced(tmp_path / "bad", planes, SeriesInstanceUID="1.2.7")
    bad = SeriesInput("1.2.7", "1.2.3", "MR", "?", bad.paths)
    assembled = run("assemble", tmp_path / "run", (case[0], bad))
    assert isinstance(assembled, AssembleResult)
    assert [v.key for v in assembled.volumes] == ["1.2.9"]
    assert [(n.code, n.subject) for n in assembled.notices] == [("overlapping_volumes", "1.2.7")]
    with pytest.raises(InputRefused):
        run("assemble", tmp_path / "none", (bad,))
