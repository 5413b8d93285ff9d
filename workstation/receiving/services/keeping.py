"""Delete a study's images, and the bytes that no row names any more.

The study's and series' rows stay, with a :class:`Deletion` that says who, when and why. Bytes go in
two steps, so that no object that arrives in the same moment loses them: first they are set aside
under another name (an arriving copy is then written anew); after ``SET_ASIDE`` they are removed if
there is still no row, and put back if there is one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.live import publish
from workstation.receiving import storage
from workstation.receiving.models import (
    Deletion,
    Instance,
    RetentionRule,
    Study,
    UnreferencedBytes,
)

SET_ASIDE = timedelta(minutes=2)
"""Longer than any transaction that stores an object."""
BATCH = 500


class CannotDelete(Exception):
    """The study's images cannot be deleted now; the text says why."""


@transaction.atomic
def delete_images(
    study: Study,
    *,
    reason: str,
    by: User | None = None,
    rule: RetentionRule | None = None,
    address: str = "",
) -> Deletion:
    """Delete every instance row of the study; their bytes follow (:func:`remove_unreferenced`)."""
    if not reason.strip():
        raise CannotDelete(gettext("Say why these images may be deleted."))
    locked = Study.objects.select_for_update().get(pk=study.pk)
    if locked.completed_at is None:
        raise CannotDelete(
            gettext("Images of this study are still arriving. Wait until it is complete.")
        )
    instances = Instance.objects.filter(series__study=locked)
    rows = list(instances.values_list("sha256", "size"))
    if not rows:
        raise CannotDelete(gettext("The images of this study were deleted before."))
    instances.delete()
    hashes = {sha256 for sha256, _ in rows}
    still_named = set(Instance.objects.filter(sha256__in=hashes).values_list("sha256", flat=True))
    gone = sorted(hashes - still_named)
    UnreferencedBytes.objects.bulk_create(
        [UnreferencedBytes(sha256=sha256) for sha256 in gone], ignore_conflicts=True
    )
    # Deleted before, sent again, and deleted once more: written anew, so not aside yet.
    UnreferencedBytes.objects.filter(sha256__in=gone).update(set_aside_at=None)
    locked.deleted_at = timezone.now()
    locked.save(update_fields=["deleted_at"])
    deletion = Deletion.objects.create(
        site=locked.site,
        study=locked,
        rule=rule,
        by=by,
        reason=reason.strip()[:255],
        instances=len(rows),
        size=sum(size for _, size in rows),
    )
    record(
        "delete", user=by, site=locked.site, obj=locked, remote_address=address,
        detail={"instances": deletion.instances, "rule": rule.pk if rule else None},
    )  # fmt: skip
    publish(locked.site_id, "upload")
    return deletion


@transaction.atomic
def let_go(sha256: str, now: datetime) -> None:
    """Take the first step with archived bytes, if no row names them."""
    row, _ = UnreferencedBytes.objects.get_or_create(sha256=sha256)
    _set_aside(row.pk, now)


def remove_unreferenced(now: datetime) -> int:
    """Take the next step with bytes that no row names; returns how many were removed for good."""
    waiting = UnreferencedBytes.objects.filter(set_aside_at__isnull=True).order_by("pk")
    for pk in list(waiting.values_list("pk", flat=True)[:BATCH]):
        _set_aside(pk, now)
    due = UnreferencedBytes.objects.filter(set_aside_at__lte=now - SET_ASIDE).order_by("pk")
    return sum(_remove(pk) for pk in list(due.values_list("pk", flat=True)[:BATCH]))


@transaction.atomic
def _set_aside(pk: int, now: datetime) -> None:
    row = UnreferencedBytes.objects.select_for_update().filter(pk=pk).first()
    if row is None:
        return
    if Instance.objects.filter(sha256=row.sha256).exists():
        row.delete()
        return
    storage.set_aside(row.sha256)
    row.set_aside_at = now
    row.save(update_fields=["set_aside_at"])


@transaction.atomic
def _remove(pk: int) -> bool:
    row = UnreferencedBytes.objects.select_for_update().filter(pk=pk).first()
    if row is None:
        return False
    wanted = Instance.objects.filter(sha256=row.sha256).exists()
    if wanted:
        storage.bring_back(row.sha256)
    else:
        storage.remove_set_aside(row.sha256)
    row.delete()
    return not wanted
