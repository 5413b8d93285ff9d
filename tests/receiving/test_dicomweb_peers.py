"""DICOMweb with real clients over real HTTP: dicomweb-client, Orthanc, and a viewer's requests."""

from __future__ import annotations

import io
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session
from PIL import Image
from pydicom.dataset import Dataset

from tests.conftest import missing, need
from tests.exporting.test_peers import free_port, wait_for_port
from tests.factories import SiteFactory, UserFactory
from tests.receiving.objects import NAME, ct, dataset, encode, uid
from tests.receiving.web_server import served
from workstation.accounts.models import Role, TokenScope
from workstation.accounts.tokens import create_token
from workstation.receiving.models import Instance, Study
from workstation.receiving.storage import opened

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.peer]
STUDY, SERIES = uid("study"), uid("series")
IDENTICAL = "dicom-variety/transfer_syntaxes_identical_pixels"


@pytest.fixture
def origin(transactional_db: None) -> Iterator[str]:
    with served() as address:
        yield address


@pytest.fixture
def secret(transactional_db: None) -> str:
    site = SiteFactory(code="north")
    owner = UserFactory(role=Role.ADMINISTRATOR, sites=[site])
    return create_token(owner, site, "peer", TokenScope.BOTH, 1)[1]


@pytest.fixture
def client(origin: str, secret: str) -> DICOMwebClient:
    session = create_session()
    session.headers["Authorization"] = f"Bearer {secret}"
    client = DICOMwebClient(f"{origin}/dicomweb", session=session)
    # It leaves the port out of its Host header; the URIs of the answers would lack it, too.
    client.host = origin.partition("://")[2]
    return client


def slice_of(number: int, **values: Any) -> Dataset:
    return pydicom.dcmread(io.BytesIO(ct(number, **values)))


def test_store_and_search(client: DICOMwebClient) -> None:
    answer = client.store_instances([slice_of(n) for n in range(1, 21)])
    assert len(answer.ReferencedSOPSequence) == 20 and "FailedSOPSequence" not in answer
    client.store_instances([slice_of(21)], study_instance_uid=STUDY)
    [study] = client.search_for_studies(
        search_filters={"PatientName": "Phantomine SYN", "StudyDate": "20260101-20260131"},
        fuzzymatching=True, fields=["StudyDescription", "00101010"], limit=5,
    )  # fmt: skip
    found = Dataset.from_json(study)
    assert found.PatientName == NAME and found.NumberOfStudyRelatedInstances == 21
    assert found.StudyDescription == "Thorax" and found.ModalitiesInStudy == "CT"
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    [series] = client.search_for_series(STUDY, search_filters={"Modality": "CT"})
    assert Dataset.from_json(series).NumberOfSeriesRelatedInstances == 21
    assert len(client.search_for_instances(STUDY, SERIES, limit=5, offset=18)) == 3
    everything = client.search_for_instances(STUDY, limit=4, get_remaining=True)
    numbers = [Dataset.from_json(item).InstanceNumber for item in everything]
    assert numbers == list(range(1, 22))
    [one] = client.search_for_instances(
        search_filters={"SOPInstanceUID": uid("instance", 7)}, fields=["BitsAllocated"]
    )
    assert Dataset.from_json(one).BitsAllocated == 16


def test_retrieve(client: DICOMwebClient) -> None:
    values = np.arange(24, dtype="<u2")
    client.store_instances([slice_of(1, PixelData=values.tobytes()), slice_of(2), slice_of(3)])
    assert len(client.retrieve_study(STUDY)) == 3
    assert [d.InstanceNumber for d in client.iter_series(STUDY, SERIES)] == [1, 2, 3]
    number = uid("instance", 1)
    one = client.retrieve_instance(
        STUDY, SERIES, number, media_types=(("application/dicom", "*"),)
    )
    assert one.pixel_array.ravel().tolist() == values.tolist()
    for found in (
        client.retrieve_study_metadata(STUDY),
        client.retrieve_series_metadata(STUDY, SERIES),
        [client.retrieve_instance_metadata(STUDY, SERIES, number)],
    ):
        header = Dataset.from_json(found[0], lambda *_: b"")
        assert header.PatientName == NAME and header.Rows == 4
    uri = found[0]["7FE00010"]["BulkDataURI"]
    assert client.retrieve_bulkdata(uri) == [values.tobytes()]
    for media_types in (None, (("application/octet-stream", "1.2.840.10008.1.2.1"),)):
        [frame] = client.retrieve_instance_frames(STUDY, SERIES, number, [1], media_types)
        assert frame == values.tobytes()
    png = client.retrieve_instance_rendered(
        STUDY, SERIES, number, media_types=("image/png",), params={"window": "12,24,linear"}
    )
    assert np.asarray(Image.open(io.BytesIO(png))).shape == (4, 6)
    jpeg = client.retrieve_instance_frames_rendered(
        STUDY, SERIES, number, [1], media_types=("image/jpeg",)
    )
    assert Image.open(io.BytesIO(jpeg)).size == (6, 4)
    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_instance_metadata(STUDY, SERIES, "1.2.3")


