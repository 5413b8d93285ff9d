"""``python -m analysis run`` as a shell sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.__main__ import EXIT_EXHAUSTED, EXIT_FAILED, EXIT_REFUSED, main
from analysis.errors import AnalysisError, InputRefused, ResourceExhausted, StepFailed

ROOT = Path(__file__).resolve().parents[2]


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "analysis", "run", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_real_patient_ends_in_one_json_document(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "sarcoma-ct-mr-pet" / "STS_005"
    done = cli(str(folder / "CT"), str(folder / "PET"), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["pathway"] == "general"
    assert {s["role"] for s in summary["series"]} == {"CT", "PET"}
    assert summary["findings"][0]["volume_ml"] == pytest.approx(585, rel=0.03)
    assert [s for s in summary["sentences"] if s["section"] == "impression"]
    assert {r["state"] for r in summary["registrations"]} == {"reference", "same_frame"}
    for name in ("segmentation", *(s["file"] for s in summary["series"])):
        assert (tmp_path / "out" / (summary.get(name) or name)).is_file()
    assert "100.0 %" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", str(tmp_path / "nowhere"), "--out", str(tmp_path / "o")]) == EXIT_REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "There is no folder" in err


def test_a_folder_without_dicom(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("hello")
    assert main(["run", str(tmp_path), "--out", str(tmp_path / "o")]) == EXIT_REFUSED
    assert "No DICOM image series" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputRefused("a", "A."), EXIT_REFUSED),
        (StepFailed("b", "B."), EXIT_FAILED),
        (ResourceExhausted("c", "C."), EXIT_EXHAUSTED),
    ],
)
def test_exit_codes(
    error: AnalysisError, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("analysis.__main__.run_all", fail)
    assert main(["run", str(tmp_path), "--out", str(tmp_path)]) == code


def test_exit_codes_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for code in (EXIT_REFUSED, EXIT_FAILED, EXIT_EXHAUSTED):
        assert f"{code} " in text
    with pytest.raises(SystemExit) as end:
        main(["run", "x"])
    assert end.value.code == EXIT_REFUSED
    assert "--out" in capsys.readouterr().err
