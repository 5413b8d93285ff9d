"""Files of the archive that no row names go where a person can decide about them."""

from __future__ import annotations

from workstation.accounts.models import Site
from workstation.receiving import storage
from workstation.receiving.headers import NotAccepted
from workstation.receiving.services.holding import quarantine

ORPHAN = NotAccepted(
    "orphan",
    "These bytes lay in the archive without a row: a process was stopped while it stored them. "
    "Try again to store them properly.",
)


def hold_orphan(site: Site, sha256: str) -> None:
    """Copy the bytes to the quarantine with a row, then take them out of the archive."""
    with storage.opened(sha256) as file, storage.staged(storage.chunks_of(file)) as staged:
        quarantine(site, staged, ORPHAN, source="verify_archive")
    storage.remove_from_archive(sha256)
