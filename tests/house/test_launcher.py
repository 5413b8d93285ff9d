"""What ``deploy/run`` says when it cannot go on: one sentence that tells what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "deploy" / "launcher.py"


@pytest.fixture(scope="module")
def launcher() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("radfuse_launcher", LAUNCHER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def start(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LAUNCHER), *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_busy_port_is_named_with_the_option_that_helps(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = start("--data", str(tmp_path / "home"), "--port", str(port))
    assert done.returncode == 2
    [sentence] = done.stderr.strip().splitlines()
    assert f"Port {port} for the web is not free" in sentence
    assert "--port" in sentence


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    done = start("--data", str(in_the_way / "home"))
    assert done.returncode == 2
    [sentence] = done.stderr.strip().splitlines()
    assert "cannot be written" in sentence
    assert "--data" in sentence


def test_a_full_disk(
    launcher: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 * 2**20))
    with pytest.raises(launcher.CannotStart, match="too full: 100 MB free, 2048 MB needed"):
        launcher.prepare_home(tmp_path / "home")


def test_two_products_on_one_data_folder(launcher: types.ModuleType, tmp_path: Path) -> None:
    held = launcher.lock_home(tmp_path)
    done = start("--data", str(tmp_path))
    assert done.returncode == 2
    assert "Another Radfuse already runs on the data folder" in done.stderr
    del held


def test_a_long_path_moves_the_brokers_socket(
    launcher: types.ModuleType, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    assert launcher.socket_folder(tmp_path / "s") == tmp_path / "s" or len(str(tmp_path)) > 80
    moved = launcher.socket_folder(deep)
    assert len(str(moved / "valkey.sock")) <= launcher.LONGEST_SOCKET_PATH
    os.rmdir(moved)


def test_a_dead_process_is_started_again_after_a_pause(
    launcher: types.ModuleType, tmp_path: Path
) -> None:
    service = launcher.Service(
        "short", [sys.executable, "-c", "pass"], dict(os.environ), tmp_path / "log"
    )
    service.start()
    service.process.wait(20)
    first = service.process.pid
    service.watch()
    assert service.restart_at > 0, "not at once: a crashing process must not spin"
    service.restart_at = 1e-9
    service.watch()
    assert service.process.pid != first
    service.stop()
