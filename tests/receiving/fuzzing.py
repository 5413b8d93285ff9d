"""Damaged files into a real listener process and a real web server, one after the other.

Every input has an answer within a bound; between them good files are sent, which must be stored.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pynetdicom
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pynetdicom import AE
from pynetdicom.association import Association

from tests.receiving.mutations import Seed, seed_of
from tests.receiving.objects import ct, uid
from tests.receiving.servers import ROOT, ListenerProcess, free_port

BOUNDARY = "fuzz-boundary-7d1c"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
BOUND_SECONDS = 20.0
GOOD_EVERY = 25
KEPT_SECONDS = 2.0
"""A connection unused for longer is opened anew: the server closes it after five seconds."""
MAKE_TOKEN = """
from workstation.accounts.models import Role, Site, TokenScope
from workstation.accounts.services import create_user
from workstation.accounts.tokens import create_token
site = Site.objects.get(code="north")
owner = create_user("fuzz", "a long password", role=Role.ADMINISTRATOR, sites=[site])
print(create_token(owner, site, "fuzz", TokenScope.BOTH, 30)[1])
"""


class Bad(AssertionError):
    """What the product did is not what it promises; the text says on which input."""


@dataclass
class Findings:
    """What became of the inputs."""

    table: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(way in, kind of damage, what became of it) -> number."""
    refused: dict[str, set[str]] = field(default_factory=lambda: {"dimse": set(), "stow": set()})
    """Way in -> what was refused, each once; it must lie in quarantine."""
    good: int = 0
    slowest: float = 0.0

    def note(self, way: str, kind: str, what: str, seconds: float) -> None:
        self.table[way, kind, what] += 1
        self.slowest = max(self.slowest, seconds)


class Network:
    """One association after the other; the data sets travel as they are, undecoded."""

    def __init__(self, port: int, seeds: Iterable[Seed]) -> None:
        self.port = port
        self.contexts = {(seed.sop_class, seed.syntax) for seed in seeds}
        self.association: Association | None = None
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        pynetdicom._config.STORE_SEND_CHUNKED_DATASET = True

    def _open(self) -> Association:
        if self.association is None or not self.association.is_established:
            ae = AE(ae_title="SCANNER")
            for sop_class, syntax in sorted(self.contexts):
                ae.add_requested_context(sop_class, syntax)
            ae.dimse_timeout = ae.network_timeout = ae.acse_timeout = BOUND_SECONDS
            self.association = ae.associate("127.0.0.1", self.port)
            if not self.association.is_established:
                raise Bad("no new association")
        return self.association

    def send(self, seed: Seed, dataset: bytes, instance: str = "") -> str:
        """The answer: ``stored``, ``quarantined``, or what else came.

        A class that is not stored at all (a DICOMDIR) is refused before it is sent.
        """
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = seed.sop_class
        meta.MediaStorageSOPInstanceUID = instance or seed.sop_instance
        meta.TransferSyntaxUID = seed.syntax
        path = Path(self.folder.name) / "one.dcm"
        with path.open("wb") as file:
            file.write(bytes(128) + b"DICM")
            write_file_meta_info(file, meta, enforce_standard=True)
            file.write(dataset)
        association = self._open()
        contexts = association.accepted_contexts
        if (seed.sop_class, seed.syntax) not in {
            (context.abstract_syntax, context.transfer_syntax[0]) for context in contexts
        }:
            return "not negotiated"
        began = time.monotonic()
        status = association.send_c_store(path)
        if time.monotonic() - began > BOUND_SECONDS:
            raise Bad("the association hangs")
        if "Status" not in status:
            return "aborted"
        return {0x0000: "stored", 0xC000: "quarantined"}.get(
            status.Status, f"status {status.Status:04X}"
        )

    def close(self) -> None:
        if self.association is not None and self.association.is_established:
            self.association.release()
        self.folder.cleanup()


