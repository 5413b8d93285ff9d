"""The listener's TLS port: certificates of our CA only, and the node's own where it names one."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.receiving.listening import associate
from tests.receiving.objects import ct
from tests.receiving.test_listener import readable
from workstation.receiving.listener import CannotListen, Listener, start_listener
from workstation.receiving.models import Instance, RemoteNode, UnknownCaller

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, our certificate, a scanner's, and one that another CA signed."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run([need("openssl"), *arguments], cwd=folder, check=True, capture_output=True)

    for ca in ("ca", "other-ca"):
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={ca}",
            "-keyout", f"{ca}.key", "-out", f"{ca}.pem",
        )  # fmt: skip
    for name, ca in (("radfuse", "ca"), ("scanner", "ca"), ("stranger", "other-ca")):
        openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        openssl(
            "x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", f"{ca}.pem",
            "-CAkey", f"{ca}.key", "-CAcreateserial", "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


@pytest.fixture
def tls(node: RemoteNode, certificates: Path, settings: Any) -> Iterator[Listener]:
    settings.DICOM_TLS_CERTIFICATE = str(certificates / "radfuse.pem")
    settings.DICOM_TLS_KEY = str(certificates / "radfuse.key")
    settings.DICOM_TLS_CA = str(certificates / "ca.pem")
    running = start_listener("127.0.0.1", 0, "RADFUSE", tls_port=0)
    yield running
    running.stop()


def client(certificates: Path, name: str) -> tuple[ssl.SSLContext, str]:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.check_hostname = False
    if name:
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return context, "radfuse"


def test_tls_stores_and_wants_a_certificate_of_our_ca(tls: Listener, certificates: Path) -> None:
    association = associate(tls.tls_port, tls_args=client(certificates, "scanner"))
    assert association.send_c_store(readable(ct(1))).Status == 0x0000
    association.release()
    for name in ("", "stranger"):
        refused = associate(tls.tls_port, tls_args=client(certificates, name))
        assert not refused.is_established
    assert not associate(tls.tls_port).is_established  # without TLS
    plain = associate(tls.port)
    assert plain.send_c_store(readable(ct(2))).Status == 0x0000
    plain.release()
    assert Instance.objects.count() == 2


def test_the_certificate_must_name_the_node(
    tls: Listener, certificates: Path, node: RemoteNode
) -> None:
    node.certificate_subject = "somebody"
    node.save()
    assert associate(tls.tls_port, tls_args=client(certificates, "scanner")).is_rejected
    assert associate(tls.port).is_rejected
    node.certificate_subject = "scanner"
    node.save()
    association = associate(tls.tls_port, tls_args=client(certificates, "scanner"))
    assert association.is_established
    association.release()
    assert set(UnknownCaller.objects.values_list("reason", flat=True)) == {
        "certificate names somebody else", "must use the TLS port",
    }  # fmt: skip


@pytest.mark.peer
def test_dcmtk_over_tls(tls: Listener, certificates: Path) -> None:
    def echo(name: str) -> int:
        command = [
            need("echoscu"), "-aet", "SCANNER", "+tls", f"{name}.key", f"{name}.pem",
            "+cf", "ca.pem", "127.0.0.1", str(tls.tls_port),
        ]  # fmt: skip
        return subprocess.run(command, cwd=certificates, timeout=60, check=False).returncode

    assert echo("scanner") == 0
    assert echo("stranger") != 0


def test_a_tls_port_without_certificates_is_one_clear_sentence(node: RemoteNode) -> None:
    with pytest.raises(CannotListen, match="RADFUSE_DICOM_TLS_CERTIFICATE"):
        start_listener("127.0.0.1", 0, "RADFUSE", tls_port=0)
