"""TLS of the DICOM network: our certificate, the CA we trust, and who is at the other end.

Names in DICOM are AE titles, not hosts, and most archives are reached by an address that their
certificate does not name. So a peer is proved by the CA alone, or, where the node names one, by
the common name in its certificate as well (BCP 195 profile of PS3.15 B: TLS 1.2 or newer).
"""

from __future__ import annotations

import ssl

from django.conf import settings


class CannotSecure(Exception):
    """TLS was asked for and cannot be had; the text says what to set."""


def client_context() -> ssl.SSLContext:
    """A context that shows our certificate, if there is one, and checks the peer's.

    Raises :class:`CannotSecure`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    if not settings.DICOM_TLS_CA:
        raise CannotSecure(
            "This node wants TLS, but no certificate authority is set: name its file in "
            "RADFUSE_DICOM_TLS_CA."
        )
    try:
        context.load_verify_locations(settings.DICOM_TLS_CA)
        if settings.DICOM_TLS_CERTIFICATE:
            context.load_cert_chain(
                settings.DICOM_TLS_CERTIFICATE, settings.DICOM_TLS_KEY or None
            )
    except OSError as error:  # ssl.SSLError is one
        raise CannotSecure(
            "The TLS files cannot be read; check RADFUSE_DICOM_TLS_CERTIFICATE, "
            "RADFUSE_DICOM_TLS_KEY and RADFUSE_DICOM_TLS_CA."
        ) from error
    return context


def server_context() -> ssl.SSLContext:
    """A context for associations that we accept: who calls must show a certificate of our CA.

    Raises :class:`CannotSecure`.
    """
    files = settings.DICOM_TLS_CERTIFICATE, settings.DICOM_TLS_KEY, settings.DICOM_TLS_CA
    if not all(files):
        raise CannotSecure(
            "The TLS port needs RADFUSE_DICOM_TLS_CERTIFICATE, RADFUSE_DICOM_TLS_KEY and "
            "RADFUSE_DICOM_TLS_CA."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(files[0], files[1])
        context.load_verify_locations(files[2])
    except OSError as error:  # ssl.SSLError is one
        raise CannotSecure(
            "The TLS files cannot be read; check RADFUSE_DICOM_TLS_CERTIFICATE, "
            "RADFUSE_DICOM_TLS_KEY and RADFUSE_DICOM_TLS_CA."
        ) from error
    return context


def common_name(certificate: dict[str, object] | None) -> str:
    """The subject's common name of a checked peer certificate, as ``getpeercert`` gives it."""
    subject = (certificate or {}).get("subject", ())
    for part in subject:  # type: ignore[attr-defined]
        for key, value in part:
            if key == "commonName":
                return str(value)
    return ""
