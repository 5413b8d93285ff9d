"""Numbered notices to open browsers: *something changed*, never the data itself.

``publish`` appends to a short Redis stream per site (so that a browser that comes back can catch
up by number) and tells the open sockets through the channel layer. A notice carries ids only;
browsers fetch the page or JSON again, which applies permissions and the row filter.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, TypedDict

import redis
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

KINDS: dict[str, str] = {
    "case": "a case's state, claim or priority changed",
    "run": "an analysis step moved",
    "report": "a report draft was saved, signed or amended",
    "delivery": "an export was sent or failed",
    "upload": "an upload made progress",
    "quarantine": "something was quarantined or released",
}
KEPT = 2000
"""Notices kept per site for browsers that come back."""


class Notice(TypedDict):
    seq: int
    kind: str
    case: int | None


@cache
def _redis() -> redis.Redis | None:
    if settings.BROKER_URL == "stub":
        return None
    return redis.Redis.from_url(settings.BROKER_URL)


def group_name(site_id: int) -> str:
    return f"live.site.{site_id}"


def publish(site_id: int, kind: str, case_id: int | None = None) -> None:
    """Tell the open browsers of a site, once the current transaction is committed."""
    if kind not in KINDS:
        raise ValueError(f"unknown notice kind {kind!r}")
    transaction.on_commit(lambda: _send(site_id, kind, case_id))


def _send(site_id: int, kind: str, case_id: int | None) -> None:
    client = _redis()
    try:
        seq = 0
        if client is not None:
            seq = int(client.incr(f"live:{site_id}:seq"))
            client.xadd(
                f"live:{site_id}",
                {"kind": kind, "case": case_id or 0},
                id=f"{seq}-0",
                maxlen=KEPT,
                approximate=True,
            )
        layer = get_channel_layer()
        notice: Notice = {"seq": seq, "kind": kind, "case": case_id}
        async_to_sync(layer.group_send)(
            group_name(site_id), {"type": "live.notice", "site": site_id, **notice}
        )
    except (redis.RedisError, OSError) as error:
        # A browser that misses a notice asks again when it reconnects; rows are the truth.
        log.warning("live notice not sent: %s", type(error).__name__)


def missed(site_id: int, since: int) -> list[Notice] | None:
    """Notices after number ``since``, or ``None`` if they are no longer known: refresh all."""
    client = _redis()
    if client is None:
        return []
    last = int(client.get(f"live:{site_id}:seq") or 0)
    if since == last:
        return []
    entries: list[Any] = client.xrange(f"live:{site_id}", min=f"{since + 1}-0")
    if since > last or len(entries) != last - since:
        return None
    return [
        {
            "seq": int(key.split(b"-")[0]),
            "kind": fields[b"kind"].decode(),
            "case": int(fields[b"case"]) or None,
        }
        for key, fields in entries
    ]
