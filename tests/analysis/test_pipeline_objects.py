"""A case with registration objects made elsewhere, through assemble and register."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.contracts import (
    AssembleResult,
    RegisterResult,
    SeriesInput,
    StepName,
    StepRequest,
)
from analysis.errors import InputRefused
from analysis.phantoms.dicom import write_dicom
from analysis.phantoms.head import make_head
from analysis.pipeline import read_result, run_step
from analysis.volumes import scan_folder
from tests.analysis.registration_objects import spatial_item, write_object

Case = tuple[dict[str, SeriesInput], np.ndarray]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """T1c (the reference) and T2 with a motion between them; the truth T2 -> T1c."""
    phantom = make_head(5, spacing_mm=(3.0, 3.0, 3.0), positive=True)
    folder = tmp_path_factory.mktemp("head")
    write_dicom(phantom, folder)
    series = {s.description: s for s in scan_folder([folder])[0]}
    kept = {name: s for name, s in series.items() if name in ("AX T1 POST", "AX T2 TSE")}
    assert len(kept) == 2, sorted(series)
    return kept, np.array(phantom.series["T2"].to_reference)


def step(name: StepName, series: Sequence[SeriesInput], out: Path) -> None:
    run_step(StepRequest(name, str(out), tuple(series)), lambda share, text: None)


def test_a_registration_object_of_the_case_is_used_and_a_wrong_one_is_not(
    head: Case, tmp_path: Path
) -> None:
    series, truth = head
    step("assemble", list(series.values()), tmp_path)
    assembled = read_result(tmp_path, AssembleResult)
    frames = {v.role: v.frame_of_reference_uid for v in assembled.volumes}
    assert assembled.reference_series_uid == next(
        v.key for v in assembled.volumes if v.role == "T1c"
    )
    wrong = truth.copy()
    wrong[:3, 3] += (25.0, 0.0, -17.0)
    fixed = spatial_item(frames["T1c"], np.eye(4))
    right = write_object(
        tmp_path / "right.dcm", frames["T1c"], fixed, spatial_item(frames["T2"], truth)
    )
    spoiled = write_object(
        tmp_path / "bad.dcm", frames["T1c"], spatial_item(frames["T2"], np.diag([1, 1, 2, 1.0]))
    )
    step("register", [*series.values(), right, spoiled], tmp_path)
    result = read_result(tmp_path, RegisterResult)
    [record] = [r for r in result.registrations if r.state != "reference"]
    assert (record.state, record.verdict) == ("registered", "usable")
    assert record.method == "DICOM Spatial Registration by Else Where 3"
    assert np.abs(np.array(record.matrix) - truth).max() < 1e-6
    told = {notice.code: notice.message for notice in result.notices}
    assert set(told) == {"registration_object_used", "registration_malformed"}
    assert "called RIGID is none" in told["registration_malformed"]

    mistaken = write_object(
        tmp_path / "wrong.dcm", frames["T1c"], fixed, spatial_item(frames["T2"], wrong)
    )
    step("register", [*series.values(), mistaken], tmp_path)
    result = read_result(tmp_path, RegisterResult)
    [record] = [r for r in result.registrations if r.state != "reference"]
    assert (record.state, record.verdict) == ("registered", "usable")
    assert not record.method.startswith("DICOM")
    corners = np.array([[0, 0, 0], [80, 60, -50], [-70, 40, 60]], float)
    error = (corners @ np.array(record.matrix)[:3, :3].T + np.array(record.matrix)[:3, 3]) - (
        corners @ truth[:3, :3].T + truth[:3, 3]
    )
    assert np.linalg.norm(error, axis=1).max() < 2.0
    assert np.allclose(record.parameters["not_used"]["matrix"], wrong)
    [notice] = result.notices
    assert notice.code == "registration_object_not_used"
    assert notice.subject == record.series_instance_uid


def test_a_case_of_registration_objects_alone_has_no_images(tmp_path: Path) -> None:
    given = write_object(tmp_path / "r.dcm", "1.1", spatial_item("1.2", np.eye(4)))
    with pytest.raises(InputRefused, match="No series"):
        step("assemble", [given], tmp_path)


def test_registration_objects_are_no_refused_series(head: Case, tmp_path: Path) -> None:
    """They are read by the register step; no notice says that they are not images."""
    series, _ = head
    given = write_object(tmp_path / "r.dcm", "1.1", spatial_item("1.2", np.eye(4)))
    step("assemble", [*series.values(), given], tmp_path)
    assert not [n for n in read_result(tmp_path, AssembleResult).notices if n.subject ==
                given.series_instance_uid]  # fmt: skip
