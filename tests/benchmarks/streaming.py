"""Many readers at once: ``python -m tests.benchmarks.streaming [--json FILE]``.

The slice stream of the product's web server, beside a bare ASGI application that sends the same
bytes under the same uvicorn settings, beside WADO-RS frames from Orthanc, with 1, 8, 32 and 100
readers on loopback. One CT of 512 x 512, every reader wants all of it again and again for some
seconds. Client and servers share the machine. Orthanc gets up to six connections per reader, as a
browser opens, 120 in all at most, and a thread for each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pydicom
import uvloop

from tests.benchmarks.streaming_clients import WINDOW, StreamReader, WadoReader, watch
from tests.receiving.servers import ROOT, cpu_seconds, free_port

SAMPLES = 30
"""First slices are measured until there are so many."""
UVICORN = (
    "--loop", "uvloop", "--ws", "websockets-sansio", "--ws-per-message-deflate", "false",
    "--no-access-log", "--lifespan", "off", "--log-level", "warning",
)  # fmt: skip
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "16777216",
}


def resident_mib(pid: int, what: str = "VmRSS") -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


@contextmanager
def running(command: list[str], ready: str, environment: dict[str, str]) -> Iterator[int]:
    """A server's process id, once ``ready`` answers."""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(ready, timeout=2).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def store(http: int, folder: Path) -> list[str]:
    """The series' files into Orthanc; the WADO-RS path of each frame."""
    paths = []
    for file in sorted(folder.iterdir()):
        request = urllib.request.Request(f"http://127.0.0.1:{http}/instances", file.read_bytes())
        urllib.request.urlopen(request, timeout=30).close()
        header = pydicom.dcmread(file, stop_before_pixels=True)
        paths.append(
            f"/dicom-web/studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}"
            f"/instances/{header.SOPInstanceUID}/frames/1"
        )
    return paths


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def measure(
    name: str,
    readers: int,
    connections: int,
    makers: list[Any],
    port: int,
    pid: int,
    seconds: float,
) -> dict[str, Any]:
    """One row: readers for ``seconds``, and more short rounds until there are enough first
    slices. ``connections`` per reader; a reader's first slice is that of its fastest."""
    cpu, before = cpu_seconds(pid), resident_mib(pid)
    seen = uvloop.run(watch(makers, port, seconds))
    cpu, memory = cpu_seconds(pid) - cpu, resident_mib(pid)
    served = [one for one in seen if one.log]
    start = max(one.first for one in served)
    end = max(at for one in served for at, _ in one.log)
    steady = [size for one in served for at, size in one.log if at > start]
    # Who saw nothing waited at least that long.
    firsts = [(one.first or one.started + seconds) - one.started for one in seen]
    fine = [(one.first_fine or one.started + seconds) - one.started for one in seen]
    while len(firsts) < SAMPLES * connections:
        more = uvloop.run(watch(makers, port, 0.3))
        firsts += [one.first - one.started for one in more if one.first]
        fine += [one.first_fine - one.started for one in more if one.first_fine]
    return {
        "server": name,
        "readers": readers,
        "mb_per_second": round(sum(steady) / (end - start) / 1e6, 1),
        "slices_per_second": round(len(steady) / (end - start)),
        "first_slice_p50_ms": round(1000 * statistics.median(firsts), 1),
        "first_slice_p95_ms": round(1000 * percentile(firsts, 0.95), 1),
        "first_full_slice_p95_ms": round(1000 * percentile(fine, 0.95), 1),
        "slowest_over_mean": round(
            min(one.bytes for one in seen) / statistics.mean(one.bytes for one in seen), 2
        ),
        "mb_per_cpu_second": round(sum(one.bytes for one in seen) / max(cpu, 0.01) / 1e6),
        "mib_per_reader": round(max(0.0, memory - before) / readers, 2),
    }


