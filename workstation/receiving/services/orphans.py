"""Files of the archive that no row names go where a person can decide about them."""

from __future__ import annotations

from django.utils import timezone

from workstation.accounts.models import Site
from workstation.receiving import storage
from workstation.receiving.headers import NotAccepted
from workstation.receiving.services.holding import quarantine
from workstation.receiving.services.keeping import let_go

ORPHAN = NotAccepted(
    "orphan",
    "These bytes lay in the archive without a row: a process was stopped while it stored them. "
    "Try again to store them properly.",
)


def hold_orphan(site: Site, sha256: str) -> None:
    """Copy the bytes to the quarantine with a row, then let go of them in the archive: in two
    steps, because the sender may send them again in this moment."""
    with storage.opened(sha256) as file, storage.staged(storage.chunks_of(file)) as staged:
        quarantine(site, staged, ORPHAN, source="verify_archive")
    let_go(sha256, timezone.now())
