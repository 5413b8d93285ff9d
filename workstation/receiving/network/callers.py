"""Who called us: the site and the node of an association that was accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from django.conf import settings
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE

from workstation.accounts.models import Site
from workstation.receiving.models import RemoteNode


@dataclass(frozen=True)
class Caller:
    """``node`` is None for a caller that only the default site takes in."""

    ae_title: str
    site: Site
    node: RemoteNode | None


def caller_of(event: Event) -> Caller | None:
    """The caller, or None if its title has no site (any more)."""
    return caller_on(event.assoc)


def caller_on(association: Association) -> Caller | None:
    """As :func:`caller_of`, of an association."""
    asked = cast(A_ASSOCIATE, association.requestor.primitive)
    title = str(asked.calling_ae_title).strip()
    node = (
        RemoteNode.objects.filter(ae_title=title, may_send=True, active=True)
        .select_related("site")
        .first()
    )
    if node is not None:
        return Caller(title, node.site, node)
    if settings.DICOM_DEFAULT_SITE:
        site = Site.objects.filter(code=settings.DICOM_DEFAULT_SITE).first()
        return Caller(title, site, None) if site else None
    return None
