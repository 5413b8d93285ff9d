"""The archive: named by content, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from django.conf import settings

from workstation.receiving import storage

DATA = [b"first ", b"second"]
SHA = hashlib.sha256(b"first second").hexdigest()


def incoming() -> list[Path]:
    return list((settings.RADFUSE_HOME / "incoming").iterdir())


def test_place_follows_from_the_content() -> None:
    assert storage.path_of(SHA) == settings.ARCHIVE_DIR / SHA[:2] / SHA[2:4] / SHA


def test_staged_bytes_are_hashed_kept_and_read_only() -> None:
    with storage.staged(DATA) as staged:
        assert (staged.sha256, staged.size) == (SHA, 12)
        place = storage.archive(staged)
    assert place.read_bytes() == b"first second"
    assert place.stat().st_mode & 0o222 == 0
    assert incoming() == []


def test_what_is_not_kept_leaves_nothing() -> None:
    with storage.staged(DATA):
        pass
    assert incoming() == []
    assert not any(settings.ARCHIVE_DIR.iterdir())


def test_the_same_bytes_are_never_written_over() -> None:
    for _ in range(2):
        with storage.staged(DATA) as staged:
            place = storage.archive(staged)
        first = os.stat(place).st_ino
    assert os.stat(place).st_ino == first
    assert incoming() == []


def test_a_cut_off_file_in_the_archive_is_replaced_by_the_whole_one() -> None:
    place = storage.path_of(SHA)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"first")
    with storage.staged(DATA) as staged:
        storage.archive(staged)
    assert place.read_bytes() == b"first second"


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_is_named_and_leaves_nothing(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os, call, full)
    with (
        pytest.raises(storage.StorageFull, match="disk is full"),
        storage.staged(DATA) as staged,
    ):
        storage.archive(staged)
    assert incoming() == []
    assert not storage.path_of(SHA).exists()


def test_a_source_that_breaks_off_leaves_nothing() -> None:
    def broken() -> object:
        yield b"first "
        raise ConnectionError

    with pytest.raises(ConnectionError), storage.staged(broken()):
        pass
    assert incoming() == []


def test_leftovers_of_a_killed_process_are_removed_when_old() -> None:
    with storage.staged(DATA) as old, storage.staged(DATA) as young:
        os.utime(old.path, (0, 0))
        assert storage.remove_leftovers(older_than=3600) == 1
        assert (old.path.exists(), young.path.exists()) == (False, True)
