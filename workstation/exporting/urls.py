"""URLs of the exporting room."""

from __future__ import annotations

from django.urls import URLPattern

app_name = "exporting"
urlpatterns: list[URLPattern] = []
