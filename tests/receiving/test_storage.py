"""The archive: named by content, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from pathlib import Path

import pytest
from django.conf import settings

from workstation.receiving import storage

DATA = [b"first ", b"second"]
DEAD = 2**22 + 1
"""Above the largest process number of Linux."""
SHA = hashlib.sha256(b"first second").hexdigest()


def incoming() -> list[Path]:
    return list((settings.RADFUSE_HOME / "incoming").iterdir())


def test_place_follows_from_the_content() -> None:
    assert storage.path_of(SHA) == settings.ARCHIVE_DIR / SHA[:2] / SHA[2:4] / SHA


def test_staged_bytes_are_hashed_kept_and_read_only() -> None:
    with storage.staged(DATA) as staged:
        assert (staged.sha256, staged.size) == (SHA, 12)
        storage.archive(staged)
    place = storage.path_of(SHA)
    assert place.read_bytes() == b"first second"
    assert place.stat().st_mode & 0o222 == 0
    assert incoming() == []


def test_what_is_not_kept_leaves_nothing() -> None:
    with storage.staged(DATA):
        pass
    assert incoming() == []
    assert not any(settings.ARCHIVE_DIR.iterdir())


def test_the_same_bytes_are_never_written_over() -> None:
    inodes: set[int] = set()
    for _ in range(2):
        with storage.staged(DATA) as staged:
            storage.archive(staged)
        inodes.add(storage.path_of(SHA).stat().st_ino)
    assert len(inodes) == 1
    assert incoming() == []


def test_a_cut_off_file_in_the_archive_is_replaced_by_the_whole_one() -> None:
    place = storage.path_of(SHA)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"first")
    with storage.staged(DATA) as staged:
        storage.archive(staged)
    assert place.read_bytes() == b"first second"


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_full_disk_is_named_and_leaves_nothing(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
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


def test_leftovers_of_killed_processes_are_removed_and_no_others() -> None:
    with storage.staged(DATA) as living:
        folder = living.path.parent
        of_another_host = folder / "elsewhere+17+99+abc"
        of_a_dead_process = folder / f"{socket.gethostname()}+{DEAD}+99+abc"
        of_a_reused_number = folder / f"{socket.gethostname()}+{os.getpid()}+99+abc"
        young = folder / "elsewhere+18+99+abc"
        for path in (of_another_host, of_a_dead_process, of_a_reused_number, young):
            path.write_bytes(b"half")
        os.utime(of_another_host, (0, 0))
        assert storage.remove_leftovers(older_than=3600) == 3
        assert set(folder.iterdir()) == {living.path, young}


def test_equal_files_taken_together_keep_their_temporary_names() -> None:
    """The second must not be used up: a transaction that fails is tried again file by file."""
    with storage.staged(DATA) as one, storage.staged(DATA) as two:
        storage.archive(one, two)
        assert one.path.exists() and two.path.exists()
    assert storage.path_of(SHA).read_bytes() == b"first second"
    assert incoming() == []


def test_content_is_synced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with storage.staged(DATA, sync_soon=True) as soon, storage.staged([b"x"]) as later:
        inodes = [file.path.stat().st_ino for file in (soon, later)]
        settled = storage.settled(storage.settled([soon, later]))
        storage.archive(*settled)
    assert [synced.count(inode) for inode in inodes] == [1, 1]
