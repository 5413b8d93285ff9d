"""URLs of the analyzing room."""

from __future__ import annotations

from django.urls import URLPattern

app_name = "analyzing"
urlpatterns: list[URLPattern] = []
