"""DICOMDIR: what a disc lists against what came, in folders, ZIPs and browser uploads."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from django.core.management import CommandError, call_command
from pydicom.fileset import FileSet
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tests.conftest import need
from tests.factories import SiteFactory
from tests.receiving.objects import ct, packed, uid
from workstation.receiving.discs import compare, file_ids
from workstation.receiving.files import Receiver
from workstation.receiving.models import Disc, Instance, Upload
from workstation.receiving.services import start_upload

IMAGES = 6


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disc as pydicom writes it: DICOMDIR and a tree of files named by it."""
    files = FileSet()
    for number in range(1, IMAGES + 1):
        data = pydicom.dcmread(io.BytesIO(ct(number, SeriesInstanceUID=uid("s", number % 2))))
        data.StudyID = "1"
        data.AccessionNumber = ""
        files.add(data)
    root = tmp_path_factory.mktemp("disc") / "CD"
    files.write(root)
    return root


@pytest.fixture
def copy(disc: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(disc, tmp_path / "CD"))


def images(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "DICOMDIR"]


def run(folder: Path) -> Disc:
    if not folder_site():
        SiteFactory(code="north")
    call_command("import_dicom", str(folder), site="north")
    return Disc.objects.latest("pk")


def folder_site() -> bool:
    return Upload.objects.filter(site__code="north").exists()


def test_a_deflated_table_of_contents_is_not_unpacked(disc: Path, tmp_path: Path) -> None:
    table = pydicom.dcmread(disc / "DICOMDIR")
    assert file_ids(disc / "DICOMDIR")
    table.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    table.save_as(tmp_path / "DICOMDIR")
    assert file_ids(tmp_path / "DICOMDIR") == []


def test_file_ids_of_a_real_disc(real_data: Path) -> None:
    path = real_data / "dicom-variety" / "charsets_orthanc" / "DavidClunie" / "DICOMDIR"
    names = file_ids(path)
    assert len(names) == len(set(names)) > 5
    there = [p.name for p in path.parent.iterdir()]
    found = compare("DICOMDIR", names, there, [])
    assert (found.listed, found.unreadable) == (len(names), [])
    assert len(found.missing) < len(names)
    assert set(found.missing).isdisjoint(there)


def test_what_is_no_dicomdir_lists_nothing(tmp_path: Path) -> None:
    path = tmp_path / "DICOMDIR"
    for data in (b"", b"text", ct(1), ct(1)[:-60]):
        path.write_bytes(data)
        assert file_ids(path) == []


def test_a_disc_made_by_dcmtk(tmp_path: Path) -> None:
    program = need("dcmmkdir")
    for number in (1, 2):
        (tmp_path / f"IM{number}").write_bytes(ct(number, StudyID="1"))
    subprocess.run(
        [program, "+I", "-Nxc", "+D", "DICOMDIR", "IM1", "IM2"], cwd=tmp_path, check=True,
        capture_output=True,
    )  # fmt: skip
    assert file_ids(tmp_path / "DICOMDIR") == ["IM1", "IM2"]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("DICOM/IM0001", "cd/DICOM/IM0001"),
        ("DICOM/IM0001", "cd/dicom/im0001"),
        ("DICOM/IM0001", "CD/DICOM/IM0001.;1"),
        ("DICOM/IM0001", "CD/DICOM/IM0001;1"),
        ("DICOM/IM0001", "CD/DICOM/IM0001.dcm"),
        ("DICOM/IM0001.DCM", "CD/DICOM/IM0001"),
        ("DICOM/IM0001", "CD\\DICOM\\IM0001"),
    ],
)
def test_names_that_copying_changes_are_found(name: str, there: str) -> None:
    assert compare("CD/DICOMDIR", [name], [there], []).missing == []
    assert compare("CD/dicomdir;1", [name], [there], [there]).unreadable == [name]


def test_names_of_other_folders_do_not_count() -> None:
    found = compare("A/DICOMDIR", ["D/1", "D/2"], ["B/D/1", "A/D/2", "A/D/22"], [])
    assert found.missing == ["D/1"]


@pytest.mark.django_db
def test_a_whole_disc(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disc = run(copy)
    assert (disc.listed, disc.missing, disc.unreadable) == (IMAGES, 0, 0)
    told = capsys.readouterr()
    assert "the disc lists 6 files; all are here" in told.err
    assert "6 stored, 0 repeated, 0 quarantined, 1 ignored" in told.out
    call_command("import_dicom", str(copy), site="north")
    assert "0 stored, 6 repeated" in capsys.readouterr().out


@pytest.mark.django_db
def test_a_scratched_disc_says_what_is_missing(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SiteFactory(code="north")
    gone, cut, *_ = images(copy)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-20])
    (copy / "VIEWER.EXE").write_bytes(b"MZ" + bytes(200))
    (copy / "EXTRA").write_bytes(ct(99))
    with pytest.raises(CommandError) as error:
        call_command("import_dicom", str(copy), site="north")
    assert error.value.returncode == 1
    disc = Disc.objects.get()
    assert (disc.listed, disc.missing, disc.unreadable) == (IMAGES, 1, 1)
    names = [path.relative_to(copy).as_posix() for path in (gone, cut)]
    assert disc.names == names
    told = capsys.readouterr().err
    assert f"1 are missing and 1 were not accepted: {', '.join(names)}" in told
    # What the disc does not list is taken in as well.
    assert Instance.objects.count() == IMAGES - 2 + 1


@pytest.mark.django_db
def test_a_disc_in_a_zip(disc: Path) -> None:
    site = SiteFactory()
    upload = start_upload(site, None)
    entries = {
        f"my cd/{p.relative_to(disc).as_posix()}": p.read_bytes()
        for p in disc.rglob("*") if p.is_file()
    }  # fmt: skip
    missing = images(disc)[2].relative_to(disc).as_posix()
    del entries[f"my cd/{missing}"]
    list(Receiver(site, upload).take(io.BytesIO(packed(entries)), "study.zip"))
    row = Disc.objects.get()
    assert row.name == "study.zip/my cd/DICOMDIR"
    assert (row.listed, row.missing, row.names) == (IMAGES, 1, [missing])
    assert Instance.objects.count() == IMAGES - 1


@pytest.mark.django_db
def test_other_programs_on_a_disc_are_no_failure(copy: Path) -> None:
    (copy / "AUTORUN.INF").write_bytes(b"[autorun]\r\nopen=viewer.exe\r\n" * 10)
    run(copy)


@pytest.mark.django_db
def test_a_link_in_a_circle_ends(copy: Path) -> None:
    (copy / "again").symlink_to(copy)
    (copy / "nowhere").symlink_to(copy / "gone")
    run(copy)
    assert Upload.objects.get().files == IMAGES + 1