def test_the_same_pixels_in_every_transfer_syntax(
    client: DICOMwebClient, real_data: Path
) -> None:
    files = sorted((real_data / IDENTICAL).glob("*.dcm"))
    assert len(files) == 9
    seen, decoded, kinds = set(), set(), set()
    for number, file in enumerate(files):
        data = pydicom.dcmread(file)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid("same", number)
        data.StudyInstanceUID, data.SeriesInstanceUID = STUDY, uid("same series", number)
        data.PatientID = data.get("PatientID") or "SAME"
        answer = client.store_instances([data])
        assert "FailedSOPSequence" not in answer, file.name
        path = (STUDY, uid("same series", number), uid("same", number))
        syntax = str(data.file_meta.TransferSyntaxUID)
        seen.add(syntax)
        [frame] = client.retrieve_instance_frames(*path, [1])
        decoded.add(bytes(frame))
        # As stored, the way OHIF asks for it.
        answer = client._http_get(
            f"{client.base_url}/studies/{path[0]}/series/{path[1]}/instances/{path[2]}/frames/1",
            headers={
                "Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"
            },
        )
        assert f"transfer-syntax={syntax}".encode() in answer.content or "1.2.2" in syntax
        kinds.add(answer.headers["Content-Type"].partition(";")[0])
        # Explicit little endian, transcoded where it is stored in another way.
        explicit = (("application/dicom", "1.2.840.10008.1.2.1"),)
        plain = client.retrieve_instance(*path, media_types=explicit)
        assert plain.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1", file.name
        decoded.add(plain.PixelData[: len(frame)])
        assert client.retrieve_instance(*path).file_meta.TransferSyntaxUID == syntax
    assert len(seen) >= 6 and len(decoded) == 1 and kinds == {"multipart/related"}


def test_answers_are_streamed(client: DICOMwebClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first piece leaves before the last instance is read."""
    client.store_instances([slice_of(n) for n in range(1, 6)])
    read: list[str] = []

    def slow(sha256: str) -> Any:
        read.append(sha256)
        time.sleep(0.2)
        return opened(sha256)

    monkeypatch.setattr("workstation.receiving.dicomweb.delivering.opened", slow)
    answer = client._session.get(f"{client.base_url}/studies/{STUDY}", stream=True)
    pieces = answer.iter_content(100)
    next(pieces)
    assert len(read) < 4
    assert sum(map(len, pieces)) > 5 * 500 and len(read) == 5


def test_another_origin_may_ask_only_if_it_is_listed(
    client: DICOMwebClient, origin: str, secret: str, settings: Any
) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://ohif.example.org"]
    asks = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    url = f"{origin}/dicomweb/studies"
    for asker, known in (("https://ohif.example.org", True), ("https://evil.example", False)):
        answer = requests.options(url, headers={"Origin": asker, **asks}, timeout=20)
        assert (answer.headers.get("Access-Control-Allow-Origin") == asker) is known
        assert "Access-Control-Allow-Credentials" not in answer.headers
    answer = requests.get(
        url, headers={"Origin": "https://ohif.example.org", "Authorization": f"Bearer {secret}"},
        timeout=20,
    )  # fmt: skip
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://ohif.example.org"
    answer = requests.options(
        f"{origin}/audit/", headers={"Origin": "https://ohif.example.org", **asks},
        timeout=20, allow_redirects=False,
    )  # fmt: skip
    assert "Access-Control-Allow-Origin" not in answer.headers


# --- Orthanc ----------------------------------------------------------------------------------

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc:
    """Its own REST interface."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"

    def ask(self, path: str, body: Any = None) -> Any:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.root}{path}", data=data)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()[:500]}") from None


@pytest.fixture
def orthanc(tmp_path: Path, origin: str, secret: str) -> Iterator[Orthanc]:
    if not PLUGIN.exists():
        missing("Orthanc's DICOMweb plugin (Debian package orthanc-dicomweb)")
    http, dicom = free_port(), free_port()
    settings_file = tmp_path / "orthanc.json"
    server = {"Url": f"{origin}/dicomweb/", "HttpHeaders": {"Authorization": f"Bearer {secret}"}}
    settings_file.write_text(
        json.dumps(
            {
                "StorageDirectory": str(tmp_path / "orthanc"),
                "IndexDirectory": str(tmp_path / "orthanc"),
                "Plugins": [str(PLUGIN)],
                "HttpPort": http,
                "DicomPort": dicom,
                "AuthenticationEnabled": False,
                "DicomWeb": {"Enable": True, "Servers": {"radfuse": server}},
            }
        )
    )
    with subprocess.Popen([need("Orthanc"), str(settings_file)]) as process:
        try:
            wait_for_port(http, process)
            yield Orthanc(http)
        finally:
            process.terminate()


def test_orthanc_sends_asks_and_fetches(orthanc: Orthanc) -> None:
    for number in (1, 2, 3):
        orthanc.ask("/instances", encode(dataset(number)))
    [study] = orthanc.ask("/studies")
    orthanc.ask("/dicom-web/servers/radfuse/stow", {"Resources": [study], "Synchronous": True})
    assert Instance.objects.count() == 3
    assert Study.objects.get().study_instance_uid == STUDY
    [found] = orthanc.ask(
        "/dicom-web/servers/radfuse/qido",
        {"Uri": "/studies", "Arguments": {"PatientID": "PHANTOMINE-7"}},
    )
    assert found["0020000D"]["Value"] == STUDY
    assert found["00100020"]["Value"] == "PHANTOMINE-7"
    # Fetch back what it no longer has.
    request = urllib.request.Request(f"{orthanc.root}/studies/{study}", method="DELETE")
    urllib.request.urlopen(request, timeout=60).close()
    assert orthanc.ask("/studies") == []
    orthanc.ask(
        "/dicom-web/servers/radfuse/retrieve",
        {"Resources": [{"Study": STUDY}], "Synchronous": True},
    )
    assert orthanc.ask("/statistics")["CountInstances"] == 3
