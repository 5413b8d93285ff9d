"""A stand-in for ``python -m analysis serve`` that does, or misdoes, what ``models_dir`` says.

``models_dir`` is a comma-separated list of behaviours, each ``NAME`` or ``step:NAME``; none of
them for a step means: report progress and leave a valid result. ``once-`` before a name means: only
the first time in this run's folder.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

from analysis.contracts import StepRequest, from_json
from tests.analyzing.results import leave_result


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


def behaviour(request: StepRequest) -> str:
    for word in filter(None, request.models_dir.split(",")):
        step, _, name = word.rpartition(":")
        if step not in ("", request.step):
            continue
        if not name.startswith("once-"):
            return name
        mark = Path(request.run_dir) / f"{request.step}.{name}"
        if not mark.exists():
            mark.touch()
            return name.removeprefix("once-")
    return "work"


def answer(request: StepRequest) -> None:
    what = behaviour(request)
    run_dir = Path(request.run_dir)
    say(event="progress", fraction=0.5, text=f"working on {request.step}")
    match what.split("-"):
        case ["hang"]:
            time.sleep(3600)
        case ["slow", seconds]:
            (run_dir / f"{request.step}.pid").write_text(str(os.getpid()))
            time.sleep(float(seconds))
        case ["killed"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["crash"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        case ["exit"]:
            os._exit(7)
        case ["garbage"]:
            print("Segmentation fault? no, just a library that prints", flush=True)
            time.sleep(3600)
        case ["incomplete"]:
            say(event="done")
            time.sleep(3600)
        case ["hungry"]:
            held = bytearray(400 * 1024 * 1024)
            held[:: 4096] = b"x" * len(held[:: 4096])
            time.sleep(3600)
        case ["refuse"]:
            say(event="error", code="pet_no_dose", message="The PET names no dose.",
                retriable=False)  # fmt: skip
            return
        case ["shortage"]:
            say(event="error", code="out_of_memory", message="Memory ran out.", retriable=True)
            return
        case ["nonsense"]:
            (run_dir / request.step).mkdir(parents=True, exist_ok=True)
            (run_dir / request.step / "result.json").write_text("{}")
            say(event="done", result=f"{request.step}/result.json")
            return
        case ["escape"]:
            say(event="done", result="../../../etc/hostname")
            return
        case ["work"]:
            pass
        case _:
            raise SystemExit(f"unknown behaviour {what}")
    uids = tuple(s.series_instance_uid for s in request.series if s.modality != "RTSTRUCT")
    say(event="done", result=leave_result(request.step, run_dir, uids))


if __name__ == "__main__":
    # As analysis.serve does (importing it would load the science): die with the worker.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    for line in sys.stdin:
        answer(from_json(StepRequest, line))
