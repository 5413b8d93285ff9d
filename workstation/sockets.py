"""Every WebSocket of the product."""

from __future__ import annotations

from django.urls import path

from workstation.reading.consumers import SliceConsumer
from workstation.worklist.consumers import LiveConsumer

websocket_urlpatterns = [
    path("ws/live/", LiveConsumer.as_asgi(), name="live"),
    path("ws/cases/<int:case_id>/slices/", SliceConsumer.as_asgi(), name="slices"),
]
