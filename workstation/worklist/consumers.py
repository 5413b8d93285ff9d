"""Live notices to open pages: ``/ws/live/``."""

from __future__ import annotations

import time
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from workstation.accounts import access
from workstation.accounts.permissions import allowed
from workstation.live import group_name, missed

PERMISSION = "case.list"


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """Tells a page that something of its user's sites changed; carries ids, never data.

    The client sends ``{"since": n}`` when it (re)connects and gets what it missed, or
    ``{"kind": "refresh"}`` if that is no longer known.
    """

    grant: access.Grant | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Also of a socket that broke, which no disconnect follows.
            if self.grant is not None:
                access.unwatch(self.grant)

    async def connect(self) -> None:
        asked_at = time.monotonic()
        user = self.scope["user"]
        self.sites: list[int] = []
        # Accept first: a browser cannot see the close code of a refused handshake.
        await self.accept()
        if not user.is_authenticated:
            await self.close(code=access.ANONYMOUS)
            return
        if not allowed(user, PERMISSION):
            await self.close(code=access.FORBIDDEN)
            return
        self.sites = await database_sync_to_async(
            lambda: list(user.sites.values_list("pk", flat=True))
        )()
        for site in self.sites:
            await self.channel_layer.group_add(group_name(site), self.channel_name)
        self.grant = access.Grant(
            self.scope, PERMISSION, self._withdrawn, sites=self.sites, asked_at=asked_at
        )
        access.watch(self.grant)

    async def _withdrawn(self, code: int) -> None:
        await self.close(code=code)

    async def disconnect(self, code: int) -> None:
        for site in self.sites:
            await self.channel_layer.group_discard(group_name(site), self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        if self.grant is None or not await self.grant.proved():
            return  # the socket is being closed
        since = content.get("since") if isinstance(content, dict) else None
        if not isinstance(since, int):
            await self.send_json({"kind": "error", "detail": 'send {"since": number}'})
            return
        notices = await database_sync_to_async(missed)(self.sites, since)
        if notices is None:
            await self.send_json({"kind": "refresh"})
            return
        for notice in notices:
            await self.send_json(notice)

    async def live_notice(self, event: dict[str, Any]) -> None:
        if self.grant is None or not await self.grant.proved():
            return
        await self.send_json({key: event[key] for key in ("seq", "kind", "case")})