def show(rows: list[dict[str, Any]]) -> None:
    print(
        f"{'readers':>7} {'server':<9}{'MB/s':>8}{'slices/s':>10}{'first ms p50':>14}{'p95':>8}"
        f"{'first full p95':>16}{'MB/CPU s':>10}{'MiB/reader':>12}{'least/mean':>12}"
    )
    for row in rows:
        print(
            f"{row['readers']:>7} {row['server']:<9}{row['mb_per_second']:>8}"
            f"{row['slices_per_second']:>10}{row['first_slice_p50_ms']:>14}"
            f"{row['first_slice_p95_ms']:>8}{row['first_full_slice_p95_ms']:>16}"
            f"{row['mb_per_cpu_second']:>10}{row['mib_per_reader']:>12}{row['slowest_over_mean']:>12}"
        )
    by = {(row["server"], row["readers"]): row for row in rows}
    for readers in sorted({row["readers"] for row in rows}):
        ours, bare = by["radfuse", readers], by.get(("bare", readers))
        text = f"{readers:>7} readers:"
        if bare:
            share = ours["mb_per_second"] / bare["mb_per_second"]
            text += f" {100 * share:.0f} % of the bare application"
        wado = by.get(("orthanc", readers))
        if wado:
            wire = ours["mb_per_second"] / wado["mb_per_second"]
            slices = ours["slices_per_second"] / wado["slices_per_second"]
            text += f", {slices:.1f} times Orthanc's slices, {wire:.1f} times its bytes"
        print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 8, 32, 100])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as servers:
        home = Path(name)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RADFUSE_", "DJANGO_"))},
            **MALLOC,
            "DJANGO_SETTINGS_MODULE": "workstation.settings.embedded",
            "RADFUSE_HOME": str(home / "home"),
            "RADFUSE_BROKER_URL": f"unix://{home / 'no-broker.sock'}",
            "RADFUSE_LOG_LEVEL": "WARNING",
            "FRAMES": str(home / "frames.bin"),
        }
        prepare = (
            "from tests.benchmarks.streaming_case import make; "
            f"make({str(home)!r}, {options.slices}, {max(options.readers)})"
        )
        for arguments in (["migrate", "-v0"], ["shell", "-v0", "-c", prepare]):
            command = [sys.executable, "manage.py", *arguments]
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
        case = json.loads((home / "case.json").read_text())
        ours, bare, wado, dicom = (free_port() for _ in range(4))

        def uvicorn(application: str, port: int) -> list[str]:
            return [sys.executable, "-m", "uvicorn", application, "--port", str(port), *UVICORN]

        our_pid = servers.enter_context(
            running(
                uvicorn("workstation.asgi:application", ours),
                f"http://127.0.0.1:{ours}/health/", environment,
            )
        )  # fmt: skip
        bare_pid = servers.enter_context(
            running(
                uvicorn("tests.benchmarks.streaming_bare:application", bare),
                f"http://127.0.0.1:{bare}/", environment,
            )
        )  # fmt: skip
        paths: list[str] = []
        orthanc = shutil.which("Orthanc")
        if orthanc:
            (home / "orthanc.json").write_text(
                json.dumps(
                    {
                        "StorageDirectory": str(home / "orthanc"),
                        "IndexDirectory": str(home / "orthanc"),
                        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
                        "DicomPort": dicom, "HttpPort": wado, "AuthenticationEnabled": False,
                        "KeepAlive": True, "HttpThreadsCount": 128, "HttpVerbose": False,
                    }
                )
            )  # fmt: skip
            orthanc_pid = servers.enter_context(
                running(
                    [orthanc, str(home / "orthanc.json")], f"http://127.0.0.1:{wado}/system",
                    environment,
                )
            )  # fmt: skip
            paths = store(wado, home / "dicom")
        else:
            print("Orthanc is not installed: no comparison with it")
        rows = []
        for readers in options.readers:
            hello = {
                "type": "open", "versions": [2], "window": WINDOW, "layers": [case["layer"]],
                "focus": {"layer": case["layer"], "slice": options.slices // 2},
            }  # fmt: skip
            stream = [
                partial(
                    StreamReader, f"/ws/cases/{case['case']}/slices/", f"sessionid={session}",
                    hello, case["layer"], options.slices,
                )
                for session in case["sessions"][:readers]
            ]  # fmt: skip
            plain = [partial(StreamReader, "/", "", {}, 0, 1)] * readers
            rows.append(measure("radfuse", readers, 1, stream, ours, our_pid, options.seconds))
            rows.append(measure("bare", readers, 1, plain, bare, bare_pid, options.seconds))
            if paths:
                each = max(1, min(6, 120 // readers))
                web = [
                    partial(WadoReader, paths, n + reader * 7, each)
                    for reader in range(readers)
                    for n in range(each)
                ]
                rows.append(
                    measure("orthanc", readers, each, web, wado, orthanc_pid, options.seconds)
                )
        show(rows)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
