"""``python -m analysis`` as a shell sees it: ``run``, and what every command promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.__main__ import COMMANDS, main
from analysis.commands.answering import EXIT_EXHAUSTED, EXIT_FAILED, EXIT_REFUSED
from analysis.errors import InputRefused, ResourceExhausted, StepFailed

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


def test_a_folder_that_is_not_there(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", str(tmp_path / "nowhere"), "--out", str(tmp_path / "o")]) == EXIT_REFUSED
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["code"] == "no_such_folder"
    assert err.count("\n") == 1
    assert "There is no folder" in err


def test_a_folder_without_dicom(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("hello")
    assert main(["run", str(tmp_path), "--out", str(tmp_path / "o")]) == EXIT_REFUSED
    assert "No DICOM image series" in json.loads(capfd.readouterr().out)["error"]["message"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputRefused("a", "A."), EXIT_REFUSED),
        (StepFailed("b", "B."), EXIT_FAILED),
        (ResourceExhausted("c", "C."), EXIT_EXHAUSTED),
        (MemoryError(), EXIT_EXHAUSTED),
        (PermissionError(13, "Permission denied", "/o"), EXIT_REFUSED),
    ],
)
@pytest.mark.parametrize("command", ["run", "suv"])
def test_exit_codes(
    command: str,
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(f"analysis.commands.{command}.perform", fail)
    more = ["--out", str(tmp_path)] if command == "run" else []
    assert main([command, str(tmp_path), *more]) == code
    answer = json.loads(capfd.readouterr().out)
    assert answer["command"] == command
    assert answer["error"]["message"]


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("analysis.commands.suv.perform", fail)
    with pytest.raises(KeyError):
        main(["suv", str(tmp_path)])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "Not for diagnostic use" in text and "Exit codes" in text


def test_a_light_command_does_not_load_the_networks() -> None:
    """Seconds and hundreds of megabytes that a registration does not need."""
    code = (
        "import sys; import analysis.__main__; import analysis.commands.register\n"
        "import analysis.commands.suv; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_exit_codes_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for code in (EXIT_REFUSED, EXIT_FAILED, EXIT_EXHAUSTED):
        assert f" {code} " in text
    with pytest.raises(SystemExit) as end:
        main(["run", "x"])
    assert end.value.code == EXIT_REFUSED
    assert "--out" in capsys.readouterr().err
