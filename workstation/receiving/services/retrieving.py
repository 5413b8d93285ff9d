"""Fetching studies from other nodes: asked for, started, counted, cancelled, tried again.

The row is the job. Attempts are counted before the work; a running one says every few seconds
that it lives, and the sweep takes back what does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.broker import RETRIEVE_QUEUE, send
from workstation.live import publish
from workstation.receiving.models import (
    Instance,
    PriorRule,
    RemoteNode,
    Retrieval,
    RetrievalState,
    Study,
)
from workstation.receiving.services.deidentifying import BY_RETRIEVAL, archived_uids
from workstation.receiving.states import InvalidMove, move

RETRIEVE_ACTOR = "retrieve_study"
MAX_ATTEMPTS = 5
AT_ONCE_PER_NODE = 2
"""Archives slow down for everybody when they are asked for more."""
BUSY_PAUSE = timedelta(seconds=5)
MESSAGE_LOST_AFTER = timedelta(seconds=60)
OPEN = (RetrievalState.WAITING, RetrievalState.RUNNING)


class CannotRetrieve(Exception):
    """The node is switched off or may not be asked; the text says so."""


@dataclass(frozen=True)
class Wanted:
    """A study at a node, or some of its series, and what to show of it while it comes."""

    study_instance_uid: str
    series_instance_uids: tuple[str, ...] = ()
    description: str = ""
    study_date: date | None = None
    modalities: str = ""
    instances: int | None = None


def pause_before(attempt: int) -> timedelta:
    """How long to wait before attempt ``attempt + 1``: 10 s, 20 s, 40 s ... at most 15 minutes."""
    return timedelta(seconds=min(900, 10 * 2 ** max(0, attempt - 1)))


@transaction.atomic
def request_retrieval(
    node: RemoteNode,
    wanted: Wanted,
    *,
    user: User | None = None,
    rule: PriorRule | None = None,
    because_of: Study | None = None,
    address: str = "",
) -> Retrieval:
    """Fetch a study. One that is under way already is returned as it is.

    Raises :class:`CannotRetrieve`.
    """
    if not (node.active and node.may_be_queried):
        raise CannotRetrieve(gettext("This node is switched off, or may not be queried."))
    # One at a time asks for studies of this node, so that none is asked for twice.
    RemoteNode.objects.select_for_update().get(pk=node.pk)
    series = sorted(wanted.series_instance_uids)
    under_way = Retrieval.objects.filter(
        node=node, study_instance_uid=wanted.study_instance_uid, state__in=OPEN
    )
    for row in under_way:
        if row.series_instance_uids in ([], series):
            return row
    row = Retrieval.objects.create(
        site=node.site, node=node, study_instance_uid=wanted.study_instance_uid,
        series_instance_uids=series, description=wanted.description[:200],
        study_date=wanted.study_date, modalities=wanted.modalities[:80], expected=wanted.instances,
        asked_by=user, rule=rule, because_of=because_of,
        next_attempt_at=timezone.now() + MESSAGE_LOST_AFTER,
    )  # fmt: skip
    record(
        "retrieve", user=user, site=row.site, obj=row, remote_address=address,
        detail={"node": node.pk, "rule": rule.pk if rule else None},
    )  # fmt: skip
    publish(row.site_id, "retrieval")
    transaction.on_commit(lambda: send(RETRIEVE_ACTOR, RETRIEVE_QUEUE, row.pk))
    return row


def start_retrieval(pk: int) -> Retrieval | None:
    """Claim a retrieval; None if it is not due: under way, over, or its node busy or off."""
    row = Retrieval.objects.select_related("node", "site").get(pk=pk)
    if row.state != RetrievalState.WAITING or not row.node.active:
        return None
    running = Retrieval.objects.filter(node=row.node, state=RetrievalState.RUNNING)
    if running.count() >= AT_ONCE_PER_NODE:
        Retrieval.objects.filter(pk=pk, state=RetrievalState.WAITING).update(
            next_attempt_at=timezone.now() + BUSY_PAUSE
        )
        return None
    now = timezone.now()
    try:
        move(
            Retrieval, pk, "start", attempts=row.attempts + 1, started_at=now, heartbeat_at=now,
            next_attempt_at=None, failed=0, refused=0, error="",
        )  # fmt: skip
    except InvalidMove:
        return None
    return Retrieval.objects.select_related("node", "site").get(pk=pk)


def here_of(row: Retrieval) -> frozenset[str]:
    """The instance UIDs of the study that are stored here, as the archive knows them."""
    study = archived_uid_of(row)(row.study_instance_uid)
    return frozenset(
        Instance.objects.filter(site=row.site, series__study__study_instance_uid=study).values_list(
            "sop_instance_uid", flat=True
        )
    )


def archived_uid_of(row: Retrieval) -> Callable[[str], str]:
    """From the node's UIDs to those of the archive: others, where its objects are de-identified."""
    return archived_uids(row.site, f"{BY_RETRIEVAL}{row.pk}")


def note_progress(
    row: Retrieval, *, expected: int | None, completed: int, failed: int, refused: int
) -> bool:
    """Write the counts and a heartbeat. False: stop, it was cancelled or taken back."""
    counts = {"completed": completed, "failed": failed, "refused": refused}
    if expected is not None:
        counts["expected"] = expected
    mine = Retrieval.objects.filter(pk=row.pk, state=RetrievalState.RUNNING, attempts=row.attempts)
    with transaction.atomic():
        alive = mine.update(heartbeat_at=timezone.now(), **counts)
        publish(row.site_id, "retrieval")
    return bool(alive) and not mine.filter(cancel_asked=True).exists()


