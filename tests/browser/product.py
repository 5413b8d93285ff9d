"""The real product in a throw-away folder, for stories: all that ``deploy/run`` starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "radfuse-demo-2026"
READY_SECONDS = 180


def free_ports() -> tuple[int, int]:
    """A web port, and a DICOM port whose successor is free too (the demo destination)."""
    with socket.socket() as web:
        web.bind(("127.0.0.1", 0))
        while True:
            with socket.socket() as one, socket.socket() as two:
                one.bind(("127.0.0.1", 0))
                port = one.getsockname()[1]
                try:
                    two.bind(("127.0.0.1", port + 1))
                except OSError:
                    continue
                return web.getsockname()[1], port


class Product:
    """Started with the demo; ``url`` answers when the constructor returns."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self.port, self.dicom_port = free_ports()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = (home.parent / "launcher.log").open("wb")
        self.launcher = subprocess.Popen(
            [
                sys.executable, str(ROOT / "deploy" / "launcher.py"), "--data", str(home),
                "--port", str(self.port), "--dicom-port", str(self.dicom_port), *options,
            ],
            cwd=ROOT,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if not k.startswith(("RADFUSE_", "DJANGO_"))},
        )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.url}/health/", timeout=2):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert self.launcher.poll() is None, self.said()
                time.sleep(0.3)
        raise AssertionError(f"the product did not answer: {self.said()}")

    def said(self) -> str:
        return (self.home.parent / "launcher.log").read_text()

    def pids(self, words: str) -> list[int]:
        """Processes of this product whose command line contains ``words``."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                environment = (entry / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if words in command and f"RADFUSE_HOME={self.home}".encode() in environment:
                found.append(int(entry.name))
        return found

    def kill(self, words: str) -> None:
        """kill -9 every such process."""
        pids = self.pids(words)
        assert pids, f"no process {words!r} to kill"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def delivered(self) -> dict[str, list[Path]]:
        """Files at the demo destination by the start of their name (the SOP class)."""
        files: dict[str, list[Path]] = {}
        for path in sorted((self.home / "demo-destination").glob("*.dcm")):
            files.setdefault(path.name.split("_")[0], []).append(path)
        return files

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted((self.home / "logs").glob("*.log")))

    def stop(self) -> int:
        """Ctrl-C, as a person would; the exit status."""
        self.launcher.send_signal(signal.SIGINT)
        try:
            return self.launcher.wait(60)
        finally:
            self.output.close()
