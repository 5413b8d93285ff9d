"""Keep refused bytes with their reason; nothing vanishes."""

from __future__ import annotations

from django.db import transaction

from workstation.accounts.models import Site
from workstation.live import publish
from workstation.receiving import storage
from workstation.receiving.headers import NotAccepted
from workstation.receiving.models import Quarantined, QuarantineState, Upload
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services.deidentifying import profile_for


def quarantine(
    site: Site,
    staged: storage.Staged,
    refusal: NotAccepted,
    *,
    source: str,
    filename: str = "",
    upload: Upload | None = None,
) -> Outcome:
    """Keep refused bytes with their reason. A sender that tries again adds no second row.

    What came to be de-identified is kept without its file name.
    """
    if filename and profile_for(site, source) is not None:
        filename = ""
    storage.put_in_quarantine(staged)
    known = {
        "site": site, "sha256": staged.sha256, "code": refusal.code, "source": source,
        "upload": upload, "filename": filename[-255:], "state": QuarantineState.HELD,
    }  # fmt: skip
    with transaction.atomic():
        held = Quarantined.objects.filter(**known).first()
        if held is None:
            held = Quarantined.objects.create(**known, reason=refusal.reason, size=staged.size)
        publish(site.pk, "quarantine")
    # Somebody may have discarded the same bytes while the row was not to be seen yet.
    storage.put_in_quarantine(staged)
    return Outcome(
        Result.QUARANTINED, refusal.code, refusal.reason, quarantined_id=held.pk
    )
