"""The slice stream."""

from __future__ import annotations

from channels.generic.websocket import AsyncWebsocketConsumer


class SliceConsumer(AsyncWebsocketConsumer):
    """Streams encoded slices of one case."""
