"""ZIP archives of every kind, folders, and the import command."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from tests.factories import SiteFactory
from tests.receiving.conftest import files_below
from tests.receiving.objects import ct, packed
from workstation.receiving import files
from workstation.receiving.files import Receiver
from workstation.receiving.models import Instance, Quarantined, Upload
from workstation.receiving.services import start_upload
from workstation.receiving.storage import StorageFull, quarantine_opened

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver() -> Receiver:
    site = SiteFactory()
    return Receiver(site, start_upload(site, None))


def take(receiver: Receiver, data: bytes, name: str = "study.zip") -> dict[str, str]:
    """Name -> result or code of refusal."""
    return {
        item.name: item.outcome.code or item.outcome.result
        for item in receiver.take(io.BytesIO(data), name)
    }


def test_a_zip_is_opened_and_each_file_judged_by_itself(receiver: Receiver) -> None:
    data = packed(
        {
            "a/1": ct(1),
            "a/2.dcm": ct(2),
            "../../etc/evil.dcm": ct(3),
            "/absolute.dcm": ct(4),
            "C:\\windows.dcm": ct(5),
            "..\\evil": b"x",
            "notes.dcm": b"only text " * 30,
            "cut.dcm": ct(6)[:-5],
            "inner.zip": packed({"x": ct(7)}),
            "__MACOSX/._1": b"fork",
            "a/.DS_Store": b"finder",
        }
    )
    assert take(receiver, data) == {
        "study.zip/a/1": "stored",
        "study.zip/a/2.dcm": "stored",
        "study.zip/../../etc/evil.dcm": "zip_unsafe_name",
        "study.zip//absolute.dcm": "zip_unsafe_name",
        "study.zip/C:\\windows.dcm": "zip_unsafe_name",
        "study.zip/..\\evil": "zip_unsafe_name",
        "study.zip/notes.dcm": "not_dicom",
        "study.zip/cut.dcm": "truncated",
        "study.zip/inner.zip": "zip_nested",
        "study.zip/__MACOSX/._1": "clutter",
        "study.zip/a/.DS_Store": "clutter",
    }
    assert Instance.objects.count() == 2
    held = Quarantined.objects.get(filename="study.zip/../../etc/evil.dcm")
    assert held.upload == receiver.upload
    assert quarantine_opened(held.sha256).read() == ct(3)
    home = settings.RADFUSE_HOME
    assert {path.name for path in home.iterdir()} <= {
        "archive", "quarantine", "uploads", "incoming",
    }  # fmt: skip


def test_an_encrypted_zip_is_refused_whole(receiver: Receiver) -> None:
    data = bytearray(packed({"1.dcm": ct(1)}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    assert take(receiver, bytes(data)) == {"study.zip": "zip_encrypted"}
    assert not Instance.objects.exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BOMB_BYTES", 10**6)
    data = packed({"zeros": bytes(3 * 10**6)})
    assert take(receiver, data) == {"study.zip": "zip_bomb"}
    assert len(files_below(settings.QUARANTINE_DIR)) == 1
    assert files_below(settings.QUARANTINE_DIR)[0].stat().st_size == len(data)


def test_a_zip_beyond_the_limit_is_refused(receiver: Receiver, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 500
    assert take(receiver, packed({"1.dcm": ct(1)})) == {"study.zip": "zip_too_large"}


def test_a_zip_that_does_not_fit_the_disk_is_refused_at_once(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = files.shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageFull):
        take(receiver, packed({"1.dcm": ct(1)}))


def test_a_cut_off_zip_is_refused_whole(receiver: Receiver) -> None:
    assert take(receiver, packed({"1.dcm": ct(1)})[:-40]) == {"study.zip": "zip_damaged"}


def test_a_damaged_entry_harms_no_other(receiver: Receiver) -> None:
    data = bytearray(packed({"1.dcm": ct(1), "2.dcm": ct(2)}, zipfile.ZIP_STORED))
    data[data.index(b"DICM") + 40] ^= 0xFF
    assert take(receiver, bytes(data)) == {
        "study.zip/1.dcm": "zip_entry_damaged",
        "study.zip/2.dcm": "stored",
    }


def test_an_empty_zip_holds_nothing(receiver: Receiver) -> None:
    assert take(receiver, packed({})) == {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a study"
    (folder / "deep").mkdir(parents=True)
    (folder / "1.dcm").write_bytes(ct(1))
    (folder / "deep" / "2").write_bytes(ct(2))
    (folder / "readme.txt").write_text("hello " * 40)
    (folder / "more.zip").write_bytes(packed({"3": ct(3)}))
    return folder


def test_import_takes_folders_and_says_what_happened(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = SiteFactory(code="north")
    for expected in ("3 stored, 0 repeated, 1", "0 stored, 3 repeated, 1"):
        call_command("import_dicom", str(folder), site="north")
        told = capsys.readouterr()
        assert told.out.startswith(expected)
        assert "readme.txt: This is a text file, not a DICOM file." in told.err
    upload = Upload.objects.filter(site=site).first()
    assert (upload.files, upload.repeated, upload.quarantined) == (4, 3, 1)
    assert upload.finished_at is not None


def test_import_names_what_is_missing(folder: Path) -> None:
    SiteFactory(code="north")
    with pytest.raises(CommandError, match=r"no site 'south'\. Known: north"):
        call_command("import_dicom", str(folder), site="south")
    with pytest.raises(CommandError, match="no file or folder"):
        call_command("import_dicom", str(folder / "nowhere"), site="north")
