"""Real servers for tests and benchmarks: PostgreSQL, and ``manage.py listen`` with its own home."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0
CREATE_NODES = """
from workstation.accounts.models import Site
from workstation.receiving.models import RemoteNode
site, _ = Site.objects.get_or_create(code="north", defaults={"name": "North"})
for title in %r:
    RemoteNode.objects.get_or_create(site=site, name=title, defaults={"ae_title": title})
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgresql_programs() -> Path:
    """The newest installed server's folder (Debian keeps it off the PATH)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    if path is None:
        raise FileNotFoundError("PostgreSQL's server programs (package postgresql)")
    return Path(path).resolve().parent


class Postgres:
    """A throw-away PostgreSQL server with its default durability. It refuses to run as root, so
    root steps down; ``home`` must not exist yet,
    in a folder that others may enter (pytest closes its own)."""

    def __init__(self, home: Path) -> None:
        self.programs = postgresql_programs()
        self.home = home
        self.port = free_port()
        self.url = f"postgres://radfuse@127.0.0.1:{self.port}/postgres"
        self.as_user: dict[str, Any] = {}
        home.mkdir()
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(home, account.pw_uid, account.pw_gid)
            self.as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        data = str(home / "data")
        self._run("initdb", "-D", data, "-U", "radfuse", "--auth=trust", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments], cwd=self.home, capture_output=True,
            text=True, check=False, timeout=120, **self.as_user,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    def start(self) -> None:
        """Start it, also after a kill -9: its orphans need a moment to go."""
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -k {self.home}"
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._run(
                    "pg_ctl", "-w", "-D", str(self.home / "data"), "-l", str(self.home / "log"),
                    "-o", options, "start",
                )  # fmt: skip
                return
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def kill_9(self) -> None:
        """kill -9 of the postmaster: no checkpoint, no goodbye; its children end by themselves."""
        pid = int((self.home / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.home / "data"), "-m", "immediate", "stop")


class ListenerProcess:
    """``manage.py listen`` with an archive of its own, sending nodes, and no broker unless given.

    ``database_url`` empty: SQLite in ``home``.
    """

    def __init__(
        self,
        home: Path,
        *,
        titles: tuple[str, ...] = ("SCANNER",),
        database_url: str = "",
        **settings: str,
    ) -> None:
        self.home = home
        self.titles = titles
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RADFUSE_")},
            "DJANGO_SETTINGS_MODULE": "workstation.settings.embedded",
            "RADFUSE_HOME": str(home),
            "RADFUSE_BROKER_URL": f"unix://{home / 'no-broker.sock'}",
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        if database_url:
            self.environment["RADFUSE_DATABASE_URL"] = database_url
        self.log = home / "listener.log"
        self.process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Create the tables and the nodes that may send."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.manage("migrate", "-v0")
        self.manage("shell", "-v0", "-c", CREATE_NODES % (self.titles,))

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py`` with this listener's archive and database."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment,
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)
        return done

    def ask(self, expression: str) -> str:
        """What a Python expression over the models says, e.g. ``Instance.objects.count()``."""
        code = f"from workstation.receiving.models import *; print({expression})"
        return self.manage("shell", "-v0", "-c", code).stdout.strip().splitlines()[-1]

    def start(self, *arguments: str) -> int:
        """Start it and return its port."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "listen", "--port", "0", *arguments],
                cwd=ROOT, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self.log.read_bytes()[before:].decode().splitlines():
                if "ready on" in line:
                    return int(line.split("ready on ")[1].split(",")[0].rsplit(":", 1)[1])
            time.sleep(0.05)
        raise RuntimeError(f"the listener did not start: {self.said}")

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def children(self) -> list[int]:
        """The processes that receive (those of the supervisor)."""
        assert self.process is not None
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found]

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=30)

    def peak_memory(self) -> int:
        """Largest resident size so far in MiB, of all its processes together."""
        assert self.process is not None
        total = 0
        for pid in [self.process.pid, *self.children()]:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1])
        return total // 1024

    def cpu_seconds(self) -> float:
        """Processor time so far of all its processes together."""
        assert self.process is not None
        return sum(cpu_seconds(pid) for pid in [self.process.pid, *self.children()])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
