"""Uploads and folder imports: opened, counted, finished."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from workstation.accounts.models import Site, User
from workstation.accounts.services import record
from workstation.live import publish
from workstation.receiving.models import Upload
from workstation.receiving.outcomes import Outcome, Result


def start_upload(site: Site, user: User | None) -> Upload:
    """Open an upload or folder import; its files follow."""
    return Upload.objects.create(site=site, user=user)


@transaction.atomic
def count_outcomes(upload: Upload, outcomes: list[Outcome]) -> None:
    """Add what became of a batch of files to the upload's counts."""
    tally = dict.fromkeys(Result, 0)
    for outcome in outcomes:
        tally[outcome.result] += 1
    Upload.objects.filter(pk=upload.pk).update(
        files=F("files") + len(outcomes),
        **{result.value: F(result.value) + count for result, count in tally.items()},
    )
    publish(upload.site_id, "upload")


@transaction.atomic
def finish_upload(upload: Upload, *, address: str = "") -> Upload:
    """Everything was sent. Doing it twice changes nothing."""
    locked = Upload.objects.select_for_update().get(pk=upload.pk)
    if locked.finished_at is None:
        locked.finished_at = timezone.now()
        locked.save(update_fields=["finished_at"])
        counts = {name: getattr(locked, name) for name in ("files", *Result)}
        record(
            "upload", user=locked.user, site=locked.site, obj=locked, remote_address=address,
            detail=counts,
        )  # fmt: skip
        publish(locked.site_id, "upload")
    return locked
