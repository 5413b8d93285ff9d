"""URLs of the receiving room."""

from __future__ import annotations

from django.urls import URLPattern

app_name = "receiving"
urlpatterns: list[URLPattern] = []
