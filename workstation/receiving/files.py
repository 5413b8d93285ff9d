"""Files and ZIP archives handed in by people: upload and folder import share this."""

from __future__ import annotations

import lzma
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from django.conf import settings

from workstation.accounts.models import Site
from workstation.receiving.discs import compare, file_ids
from workstation.receiving.headers import NotAccepted
from workstation.receiving.models import Disc, Upload
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services import quarantine, store_staged
from workstation.receiving.services.uploading import note_completeness, note_disc, refused_names
from workstation.receiving.storage import CHUNK, Staged, StorageFull, chunks_of, staged

ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
BOMB_RATIO = 100
BOMB_BYTES = 1024**3
"""Unpacking to over 1 GiB at over 100:1 is no imaging study (CT packs about 3:1, masks 50:1)."""
MAX_ENTRIES = 200_000
INLINE_ENTRIES = 300
INLINE_ZIP_BYTES = 200 * 1024**2
"""A ZIP beyond either of these is opened by a worker: a request shall end within seconds."""
ENCRYPTED = 0x1
CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
CLUTTER_OUTCOME = Outcome(
    Result.IGNORED, "clutter", "A file of the operating system, not of the study."
)
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError,
    RuntimeError, ValueError,
)  # fmt: skip
"""What ``zipfile`` raises on bytes that are not what they claim to be."""


@dataclass(frozen=True)
class Received:
    """One file, inside a ZIP or not, and what became of it."""

    name: str
    outcome: Outcome


@dataclass(frozen=True)
class Receiver:
    """Takes files in for one upload."""

    site: Site
    upload: Upload

    @property
    def source(self) -> str:
        return f"upload:{self.upload.pk}"

    def take(self, file: BinaryIO, name: str, *, skip: int = 0) -> Iterator[Received]:
        """Store one file, or every file of a ZIP but the first ``skip``.

        Raises only ``StorageFull``.
        """
        if is_zip(file) and not _is_clutter(name):
            yield from self._take_zip(file, name, skip)
            return
        with staged(chunks_of(file)) as whole:
            yield from self.take_staged(whole, name)

    def take_staged(self, file: Staged, name: str) -> Iterator[Received]:
        """As :meth:`take`, for bytes that are staged already."""
        if _is_clutter(name):
            yield Received(name, CLUTTER_OUTCOME)
            return
        with file.path.open("rb") as opened:
            if is_zip(opened):
                yield from self._take_zip(opened, name, 0)
                return
        yield Received(name, self._store(file, name))

    def _store(self, file: Staged, name: str) -> Outcome:
        outcome = store_staged(
            self.site, file, source=self.source, filename=name, upload=self.upload
        )
        if outcome.code == "dicomdir":
            note_disc(self.upload, name, file_ids(file.path))
        return outcome

    def _refuse(self, file: Staged, name: str, refusal: NotAccepted) -> Outcome:
        return quarantine(
            self.site, file, refusal, source=self.source, filename=name, upload=self.upload
        )

    def _refuse_zip(self, file: BinaryIO, name: str, refusal: NotAccepted) -> Received:
        file.seek(0)
        with staged(chunks_of(file)) as whole:
            return Received(name, self._refuse(whole, name, refusal))

    def _take_zip(self, file: BinaryIO, name: str, skip: int) -> Iterator[Received]:
        try:
            archive = zipfile.ZipFile(file)
            entries = _files_of(archive)
            _check(entries)
        except NotAccepted as refusal:
            yield self._refuse_zip(file, name, refusal)
            return
        except DAMAGED:
            damaged = NotAccepted("zip_damaged", "The ZIP file is damaged or incomplete.")
            yield self._refuse_zip(file, name, damaged)
            return
        for entry in entries[skip:]:
            inside = f"{name}/{entry.filename}"
            yield Received(inside, self._take_entry(archive, entry, inside))
        self.check_discs([f"{name}/{entry.filename}" for entry in entries], below=f"{name}/")

    def _take_entry(
        self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, inside: str
    ) -> Outcome:
        if _is_clutter(entry.filename):
            return CLUTTER_OUTCOME
        pieces = _Pieces(archive, entry)
        with staged(pieces) as file:
            refusal = _refusal_of(entry.filename, pieces)
            if refusal is not None:
                return self._refuse(file, inside, refusal)
            return self._store(file, inside)

    def check_discs(self, present: list[str], *, below: str = "") -> list[Disc]:
        """Compare each DICOMDIR that came with this upload with the files that came.

        ``present`` are names as they were handed in; ``below`` restricts the work to one ZIP.
        """
        discs = list(self.upload.discs.filter(name__startswith=below, missing=None))
        refused = refused_names(self.upload) if discs else []
        return [
            note_completeness(disc, compare(disc.name, disc.file_ids, present, refused))
            for disc in discs
        ]


