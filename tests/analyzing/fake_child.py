"""A stand-in for ``python -m analysis serve`` that does, or misdoes, what ``models_dir`` says.

``models_dir`` is a comma-separated list of behaviours, each ``NAME`` or ``step:NAME``; none of
them for a step means: report progress and leave a valid result. ``once-`` before a name means: only
the first time in this run's folder. A refinement's behaviours stand in ``refine.txt`` there.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

from analysis.contracts import RefineRequest, StepRequest, from_json
from tests.analyzing.results import leave_refinement, leave_result


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


Request = StepRequest | RefineRequest


def name_of(request: Request) -> str:
    return request.step if isinstance(request, StepRequest) else "refine"


def behaviour(request: Request) -> str:
    asked = Path(request.run_dir) / "refine.txt"
    words = ""
    if isinstance(request, StepRequest):
        words = request.models_dir
    elif asked.exists():
        words = asked.read_text()
    for word in filter(None, words.split(",")):
        step, _, name = word.rpartition(":")
        if step not in ("", name_of(request)):
            continue
        if not name.startswith("once-"):
            return name
        mark = Path(request.run_dir) / f"{name_of(request)}.{name}"
        if not mark.exists():
            mark.touch()
            return name.removeprefix("once-")
    return "work"


def answer(request: Request) -> None:
    what = behaviour(request)
    run_dir = Path(request.run_dir)
    name = name_of(request)
    say(event="progress", fraction=0.5, text=f"working on {name}")
    match what.split("-"):
        case ["hang"]:
            time.sleep(3600)
        case ["slow", seconds]:
            (run_dir / f"{name}.pid").write_text(str(os.getpid()))
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
            (run_dir / name).mkdir(parents=True, exist_ok=True)
            (run_dir / name / "result.json").write_text("{}")
            say(event="done", result=f"{name}/result.json")
            return
        case ["escape"]:
            say(event="done", result="../../../etc/hostname")
            return
        case ["work"] | ["refused"]:
            pass
        case _:
            raise SystemExit(f"unknown behaviour {what}")
    if isinstance(request, RefineRequest):
        say(event="done", result=leave_refinement(request, refused=what == "refused"))
        return
    uids = tuple(s.series_instance_uid for s in request.series if s.modality != "RTSTRUCT")
    say(event="done", result=leave_result(request.step, run_dir, uids))


if __name__ == "__main__":
    # As analysis.serve does (importing it would load the science): die with the worker.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    for line in sys.stdin:
        kind = RefineRequest if json.loads(line).get("task") == "refine" else StepRequest
        answer(from_json(kind, line))
