"""How fast images come in: ``python -m tests.benchmarks.ingest``.

Radfuse's listener (on SQLite and on PostgreSQL) and Orthanc (Debian package, default settings)
receive the same synthetic 512 x 512 x 16 bit CT slices from the same sender, DCMTK's ``storescu``,
over 1, 4 and 8 associations at a time, on the same disk. Each run starts with an empty archive, and
what was sent is counted afterwards: rows, and files with their checksum as name.

STOW-RS follows, with 5, 10, 50 and 100 files a request, one request after the other (``--clients``:
of each of so many clients at a time).

``storescu`` runs with ``TCP_NODELAY=1`` for both: without it the sender waits for its own packets.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from tests.receiving.objects import dataset, encode, uid
from tests.receiving.servers import ListenerProcess, Postgres, cpu_seconds, free_port

BOUNDARY = b"radfuse-benchmark"
SHA256_LENGTH = 64
CREATE_TOKEN = """
from workstation.accounts.models import Role, Site, TokenScope, User
from workstation.accounts.tokens import create_token
site = Site.objects.get()
user = User.objects.create_user(username="bench", role=Role.ADMINISTRATOR)
user.sites.add(site)
print(create_token(user, site, "bench", TokenScope.BOTH, 1)[1])
"""
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "16777216",
}  # fmt: skip
"""As ``deploy/run`` and the image start every process."""
STUDIES = 8
"""One study for each of at most eight associations, as scanners do it."""


@dataclass(frozen=True)
class Receiver:
    """A running receiver: where it listens, and how to ask what it has and what it used."""

    port: int
    count: Callable[[], int]
    peak: Callable[[], int]
    cpu: Callable[[], float]
    stow: str = ""
    """URL of its STOW-RS service."""
    token: str = ""


def write_slices(folder: Path, count: int) -> list[Path]:
    """``count`` slices in :data:`STUDIES` folders, one study each; half a megabyte per slice."""
    rng = np.random.default_rng(7)
    noise = rng.normal(40, 12, (512, 512)).astype(np.int16)
    folders = [folder / f"study-{study}" for study in range(STUDIES)]
    for study, target in enumerate(folders):
        target.mkdir(parents=True)
        for number in range(count // STUDIES):
            slice_ = dataset(
                number,
                SOPInstanceUID=uid("bench", study, number),
                StudyInstanceUID=uid("bench", study),
                SeriesInstanceUID=uid("bench series", study),
                PatientID=f"BENCH-{study}",
                PatientName=f"SYNTHETIC^Bench{study}",
                Manufacturer="Radfuse", Rows=512, Columns=512, PixelRepresentation=1,
                PixelSpacing=[0.7, 0.7], SliceThickness=1,
                ImagePositionPatient=[0, 0, number], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                RescaleSlope=1, RescaleIntercept=0, FrameOfReferenceUID=uid("frame", study),
                PixelData=np.roll(noise, number * 7 + study).tobytes(),
            )  # fmt: skip
            (target / f"{number:04}.dcm").write_bytes(encode(slice_))
    return folders


def send(folders: list[Path], port: int, associations: int) -> float:
    """Send all folders over so many associations at once; seconds until the last one is done."""
    commands = []
    for number in range(associations):
        mine = [str(folder) for folder in folders[number::associations]]
        commands.append(
            ["storescu", "-aet", "SCANNER", "-aec", "ANY", "+sd", "127.0.0.1", str(port), *mine]
        )
    environment = {**os.environ, "TCP_NODELAY": "1"}
    began = time.perf_counter()
    running = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for command in commands
    ]
    for process in running:
        _, said = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"storescu failed: {said.decode()[-500:]}")
    return time.perf_counter() - began


def stow(folders: list[Path], receiver: Receiver, files: int, clients: int = 1) -> float:
    """Send all folders by STOW-RS, so many files a request; each client sends one request after
    the other. Seconds on the line: what is sent is put together before."""
    shares = [_requests(folders[number::clients], files) for number in range(clients)]
    if clients == 1:
        return sum(_post(receiver, body) for body in shares[0])
    ready = [list(share) for share in shares]

    def send_all(bodies: list[bytes]) -> None:
        for body in bodies:
            _post(receiver, body)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(send_all, ready))
    return time.perf_counter() - began


def _requests(folders: list[Path], files: int) -> Iterator[bytes]:
    paths = [path for folder in folders for path in sorted(folder.iterdir())]
    head = b"\r\n--%b\r\nContent-Type: application/dicom\r\n\r\n" % BOUNDARY
    for first in range(0, len(paths), files):
        parts = [head + path.read_bytes() for path in paths[first : first + files]]
        yield b"".join([*parts, b"\r\n--%b--\r\n" % BOUNDARY])


def _post(receiver: Receiver, body: bytes) -> float:
    """Seconds of one request."""
    url = urlsplit(receiver.stow)
    began = time.perf_counter()
    connection = http.client.HTTPConnection(url.netloc, timeout=300)
    connection.request("POST", url.path, body, {
        "Content-Type": 'multipart/related; type="application/dicom"; boundary='
        + BOUNDARY.decode(),
        "Accept": "application/dicom+json",
        "Authorization": f"Bearer {receiver.token}",
    })  # fmt: skip
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"STOW: {answer.status} {said[:300]!r}")
    connection.close()
    return time.perf_counter() - began


@contextmanager
def orthanc(work: Path) -> Iterator[Receiver]:
    """Orthanc with its defaults; only ports and folders are ours."""
    home = work / "orthanc"
    home.mkdir()
    http_port, port = free_port(), free_port()
    values = {
        "StorageDirectory": str(home / "store"), "IndexDirectory": str(home / "store"),
        "DicomPort": port, "HttpPort": http_port, "AuthenticationEnabled": False,
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
    }  # fmt: skip
    (home / "orthanc.json").write_text(json.dumps(values))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            ["Orthanc", str(home / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{http_port}/statistics"

    def count() -> int:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(json.load(answer)["CountInstances"])

    def peak() -> int:
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))

    try:
        for _ in range(100):
            try:
                count()
                break
            except OSError:
                time.sleep(0.1)
        yield Receiver(
            port, count, peak, lambda: cpu_seconds(process.pid),
            stow=f"http://127.0.0.1:{http_port}/dicom-web/studies",
        )  # fmt: skip
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def radfuse(work: Path, processes: int, web: bool, database_url: str = "") -> Iterator[Receiver]:
    """The product's listener, or its web server, with the product's database settings."""
    home = work / "radfuse"
    process = ListenerProcess(home, database_url=database_url, **MALLOC)
    process.prepare()
    token = ""
    if web:
        token = process.manage("shell", "-v0", "-c", CREATE_TOKEN).stdout.split()[-1]
        port = start_web(process)
    else:
        port = process.start(*(["--processes", str(processes)] if processes else []))

    def count() -> int:
        rows = int(process.ask("Instance.objects.exclude(sha256='').count()"))
        files = [path for path in (home / "archive").rglob("*") if len(path.name) == SHA256_LENGTH]
        if rows != len(files):
            raise RuntimeError(f"{rows} rows, but {len(files)} files")
        return rows

    try:
        yield Receiver(
            port, count, process.peak_memory, process.cpu_seconds,
            stow=f"http://127.0.0.1:{port}/dicomweb/studies", token=token,
        )  # fmt: skip
    finally:
        process.kill()


def start_web(process: ListenerProcess) -> int:
    """The web server as ``deploy/run`` starts it; returns its port."""
    port = free_port()
    with process.log.open("ab") as log:
        process.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "workstation.asgi:application", "--port", str(port),
             "--loop", "uvloop", "--no-access-log", "--lifespan", "off"],
            env=process.environment, stdout=log, stderr=log,
        )  # fmt: skip
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/", timeout=5):
                return port
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(process.said[-500:])


@contextmanager
def radfuse_on_postgresql(work: Path, processes: int, web: bool) -> Iterator[Receiver]:
    server = Postgres(work / "postgresql")
    server.start()
    try:
        with radfuse(work, processes, web, server.url) as receiver:
            yield receiver
    finally:
        server.stop()


def measure(
    name: str, images: list[Path], count: int, options: argparse.Namespace, *,
    associations: int = 0, files: int = 0, clients: int = 1,
) -> float:  # fmt: skip
    """One run with an empty archive: prints its row, returns images per second."""
    work = Path(tempfile.mkdtemp(prefix="ingest-", dir=options.disk))
    work.chmod(0o755)
    try:
        if name == "orthanc":
            context = orthanc(work)
        elif name == "sqlite":
            context = radfuse(work, options.processes, bool(files))
        else:
            context = radfuse_on_postgresql(work, options.processes, bool(files))
        with context as receiver:
            before, cpu_before = receiver.peak(), receiver.cpu()
            if files:
                seconds = stow(images, receiver, files, clients)
            else:
                seconds = send(images, receiver.port, associations)
            cpu = receiver.cpu() - cpu_before
            stored = receiver.count()
            if stored != count:
                raise RuntimeError(f"{stored} of {count} images arrived")
            peak = receiver.peak()
    finally:
        shutil.rmtree(work)
    speed = count / seconds
    way = f"{files}/request" if files else f"{associations} assoc"
    if clients > 1:
        way = f"{clients} x {files}/req"
    print(f"{name:<12}{way:>12}{count:>8}{seconds:>9.1f}{speed:>9.0f}"
          f"{1000 * cpu / count:>9.1f}{before:>9}{peak:>9}", end="", flush=True)  # fmt: skip
    return speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--associations", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--files", type=int, nargs="*", default=[5, 10, 50, 100], help="STOW-RS")
    parser.add_argument("--clients", type=int, nargs="+", default=[1], help="STOW-RS at a time")
    parser.add_argument("--receivers", nargs="+", default=["orthanc", "sqlite", "postgresql"])
    parser.add_argument(
        "--processes", type=int, default=0,
        help="of the Radfuse listener; 0: as many as the product starts by default",
    )  # fmt: skip
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    images = Path(tempfile.mkdtemp(prefix="ingest-images-", dir=options.disk))
    try:
        folders = write_slices(images, options.images)
        print(f"{'receiver':<12}{'way':>12}{'images':>8}{'s':>9}{'img/s':>9}"
              f"{'CPU ms':>9}{'MiB at 0':>9}{'MiB peak':>9}{'ratio':>8}")  # fmt: skip
        ways = [{"associations": number} for number in options.associations]
        ways += [
            {"files": number, "clients": clients}
            for clients in options.clients
            for number in options.files
        ]
        for way in ways:
            orthancs = 0.0
            for name in options.receivers:
                speed = measure(name, folders, options.images, options, **way)
                orthancs = speed if name == "orthanc" else orthancs
                print(f"{speed / orthancs:>8.2f}" if orthancs else f"{'-':>8}", flush=True)
    finally:
        shutil.rmtree(images)


if __name__ == "__main__":
    main()
