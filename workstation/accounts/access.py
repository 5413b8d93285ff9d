"""Is an open socket still allowed? A proof that is renewed twice a second, for all sockets at once.

A request is checked when it comes; a socket stays open for hours. So each holds a :class:`Grant`,
and sends only while the grant's last proof is less than ``PROOF_SECONDS`` old. One task per event
loop asks the database about all grants together (four queries, however many readers). It needs
neither broker nor cache: whoever withdraws access, on whichever host, or by hand in the database,
it ends within a second. While the database does not answer, nothing is proved and nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

from django.contrib.sessions.models import Session
from django.db import Error, connections
from django.utils import timezone

from workstation.accounts.models import SiteRow, User
from workstation.accounts.permissions import allowed

log = logging.getLogger(__name__)

ANONYMOUS, FORBIDDEN, NOT_FOUND = 4401, 4403, 4404
"""Close codes after which a browser tries no more."""
SITES_CHANGED = 1012
"""Close code after which a browser comes back at once: it hears of other sites from then on."""
RENEW_SECONDS = 0.5
PROOF_SECONDS = 1.0

Ended = Callable[[int], Coroutine[Any, Any, None]]


class Grant:
    """One socket's permission, on a row of one site or (``row`` None) on all of its user's sites.

    ``ended`` is awaited once, with the close code, when access is withdrawn. ``asked_at``
    (``time.monotonic()``): when the caller looked at the user; a slow disk may have taken long
    since then.
    """

    def __init__(
        self,
        scope: Mapping[str, Any],
        permission: str,
        ended: Ended,
        *,
        row: SiteRow | None = None,
        sites: Iterable[int] | None = None,
        asked_at: float | None = None,
    ) -> None:
        user = scope["user"]
        self.user_id: int = user.pk
        self.session_key: str = scope["session"].session_key
        self.password_proof: str = user.get_session_auth_hash()
        self.permission = permission
        self.ended = ended
        self.row = None if row is None else (type(row), row.pk)
        self.sites = None if sites is None else frozenset(sites)
        self.proved_at = time.monotonic() if asked_at is None else asked_at
        self.code = 0
        """Close code once access was withdrawn; 0 while it was not."""

    @property
    def fresh(self) -> bool:
        return not self.code and time.monotonic() - self.proved_at < PROOF_SECONDS

    async def proved(self) -> bool:
        """Wait for a fresh proof; False once access was withdrawn."""
        while not self.fresh:
            if self.code:
                return False
            await _watch().next_round()
        return True


def verdicts(grants: Iterable[Grant]) -> dict[Grant, int]:
    """The close code of each grant as the database stands now; 0: still allowed."""
    asked = list(grants)
    user_ids = {grant.user_id for grant in asked}
    users = {
        user.pk: user for user in User.objects.filter(pk__in=user_ids).prefetch_related("sites")
    }
    sites = {pk: frozenset(site.pk for site in user.sites.all()) for pk, user in users.items()}
    sessions = set(
        Session.objects.filter(
            session_key__in={grant.session_key for grant in asked}, expire_date__gt=timezone.now()
        ).values_list("session_key", flat=True)
    )
    passwords = {pk: user.get_session_auth_hash() for pk, user in users.items()}
    site_of: dict[tuple[type[SiteRow], int], int] = {}
    for model in {grant.row[0] for grant in asked if grant.row}:
        ids = {grant.row[1] for grant in asked if grant.row and grant.row[0] is model}
        for pk, site in model.objects.filter(pk__in=ids).values_list("pk", model.SITE_PATH):
            site_of[model, pk] = site

    def code(grant: Grant) -> int:
        user = users.get(grant.user_id)
        if (
            user is None
            or grant.session_key not in sessions
            or passwords[user.pk] != grant.password_proof
        ):
            return ANONYMOUS
        if not allowed(user, grant.permission):
            return FORBIDDEN
        if grant.row is not None and site_of.get(grant.row) not in sites[user.pk]:
            return NOT_FOUND
        if grant.sites is not None and grant.sites != sites[user.pk]:
            return SITES_CHANGED
        return 0

    return {grant: code(grant) for grant in asked}


class Watch:
    """Renews the proofs of one event loop's grants."""

    def __init__(self) -> None:
        self.grants: set[Grant] = set()
        self._round = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, grant: Grant) -> None:
        self.grants.add(grant)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def remove(self, grant: Grant) -> None:
        self.grants.discard(grant)

    async def next_round(self) -> None:
        await self._round.wait()

    async def _run(self) -> None:
        """Until the last grant is gone. A thread and a connection of its own: the threads that
        serve pages may all be busy."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="access")
        try:
            while self.grants:
                await asyncio.sleep(RENEW_SECONDS)
                asked, at = set(self.grants), time.monotonic()
                try:
                    found = await loop.run_in_executor(thread, _ask, asked)
                except Error as error:
                    log.warning("access not proved: %s", type(error).__name__)
                    continue
                await self._tell(found, at)
        finally:
            thread.submit(connections.close_all)
            thread.shutdown(wait=False)

    async def _tell(self, found: Mapping[Grant, int], at: float) -> None:
        ended = []
        for grant, code in found.items():
            if grant not in self.grants:
                continue  # its socket closed meanwhile
            if code:
                grant.code = code
                self.grants.discard(grant)
                ended.append(grant.ended(code))
            else:
                grant.proved_at = at
        self._round.set()
        self._round = asyncio.Event()
        # A socket that is stuck closing must not hold up the proofs of the others.
        for closing in ended:
            task = asyncio.create_task(closing)
            _closing.add(task)
            task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()
_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def _watch() -> Watch:
    return _watches.setdefault(asyncio.get_running_loop(), Watch())


def _ask(grants: set[Grant]) -> dict[Grant, int]:
    try:
        return verdicts(grants)
    except Error:
        # A connection that failed is not used again: the next round opens one.
        connections.close_all()
        raise


def watch(grant: Grant) -> None:
    """Renew this grant's proofs until :func:`unwatch`."""
    _watch().add(grant)


def unwatch(grant: Grant) -> None:
    _watch().remove(grant)
