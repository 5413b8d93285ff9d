"""The child process as its parent sees it: lines in, lines out, and no life without a parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from analysis import serve
from analysis.contracts import SeriesInput, StepRequest, to_json
from analysis.errors import InputRefused, ResourceExhausted, StepFailed
from analysis.volumes import scan_folder

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0


def request(step: str, run_dir: Path, *series: SeriesInput) -> bytes:
    return to_json(StepRequest(step, str(run_dir), series)) + b"\n"  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "analysis", "serve"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


def ask(child: subprocess.Popen[bytes], line: bytes) -> list[dict[str, Any]]:
    """Every event up to and including the one that ends the request."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(line)
    child.stdin.flush()
    events = []
    while not events or events[-1]["event"] == "progress":
        events.append(json.loads(child.stdout.readline()))
    return events


def test_errors_are_answers_and_the_child_goes_on(
    child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Three requests to one process: nonsense, a refusal, a step out of order."""
    (bad,) = ask(child, b"this is not JSON\n")
    assert (bad["event"], bad["code"], bad["retriable"]) == ("error", "bad_request", False)

    text = tmp_path / "PATIENT^NAME.dcm"
    text.write_text("hello")
    series = SeriesInput("1.2", "1", "CT", "", (str(text),))
    refused = ask(child, request("assemble", tmp_path / "run", series))[-1]
    assert (refused["code"], refused["retriable"]) == ("no_usable_series", False)
    assert "PATIENT" not in refused["message"]

    early = ask(child, request("draft", tmp_path / "run"))[-1]
    assert early["code"] == "step_missing"
    assert set(early) == {"event", "code", "message", "retriable"}


def test_a_real_step_reports_progress_and_its_result(
    child: subprocess.Popen[bytes], tmp_path: Path, real_data: Path
) -> None:
    folder = real_data / "sarcoma-ct-mr-pet" / "STS_001" / "PET" / "image"
    events = ask(child, request("assemble", tmp_path, *scan_folder([folder])[0]))
    assert events[-1] == {"event": "done", "result": "assemble/result.json"}
    assert (tmp_path / "assemble" / "result.json").is_file()
    fractions = [e["fraction"] for e in events[:-1]]
    assert len(fractions) >= 3
    assert fractions == sorted(fractions)
    assert all(0 <= f <= 1 for f in fractions)


def test_it_ends_when_its_input_closes(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(timeout=START_S) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: PR_SET_PDEATHSIG")
def test_it_dies_with_its_parent() -> None:
    """The grandchild holds its input open and is busy, yet goes when its parent is killed."""
    grandchild = (
        "import time; from analysis.serve import die_with_parent as d;"
        "d(); print(1, flush=True); time.sleep(600)"
    )
    code = (
        "import subprocess, sys, time\n"
        f"code = {grandchild!r}\n"
        "p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)  # it lives
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(pid):
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_prints_of_libraries_do_not_reach_the_protocol() -> None:
    """Neither Python's print nor a write to descriptor 1 ends up on standard output."""
    code = (
        "import os\n"
        "from analysis.serve import protected_stdout\n"
        "with protected_stdout() as out:\n"
        "    print('python'); os.write(1, b'native\\n'); out.write('{}\\n')\n"
        "print('after')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "{}\nafter\n"
    assert "python" in done.stderr
    assert "native" in done.stderr


class _Collector:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, text: str) -> None:
        self.events.append(json.loads(text))

    def flush(self) -> None:
        """Nothing is held back."""


@pytest.mark.parametrize(
    ("error", "code", "retriable"),
    [
        (InputRefused("slices_missing", "A slice is missing."), "slices_missing", False),
        (StepFailed("x_failed", "No."), "x_failed", False),
        (MemoryError(), "out_of_memory", True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
         "out_of_memory", True),
        (OSError(28, "No space left on device"), "disk_full", True),
        (ResourceExhausted("deadline", "Too slow."), "deadline", True),
        (KeyError("DOE^JANE"), "internal_error", False),
    ],
)
def test_every_failure_has_a_code(
    error: Exception,
    code: str,
    retriable: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(serve, "run_step", fail)
    out = _Collector()
    stream: IO[str] = out  # type: ignore[assignment]
    serve.answer(request("assemble", tmp_path).decode(), serve._Speaker(stream))
    (event,) = out.events
    assert (event["code"], event["retriable"]) == (code, retriable)
    assert "DOE" not in event["message"]
    log = capsys.readouterr().err
    assert ("Traceback" in log) == (code == "internal_error")
    assert "DOE" not in log


def test_progress_is_thinned() -> None:
    out = _Collector()
    speaker = serve._Speaker(out)  # type: ignore[arg-type]
    for n in range(1000):
        speaker.progress(n / 1000, "registering")
    assert 1 <= len(out.events) < 20
