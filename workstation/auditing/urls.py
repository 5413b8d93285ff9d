"""URLs of the auditing room."""

from __future__ import annotations

from django.urls import URLPattern

app_name = "auditing"
urlpatterns: list[URLPattern] = []
