"""What the clock does for the jobs that talk to other nodes."""

from __future__ import annotations

from datetime import datetime

from workstation.receiving.services.committing import send_due_commitments
from workstation.receiving.services.inquiring import send_due_inquiries
from workstation.receiving.services.retrieving import send_due_retrievals


def send_due_network_jobs(now: datetime) -> None:
    """Lost messages, dead workers, pauses that are over: rows only, no network."""
    send_due_retrievals(now)
    send_due_inquiries(now)
    send_due_commitments(now)