def finish_retrieval(row: Retrieval, listed: frozenset[str] | None) -> None:
    """The node has sent what it wanted to send: see whether everything is here.

    ``listed``: the instance UIDs it had named before; None if it names none.
    """
    now = Retrieval.objects.get(pk=row.pk)
    if listed is None:
        missing = now.failed
        if not now.completed and not now.refused:
            fail_retrieval(row, "The node sent nothing of this study.", again=False)
            return
    else:
        missing = len(frozenset(map(archived_uid_of(row), listed)) - here_of(row))
    if missing == 0 and not (listed is None and now.refused):
        completed = len(listed) if listed is not None else now.completed
        move(
            Retrieval, row.pk, "finish", attempt=row.attempts, finished_at=timezone.now(),
            completed=completed, failed=0, error="", cancel_asked=False,
        )  # fmt: skip
        return
    of = f" of {now.expected}" if now.expected else ""
    if now.refused and (listed is None or missing <= now.refused):
        text = f"{now.refused}{of} objects were not accepted; they are in quarantine."
        fail_retrieval(row, text, again=False)
    else:
        fail_retrieval(row, f"{missing}{of} objects did not come.", again=True)


def fail_retrieval(row: Retrieval, reason: str, *, again: bool) -> None:
    """Later again, if that may help and attempts are left; else it waits for a person."""
    if again and row.attempts < MAX_ATTEMPTS:
        due = timezone.now() + pause_before(row.attempts)
        move(
            Retrieval, row.pk, "try_again", attempt=row.attempts, error=reason[:500],
            next_attempt_at=due,
        )  # fmt: skip
    else:
        move(
            Retrieval, row.pk, "give_up", attempt=row.attempts, error=reason[:500],
            finished_at=timezone.now(), next_attempt_at=None,
        )  # fmt: skip


@transaction.atomic
def cancel_retrieval(row: Retrieval, user: User, *, address: str = "") -> None:
    """Stop: at once if it waits; a running one is told, and ends within seconds.

    Raises :class:`InvalidMove` when it is over.
    """
    record(
        "retrieve", user=user, site=row.site, obj=row, remote_address=address,
        detail={"cancel": True},
    )  # fmt: skip
    locked = Retrieval.objects.select_for_update().get(pk=row.pk)
    if locked.state == RetrievalState.RUNNING:
        locked.cancel_asked = True
        locked.save(update_fields=["cancel_asked"])
        publish(locked.site_id, "retrieval")
        return
    move(Retrieval, row.pk, "cancel", finished_at=timezone.now(), next_attempt_at=None)


def note_cancelled(row: Retrieval) -> None:
    """The running retrieval has stopped. What came is kept."""
    asked = Retrieval.objects.filter(pk=row.pk, cancel_asked=True).exists()
    if not asked:
        return  # another worker took it over; the row is no longer ours
    move(
        Retrieval, row.pk, "cancel", attempt=row.attempts, finished_at=timezone.now(),
        cancel_asked=False, error="",
    )  # fmt: skip


@transaction.atomic
def retry_retrieval(row: Retrieval, user: User, *, address: str = "") -> None:
    """A person asks for it again; only what is missing is fetched. Raises :class:`InvalidMove`."""
    move(
        Retrieval, row.pk, "retry", attempts=0, error="", cancel_asked=False, finished_at=None,
        next_attempt_at=timezone.now() + MESSAGE_LOST_AFTER,
    )  # fmt: skip
    record("retry", user=user, site=row.site, obj=row, remote_address=address)
    transaction.on_commit(lambda: send(RETRIEVE_ACTOR, RETRIEVE_QUEUE, row.pk))


def send_due_retrievals(now: datetime) -> None:
    """The sweep: rows whose worker died, whose message was lost, or whose time has come."""
    silent = now - timedelta(seconds=settings.ORPHAN_SECONDS)
    for row in Retrieval.objects.filter(state=RetrievalState.RUNNING, heartbeat_at__lt=silent):
        try:
            if row.cancel_asked:
                note_cancelled(row)
            else:
                fail_retrieval(row, "The worker stopped in the middle.", again=True)
        except InvalidMove:
            continue  # it ended between our look and the lock
    due = Q(next_attempt_at__lte=now) | Q(next_attempt_at=None)
    waiting = Retrieval.objects.filter(
        due, state=RetrievalState.WAITING, node__active=True
    ).order_by("pk")
    for pk in list(waiting.values_list("pk", flat=True)[:100]):
        # Looked at again only if this message is lost too.
        Retrieval.objects.filter(pk=pk, state=RetrievalState.WAITING).update(
            next_attempt_at=now + MESSAGE_LOST_AFTER
        )
        send(RETRIEVE_ACTOR, RETRIEVE_QUEUE, pk)


def came_by_rule() -> Q:
    """Condition on studies: fetched by a rule because of another study, and by no person. Such a
    study starts no fetching itself, and is background for a case, not the reason of one."""
    fetched = Retrieval.objects.filter(
        site=OuterRef("site"), study_instance_uid=OuterRef("study_instance_uid")
    )
    by_rule = fetched.filter(asked_by=None).exclude(because_of=OuterRef("pk"))
    return Q(Exists(by_rule)) & ~Q(Exists(fetched.filter(asked_by__isnull=False)))
