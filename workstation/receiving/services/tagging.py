"""What each series is: by rule (``analysis.roles``), or by hand, which rules never overwrite."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext
from pydicom import dcmread
from pydicom.dataset import Dataset

from analysis.roles import ODD_HEADER, ROLES, RoleDecision, facts_of, role_of
from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.broker import nudge
from workstation.live import publish
from workstation.receiving import storage
from workstation.receiving.headers import UNREADABLE
from workstation.receiving.models import Instance, RoleSource, Series, Study

logger = logging.getLogger(__name__)

SAMPLE = {"MR": 12}
"""Headers read per series: first, middle, last, and more of MR to find its b-values."""
SAMPLE_OTHER = 3
NOT_TOLD = (*ODD_HEADER, *UNREADABLE, storage.BytesMissing)
"""What reading a header may raise. The bytes were judged when they were received; an instance that
cannot be read now (its bytes are missing) only says nothing about the role."""


class CannotTag(Exception):
    """The role is unknown, does not fit the series, or no reason was given."""


# --- by rule ----------------------------------------------------------------------------------


def untagged_studies() -> QuerySet[Study]:
    """Studies with a series that no rule has looked at, or that grew since."""
    newer = Instance.objects.filter(series=OuterRef("pk"), received_at__gt=OuterRef("role_set_at"))
    due = (
        Series.objects.filter(study=OuterRef("pk"))
        .exclude(role_source=RoleSource.MANUAL)
        .filter(Q(role="") | Q(role_set_at__isnull=True) | Exists(newer))
    )
    return Study.objects.filter(Exists(due), deleted_at__isnull=True).order_by("pk")


def quiet_untagged_studies(now: datetime) -> list[Study]:
    """Studies that may be complete at ``now`` and whose series have no roles yet. They get them
    before they are completed: cases then know the roles."""
    shortest = min(settings.QUIET_SECONDS, settings.COUNTED_QUIET_SECONDS)
    quiet = untagged_studies().filter(
        completed_at__isnull=True, last_received_at__lte=now - timedelta(seconds=shortest)
    )
    return list(quiet)


def tag_series(study: Study) -> int:
    """Decide the role of every series of the study that nobody set by hand; returns how many
    changed. All together: a CT is judged by whether a PET lies beside it.

    Headers are read outside the transaction, which only writes.
    """
    series = list(study.series.exclude(role_source=RoleSource.MANUAL).order_by("pk"))
    beside = set(study.series.values_list("modality", flat=True))
    begun = timezone.now()  # an instance that arrives while headers are read counts as newer
    decided = [(one.pk, _decide(one, beside)) for one in series]
    return _write([(pk, d) for pk, d in decided if d is not None], begun)


@transaction.atomic
def _write(decided: list[tuple[int, RoleDecision]], begun: datetime) -> int:
    changed = 0
    for pk, decision in decided:
        row = Series.objects.select_for_update().get(pk=pk)
        if row.role_source == RoleSource.MANUAL:
            continue
        before = row.role, row.role_reason, row.role_details
        row.role, row.role_reason = decision.code, decision.reason[:300]
        row.role_details = _evidence(decision)
        differs = before != (row.role, row.role_reason, row.role_details)
        if differs or row.role_set_at is None or _grew(row):
            row.role_source, row.role_set_by, row.role_set_at = RoleSource.RULE, None, begun
            row.save(update_fields=_COLUMNS)
            changed += differs
    return changed


def _grew(row: Series) -> bool:
    return row.instances.filter(received_at__gt=row.role_set_at).exists()


_COLUMNS = [
    "role", "role_reason", "role_details", "role_source", "role_set_by", "role_set_at",
]  # fmt: skip


def _evidence(decision: RoleDecision) -> dict[str, Any]:
    found = {"by": decision.by, "rule": decision.rule, "label": decision.label}
    if decision.conflict:
        found["conflict"] = decision.conflict
    return found | decision.details


def _decide(series: Series, beside: set[str]) -> RoleDecision | None:
    """None when no header of the series can be read: it is looked at again later."""
    headers = list(_headers(series))
    if not headers:
        logger.warning("series %s has no readable header: no role", series.pk)
        return None
    return role_of(facts_of(headers, study_modalities=beside))


def _headers(series: Series) -> Iterator[Dataset]:
    """The headers of some instances, evenly from the first to the last."""
    hashes = list(
        series.instances.order_by(F("instance_number").asc(nulls_first=True), "pk").values_list(
            "sha256", flat=True
        )
    )
    wanted = min(SAMPLE.get(series.modality, SAMPLE_OTHER), len(hashes))
    last = max(wanted - 1, 1)
    for n in range(wanted):
        try:
            with storage.opened(hashes[n * (len(hashes) - 1) // last]) as file:
                header = dcmread(file, stop_before_pixels=True)
        except NOT_TOLD:
            continue
        yield header


# --- by hand ----------------------------------------------------------------------------------


def role_label(series: Series) -> str:
    """The role as a reader sees it, e.g. ``PET, attenuation corrected (F-18 FDG)``."""
    if series.role_source == RoleSource.RULE and series.role_details.get("label"):
        return str(series.role_details["label"])
    return ROLES[series.role].label if series.role in ROLES else ""


def role_choices(series: Series) -> list[tuple[str, str]]:
    """(code, label) of the roles that a series of this modality can have."""
    return [
        (role.code, role.label) for role in ROLES.values() if role.modality in ("", series.modality)
    ]


@transaction.atomic
def set_role(series: Series, user: User, code: str, reason: str, *, address: str = "") -> Series:
    """A person says what the series is. It stays so, whatever the rules say later.

    Raises :class:`CannotTag`. The cases of the study are looked at again: another role is another
    input of the analysis.
    """
    reason = " ".join(reason.split())
    if code not in dict(role_choices(series)):
        raise CannotTag(gettext("Choose one of the roles offered for images of this modality."))
    if not reason:
        raise CannotTag(gettext("Say in a few words why the role is another one."))
    row = Series.objects.select_for_update().select_related("study").get(pk=series.pk)
    before, source = row.role, row.role_source
    row.role, row.role_reason, row.role_details = code, reason[:300], {"by": "person"}
    row.role_source, row.role_set_by, row.role_set_at = RoleSource.MANUAL, user, timezone.now()
    row.save(update_fields=_COLUMNS)
    _told(row, user, address, {"from": before, "to": code, "was": source})
    return row


@transaction.atomic
def _forget_manual(series: Series, user: User, address: str) -> Series:
    row = Series.objects.select_for_update().select_related("study").get(pk=series.pk)
    if row.role_source != RoleSource.MANUAL:
        raise CannotTag(gettext("The role of this series was not set by hand."))
    before = row.role
    row.role, row.role_reason, row.role_details = "", "", {}
    row.role_source, row.role_set_by, row.role_set_at = "", None, None
    row.save(update_fields=_COLUMNS)
    _told(row, user, address, {"from": before, "to": "", "was": RoleSource.MANUAL.value})
    return row


def clear_role(series: Series, user: User, *, address: str = "") -> Series:
    """Take the person's word back: the rules decide again, at once. Raises :class:`CannotTag`."""
    row = _forget_manual(series, user, address)
    tag_series(row.study)
    row.refresh_from_db()
    return row


def _told(row: Series, user: User, address: str, detail: dict[str, str]) -> None:
    study = row.study
    record("set_role", user=user, site=study.site, obj=row, remote_address=address, detail=detail)
    for case_id in study.cases.values_list("pk", flat=True):
        publish(study.site_id, "case", case_id)
        transaction.on_commit(partial(nudge, case_id))
