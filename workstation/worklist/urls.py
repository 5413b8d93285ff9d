"""URLs of the worklist room."""

from __future__ import annotations

from django.urls import URLPattern

app_name = "worklist"
urlpatterns: list[URLPattern] = []
