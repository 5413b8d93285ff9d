"""C-STORE to a destination, de-identified where it has a profile."""

from __future__ import annotations

import socket

from django.conf import settings
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from workstation.exporting.models import Delivery, ObjectKind
from workstation.receiving.headers import NotAccepted
from workstation.receiving.services.deidentifying import read_deidentified
from workstation.receiving.services.pseudonyms import remember

CONNECT_SECONDS = 5
ANSWER_SECONDS = 30


class NotDelivered(Exception):
    """The destination did not take the object; the message says what it did."""


class HeldBack(NotDelivered):
    """The object must not go there; trying again later changes nothing."""


def send_by_c_store(delivery: Delivery) -> None:
    """One association, one object. Raises :class:`NotDelivered`."""
    destination, item = delivery.destination, delivery.object
    try:
        dataset = _outgoing(delivery)
    except FileNotFoundError:
        raise NotDelivered("The written object is gone from this server's disk.") from None
    sender = AE(ae_title=settings.DICOM_AE_TITLE)
    sender.connection_timeout = CONNECT_SECONDS
    sender.acse_timeout = sender.dimse_timeout = sender.network_timeout = ANSWER_SECONDS
    sender.add_requested_context(item.sop_class_uid, dataset.file_meta.TransferSyntaxUID)
    try:
        link = sender.associate(destination.host, destination.port, ae_title=destination.ae_title)
    except (socket.gaierror, UnicodeError) as error:
        raise NotDelivered(
            "The host name of the destination is not known to this server."
        ) from error
    if not link.is_established:
        if link.is_rejected:
            raise NotDelivered("The destination refused the association; check the AE titles.")
        if link.rejected_contexts:
            raise NotDelivered("The destination does not accept this kind of object.")
        raise NotDelivered("The destination cannot be reached.")
    try:
        status = link.send_c_store(dataset)
    except RuntimeError as error:
        raise NotDelivered("The destination broke the association off.") from error
    except ValueError as error:
        # pynetdicom's way to say that the destination accepted no fitting presentation context.
        raise NotDelivered("The destination does not accept this kind of object.") from error
    finally:
        link.release()
    if "Status" not in status:
        raise NotDelivered("The connection broke before the destination answered.")
    # 0xB000-0xBFFF are warnings: the object was stored (PS3.4 B.2.3).
    if status.Status != 0x0000 and not 0xB000 <= status.Status <= 0xBFFF:
        raise NotDelivered(f"The destination answered with status 0x{status.Status:04X}.")


def _outgoing(delivery: Delivery) -> Dataset:
    """The object as this destination may see it."""
    destination, item = delivery.destination, delivery.object
    path = settings.EXPORTS_DIR / item.path
    profile = destination.deidentification
    if profile is None:
        return dcmread(path)
    if not profile.active:
        raise HeldBack(
            f"The de-identification profile “{profile.name}” of this destination is switched off. "
            "Switch it on, or take it off the destination."
        )
    if item.kind == ObjectKind.PDF:
        raise HeldBack(
            "A PDF names the patient on its pages and is not sent to a destination with a "
            "de-identification profile. The structured report is."
        )
    try:
        dataset, found = read_deidentified(destination.site, path, profile)
    except NotAccepted as refusal:
        raise HeldBack(refusal.reason) from None
    remember(destination.site, found)
    return dataset
