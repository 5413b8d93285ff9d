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
    "registration": "a refinement moved, or a registration's landmarks or decision changed",
    "measurement": "a measurement or key image was made, changed, deleted or restored",
    "report": "a report draft was saved, signed or amended",
    "delivery": "an export was sent or failed",
    "retrieval": "a fetch from another node, or a question to it, moved",
    "upload": "an upload made progress",
    "quarantine": "something was quarantined or released",
}
KEPT = 2000
"""Notices kept per site for browsers that come back."""
SEQ_KEY = "radfuse:live:seq"
"""Redis counter: one numbering for all sites."""

# Number and entry in one step: between two processes a stream must not see its numbers backwards.
_APPEND = """
local seq = redis.call('INCR', KEYS[1])
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], seq .. '-0', 'kind', ARGV[1], 'case', ARGV[2])
return seq
"""


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


def last_seq() -> int:
    """The number of the newest notice; a page is rendered with it and catches up from there."""
    client = _redis()
    if client is None:
        return 0
    try:
        return int(client.get(SEQ_KEY) or 0)
    except redis.RedisError as error:
        log.warning("live numbers not readable: %s", type(error).__name__)
        return 0


def _send(site_id: int, kind: str, case_id: int | None) -> None:
    client = _redis()
    try:
        seq = 0
        if client is not None:
            seq = int(
                client.eval(
                    _APPEND, 2, SEQ_KEY, _stream(site_id), kind, str(case_id or 0), str(KEPT)
                )
            )
        layer = get_channel_layer()
        notice: Notice = {"seq": seq, "kind": kind, "case": case_id}
        async_to_sync(layer.group_send)(group_name(site_id), {"type": "live.notice", **notice})
    except (redis.RedisError, OSError) as error:
        # A browser that misses a notice asks again when it reconnects; rows are the truth.
        log.warning("live notice not sent: %s", type(error).__name__)


def missed(site_ids: list[int], since: int) -> list[Notice] | None:
    """Notices of the sites after number ``since``, oldest first, or ``None`` if some are no
    longer known (too long away, or the broker lost its data): the page refreshes as a whole."""
    client = _redis()
    if client is None:
        return []
    if since > int(client.get(SEQ_KEY) or 0):
        return None
    found: list[Notice] = []
    for site_id in site_ids:
        stream = _stream(site_id)
        oldest: list[Any] = client.xrange(stream, count=1)
        if oldest and client.xlen(stream) >= KEPT and _number(oldest[0][0]) > since + 1:
            return None
        for key, fields in client.xrange(stream, min=f"{since + 1}-0"):
            found.append(
                {
                    "seq": _number(key),
                    "kind": fields[b"kind"].decode(),
                    "case": int(fields[b"case"]) or None,
                }
            )
    return sorted(found, key=lambda notice: notice["seq"])


def _stream(site_id: int) -> str:
    return f"radfuse:live:{site_id}"


def _number(key: bytes) -> int:
    return int(key.split(b"-")[0])