class Web:
    """STOW-RS over one kept connection."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND_SECONDS)
        self.used = 0.0

    def send(self, data: bytes) -> str:
        if time.monotonic() - self.used > KEPT_SECONDS:
            self.connection.close()
        self.used = time.monotonic()
        try:
            self.connection.request(
                "POST", "/dicomweb/studies",
                b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n--%b--\r\n"
                % (BOUNDARY.encode(), data, BOUNDARY.encode()),
                {
                    "Content-Type": MULTIPART, "Accept": "application/dicom+json",
                    "Authorization": f"Bearer {self.token}",
                },
            )  # fmt: skip
            answer = self.connection.getresponse()
            answer.read()
        except TimeoutError:
            raise Bad("the STOW request hangs") from None
        except (http.client.HTTPException, ConnectionError) as error:
            self.connection.close()
            return f"connection lost ({type(error).__name__})"
        return {200: "stored", 409: "refused"}.get(answer.status, f"HTTP {answer.status}")


class House:
    """Listener and web server over one archive and database."""

    def __init__(self, home: Path, database_url: str = "") -> None:
        self.listener = ListenerProcess(home, database_url=database_url)
        self.listener.prepare()
        token = self.listener.manage("shell", "-v0", "-c", MAKE_TOKEN).stdout.split()[-1]
        self.dicom_port = self.listener.start()
        self.web_port = free_port()
        self.web_log = home / "web.log"
        with self.web_log.open("wb") as log:
            self.web_process = subprocess.Popen(
                [
                    sys.executable, "-m", "uvicorn", "workstation.asgi:application", "--port",
                    str(self.web_port), "--no-access-log", "--lifespan", "off",
                ],
                cwd=ROOT, env={**self.listener.environment, "RADFUSE_ALLOWED_HOSTS": "*"},
                stdout=log, stderr=log,
            )  # fmt: skip
        self._wait()
        self.web = Web(self.web_port, token)
        self.pids = (self.listener.process.pid, self.web_process.pid)

    def _wait(self) -> None:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.web_port), 1):
                return
            time.sleep(0.1)
        raise Bad(self.web_log.read_text())

    def check_alive(self) -> None:
        if self.listener.process.poll() is not None:
            raise Bad(f"the listener died: {self.listener.said[-2000:]}")
        if self.web_process.poll() is not None:
            raise Bad(f"the web server died: {self.web_log.read_text()[-2000:]}")

    def garbage(self, pieces: Iterable[bytes]) -> None:
        """Bytes that are no DICOM protocol at all, on the DICOM port."""
        for piece in pieces:
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", self.dicom_port), BOUND_SECONDS) as plug,
            ):
                plug.sendall(piece)
                plug.settimeout(0.02)
                with suppress(TimeoutError):
                    plug.recv(64)

    def close(self) -> None:
        self.listener.kill()
        self.web_process.terminate()
        self.web_process.wait(30)


def fuzz(
    house: House, inputs: Iterable[tuple[str, Seed, bytes]], seeds: list[Seed]
) -> Findings:
    """Every input through both ways in. Raises :class:`Bad` on the first broken promise."""
    found = Findings()
    clean = seed_of("clean", ct(1))
    network = Network(house.dicom_port, [*seeds, clean])
    for number, (kind, seed, data) in enumerate(inputs):
        try:
            began = time.monotonic()
            dataset = data[seed.start :] or b"\0\0"
            what = network.send(seed, dataset)
            found.note("C-STORE", kind, what, time.monotonic() - began)
            if what not in ("stored", "quarantined", "not negotiated"):
                raise Bad(f"C-STORE answered {what}")
            if what == "quarantined":
                found.refused["dimse"].add(f"{seed.sop_instance} {seed.syntax} {_sha(dataset)}")
            began = time.monotonic()
            what = house.web.send(data)
            found.note("STOW-RS", kind, what, time.monotonic() - began)
            if what not in ("stored", "refused"):
                raise Bad(f"STOW-RS answered {what}")
            if what == "refused":
                found.refused["stow"].add(_sha(data))
            if number % GOOD_EVERY == 0:
                _good_ones(house, network, clean, number)
                found.good += 2
        except Bad as error:
            kept = Path(tempfile.mkdtemp(prefix="fuzz-found-")) / "input.dcm"
            kept.write_bytes(data)
            raise Bad(f"input {number} ({kind} of {seed.name}, kept as {kept}): {error}") from None
        if number % 200 == 0:
            house.check_alive()
    house.check_alive()
    network.close()
    return found


def _good_ones(house: House, network: Network, clean: Seed, number: int) -> None:
    def good(way: str) -> bytes:
        return ct(1, SOPInstanceUID=uid(way, number), StudyInstanceUID=uid("fuzz good"),
                  SeriesInstanceUID=uid("fuzz good"), PatientID="GOOD")  # fmt: skip

    data = good("net")
    what = network.send(clean, data[seed_of("", data).start :], uid("net", number))
    if what != "stored":
        raise Bad(f"a good file by C-STORE was not stored: {what}")
    if (what := house.web.send(good("web"))) != "stored":
        raise Bad(f"a good file by STOW-RS was not stored: {what}")


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lost(house: House, found: Findings) -> int:
    """Refused inputs without a row in quarantine."""
    rows = "Quarantined.objects.filter(source__startswith='stow').values_list('sha256', flat=True)"
    kept = set(house.listener.ask(f"','.join({rows})").split(","))
    network = "Quarantined.objects.filter(source__startswith='dimse').count()"
    missing = len(found.refused["dimse"]) - int(house.listener.ask(network))
    return len(found.refused["stow"] - kept) + max(0, missing)


def count_good(house: House) -> int:
    """Good files in the archive."""
    of_patient = "series__study__patient__patient_id='GOOD'"
    return int(house.listener.ask(f"Instance.objects.filter({of_patient}).count()"))
