"""URLs of the analyzing room, below ``/runs/``."""

from __future__ import annotations

from django.urls import path

from workstation.analyzing import views

app_name = "analyzing"
urlpatterns = [
    path("", views.runs, name="runs"),
    path("<int:run_id>/", views.run, name="run"),
    path("<int:run_id>/retry/", views.retry, name="retry"),
    path("cases/<int:case_id>/", views.case_run, name="case"),
]
