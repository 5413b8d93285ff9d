"""What people do with quarantined bytes: try again, discard with a reason."""

from __future__ import annotations

import time
from functools import partial
from typing import BinaryIO

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.live import publish
from workstation.receiving import storage
from workstation.receiving.headers import NotAccepted, read_header
from workstation.receiving.models import Quarantined, QuarantineState
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services.deidentifying import profile_for
from workstation.receiving.services.storing import accept, accept_deidentified

ONLY_DEIDENTIFIED = ("burned_in", "identity_remains", "too_deep", "vault_locked")
"""Codes of bytes that were not to be archived as they came."""


class CannotHandle(Exception):
    """The quarantined bytes were already handled, or the reason for discarding is missing."""


def release(held: Quarantined, user: User, *, address: str = "") -> Outcome:
    """Try quarantined bytes once more, e.g. after the cause was put right.

    Accepted bytes leave the quarantine; refused ones stay, with the reason of today.
    """
    with transaction.atomic():
        locked_held(held)
    with opened_bytes(held) as file, storage.staged(storage.chunks_of(file)) as staged:
        try:
            outcome = take_again(held, staged)
        except NotAccepted as refusal:
            outcome = Outcome(
                Result.QUARANTINED, refusal.code, refusal.reason, quarantined_id=held.pk
            )
    _write_handled(held, user, outcome, address)
    return outcome


def opened_bytes(held: Quarantined) -> BinaryIO:
    """The refused bytes as they came. Raises :class:`CannotHandle` when they are gone."""
    try:
        return storage.quarantine_opened(held.sha256)
    except storage.BytesMissing:
        raise CannotHandle(
            gettext("The bytes are no longer there. Discard the entry with this reason.")
        ) from None


def take_again(held: Quarantined, staged: storage.Staged) -> Outcome:
    """As if it came today. Who releases an image held for its pixels has looked at them."""
    profile = profile_for(held.site, held.source)
    if profile is not None:
        return accept_deidentified(
            held.site, staged, profile, held.source, pass_burned_in=held.code == "burned_in"
        )
    if held.code in ONLY_DEIDENTIFIED:
        raise NotAccepted(
            held.code,
            "This came to be de-identified, and no profile is in use for its sender any more. "
            "Put one in use again, or discard it.",
        )
    return accept(held.site, staged, read_header(staged.path), held.source)


@transaction.atomic
def _write_handled(held: Quarantined, user: User, outcome: Outcome, address: str) -> None:
    row = locked_held(held)
    if outcome.result is Result.QUARANTINED:
        row.code, row.reason = outcome.code, outcome.reason
        row.save(update_fields=["code", "reason"])
    else:
        finish_held(row, QuarantineState.RELEASED, user, outcome.result)
    record(
        "quarantine", user=user, site=row.site, obj=row, remote_address=address,
        detail={"action": "release", "result": outcome.result, "code": outcome.code},
    )  # fmt: skip
    publish(row.site_id, "quarantine")


@transaction.atomic
def discard(held: Quarantined, user: User, reason: str, *, address: str = "") -> None:
    """Delete quarantined bytes for good; the row stays, with who, when and why."""
    if not reason.strip():
        raise CannotHandle(gettext("Say why these bytes may be deleted."))
    row = locked_held(held)
    finish_held(row, QuarantineState.DISCARDED, user, reason.strip())
    record(
        "quarantine", user=user, site=row.site, obj=row, remote_address=address,
        detail={"action": "discard", "sha256": row.sha256},
    )  # fmt: skip
    publish(row.site_id, "quarantine")


def locked_held(held: Quarantined) -> Quarantined:
    """The row, locked. Raises :class:`CannotHandle` when it is not held any more."""
    row = Quarantined.objects.select_for_update().get(pk=held.pk)
    if row.state != QuarantineState.HELD:
        raise CannotHandle(gettext("Somebody else has handled this a moment ago."))
    return row


def finish_held(row: Quarantined, state: QuarantineState, user: User, reason: str) -> None:
    """The one door out of the quarantine. The bytes go when no entry needs them any more."""
    row.state, row.handled_by, row.handled_at = state, user, timezone.now()
    row.handled_reason = reason[:255]
    row.save(update_fields=["state", "handled_by", "handled_at", "handled_reason"])
    transaction.on_commit(partial(_forget_bytes, row.sha256))


def _forget_bytes(sha256: str) -> None:
    """Set aside first and looked at then: who sends the same bytes again either finds them gone
    when its row is committed, and writes them anew, or its row is seen here."""
    keeping = (QuarantineState.HELD, QuarantineState.CORRECTED)
    storage.set_aside_in_quarantine(sha256)
    if Quarantined.objects.filter(sha256=sha256, state__in=keeping).exists():
        storage.bring_back_to_quarantine(sha256)
    else:
        storage.remove_aside_from_quarantine(sha256)


def finish_forgetting(grace: float) -> int:
    """Finish what a killed process left between the two steps: bytes that an entry needs come
    back, the others go. Returns how many there were.

    In a bucket those younger than ``grace`` seconds are left to whoever sets them aside. In a
    folder they keep their older age, and are finished by two at once without harm.
    """
    oldest = time.time() - grace
    left = [
        name
        for name, _, at in storage.quarantine_store().names()
        if name.endswith(storage.ASIDE) and at <= oldest
    ]
    for name in left:
        _forget_bytes(name.rpartition("/")[2].removesuffix(storage.ASIDE))
    return len(left)


@transaction.atomic
def note_download(held: Quarantined, user: User, *, address: str = "") -> None:
    """Who took the refused bytes away is written down."""
    record(
        "download", user=user, site=held.site, obj=held, remote_address=address,
        detail={"sha256": held.sha256},
    )  # fmt: skip
