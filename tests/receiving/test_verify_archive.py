"""``verify_archive`` sees every way in which rows and bytes disagree, on disk and in a bucket."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.management import CommandError, call_command
from moto.server import ThreadedMotoServer

from tests.factories import SiteFactory, UserFactory
from tests.receiving.objects import ct
from workstation.accounts.models import Role, Site
from workstation.receiving import storage
from workstation.receiving.cache import shrink
from workstation.receiving.models import Instance, Quarantined, QuarantineState
from workstation.receiving.outcomes import Result
from workstation.receiving.services import discard, release, store_instance

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> str:
    """The same tests over both kinds of store; the bucket's is a real S3 server on loopback."""
    settings.RADFUSE_HOME = tmp_path
    settings.ARCHIVE_DIR, settings.QUARANTINE_DIR = tmp_path / "a", tmp_path / "q"
    if request.param == "bucket":
        options = {
            "endpoint_url": request.getfixturevalue("s3_endpoint"),
            "region_name": "us-east-1",
            "access_key": "key",
            "secret_key": "secret",
            "bucket_name": f"case-{abs(hash(str(tmp_path)))}",
        }
        boto3.client(
            "s3", endpoint_url=options["endpoint_url"], region_name="us-east-1",
            aws_access_key_id="key", aws_secret_access_key="secret",
        ).create_bucket(Bucket=options["bucket_name"])  # fmt: skip
        backend = "workstation.receiving.buckets.BucketStore"
        settings.STORAGES = {
            **settings.STORAGES,
            **{
                name: {"BACKEND": backend, "OPTIONS": {**options, "location": name}}
                for name in ("archive", "quarantine")
            },
        }
    return str(request.param)


@pytest.fixture
def site(store: str) -> Site:
    site = SiteFactory(code="north")
    for number in range(3):
        outcome = store_instance(site, [ct(number)], source="import")
        assert outcome.result is Result.STORED
    store_instance(site, [b"no DICOM at all"], source="import")
    return site


def verified(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("verify_archive", "--grace", "0", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return str(error), err.getvalue()
    return out.getvalue(), err.getvalue()


def write(name: str, data: bytes) -> None:
    archive = storage.archive_store()
    archive.delete(name)
    archive.save(name, io.BytesIO(data))


def test_a_sound_archive_is_called_so(site: Site) -> None:
    said, complaints = verified()
    assert "Each row has its bytes" in said
    assert said.startswith("4 rows, 4 files, ")
    assert complaints == ""


def test_bytes_come_back_as_they_came(site: Site) -> None:
    instance = Instance.objects.get(instance_number=1)
    assert storage.path_of(instance.sha256).read_bytes() == ct(1)
    with storage.opened(instance.sha256) as file:
        assert file.read() == ct(1)


@pytest.mark.parametrize(
    ("change", "fault", "quick"),
    [
        (lambda data: None, "missing", True),
        (lambda data: data[:-2], "wrong size", True),
        (lambda data: data[:-1] + b"?", "damaged", False),
    ],
)
def test_missing_cut_and_altered_files_are_found(
    site: Site, change: Any, fault: str, quick: bool
) -> None:
    instance = Instance.objects.get(instance_number=1)
    name = storage.name_of(instance.sha256)
    data = change(ct(1))
    if data is None:
        storage.remove_from_archive(instance.sha256)
    else:
        write(name, data)
    said, complaints = verified()
    assert said == f"Rows and bytes disagree: 1 {fault}."
    assert f"archive: {fault}: {name} (rows {instance.pk})" in complaints
    assert ("disagree" in verified("--quick")[0]) is quick


def test_lost_bytes_come_back_when_the_object_is_sent_again(site: Site) -> None:
    storage.remove_from_archive(Instance.objects.get(instance_number=1).sha256)
    assert store_instance(site, [ct(1)], source="import").result is Result.REPEATED
    assert "Each row has its bytes" in verified()[0]


def test_an_orphan_is_found_held_and_taken_in_again(site: Site) -> None:
    lost = Instance.objects.get(instance_number=2)
    sha256 = lost.sha256
    lost.delete()
    assert verified()[0] == "Rows and bytes disagree: 1 orphan."
    verified("--quarantine-orphans", "north")
    held = Quarantined.objects.get(code="orphan")
    assert "Each row has" in verified()[0]
    user = UserFactory(role=Role.ADMINISTRATOR, sites=[site])
    assert release(held, user).result is Result.STORED
    assert Instance.objects.get(sha256=sha256).instance_number == 2


def test_a_young_file_without_a_row_may_be_on_its_way(site: Site) -> None:
    Instance.objects.get(instance_number=2).delete()
    call_command("verify_archive", stdout=io.StringIO())


def test_a_foreign_file_is_named(site: Site) -> None:
    write("ab/notes.txt", b"what is this")
    said, complaints = verified()
    assert "1 strange name" in said
    assert "ab/notes.txt" in complaints


def test_discarded_bytes_are_gone_and_that_is_right(
    site: Site, django_capture_on_commit_callbacks: Any
) -> None:
    user = UserFactory(role=Role.LEAD, sites=[site])
    with django_capture_on_commit_callbacks(execute=True):
        discard(Quarantined.objects.get(), user, "a letter")
    assert verified()[0].startswith("3 rows, 3 files")


@pytest.mark.parametrize("store", ["bucket"], indirect=True)
def test_copies_of_a_bucket_are_checked_and_do_not_pile_up(site: Site, store: str) -> None:
    instance = Instance.objects.get(instance_number=1)
    copy = storage.path_of(instance.sha256)
    assert shrink(0) == 0  # an analysis may be reading it
    os.utime(copy, (0, 0))
    assert shrink(0) == 1
    write(storage.name_of(instance.sha256), b"altered")
    with pytest.raises(storage.BytesMissing):
        storage.path_of(instance.sha256)


def test_a_discard_that_was_broken_off_is_finished(site: Site) -> None:
    """Killed between setting the bytes aside and looking who needs them."""
    held = Quarantined.objects.get()
    storage.set_aside_in_quarantine(held.sha256)
    assert "1 discards" in verified()[0]
    with storage.quarantine_opened(held.sha256) as file:
        assert file.read() == b"no DICOM at all"
    storage.set_aside_in_quarantine(held.sha256)
    Quarantined.objects.update(state=QuarantineState.DISCARDED)
    verified()
    assert not list(storage.quarantine_store().names())
