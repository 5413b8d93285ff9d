"""Associations that we open with TLS: Orthanc and DCMTK with certificates of a test authority."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.exporting.test_peers import free_port, wait_for_port
from tests.factories import RemoteNodeFactory
from tests.receiving.certificates import Authority
from tests.receiving.objects import ct, uid
from tests.receiving.pacs import Orthanc, orthanc, work
from workstation.receiving.models import Instance, RemoteNode
from workstation.receiving.network.asking import Question, find_studies
from workstation.receiving.network.calling import NotReached
from workstation.receiving.network.echo import echo
from workstation.receiving.services.retrieving import Wanted, request_retrieval

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.peer]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _ours(authority: Authority, settings: Any) -> None:
    certificate, key = authority.sign("radfuse")
    settings.DICOM_TLS_CERTIFICATE = str(certificate)
    settings.DICOM_TLS_KEY = str(key)
    settings.DICOM_TLS_CA = str(authority.path)


@pytest.fixture(scope="module")
def archive(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc that accepts only callers with a certificate of the authority."""
    certificate, key = authority.sign("orthanc")
    with orthanc(
        tmp_path_factory.mktemp("orthanc"), DicomTlsEnabled=True,
        DicomTlsCertificate=str(certificate), DicomTlsPrivateKey=str(key),
        DicomTlsTrustedCertificates=str(authority.path), DicomTlsRemoteCertificateRequired=True,
    ) as running:  # fmt: skip
        running.put(ct(1), ct(2))
        yield running


@pytest.fixture
def node(archive: Orthanc) -> RemoteNode:
    return RemoteNodeFactory(
        ae_title="ORTHANC", host="127.0.0.1", port=archive.dicom, may_be_queried=True, tls=True,
        certificate_subject="orthanc",
    )  # fmt: skip


def test_orthanc_over_tls(node: RemoteNode) -> None:
    echo(node)
    assert len(find_studies(node, Question(patient_id="PHANTOMINE-7")).studies) == 1
    row = request_retrieval(node, Wanted(uid("study")))
    work()
    row.refresh_from_db()
    assert (row.state, row.error, Instance.objects.count()) == ("done", "", 2)


def test_a_certificate_of_somebody_else_is_not_enough(node: RemoteNode) -> None:
    node.certificate_subject = "another archive"
    with pytest.raises(NotReached, match="carries another name"):
        echo(node)


def test_a_peer_of_an_authority_we_do_not_trust(
    node: RemoteNode, settings: Any, tmp_path: Path
) -> None:
    settings.DICOM_TLS_CA = str(Authority(tmp_path, "Stranger").path)
    with pytest.raises(NotReached, match="Does it speak TLS, and trust our certificate"):
        echo(node)


def test_without_tls_the_archive_does_not_answer(node: RemoteNode) -> None:
    node.tls = False
    with pytest.raises(NotReached):
        echo(node)


def test_missing_files_are_named(node: RemoteNode, settings: Any) -> None:
    settings.DICOM_TLS_CA = ""
    with pytest.raises(NotReached, match="RADFUSE_DICOM_TLS_CA"):
        echo(node)
    settings.DICOM_TLS_CA = "/nowhere.pem"
    with pytest.raises(NotReached, match="cannot be read"):
        echo(node)


def test_dcmtk_over_tls(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.sign("storescp")
    port = free_port()
    command = [
        need("storescp"), "-od", str(tmp_path), "-aet", "STORESCP", "+tls", str(key),
        str(certificate), "+cf", str(authority.path), "-rc", str(port),
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            wait_for_port(port, process)
            echo(RemoteNodeFactory(ae_title="STORESCP", host="127.0.0.1", port=port, tls=True))
        finally:
            process.terminate()