class _Pieces:
    """The bytes of one ZIP entry; remembers how they begin and whether they end well."""

    def __init__(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        self.archive = archive
        self.entry = entry
        self.head = b""
        self.damaged = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self.archive.open(self.entry) as opened:
                while piece := opened.read(CHUNK):
                    self.head = self.head or piece[:4]
                    yield piece
        except DAMAGED:
            self.damaged = True


def is_zip(file: BinaryIO) -> bool:
    """By its first bytes; leaves the file at its beginning."""
    file.seek(0)
    head = file.read(4)
    file.seek(0)
    return head in ZIP_SIGNATURES


def entries_of(file: BinaryIO) -> int:
    """Files in a ZIP; 0 when it is damaged or no ZIP at all."""
    if not is_zip(file):
        return 0
    try:
        return len(_files_of(zipfile.ZipFile(file)))
    except DAMAGED:
        return 0


def takes_long(path: Path) -> bool:
    """Whether the file is a ZIP that a request should not wait for."""
    with path.open("rb") as file:
        if not is_zip(file):
            return False
        return path.stat().st_size > INLINE_ZIP_BYTES or entries_of(file) > INLINE_ENTRIES


def _files_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [entry for entry in archive.infolist() if not entry.is_dir()]


def _refusal_of(name: str, pieces: _Pieces) -> NotAccepted | None:
    if _is_unsafe(name):
        return NotAccepted(
            "zip_unsafe_name",
            "The name of this ZIP entry points outside the ZIP, so it was not taken in.",
        )
    if pieces.damaged:
        return NotAccepted("zip_entry_damaged", "This entry of the ZIP file is damaged.")
    if pieces.head in ZIP_SIGNATURES:
        return NotAccepted(
            "zip_nested", "A ZIP inside a ZIP is not opened. Unpack it, then upload its files."
        )
    return None


def _is_unsafe(name: str) -> bool:
    """Absolute, with a drive, or climbing out. Nothing is ever unpacked under an entry's name;
    such a name is the mark of an archive made to do harm."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in name.split("/")[0]


def _is_clutter(name: str) -> bool:
    return any(part in CLUTTER for part in PurePosixPath(name).parts)


def _check(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse a whole ZIP that is encrypted, or that would unpack to more than can be sane."""
    if any(entry.flag_bits & ENCRYPTED for entry in entries):
        raise NotAccepted(
            "zip_encrypted",
            "The ZIP file is protected by a password. Unpack it, then upload its files.",
        )
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
        raise NotAccepted(
            "zip_bomb", "The ZIP file would unpack to over a hundred times its size; refused."
        )
    if len(entries) > MAX_ENTRIES or unpacked > settings.MAX_UPLOAD_BYTES:
        raise NotAccepted(
            "zip_too_large",
            "The ZIP file would unpack to more than this server takes in one upload.",
        )
    if unpacked > shutil.disk_usage(settings.RADFUSE_HOME).free:
        raise StorageFull


def walk_path(path: Path) -> Iterator[Path]:
    """The file itself, or every regular file below a folder, in a fixed order.

    Links to folders are followed, but no folder is entered twice: a link in a circle ends there.
    """
    if not path.is_dir():
        yield path
        return
    entered: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (file for name in sorted(names) if (file := Path(folder, name)).is_file())
