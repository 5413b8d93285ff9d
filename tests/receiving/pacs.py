"""Archives to ask and to fetch from: Orthanc and DCMTK's dcmqrscp, each with its own home."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dramatiq import Worker

from tests.conftest import need
from tests.exporting.test_peers import free_port, wait_for_port
from workstation.broker import FLOW_QUEUE, RETRIEVE_QUEUE, broker
from workstation.receiving.network import actors

TITLE = "RADFUSE"


class Orthanc:
    """A running Orthanc with its DICOM and HTTP ports."""

    def __init__(self, dicom: int, http: int) -> None:
        self.dicom, self.http = dicom, http

    def call(self, path: str, body: bytes | None = None, method: str = "GET") -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", data=body, method="POST" if body else method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def put(self, *files: bytes) -> None:
        for data in files:
            self.call("/instances", data)

    def know(self, name: str, title: str, port: int, **more: object) -> None:
        """Name another application to it."""
        value = {"AET": title, "Host": "127.0.0.1", "Port": port, **more}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/modalities/{name}",
            data=json.dumps(value).encode(), method="PUT",
        )  # fmt: skip
        urllib.request.urlopen(request, timeout=10).close()


@contextmanager
def orthanc(folder: Path, **options: object) -> Iterator[Orthanc]:
    """Start Orthanc; it ends with the block."""
    dicom, http = free_port(), free_port()
    folder.mkdir(exist_ok=True)
    settings_file = folder / "orthanc.json"
    settings_file.write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": [],
                "DicomAet": "ORTHANC", "DicomPort": dicom, "HttpPort": http,
                "AuthenticationEnabled": False, "DicomAlwaysAllowGet": True,
                "DicomAlwaysAllowMove": True, "DicomAlwaysAllowFind": True,
                "DefaultEncoding": "Utf8", "StorageCommitmentReportsSize": 100, **options,
            }
        )
    )  # fmt: skip
    log = (folder / "log").open("wb")
    with log, subprocess.Popen([need("Orthanc"), str(settings_file)], stderr=log) as process:
        try:
            wait_for_port(dicom, process)
            wait_for_port(http, process)
            yield Orthanc(dicom, http)
        finally:
            process.terminate()


@contextmanager
def dcmqrscp(folder: Path, our_port: int, *options: str) -> Iterator[int]:
    """Start DCMTK's archive ``QRSCP``, which knows us as a destination; gives its port."""
    port = free_port()
    store = folder / "store"
    store.mkdir(parents=True)
    config = folder / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nus = ({TITLE}, 127.0.0.1, {our_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQRSCP {store} RW (100, 1024mb) ANY\nAETable END\n"
    )
    command = [need("dcmqrscp"), "-c", str(config), *options, str(port)]
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            wait_for_port(port, process)
            yield port
        finally:
            process.terminate()


def work(*queues: str) -> None:
    """A real Dramatiq worker until its queues are empty."""
    assert actors.retrieve_actor.broker is broker
    worker = Worker(broker, worker_threads=2, worker_timeout=50)
    worker.start()
    try:
        for queue in queues or (FLOW_QUEUE, RETRIEVE_QUEUE):
            broker.join(queue, timeout=120_000)
        worker.join()
    finally:
        worker.stop()


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    """Look again and again until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
