"""URLs of the auditing room."""

from __future__ import annotations

from django.urls import path

from workstation.auditing import views

app_name = "auditing"
urlpatterns = [path("", views.trail, name="trail")]
