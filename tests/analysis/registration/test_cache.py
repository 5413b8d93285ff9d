"""A registration done before is found again, and only that one."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.contracts import IDENTITY, RegistrationRecord
from analysis.deformation import Deformation
from analysis.geometry import Grid, Volume
from analysis.registration import cache as cache_module
from analysis.registration.cache import CachedDeform, CachedRegister


class Spy:
    """Stands for ``register_series``; counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, moving: Volume, reference: Volume, *, moving_uid: str, reference_uid: str, **_: Any
    ) -> RegistrationRecord:
        self.calls += 1
        return RegistrationRecord(
            moving_uid, reference_uid, "registered", IDENTITY, "rigid", "1", "usable",
            parameters={"sum": float(np.sum(moving.array)), "call": self.calls},
        )


def volume(value: float = 1.0, shift: float = 0.0) -> Volume:
    affine = np.eye(4)
    affine[0, 3] = shift
    array = np.full((3, 4, 5), value, np.float32)
    return Volume(array, Grid((3, 4, 5), affine), "1", "MR")


class Bends:
    """Stands for ``deform_series``; counts, and its field tells the calls apart."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, moving: Volume, reference: Volume, record: RegistrationRecord, **_: Any
    ) -> tuple[RegistrationRecord, Deformation]:
        self.calls += 1
        vectors = np.full((3, 4, 5, 3), self.calls, np.float32)
        field = Deformation(vectors, reference.grid, record.matrix)
        return replace(record, model="deformable", parameters={"call": self.calls}), field


START = RegistrationRecord("m", "r", "registered", IDENTITY, "rigid", "1", "usable")


def bend(
    folder: Path, spy: Bends, start: RegistrationRecord = START, version: str = "1", **more: Any
) -> tuple[RegistrationRecord, Deformation]:
    options: dict[str, Any] = {"seed": 1, "threads": 2, "device": "cpu"} | more
    deform = CachedDeform(folder, spy, version)
    return deform(volume(), volume(2.0), start, **options)


def test_a_field_is_found_again_with_its_record(tmp_path: Path) -> None:
    spy = Bends()
    record, field = bend(tmp_path, spy)
    again, found = bend(tmp_path, spy, replace(START, series_instance_uid="n"), threads=1)
    assert spy.calls == 1
    assert again == replace(record, series_instance_uid="n")
    assert np.array_equal(found.displacement, field.displacement)
    assert np.array_equal(found.grid.affine, field.grid.affine)
    assert found.matrix == field.matrix
    shifted = ((1.0, 0, 0, 5.0), *IDENTITY[1:])
    for number, changed in enumerate(
        [
            {"seed": 2}, {"device": "cuda"}, {"version": "2"}, {"moving_mask": volume()},
            {"start": replace(START, matrix=shifted)},
            {"start": replace(START, verdict="doubtful")},
        ],
        start=2,
    ):  # fmt: skip
        bend(tmp_path, spy, **changed)  # type: ignore[arg-type]
        assert spy.calls == number, changed


@pytest.mark.parametrize("damage", ["gone", "cut", "another"])
def test_a_field_that_is_not_what_was_stored_is_computed_anew(damage: str, tmp_path: Path) -> None:
    spy = Bends()
    bend(tmp_path, spy)
    (file,) = tmp_path.glob("*.npz")
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        Deformation(np.ones((2, 2, 2, 3), np.float32), Grid((2, 2, 2), np.eye(4))).write(file)
    for _ in range(2):
        assert bend(tmp_path, spy)[1].displacement[0, 0, 0, 0] == 2
    assert spy.calls == 2


def test_the_fields_that_were_used_last_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "MAX_FIELDS", 2)
    spy = Bends()
    for seed in range(3):
        bend(tmp_path, spy, seed=seed)
        for number, file in enumerate(sorted(tmp_path.glob("*.npz"), key=os.path.getmtime)):
            os.utime(file, (1000 + number, 1000 + number))
    assert len(list(tmp_path.glob("*.npz"))) == 2
    bend(tmp_path, spy, seed=2)
    assert spy.calls == 3
    bend(tmp_path, spy, seed=0)
    assert spy.calls == 4


def ask(register: CachedRegister, moving: Volume, reference: Volume, **more: Any) -> Any:
    options: dict[str, Any] = {
        "moving_uid": "m", "reference_uid": "r", "threads": 2, "seed": 1, "same_frame": False,
        "progress": lambda share, text: None,
    }
    return register(moving, reference, **(options | more))


def test_the_second_time_nothing_is_computed_and_the_answer_is_the_same(tmp_path: Path) -> None:
    spy = Spy()
    first = ask(CachedRegister(tmp_path, spy), volume(), volume(2.0))
    # Another process, another number of threads, the series stored under other UIDs.
    again = ask(CachedRegister(tmp_path, spy), volume(), volume(2.0), threads=1, moving_uid="n")
    assert spy.calls == 1
    assert again == replace(first, series_instance_uid="n")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2}, {"same_frame": True}, {"model": "affine"}, {"start": IDENTITY},
        {"moving_mask": volume(1.0)},
    ],
)
def test_any_option_that_matters_misses(tmp_path: Path, change: dict[str, Any]) -> None:
    spy = Spy()
    register = CachedRegister(tmp_path, spy)
    ask(register, volume(), volume(2.0))
    ask(register, volume(), volume(2.0), **change)
    assert spy.calls == 2


def test_a_changed_voxel_place_role_or_version_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy()
    register = CachedRegister(tmp_path, spy)
    ask(register, volume(), volume(2.0))
    touched = volume()
    touched.array[1, 2, 3] += 0.001
    ask(register, touched, volume(2.0))
    ask(register, volume(shift=0.01), volume(2.0))
    ask(register, replace(volume(), modality="CT"), volume(2.0))
    ask(register, volume(2.0), volume())  # exchanged roles
    assert spy.calls == 5
    monkeypatch.setattr(cache_module, "REGISTRATION_VERSION", "next")
    ask(register, volume(), volume(2.0))
    monkeypatch.setattr(cache_module, "versions", lambda: {"SimpleITK": "99"})
    ask(register, volume(), volume(2.0))
    assert spy.calls == 7


def test_without_a_folder_everything_is_computed() -> None:
    spy = Spy()
    for _ in range(2):
        ask(CachedRegister(None, spy), volume(), volume(2.0))
    assert spy.calls == 2


@pytest.mark.parametrize("damage", [b"", b"{", b'{"record": "x", "sha256": "y"}', b"[]", b"\xff"])
def test_a_damaged_entry_is_said_and_computed_anew(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    spy = Spy()
    ask(CachedRegister(tmp_path, spy), volume(), volume(2.0), moving_uid="1.2.840.PATIENT")
    (entry,) = tmp_path.glob("*.json")
    entry.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        ask(CachedRegister(tmp_path, spy), volume(), volume(2.0), moving_uid="1.2.840.PATIENT")
    assert spy.calls == 2
    assert "damaged" in caplog.text
    assert "PATIENT" not in caplog.text
    ask(CachedRegister(tmp_path, spy), volume(), volume(2.0))
    assert spy.calls == 2
    assert b"PATIENT" not in entry.read_bytes()


def test_an_altered_number_is_noticed(tmp_path: Path) -> None:
    spy = Spy()
    ask(CachedRegister(tmp_path, spy), volume(), volume(2.0))
    (entry,) = tmp_path.glob("*.json")
    entry.write_bytes(entry.read_bytes().replace(b"60.0", b"61.0"))
    ask(CachedRegister(tmp_path, spy), volume(), volume(2.0))
    assert spy.calls == 2


def test_the_folder_is_bounded_and_the_oldest_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "MAX_ENTRIES", 3)
    spy = Spy()
    register = CachedRegister(tmp_path, spy)
    for seed in range(3):
        ask(register, volume(), volume(2.0), seed=seed)
    for number, entry in enumerate(sorted(tmp_path.glob("*.json"), key=os.path.getmtime)):
        os.utime(entry, (1000 + number, 1000 + number))
    ask(register, volume(), volume(2.0), seed=0)  # used: now the newest
    ask(register, volume(), volume(2.0), seed=9)
    assert len(list(tmp_path.glob("*.json"))) == 3
    ask(register, volume(), volume(2.0), seed=0)
    assert spy.calls == 4
    stale, fresh = tmp_path / "a.part", tmp_path / "b.part"
    stale.write_bytes(b"x")
    fresh.write_bytes(b"x")
    os.utime(stale, (time.time() - 7200,) * 2)
    ask(register, volume(), volume(2.0), seed=10)
    assert (stale.exists(), fresh.exists()) == (False, True)


def test_an_entry_is_whole_or_absent_when_a_writer_is_killed(tmp_path: Path) -> None:
    """A process that writes without end is killed: what is left can be read, every file of it."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.analysis.registration.test_cache import Spy, ask, volume\n"
        "from analysis.registration.cache import CachedRegister\n"
        "register = CachedRegister(Path(sys.argv[1]), Spy())\n"
        "print('ready', flush=True)\n"
        "for seed in range(10**6): ask(register, volume(), volume(2.0), seed=seed)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline().strip() == "ready"
    deadline = time.monotonic() + 30
    while len(list(tmp_path.glob("*.json"))) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    entries = list(tmp_path.glob("*.json"))
    assert len(entries) >= 20
    assert all(cache_module._read(entry) is not None for entry in entries)
