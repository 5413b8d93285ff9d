"""kill -9 of listener processes and of PostgreSQL in the middle of 500 images over 4 associations.

After a restart and sending again: exactly 500 rows, each byte once, nothing left over, and
``manage.py verify_archive`` finds nothing.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage

from tests.conftest import missing
from tests.receiving.conftest import files_below
from tests.receiving.objects import ct, uid
from tests.receiving.servers import ListenerProcess, Postgres, postgresql_programs

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(600)]
IMAGES, SENDERS = 500, 4
PIXELS = bytes(64 * 64 * 2)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[list[Dataset]]:
    """For each sender its own study, read once."""
    folder = tmp_path_factory.mktemp("images")
    found: list[list[Dataset]] = [[] for _ in range(SENDERS)]
    for number in range(IMAGES):
        sender = number % SENDERS
        path = folder / f"{number}.dcm"
        path.write_bytes(
            ct(
                number, Rows=64, Columns=64, PixelData=PIXELS,
                StudyInstanceUID=uid("study", sender), SeriesInstanceUID=uid("series", sender),
            )
        )  # fmt: skip
        found[sender].append(pydicom.dcmread(path))
    return found


class Senders:
    """Four associations; a sender that is cut off gives up, as scanners do, until it is asked to
    send everything again."""

    def __init__(self, images: list[list[Dataset]], port: int) -> None:
        self.port = port
        self.answers: list[int | None] = []
        self.threads = [threading.Thread(target=self._send, args=(mine,)) for mine in images]
        for thread in self.threads:
            thread.start()

    def _send(self, mine: list[Dataset]) -> None:
        ae = AE(ae_title="SCANNER")
        ae.dimse_timeout = ae.network_timeout = 30
        ae.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
        association = ae.associate("127.0.0.1", self.port)
        for image in mine:
            if not association.is_established:
                return
            self.answers.append(association.send_c_store(image).get("Status"))
        association.release()

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 120
        while len(self.answers) < count:
            assert time.monotonic() < deadline, f"only {len(self.answers)} answers"
            time.sleep(0.01)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(timeout=180)
            assert not thread.is_alive(), "an association hangs"


def send_all_again(process: ListenerProcess, images: list[list[Dataset]], port: int) -> None:
    """Exactly once each, whatever had come before; and not a byte too many."""
    again = Senders(images, port)
    again.join()
    assert again.answers == [0x0000] * IMAGES
    assert process.ask("Instance.objects.count()") == str(IMAGES)
    assert process.ask("Instance.objects.values('sop_instance_uid').distinct().count()") == str(
        IMAGES
    )
    assert process.ask("Study.objects.count()") == str(SENDERS)
    assert process.ask("Quarantined.objects.count()") == "0"
    assert len(files_below(process.home / "archive")) == IMAGES
    checked = process.manage("verify_archive", "--grace", "0", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    try:
        postgresql_programs()
    except FileNotFoundError as error:
        missing(str(error))
    with tempfile.TemporaryDirectory(prefix="radfuse-pg-") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "server")
        server.start()
        yield server
        server.stop()


@pytest.mark.parametrize(("database", "processes"), [("sqlite", 2), ("postgresql", 1)])
def test_kill_9_of_the_listener(
    database: str, processes: int, tmp_path: Path, images: list[list[Dataset]],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    url = request.getfixturevalue("postgres").url if database == "postgresql" else ""
    process = ListenerProcess(tmp_path / "listener", database_url=url)
    process.prepare()
    request.addfinalizer(process.kill)
    port = process.start("--processes", str(processes))
    senders = Senders(images, port)
    senders.wait_for(120)
    victims = process.children()
    process.end(signal.SIGKILL)
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue
    senders.join()
    stored = int(process.ask("Instance.objects.count()"))
    told = senders.answers.count(0x0000)
    assert told <= stored < IMAGES  # what was answered is there
    port = process.start("--processes", str(processes))
    assert files_below(process.home / "incoming") == []
    send_all_again(process, images, port)
    assert process.end(signal.SIGTERM) == 0


def test_kill_9_of_postgresql_while_the_listener_goes_on(
    tmp_path: Path, images: list[list[Dataset]], postgres: Postgres,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    process = ListenerProcess(tmp_path / "listener", database_url=postgres.url)
    process.prepare()
    request.addfinalizer(process.kill)
    port = process.start()
    senders = Senders(images, port)
    senders.wait_for(120)
    postgres.kill_9()
    senders.join()
    refused = [answer for answer in senders.answers if answer != 0x0000]
    assert 0 < len(refused) < IMAGES
    assert set(refused) <= {0x0110, None}
    assert refused.count(0x0110) > 0, "the sender was not asked to send again"
    postgres.start()
    assert process.process is not None and process.process.poll() is None
    assert int(process.ask("Instance.objects.count()")) >= senders.answers.count(0x0000)
    send_all_again(process, images, port)
    assert files_below(process.home / "incoming") == []
    assert process.end(signal.SIGTERM) == 0
    for word in ("PHANTOMINE", "SYNTHETIC", uid("study", 0)):
        assert word not in process.said
